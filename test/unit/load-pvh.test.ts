/** Booting ELF files by Xen's PVH protocol (xen: docs/misc/pvh.pandoc), with files that keep it and files that do not. */
import { describe, expect, test } from "vitest";
import { vendors } from "./fake/cpu.ts";
import { type ElfOptions, elf, fields, note, pvhNote } from "./fake/elf.ts";
import { Next } from "./fake/exit.ts";
import { type LoadError, loadGuest } from "./fake/load.ts";
import type { MonitorOptions } from "./fake/monitor.ts";
import { Random } from "./fake/pc.ts";
import { PvhInfo } from "./fake/pvh.ts";

describe.each(vendors)("On %s:", (vendor) => {
  const MIB = 1 << 20;
  const ram = 8 * MIB;
  const AT = 0x200000;
  const code = Uint8Array.from({ length: 5000 }, (_, i) => (i * 7) & 255);
  const parts = [{ at: AT, bytes: code }];
  const pvh = (options: ElfOptions = {}) => elf({ parts, notes: pvhNote(AT + 4), ...options });
  const load = (kernel: Uint8Array, options: MonitorOptions = {}) =>
    loadGuest(vendor, { ram, kernel, ...options });
  const errorOf = (kernel: Uint8Array, options: MonitorOptions = {}) => load(kernel, options).error;

  test.each([32, 64] as const)(
    "An ELF%i kernel is entered in 32-bit protected mode without paging",
    (bits) => {
      // The header's own entry point is another protocol's.
      const { machine, cpu, next } = load(pvh({ bits, entry: AT + 100 }));
      expect(next).toBe(Next.Resume);
      expect(cpu.rip).toBe(BigInt(AT + 4));
      expect(cpu.cr0 & ~0x30n).toBe(1n); // ET reads 1; VT-x keeps NE on
      expect([cpu.cr4 & ~0x2000n, cpu.efer & ~0x1000n]).toEqual([0n, 0n]); // the extension's own bits
      expect(cpu.rflags).toBe(2n);
      expect(cpu.segment(1)).toMatchObject({ base: 0n, limit: 0xffffffff, rights: 0xc09b });
      for (const n of [0, 2, 3, 4, 5])
        expect(cpu.segment(n), `segment ${n}`).toMatchObject({ base: 0n, limit: 0xffffffff, rights: 0xc093 });
      expect(cpu.segment(7)).toMatchObject({ base: 0n, limit: 0x67, rights: 0x8b });
      expect(cpu.problems).toEqual([]);
      expect(machine.ram.bytes.slice(AT, AT + code.length)).toEqual(code);
    },
  );

  test("The start information has the magic number, the command line, the initrd, memory and ACPI's root pointer", () => {
    const initrd = Uint8Array.from({ length: 5001 }, (_, i) => i & 255);
    const { machine } = load(pvh(), { initrd, commandLine: "quiet console=ttyS0" });
    const info = new PvhInfo(machine);
    expect([info.field(0, 4), info.field(4, 4), info.field(8, 4)]).toEqual([0x336ec578n, 1n, 0n]);
    expect(info.commandLine).toBe("quiet console=ttyS0");
    expect(info.modules).toEqual([{ start: BigInt(ram - 8192), size: 5001n }]);
    expect(machine.ram.bytes.slice(ram - 8192, ram - 8192 + 5001)).toEqual(initrd);
    const rsdp = Number(info.field(32, 8));
    expect(Buffer.from(machine.ram.bytes.subarray(rsdp, rsdp + 8)).toString()).toBe("RSD PTR ");
    expect(info.memory.filter(({ type }) => type === 1)).toEqual([
      { base: 0n, end: 0x9fc00n, type: 1 },
      { base: BigInt(MIB), end: BigInt(ram), type: 1 },
    ]);
    expect(info.memory.find(({ base, end }) => base <= BigInt(rsdp) && BigInt(rsdp) < end)?.type).toBe(3);
  });

  test("Without an initrd there is no module", () => {
    const info = new PvhInfo(load(pvh()).machine);
    expect([info.field(12, 4), info.field(16, 8)]).toEqual([0n, 0n]);
  });

  test("Memory above 4 GiB is named", () => {
    const { memory } = new PvhInfo(load(pvh(), { ramHigh: 5n << 30n }).machine);
    expect(memory.at(-1)).toEqual({ base: 4n << 30n, end: 5n << 30n, type: 1 });
  });

  test("What a part has in memory and not in the file is cleared, in pieces, even where the file was", () => {
    const room = ram - AT - 4096; // over the file and up to the initrd
    const kernel = pvh({ parts: [{ at: AT, bytes: code, room }] });
    const { machine, yields, next } = load(kernel, { initrd: new Uint8Array(4096).fill(9) });
    expect(next).toBe(Next.Resume);
    expect(yields).toBeGreaterThanOrEqual(room / MIB);
    const bytes = machine.ram.bytes;
    expect(bytes.slice(AT, AT + code.length)).toEqual(code);
    expect(bytes.subarray(AT + code.length, AT + room).every((byte) => byte === 0)).toBe(true);
    expect(bytes[ram - 4096]).toBe(9);
  });

  test("Parts go to their physical addresses, in any order, and below 1 MiB too", () => {
    const numbers = new Random(3);
    const many = Array.from({ length: 12 }, (_, i) => ({
      at: (i === 5 ? 0x21000 : AT + ((i * 7) % 12) * 0x10000) + numbers.below(100),
      virtual: 0xc0000000 + i * 0x10000,
      bytes: Uint8Array.from({ length: 1 + numbers.below(0x8000) }, () => numbers.below(256)),
    }));
    const { machine, next } = load(pvh({ parts: many, notes: pvhNote(many[3]!.at) }));
    expect(next).toBe(Next.Resume);
    for (const { at, bytes } of many) expect(machine.ram.bytes.slice(at, at + bytes.length)).toEqual(bytes);
  });

  test.each([
    ["of 8 bytes", pvhNote(AT + 4, 8), 4],
    ["behind others", Buffer.concat([note("GNU", 3, code), note("Xen", 6, code), pvhNote(AT + 4)]), 4],
    ["on 8 bytes", Buffer.concat([note("GNU", 5, code, 8), pvhNote(AT + 4, 4, 8)]), 8],
  ])("The entry point is found in a note %s", (_, notes, align) => {
    expect(load(pvh({ notes, align })).cpu.rip).toBe(BigInt(AT + 4));
  });

  test.each<[string, Uint8Array, LoadError]>([
    ["64-bit file without notes", elf({ parts }), "NO_PVH_ENTRY"],
    ["32-bit file without notes", elf({ bits: 32, parts }), "NO_ENTRY32"],
    ["note of another name", pvh({ notes: note("Xem", 18, Buffer.alloc(4, 1)) }), "NO_PVH_ENTRY"],
    ["note of another type", pvh({ notes: note("Xen", 17, Buffer.alloc(4, 1)) }), "NO_PVH_ENTRY"],
    ["note with a value of 5 bytes", pvh({ notes: note("Xen", 18, Buffer.alloc(5, 1)) }), "NO_PVH_ENTRY"],
    ["note that its segment ends in", pvh({ notes: pvhNote(AT).subarray(0, 18) }), "NO_PVH_ENTRY"],
    ["entry point behind its code", pvh({ notes: pvhNote(AT + 5000) }), "ENTRY_OUTSIDE"],
    ["entry point before its code", pvh({ notes: pvhNote(AT - 1) }), "ENTRY_OUTSIDE"],
    ["file without parts", pvh({ parts: [] }), "ENTRY_OUTSIDE"],
    ["part behind RAM", pvh({ parts: [{ at: ram - 4999, bytes: code }] }), "OUTSIDE_MEMORY"],
    ["part at 4 GiB", pvh({ parts: [{ at: 2 ** 32, bytes: code }] }), "OUTSIDE_MEMORY"],
    ["part that ends at 2^64", pvh({ parts: [...parts, { at: 0, bytes: [] }] }), "OUTSIDE_MEMORY"],
    ["part over the file", pvh({ parts: [{ at: ram - 5000, bytes: code }] }), "MEMORY_TOO_SMALL"],
    ["part over the real-mode vectors", pvh({ parts: [{ at: 0, bytes: code }] }), "MEETS_TABLES"],
    ["part over the command line", pvh({ parts: [{ at: 0x20fff, bytes: code }] }), "MEETS_TABLES"],
    ["part over the ACPI tables", pvh({ parts: [{ at: MIB - 1, bytes: code }] }), "MEETS_TABLES"],
    ["part over another", pvh({ parts: [...parts, { at: AT + 4999, bytes: [1] }] }), "PARTS_OVERLAP"],
    ["part larger in the file", pvh({ parts: [{ at: AT, bytes: code, room: 4999 }] }), "PART_TOO_LARGE"],
  ])("A file with a %s is refused by name", (what, file, error) => {
    if (what.endsWith("2^64")) {
      const second = 64 + 56;
      Buffer.from(file.buffer).writeBigUInt64LE(0xfffffffffffff000n, second + 24);
      Buffer.from(file.buffer).writeBigUInt64LE(0x1000n, second + 40);
    }
    expect(errorOf(file)).toBe(error);
  });

  test("A part over the initrd is refused by name", () => {
    const kernel = pvh({ parts: [{ at: AT, bytes: code, room: ram - AT - 8191 }] });
    expect(errorOf(kernel, { initrd: new Uint8Array(5000) })).toBe("MEETS_INITRD");
    expect(errorOf(kernel)).toBeUndefined();
  });

  test.each([32, 64] as const)("Headers of an ELF%i file that make no sense are refused by name", (bits) => {
    const f = fields[bits];
    const changed = (change: (file: DataView) => void) => {
      const file = pvh({ bits }).slice();
      change(new DataView(file.buffer));
      return errorOf(file);
    };
    expect(changed((file) => file.setUint8(4, 3))).toBe("WRONG_MACHINE");
    expect(changed((file) => file.setUint8(5, 2))).toBe("WRONG_MACHINE");
    expect(changed((file) => file.setUint16(18, 183, true))).toBe("WRONG_MACHINE");
    expect(changed((file) => file.setUint16(16, 1, true))).toBe("NOT_EXECUTABLE");
    expect(changed((file) => file.setUint16(f.phentsize, f.entrySize + 1, true))).toBe("BAD_HEADERS");
    expect(changed((file) => file.setUint16(f.phnum, 257, true))).toBe("TOO_MANY_PARTS");
    expect(changed((file) => file.setUint16(f.phnum, 256, true))).toBe("TRUNCATED");
    expect(changed((file) => file.setUint32(f.phoff, 0xffffffff, true))).toBe("TRUNCATED");
  });

  test.each([32, 64] as const)("An ELF%i file of which something is missing is truncated", (bits) => {
    const file = pvh({ bits });
    for (const length of [4, 5, 51, fields[bits].header - 1, fields[bits].header + 10, file.length - 1])
      expect(errorOf(file.slice(0, length)), `${length} bytes`).toBe("TRUNCATED");
    // Parts first, notes behind them: the notes say that there is something to load.
    const parted = elf({ bits, parts, notes: pvhNote(AT) });
    new DataView(parted.buffer).setUint32(
      fields[bits].header + (bits === 64 ? 32 : 16),
      code.length + 1000,
      true,
    );
    new DataView(parted.buffer).setUint32(
      fields[bits].header + (bits === 64 ? 40 : 20),
      code.length + 1000,
      true,
    );
    expect(errorOf(parted)).toBe("TRUNCATED");
  });

  test("No kernel has more than 32 parts", () => {
    const many = (count: number) =>
      pvh({
        parts: Array.from({ length: count }, (_, i) => ({ at: AT + i * 16, bytes: [i] })),
        notes: pvhNote(AT),
      });
    expect(errorOf(many(32))).toBeUndefined();
    expect(errorOf(many(33))).toBe("TOO_MANY_PARTS");
  });

  test("Thousands of notes take no time", () => {
    const notes = Buffer.alloc(12 * 100_000);
    expect(errorOf(pvh({ notes: Buffer.concat([notes, pvhNote(AT)]) }))).toBe("NO_PVH_ENTRY");
  });
});
