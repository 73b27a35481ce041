/** Booting by Linux's 64-bit protocol (boot.rst, zero-page.rst), with files that keep it and files that do not. */
import { describe, expect, test } from "vitest";
import { BootParams } from "./fake/bootparams.ts";
import { type BzImageOptions, bzImage } from "./fake/bzimage.ts";
import { vendors } from "./fake/cpu.ts";
import { Gpr, Next } from "./fake/exit.ts";
import { loadGuest } from "./fake/load.ts";
import type { FakeMonitor, MonitorOptions } from "./fake/monitor.ts";
import { Random, effort } from "./fake/pc.ts";

describe.each(vendors)("On %s:", (vendor) => {
  const MIB = 1 << 20;
  const GIB4 = 1n << 32n;
  const entry = [0xf4];

  const load = (options: MonitorOptions) => {
    const loaded = loadGuest(vendor, { ram: 16 * MIB, ...options });
    return { ...loaded, params: new BootParams(loaded.machine, loaded.cpu) };
  };
  const errorOf = (kernel: Uint8Array, options: MonitorOptions = {}) => load({ kernel, ...options }).error;

  function random(length: number, seed: number): Uint8Array {
    const numbers = new Random(seed);
    return Uint8Array.from({ length }, () => numbers.below(256));
  }

  /** A kernel whose image is random bytes, and those bytes. */
  function randomKernel(length: number, options: BzImageOptions, seed = 1) {
    const file = bzImage(random(length, seed), options);
    return { file, image: file.slice(((options.setupSectors ?? 1) + 1) * 512) };
  }

  function expectImage(machine: FakeMonitor, at: number, image: Uint8Array): void {
    expect(Buffer.compare(machine.ram.bytes.subarray(at, at + image.length), image)).toBe(0);
  }

  test("The kernel is entered in 64-bit mode at 200h, with flat segments, interrupts off and RSI at the zero page", () => {
    const { cpu, machine, next, params } = load({ kernel: bzImage(entry, { prefAddress: 0x400000n }) });
    expect(next).toBe(Next.Resume);
    expect(cpu.rip).toBe(0x400200n);
    expect(machine.ram.load(0x400200n, 1)).toBe(0xf4n);
    expect(cpu.interruptsOn).toBe(false);
    expect(params.field(0x202, 4)).toBe(0x53726448n);
    // EFER.LMA, CR0.PG, CS.L: 64-bit mode with paging
    expect(cpu.efer & 0x500n).toBe(0x500n);
    expect(cpu.cr0 & 0x80000001n).toBe(0x80000001n);
    expect(cpu.segment(1).rights & 0x6000).toBe(0x2000);
    for (const [n, selector] of [
      [0, 0x18],
      [1, 0x10],
      [2, 0x18],
      [3, 0x18],
    ] as const) {
      const segment = cpu.segment(n);
      expect(segment, `segment ${n}`).toMatchObject({ selector, base: 0n, limit: 0xffffffff });
      expect(segment.rights & 0x60, "DPL").toBe(0);
    }
    expect(cpu.problems).toEqual([]);
  });

  test("Selectors 10h and 18h have the descriptors that the segment registers hold", () => {
    const { cpu, params } = load({ kernel: bzImage(entry) });
    expect(cpu.gdtr.limit).toBeGreaterThanOrEqual(0x1f);
    const cs = params.descriptor(0x10);
    const ds = params.descriptor(0x18);
    expect([cs.base, cs.limit, ds.base, ds.limit]).toEqual([0, 0xffffffff, 0, 0xffffffff]);
    expect(cs.type & 10).toBe(10); // code, readable
    expect(ds.type & 10).toBe(2); // data, writable
    expect(cs.rights).toBe(cpu.segment(1).rights);
    expect(ds.rights).toBe(cpu.segment(2).rights);
  });

  test("The kernel's memory, the zero page, the command line and the stack are mapped to themselves", () => {
    const { cpu, params } = load({ kernel: bzImage(entry, { prefAddress: 0x400000n, initSize: 0x812345 }) });
    const addresses = [params.zeroPage, params.zeroPage + 4095n, params.field(0x228, 4), cpu.rsp - 8n];
    for (let at = 0x400000n; at < 0x400000n + 0x812345n; at += 4096n) addresses.push(at);
    for (const address of addresses) {
      expect(params.translate(address)).toEqual({ address, writable: true, executable: true });
    }
  });

  test.each([0x62, 0x66, 0x6a, 0x7f, 0x8e, 0xff])(
    "Of a header that ends %i behind 202h all is in the zero page, up to the fields behind it, and nothing else",
    (jump) => {
      const kernel = bzImage(entry, { jump });
      // What the loader does not look at is random.
      const from = 0x268;
      kernel.set(random(0x400 - from, 3), from);
      kernel[0x211] = 0x80;
      const { params } = load({ kernel, commandLine: "quiet" });
      // The hole for the header ends where the EDD signatures start (zero-page.rst).
      const end = Math.min(0x202 + jump, 0x290);
      const expected = new Uint8Array(4096);
      expected.set(kernel.subarray(0x1f1, end), 0x1f1);
      const page = params.page;
      // vid_mode, type_of_loader, loadflags, ramdisk_image and _size, cmd_line_ptr: the loader's
      const written: [number, number][] = [
        [0x1fa, 2],
        [0x210, 2],
        [0x218, 8],
        [0x228, 4],
      ];
      // acpi_rsdp_addr, e820_entries, e820_table: not in the header
      for (const [at, length] of [...written, [0x70, 8], [0x1e8, 1], [0x2d0, 20 * 128]] as const) {
        expected.fill(0, at, at + length);
        page.fill(0, at, at + length);
      }
      expect(page).toEqual(expected);
    },
  );

  test("The loader's own fields of the header are those of a loader without a number", () => {
    const { params } = load({
      kernel: bzImage(entry),
      commandLine: "quiet console=ttyS0",
      initrd: random(5000, 4),
    });
    expect(params.field(0x1fa, 2)).toBe(0xffffn); // vid_mode: normal
    expect(params.field(0x210, 1)).toBe(0xffn); // type_of_loader
    expect(params.field(0x211, 1) & 1n).toBe(1n); // loadflags: LOADED_HIGH
    expect(params.commandLine).toBe("quiet console=ttyS0");
    expect(params.field(0x228, 4)).toBeLessThan(0xa0000n);
  });

  test("The initrd stays where it is, and is named", () => {
    const initrd = random(70_001, 5);
    const { machine, params } = load({ kernel: bzImage(entry), initrd });
    const at = Number(params.field(0x218, 4));
    expect(params.field(0x21c, 4)).toBe(70_001n);
    expectImage(machine, at, initrd);
    const without = load({ kernel: bzImage(entry) }).params;
    expect([without.field(0x218, 4), without.field(0x21c, 4)]).toEqual([0n, 0n]);
  });

  test.each([
    ["below 4 GiB", undefined],
    ["on both sides of 4 GiB", GIB4 + BigInt(64 * MIB)],
  ])("The e820 map of RAM %s is sorted, without overlap, and all of RAM", (_, ramHigh) => {
    const ram = 16 * MIB;
    const initrd = random(100, 6);
    const { params, cpu } = load({ kernel: bzImage(entry), initrd, ram, ramHigh });
    const map = params.e820;
    map.forEach(({ base, end }, i) => {
      expect(end).toBeGreaterThan(base);
      if (i > 0) expect(base).toBeGreaterThanOrEqual(map[i - 1]!.end);
    });
    const usable = map.filter((e) => e.type === 1);
    for (const { base, end } of map)
      expect(end <= BigInt(ram) || (base >= GIB4 && end <= (ramHigh ?? GIB4)), "it is RAM").toBe(true);
    const has = (from: bigint, to: bigint) => usable.some((e) => e.base <= from && to <= e.end);
    expect(has(BigInt(MIB), BigInt(ram))).toBe(true);
    if (ramHigh !== undefined) expect(has(GIB4, ramHigh)).toBe(true);
    // What the kernel is given lies in it.
    const cr3 = cpu.cr3;
    for (const at of [params.zeroPage, params.field(0x228, 4), params.field(0x218, 4), cpu.gdtr.base, cr3])
      expect(has(at, at + 4096n) || has(at, at + 100n), at.toString(16)).toBe(true);
  });

  test("The root pointer of ACPI is named, its checksums are right, and it lies where ACPI tables are", () => {
    const { machine, params } = load({ kernel: bzImage(entry) });
    const at = Number(params.field(0x70, 8));
    const rsdp = machine.ram.bytes.subarray(at, at + 36);
    const sum = (length: number) => rsdp.subarray(0, length).reduce((a, b) => a + b, 0) & 0xff;
    expect(Buffer.from(rsdp.subarray(0, 8)).toString()).toBe("RSD PTR ");
    expect([sum(20), sum(36)]).toEqual([0, 0]);
    const region = params.e820.find((e) => e.base <= BigInt(at) && BigInt(at) < e.end);
    expect(region?.type).toBe(3); // reclaimable
  });

  test("A kernel is moved in pieces, upwards and downwards, over its own file", () => {
    const numbers = new Random(7);
    const ram = 8 * MIB;
    const directions = new Set<number>();
    for (let i = 0; i < 12 * Math.ceil(effort / 3); i++) {
      const setupSectors = 1 + numbers.below(5);
      const length = 100_000 + numbers.below(3 * MIB);
      const initrd = numbers.below(2) ? random(numbers.below(9000), i) : undefined;
      const options = { setupSectors, relocatable: false, initSize: 0 };
      const { file, image } = randomKernel(length, options, i);
      // Where the image is in the file that root puts below the initrd, or the end of RAM.
      const end = (ram - (initrd?.length ?? 0)) & ~0xfff;
      const from = ((end - file.length) & ~0xfff) + file.length - image.length;
      const room = end - image.length - from; // the last page's rest: as far up as it can go
      const to = numbers.below(2)
        ? from + Math.min(room, numbers.below(4096))
        : from - 1 - numbers.below(MIB);
      directions.add(Math.sign(to - from));
      new DataView(file.buffer).setBigUint64(0x258, BigInt(to), true);
      const { machine, next, yields, cpu } = load({ ram, kernel: file, initrd });
      expect(next).toBe(Next.Resume);
      expect(cpu.rip).toBe(BigInt(to + 0x200));
      expectImage(machine, to, image);
      if (initrd) expectImage(machine, end, initrd);
      // Root takes the CPU from a monitor that works on one thing for 20 ms: a piece is at most 1 MiB.
      expect(yields).toBeGreaterThanOrEqual(image.length / MIB);
    }
    expect(directions).toContain(1);
    expect(directions).toContain(-1);
  });

  test("A kernel that prefers no address is at the first aligned one above 1 MiB", () => {
    const { cpu, next } = load({ kernel: bzImage(entry, { prefAddress: 0n, alignment: 0x400000 }) });
    expect(next).toBe(Next.Resume);
    expect(cpu.rip).toBe(0x400200n);
  });

  test("A kernel runs at its preferred address or above, never below: there its memory must be free", () => {
    // boot.rst, init_size: a relocatable kernel that is loaded below its preferred address moves itself there.
    const options = { prefAddress: 0x800000n, initSize: 8 * MIB, alignment: 0x200000 };
    expect(errorOf(bzImage(entry, options))).toBeUndefined();
    expect(errorOf(bzImage(entry, { ...options, initSize: 8 * MIB + 1 }))).toBe("MEMORY_TOO_SMALL");
    expect(errorOf(bzImage(entry, options), { initrd: new Uint8Array(1) })).toBe("MEMORY_TOO_SMALL");
    // It aligns itself upwards too.
    const odd = { ...options, prefAddress: 0x7ff000n };
    expect(errorOf(bzImage(entry, odd))).toBeUndefined();
    expect(errorOf(bzImage(entry, { ...odd, initSize: 8 * MIB + 1 }))).toBe("MEMORY_TOO_SMALL");
    expect(errorOf(bzImage(entry, { ...odd, relocatable: false, initSize: 8 * MIB + 4096 }))).toBeUndefined();
  });

  test("A file with less than its header, its setup code or its kernel is truncated", () => {
    const kernel = bzImage(new Uint8Array(2000));
    for (const length of [0, 1, 0x1f0, 0x202, 0x267, 0x268, 0x3ff, 0x400, 0x600, kernel.length - 16])
      expect(errorOf(kernel.slice(0, length)), `${length} bytes`).toBe("TRUNCATED");
    // syssize counts whole paragraphs.
    expect(errorOf(kernel.slice(0, kernel.length - 15))).toBeUndefined();
    // No setup sectors means four.
    kernel[0x1f1] = 0;
    expect(errorOf(kernel)).toBe("TRUNCATED");
  });

  test.each<[string, (file: DataView) => void, string | undefined]>([
    ["without its boot flag", (f) => f.setUint16(0x1fe, 0xaa54, true), "NOT_BZ_IMAGE"],
    ["without HdrS", (f) => f.setUint32(0x202, 0x53726449, true), "UNKNOWN_FORMAT"],
    ["that is to be aligned to 0", (f) => f.setUint32(0x230, 0, true), "NOT_BZ_IMAGE"],
    ["that is to be aligned to no power of two", (f) => f.setUint32(0x230, 0x300000, true), "NOT_BZ_IMAGE"],
    ["that is to be aligned to 2 GiB", (f) => f.setUint32(0x230, 0x80000000, true), "NOT_BZ_IMAGE"],
    ["of protocol 2.11", (f) => f.setUint16(0x206, 0x20b, true), "TOO_OLD"],
    ["of protocol 2.12", (f) => f.setUint16(0x206, 0x20c, true), undefined],
    ["without a 64-bit entry point", (f) => f.setUint16(0x236, 0xfffe, true), "NO64_BIT_ENTRY"],
    ["that prefers an address behind RAM", (f) => f.setBigUint64(0x258, 1n << 24n, true), "MEMORY_TOO_SMALL"],
    [
      "that prefers the last address",
      (f) => f.setBigUint64(0x258, 0xffffffffffffffffn, true),
      "MEMORY_TOO_SMALL",
    ],
    ["that needs 4 GiB", (f) => f.setUint32(0x260, 0xffffffff, true), "MEMORY_TOO_SMALL"],
  ])("A kernel %s is refused by name, or is not", (_, change, error) => {
    const kernel = bzImage(entry);
    change(new DataView(kernel.buffer));
    expect(errorOf(kernel)).toBe(error);
  });

  test("A kernel that is not relocatable needs memory at its own address, which is none below 1 MiB", () => {
    expect(
      errorOf(bzImage(entry, { relocatable: false, alignment: 0, prefAddress: 0x100000n })),
    ).toBeUndefined();
    expect(errorOf(bzImage(entry, { relocatable: false, prefAddress: 0xff000n }))).toBe("MEMORY_TOO_SMALL");
  });

  test("The initrd's last byte may be at initrd_addr_max, unless the kernel can be anywhere", () => {
    const initrd = new Uint8Array(4096);
    const last = 16 * MIB - 1;
    expect(errorOf(bzImage(entry, { initrdMax: last }), { initrd })).toBeUndefined();
    expect(errorOf(bzImage(entry, { initrdMax: last - 1 }), { initrd })).toBe("INITRD_TOO_HIGH");
    expect(errorOf(bzImage(entry, { initrdMax: last - 1 }))).toBeUndefined();
    expect(errorOf(bzImage(entry, { initrdMax: last - 1, xloadflags: 3 }), { initrd })).toBeUndefined();
  });

  test("The command line may be as long as the kernel says, without its terminating zero", () => {
    const kernel = bzImage(entry, { commandLineSize: 10 });
    expect(errorOf(kernel, { commandLine: "0123456789" })).toBeUndefined();
    expect(errorOf(kernel, { commandLine: "0123456789A" })).toBe("COMMAND_LINE_TOO_LONG");
  });

  test("Whatever is in a kernel's header, it is started or refused, and nothing outside of RAM is touched", () => {
    const numbers = new Random(8);
    let started = 0;
    for (let i = 0; i < 150 * Math.ceil(effort / 3); i++) {
      let kernel = bzImage(random(3000, i), { alignment: 0x1000 });
      for (let changes = numbers.below(4); changes > 0; changes--)
        kernel[0x1f1 + numbers.below(0x268 - 0x1f1)] = numbers.pick([
          0,
          1,
          0x7f,
          0x80,
          0xff,
          numbers.below(256),
        ]);
      if (numbers.below(4) === 0) kernel = kernel.slice(0, numbers.below(kernel.length + 1));
      const initrd = numbers.below(2) ? random(numbers.below(5000), i) : undefined;
      const { machine, next, cpu, params } = load({ ram: 4 * MIB, kernel, initrd, commandLine: "quiet" });
      expect(machine.ram.lost).toBe(0);
      if (next === Next.Stop) continue;
      started++;
      expect(next).toBe(Next.Resume);
      expect(cpu.problems).toEqual([]);
      const setup = ((kernel[0x1f1] || 4) + 1) * 512;
      expectImage(machine, Number(cpu.rip) - 0x200, kernel.subarray(setup));
      if (initrd) expectImage(machine, Number(params.field(0x218, 4)), initrd);
      expect(machine.gpr(Gpr.rsi)).toBe(params.zeroPage);
    }
    expect(started).toBeGreaterThan(10);
  });
});
