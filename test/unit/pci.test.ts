import { beforeAll, describe, expect, test } from "vitest";
import { findTables } from "./fake/acpi.ts";
import { vendors } from "./fake/cpu.ts";
import { Gpr, Next } from "./fake/exit.ts";
import { execute, read, write } from "./fake/mmio.ts";
import { Pc, Random } from "./fake/pc.ts";
import { BarModule } from "./fake/pcibar.ts";
import { assemble } from "./oracle/nasm.ts";

const HOST = 0;
const ISA = 0x1f << 3;

describe.each(vendors)("On %s:", (vendor) => {
  class Machine extends Pc {
    readonly ecam: number;

    constructor() {
      super({ vendor });
      const mcfg = findTables(this.machine.ram).get("MCFG")!;
      expect([mcfg.length, mcfg.revision]).toEqual([60, 1]);
      this.ecam = Number(mcfg.view.getBigUint64(44, true));
      expect([52, 53, 54, 55].map((at) => mcfg.view.getUint8(at))).toEqual([0, 0, 0, 255]);
    }

    private select(devfn: number, offset: number, bus = 0): number {
      this.out(0xcf8, (0x80000000 | (bus << 16) | (devfn << 8) | (offset & 0xfc)) >>> 0, 4);
      return 0xcfc + (offset & 3);
    }
    get(devfn: number, offset: number, size = 4, bus = 0): number {
      return this.in(this.select(devfn, offset, bus), size) >>> 0;
    }
    set(devfn: number, offset: number, value: number, size = 4): void {
      expect(this.out(this.select(devfn, offset), value, size)).toBe(Next.Resume);
    }
    at(devfn: number, offset: number, bus = 0): number {
      return this.ecam + (bus << 20) + (devfn << 12) + offset;
    }
  }

  test("Bus 0 has a host bridge and an ISA bridge, by what Linux and firmware look at, and nothing else", () => {
    const pc = new Machine();
    const there: number[] = [];
    for (let devfn = 0; devfn < 256; devfn++) {
      if (pc.get(devfn, 0) !== 0xffffffff) there.push(devfn);
      else for (const offset of [4, 0x0e, 0x3c, 0xfc]) expect(pc.get(devfn, offset & 0xfc)).toBe(0xffffffff);
    }
    expect(there).toEqual([HOST, ISA]);
    expect([pc.get(HOST, 0), pc.get(ISA, 0)]).toEqual([0x29c08086, 0x29188086]);
    // Class, and header type: no bridge's header, one function.
    expect([pc.get(HOST, 0x0a, 2), pc.get(ISA, 0x0a, 2)]).toEqual([0x0600, 0x0601]);
    expect([pc.get(HOST, 0x0e, 1), pc.get(ISA, 0x0e, 1)]).toEqual([0, 0]);
    for (const bus of [1, 2, 255]) expect(pc.get(HOST, 0, 4, bus)).toBe(0xffffffff);
    // Where memory has configuration space (PCIEXBAR: on, 256 MiB), and the ISA bridge's ACPI ports.
    expect([pc.get(HOST, 0x60), pc.get(HOST, 0x64)]).toEqual([pc.ecam + 1, 0]);
    expect([pc.get(ISA, 0x40), pc.get(ISA, 0x44, 1)]).toEqual([0x601, 0x80]);
  });

  test("Both ways to configuration space, and every width and offset of each, show the same bytes", () => {
    const pc = new Machine();
    const random = new Random(3);
    for (let i = 0; i < 2000; i++) {
      const devfn = random.pick([HOST, ISA, ISA, 8, random.below(256)]);
      const bus = random.below(8) ? 0 : random.below(256);
      const byte = (offset: number) => BigInt(pc.get(devfn, offset, 1, bus));
      const wide = random.pick([1, 2, 4, 8] as const);
      const offset = random.below(257 - wide);
      let should = 0n;
      for (let n = 0; n < wide; n++) should |= byte(offset + n) << BigInt(n * 8);
      expect(read(pc, pc.at(devfn, offset, bus), wide)).toBe(should);
      const within = offset & ~3;
      const [start, size] = random.pick([
        [0, 4],
        [0, 2],
        [1, 2],
        [2, 2],
        [3, 1],
      ] as const);
      let part = 0;
      for (let n = size - 1; n >= 0; n--) part = part * 256 + Number(byte(within + start + n));
      expect(pc.get(devfn, within + start, size, bus)).toBe(part);
    }
    expect(pc.machine.refusals("UNCLAIMED_MEMORY")).toBe(0n);
    expect(pc.machine.refusals("UNCLAIMED_PORT")).toBe(0n);
  });

  test("An access past the data ports is part PCI's and part nobody's", () => {
    const pc = new Machine();
    expect(pc.get(HOST, 3, 4)).toBe(0xffffff29);
    expect(pc.machine.refusals("UNCLAIMED_PORT")).toBe(3n);
  });

  test("Only what may be written changes, by either way and any width", () => {
    for (const devfn of [HOST, ISA]) {
      const pc = new Machine();
      const bytes = () => Array.from({ length: 256 }, (_, n) => pc.get(devfn, n, 1));
      const before = bytes();
      const random = new Random(devfn + 1);
      for (let i = 0; i < 1500; i++) {
        const size = random.pick([1, 2, 4] as const);
        const offset = random.below(257 - size);
        if (random.below(2)) pc.set(devfn, offset & ~(size - 1), random.below(2 ** (size * 8)), size);
        else write(pc, pc.at(devfn, offset), size, random.below(2 ** (size * 8)));
      }
      const after = bytes();
      const changed = [...before.keys()].filter((n) => before[n] !== after[n]);
      const writable = devfn === ISA ? [0x60, 0x61, 0x62, 0x63, 0x68, 0x69, 0x6a, 0x6b] : [];
      expect(writable).toEqual(expect.arrayContaining(changed));
      // The routes of PIRQA to PIRQH: reserved bits read 0.
      if (devfn === ISA) expect(changed.length).toBeGreaterThan(4);
      for (const n of writable) expect(after[n]! & 0x70).toBe(0);
    }
  });

  test("Nothing is behind the first 256 bytes of a function, nor of one that is not there", () => {
    const pc = new Machine();
    for (const devfn of [HOST, ISA, 0x10]) {
      for (const offset of [0x100, 0x104, 0x7fc, 0xffc]) {
        write(pc, pc.at(devfn, offset), 4, 0);
        expect(read(pc, pc.at(devfn, offset), 4)).toBe(0xffffffffn);
      }
    }
    write(pc, pc.at(0x10, 0), 4, 0x12345678);
    expect(read(pc, pc.at(0x10, 0), 4)).toBe(0xffffffffn);
    expect(read(pc, pc.at(HOST, 0xfe), 4)).toBe(0xffff0000n);
  });

  test("Without the enable bit the data ports are nobody's data", () => {
    const pc = new Machine();
    pc.out(0xcf8, 0, 4);
    expect(pc.in(0xcfc, 4) >>> 0).toBe(0xffffffff);
    pc.out(0xcf8, ((ISA << 8) | 0x60) >>> 0, 4);
    pc.out(0xcfc, 0, 4);
    expect(pc.get(ISA, 0x60)).toBe(0x0b0a0b0a);
  });

  test("Registers are compared, tested and moved by what drivers use", () => {
    const pc = new Machine();
    const [zx8, sx16, cmp, test_, rep, push] = assemble(64, [
      "movzx eax, byte [rbx]",
      "movsx eax, word [rbx]",
      "cmp word [rbx], 0x8086",
      "test byte [rbx], 0x80",
      "rep movsd",
      "push qword [rbx]",
    ]);
    execute(pc, zx8!, pc.at(HOST, 0));
    expect(pc.machine.gpr(Gpr.rax)).toBe(0x86n);
    execute(pc, sx16!, pc.at(HOST, 0));
    expect(pc.machine.gpr(Gpr.rax)).toBe(0xffff8086n);
    execute(pc, cmp!, pc.at(HOST, 0));
    expect(pc.cpu.rflags & 0x40n).toBe(0x40n);
    execute(pc, test_!, pc.at(HOST, 0));
    expect(pc.cpu.rflags & 0x40n).toBe(0n);
    pc.machine.setGpr(Gpr.rcx, 4);
    pc.machine.setGpr(Gpr.rsi, pc.at(HOST, 0));
    pc.machine.setGpr(Gpr.rdi, 0x910000);
    execute(pc, rep!, pc.at(HOST, 0));
    expect(pc.machine.ram.load(0x910000n, 8)).toBe(0x0000000629c08086n);
    expect([pc.machine.gpr(Gpr.rcx), pc.machine.gpr(Gpr.rdi)]).toEqual([0n, 0x910010n]);
    pc.cpu.rsp = 0x920000n;
    execute(pc, push!, pc.at(HOST, 0x08));
    expect(pc.machine.ram.load(0x91fff8n, 8)).toBe(0x06000002n);
  });
});

