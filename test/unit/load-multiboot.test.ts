/** Booting multiboot kernels (Multiboot 0.6.96), 32-bit ELF files and others, and those that make no sense. */
import { describe, expect, test } from "vitest";
import { bzImage } from "./fake/bzimage.ts";
import { vendors } from "./fake/cpu.ts";
import { elf, pvhNote } from "./fake/elf.ts";
import { Gpr, Next } from "./fake/exit.ts";
import { type LoadError, loadGuest } from "./fake/load.ts";
import { type Addresses, MultibootInfo, multibootHeader } from "./fake/multiboot.ts";
import type { MonitorOptions } from "./fake/monitor.ts";

describe.each(vendors)("On %s:", (vendor) => {
  const MIB = 1 << 20;
  const ram = 8 * MIB;
  const AT = 0x200000;
  const load = (kernel: Uint8Array, options: MonitorOptions = {}) =>
    loadGuest(vendor, { ram, kernel, ...options });
  const errorOf = (kernel: Uint8Array, options: MonitorOptions = {}) => load(kernel, options).error;
  const bytes = Uint8Array.from({ length: 3000 }, (_, i) => (i * 5) & 255);
  const withHeader = (flags = 3) => Buffer.concat([multibootHeader(flags), bytes]);
  const kernelElf = (flags = 3, bits: 32 | 64 = 32) =>
    elf({ bits, entry: AT + 16, parts: [{ at: AT, bytes: withHeader(flags) }] });
  /** A file with addresses: its header is 64 bytes in. */
  function plain(addresses: Partial<Addresses> = {}, length = 3000, flags = 0) {
    const file = Uint8Array.from({ length }, (_, i) => (i * 5) & 255);
    const all = { header: AT + 64, load: AT, loadEnd: 0, bssEnd: 0, entry: AT + 96, ...addresses };
    file.set(multibootHeader(flags, all), 64);
    return file;
  }

  test.each([
    ["32-bit ELF file", kernelElf(), AT + 16],
    ["file with addresses", plain(), AT + 96],
  ])(
    "A %s is entered in 32-bit protected mode without paging, with the magic number in EAX",
    (_, file, entry) => {
      const { machine, cpu, next } = load(file);
      expect(next).toBe(Next.Resume);
      expect(machine.gpr(Gpr.rax)).toBe(0x2badb002n);
      expect(cpu.rip).toBe(BigInt(entry));
      expect([cpu.cr0 & 0x80000001n, cpu.efer & 0x500n, cpu.rflags]).toEqual([1n, 0n, 2n]);
      expect(cpu.segment(1)).toMatchObject({ base: 0n, limit: 0xffffffff, rights: 0xc09b });
      for (const n of [0, 2, 3, 4, 5])
        expect(cpu.segment(n), `segment ${n}`).toMatchObject({ base: 0n, limit: 0xffffffff, rights: 0xc093 });
      expect(cpu.problems).toEqual([]);
    },
  );

  test("The information has memory, the command line, the initrd as a module, and the loader's name", () => {
    const initrd = bytes.slice(1);
    const { machine } = load(kernelElf(), { initrd, commandLine: "a=b c" });
    const info = new MultibootInfo(machine);
    expect(info.word(0)).toBe(0x24d);
    expect([info.word(4), info.word(8)]).toEqual([639, 7 * 1024]);
    expect(info.text(16)).toBe("a=b c");
    expect(info.modules).toEqual([{ start: ram - 4096, end: ram - 4096 + 2999, text: "" }]);
    expect(machine.ram.bytes.slice(ram - 4096, ram - 4096 + 2999)).toEqual(initrd);
    expect(info.text(64)).toBe("Typevisor");
    expect(info.memory.filter(({ type }) => type === 1)).toEqual([
      { base: 0n, end: 0x9fc00n, type: 1 },
      { base: BigInt(MIB), end: BigInt(ram), type: 1 },
    ]);
    // The kernel searches for it (ACPI 6.4, 5.2.5.1).
    const bios = Buffer.from(machine.ram.bytes.subarray(0xe0000, 0x100000)).toString("latin1");
    expect(bios.indexOf("RSD PTR ") & 15).toBe(0);
    expect(new MultibootInfo(load(kernelElf()).machine).modules).toEqual([]);
  });

  test("The addresses say which bytes of the file are loaded, and what is cleared", () => {
    const file = plain({ header: AT + 34, load: AT, loadEnd: AT + 1000, bssEnd: AT + 5000 });
    const { machine } = load(file);
    expect(machine.ram.bytes.slice(AT, AT + 1000)).toEqual(file.slice(30, 1030));
    expect(machine.ram.bytes.subarray(AT + 1000, AT + 5000).every((byte) => byte === 0)).toBe(true);
    // Without an end all of it.
    const all = plain();
    expect(load(all).machine.ram.bytes.slice(AT, AT + all.length)).toEqual(all);
  });

  test("An ELF file with addresses is loaded by them, be it of 64 bits", () => {
    const addresses = { header: AT, load: AT, loadEnd: AT + 2000, bssEnd: 0, entry: AT + 40 };
    const part = { at: 0x40000000, bytes: Buffer.concat([multibootHeader(0, addresses), bytes]) };
    const { cpu, next } = load(elf({ bits: 64, parts: [part] }));
    expect(next).toBe(Next.Resume);
    expect(cpu.rip).toBe(BigInt(AT + 40));
  });

  test("The entry point of an ELF file is a virtual address, or a physical one if that is no part's", () => {
    const parts = [{ at: AT, virtual: 0xc0200000, bytes: withHeader() }];
    expect(load(elf({ bits: 32, parts, entry: 0xc0200010 })).cpu.rip).toBe(BigInt(AT + 16));
    expect(load(elf({ bits: 32, parts, entry: AT + 32 })).cpu.rip).toBe(BigInt(AT + 32));
    expect(errorOf(elf({ bits: 32, parts, entry: AT - 1 }))).toBe("ENTRY_OUTSIDE");
  });

  test("The header is within the first 8 KiB, on 4 bytes, and its checksum is right", () => {
    const at = (offset: number) => {
      const file = new Uint8Array(10_000);
      const headerAt = AT + offset;
      file.set(multibootHeader(0, { header: headerAt, load: AT, loadEnd: 0, bssEnd: 0, entry: AT }), offset);
      return file;
    };
    expect(errorOf(at(0))).toBeUndefined();
    expect(errorOf(at(8192 - 32))).toBeUndefined();
    expect(errorOf(at(8192 - 8))).toBe("UNKNOWN_FORMAT");
    expect(errorOf(at(8192))).toBe("UNKNOWN_FORMAT");
    expect(errorOf(at(66))).toBe("UNKNOWN_FORMAT");
    const wrong = at(64);
    wrong[72]! ^= 1;
    expect(errorOf(wrong)).toBe("UNKNOWN_FORMAT");
    // One with a wrong checksum before it does not hide it.
    const second = at(64);
    second.set([0x02, 0xb0, 0xad, 0x1b, 0, 0, 0, 0, 1, 2, 3, 4], 0);
    expect(errorOf(second)).toBeUndefined();
  });

  test("Of a file in several formats bzImage goes before multiboot, and that before PVH", () => {
    const image = bzImage(new Uint8Array(100), { setupSectors: 4 });
    image.set(multibootHeader(4), 0);
    expect(errorOf(image)).toBeUndefined();
    const parts = [{ at: AT, bytes: withHeader() }];
    const both = elf({ bits: 32, parts, entry: AT + 16, notes: pvhNote(AT + 20) });
    expect(load(both).cpu.rip).toBe(BigInt(AT + 16));
    const long = elf({ bits: 64, parts, entry: AT + 16, notes: pvhNote(AT + 20) });
    expect(load(long).cpu.rip).toBe(BigInt(AT + 20));
  });

  test.each<[string, Uint8Array, LoadError]>([
    ["64-bit ELF file", kernelElf(3, 64), "NO_PVH_ENTRY"],
    ["file that is no ELF file and says no addresses", withHeader(), "UNKNOWN_FORMAT"],
    ["file that demands a video mode", kernelElf(4), "MULTIBOOT_VIDEO"],
    ["file that demands what nobody knows", kernelElf(0x8000), "MULTIBOOT_DEMANDS"],
    ["file whose load address is behind its header", plain({ load: AT + 68 }), "MULTIBOOT_ADDRESSES"],
    ["file that begins before its first byte", plain({ load: AT - 4 }), "MULTIBOOT_ADDRESSES"],
    ["file that ends before it begins", plain({ loadEnd: AT - 1 }), "MULTIBOOT_ADDRESSES"],
    ["file that is cleared from its middle on", plain({ bssEnd: AT + 2999 }), "MULTIBOOT_ADDRESSES"],
    ["file that has not all that it says", plain({ loadEnd: AT + 3001 }), "TRUNCATED"],
    ["file that ends in its addresses", plain().slice(0, 64 + 28), "TRUNCATED"],
    ["file that is entered elsewhere", plain({ entry: AT - 1 }), "ENTRY_OUTSIDE"],
    ["file that clears memory behind RAM", plain({ bssEnd: 0xffffffff }), "OUTSIDE_MEMORY"],
    ["file at address 0", plain({ header: 64, load: 0, entry: 100 }), "MEETS_TABLES"],
  ])("A %s is refused by name", (_, file, error) => {
    expect(errorOf(file)).toBe(error);
  });

  test("Demands that are served, and bits that are none, are accepted", () => {
    expect(errorOf(kernelElf(1))).toBeUndefined();
    expect(errorOf(kernelElf(2))).toBeUndefined();
    expect(errorOf(kernelElf(0x40000))).toBeUndefined();
  });
});