/** No function of this PC has base address registers yet: they are tested as a module of their own. */
describe("Base address registers", () => {
  const IO = 1;
  const WIDE = 4;
  const PREFETCHABLE = 8;
  let bars: BarModule;

  beforeAll(async () => {
    bars = await BarModule.compile();
  }, 60_000);

  test.each([
    [0, 16, 0xfffffff0],
    [0, 4096, 0xfffff000],
    [PREFETCHABLE, 2 ** 31, 0x80000008],
    [IO, 4, 0xfffffffd],
    [IO, 256, 0xffffff01],
  ])("of kind %i and %i bytes say their size to who writes all ones", (kind, size, answer) => {
    bars.reset();
    bars.add(2, kind, BigInt(size));
    bars.write(0x18, 4, 0xffffffff);
    expect(bars.read(0x18, 4)).toBe(answer);
    expect([0x10, 0x14, 0x1c].map((at) => bars.read(at, 4))).toEqual([0, 0, 0]);
    expect(bars.size(2)).toBe(BigInt(size));
    bars.write(0x18, 4, 0);
    expect(bars.read(0x18, 4)).toBe(kind);
  });

  test("of 64 bits take two registers, and say sizes above 4 GiB", () => {
    bars.reset();
    bars.add(0, WIDE | PREFETCHABLE, 1n << 34n);
    bars.write(0x10, 4, 0xffffffff);
    bars.write(0x14, 4, 0xffffffff);
    expect([bars.read(0x10, 4), bars.read(0x14, 4)]).toEqual([0x0000000c, 0xfffffffc]);
    expect([bars.size(0), bars.size(1)]).toEqual([1n << 34n, 0n]);
    bars.write(4, 2, 2);
    bars.write(0x14, 4, 0x14);
    bars.write(0x10, 4, 0);
    expect(bars.at(false, 0x1400000000n, 8)).toBe(0);
    expect(bars.at(false, 0x17fffffff8n, 8)).toBe(0);
    expect(bars.at(false, 0x17fffffffcn, 8)).toBe(-1);
    expect(bars.offset(0, false, 0x1400001234n)).toBe(0x1234);
  });

  test("answer only while the command register lets them, each to its own space, and all of an access", () => {
    bars.reset();
    bars.add(0, IO, 32n);
    bars.add(1, 0, 4096n);
    bars.write(0x10, 4, 0xc001);
    bars.write(0x14, 4, 0xc0000000);
    const seen = () => [bars.at(true, 0xc000n, 1), bars.at(false, 0xc0000000n, 1)];
    expect(seen()).toEqual([-1, -1]);
    bars.write(4, 2, 1);
    expect(seen()).toEqual([0, -1]);
    bars.write(4, 2, 3);
    expect(seen()).toEqual([0, 1]);
    expect(bars.at(false, 0xc000n, 1)).toBe(-1);
    expect([bars.at(true, 0xc01cn, 4), bars.at(true, 0xc01dn, 4), bars.at(true, 0xbfffn, 1)]).toEqual([
      0, -1, -1,
    ]);
    expect(bars.offset(0, true, 0xc01cn)).toBe(0x1c);
  });

  test("keep their kind, and are written by bytes too", () => {
    bars.reset();
    bars.add(3, 0, 1n << 16n);
    for (const [at, value] of [0xff, 0xff, 0x34, 0x12].entries()) bars.write(0x1c + at, 1, value);
    expect(bars.read(0x1c, 4)).toBe(0x12340000);
  });

  test("There is room for 16 functions, and a status bit is cleared by writing 1 to it", () => {
    bars.reset();
    bars.setStatus(0xf910);
    bars.write(6, 2, 0x8100);
    expect(bars.read(6, 2)).toBe(0x7810);
    bars.write(4, 4, 0xffffffff);
    expect(bars.read(4, 4)).toBe(0x00100547);
  });
});
