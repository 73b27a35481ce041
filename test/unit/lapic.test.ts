import { describe, expect, test } from "vitest";
import { Apics, LAPIC } from "./fake/apics.ts";
import { vendors } from "./fake/cpu.ts";
import { Gpr, Next } from "./fake/exit.ts";
import { abi } from "./fake/layout.ts";
import { Field, FakeVtx } from "./fake/vtx.ts";

const INIT = 0x4500n;
const SIPI = 0x4600n;
const to = (n: number, command: bigint) => command | (BigInt(n) << 32n);
const HALT = abi("REQUEST_HALT");

describe.each(vendors)("On %s", (vendor) => {
  const apics = (count: number) => {
    const m = new Apics(count, vendor);
    m.x2All();
    return m;
  };

  test("A local APIC starts as firmware leaves it: enabled, LINT0 for the 8259s, the others as after a reset", () => {
    const m = new Apics(2, vendor);
    expect([m.rdmsr(0, 0x1b), m.rdmsr(1, 0x1b)]).toEqual([0xfee00900n, 0xfee00800n]);
    expect(m.load(0, LAPIC + 0x350)).toBe(0x700);
    expect([m.load(1, LAPIC + 0x20), m.load(1, LAPIC + 0xf0), m.load(1, LAPIC + 0x350)]).toEqual([
      1 << 24,
      0xff,
      0x10000,
    ]);
  });

  test("Its page can be elsewhere, and is nowhere in x2APIC mode", () => {
    const m = new Apics(1, vendor);
    expect(m.wrmsr(0, 0x1b, 0xd0000900n)).toBe(true);
    expect(m.load(0, 0xd0000030)).toBe(0x01050014);
    expect(m.load(0, LAPIC + 0x30)).toBe(0xffffffff);
    m.x2(0);
    expect(m.load(0, LAPIC + 0x30)).toBe(0xffffffff);
    expect(m.rdmsr(0, 0x803)).toBe(0x01050014n);
  });

  test("Bytes of a register are read, and only whole words written", () => {
    const m = new Apics(1, vendor);
    m.store(0, LAPIC + 0x80, 0x35);
    m.store(0, LAPIC + 0x84, 0x77);
    expect([m.load(0, LAPIC + 0x80), m.load(0, LAPIC + 0x84)]).toEqual([0x35, 0]);
    expect(m.load(0, LAPIC + 0x31)).toBe(0x010500);
  });

  test("CPUID says each vCPU's own APIC ID, and that its APIC is disabled", () => {
    const m = new Apics(3, vendor);
    for (const n of [0, 1, 2]) {
      const ask = (leaf: number, subleaf = 0) =>
        m.on(n, (cpu) => {
          cpu.cpuid(leaf, subleaf);
          return [Gpr.rax, Gpr.rbx, Gpr.rcx, Gpr.rdx].map((r) => Number(m.machine.gpr(r)));
        });
      expect(ask(1)[1]! >>> 24).toBe(n);
      expect((ask(1)[1]! >>> 16) & 0xff).toBe(4);
      expect((ask(1)[3]! >>> 28) & 1).toBe(1);
      expect(ask(0xb)).toEqual([0, 1, 0x100, n]);
      expect(ask(0xb, 1)).toEqual([2, 3, 0x201, n]);
      expect(ask(0xb, 2)).toEqual([0, 0, 2, n]);
      m.wrmsr(n, 0x1b, 0xfee00000n);
      expect((ask(1)[3]! >>> 9) & 1).toBe(0);
      m.wrmsr(n, 0x1b, 0xfee00800n);
      expect((ask(1)[3]! >>> 9) & 1).toBe(1);
    }
  });

  test("The timer's interrupt comes when its count is over, and a deadline when the TSC has come so far", () => {
    const m = apics(1);
    const pass = (ticks: bigint) => {
      m.machine.tsc += ticks;
      m.external(0);
    };
    m.wrmsr(0, 0x83e, 0xbn);
    m.wrmsr(0, 0x832, 0x20040n); // periodic
    m.wrmsr(0, 0x838, 1000n);
    expect(m.deadlines[0]).toBe(m.machine.tsc + 1000n);
    pass(999n);
    expect(m.interrupt(0)).toBeUndefined();
    pass(1n);
    expect(m.interrupt(0)).toBe(0x40);
    m.wrmsr(0, 0x80b, 0n);
    pass(25_500n);
    expect(m.interrupt(0)).toBe(0x40); // many are one
    m.wrmsr(0, 0x80b, 0n);
    expect(m.rdmsr(0, 0x839)).toBe(500n);
    m.wrmsr(0, 0x832, 0x40041n);
    const guestTsc = m.rdmsr(0, 0x10)!;
    m.wrmsr(0, 0x6e0, guestTsc + 5000n);
    pass(4999n);
    expect(m.interrupt(0)).toBeUndefined();
    pass(1n);
    expect(m.interrupt(0)).toBe(0x41);
    expect(m.rdmsr(0, 0x6e0)).toBe(0n);
    m.wrmsr(0, 0x80b, 0n);
    // One that has passed, and that nobody has seen to, is not lost by another one.
    const now = m.rdmsr(0, 0x10)!;
    m.wrmsr(0, 0x6e0, now + 1000n);
    m.machine.tsc += 20_000n;
    m.wrmsr(0, 0x6e0, now + 50_000n);
    expect([m.interrupt(0), m.rdmsr(0, 0x6e0)]).toEqual([0x41, now + 50_000n]);
    m.wrmsr(0, 0x80b, 0n);
    // One in the past is due at once.
    m.wrmsr(0, 0x6e0, now);
    expect([m.interrupt(0), m.rdmsr(0, 0x6e0)]).toEqual([0x41, 0n]);
    m.wrmsr(0, 0x80b, 0n);
    // A change of the TSC moves the deadline.
    m.wrmsr(0, 0x6e0, m.rdmsr(0, 0x10)! + 100_000n);
    m.wrmsr(0, 0x10, m.rdmsr(0, 0x10)! + 99_000n);
    expect(m.deadlines[0]).toBe(m.machine.tsc + 1000n);
  });

  test("HLT waits for the timer's deadline", () => {
    const m = apics(1);
    m.wrmsr(0, 0x832, 0x40041n);
    m.wrmsr(0, 0x6e0, m.rdmsr(0, 0x10)! + 5000n);
    const due = m.machine.tsc + 5000n;
    m.on(0, (cpu) => {
      cpu.interruptsOn = true;
      m.machine.ram.put(0x300000, [0xf4]);
      cpu.rip = 0x300000n;
      expect(cpu.hlt()).toBe(Next.Yield);
      expect([m.machine.request, m.machine.wake]).toEqual([HALT, due]);
      m.machine.tsc = due;
      expect(m.machine.enter()).toBe(Next.Resume);
      expect(cpu.takeInjected()?.vector).toBe(0x41);
    });
  });

  test("INIT stops a vCPU until a SIPI starts it in real mode, and its APIC stays in x2APIC mode", () => {
    const m = apics(2);
    m.wrmsr(1, 0x808, 0x50n);
    m.wrmsr(0, 0x830, to(1, INIT));
    const waiting = m.on(1, () => m.machine.enter());
    expect([waiting, m.machine.request, m.machine.wake]).toEqual([Next.Yield, HALT, 2n ** 64n - 1n]);
    // An interrupt does not start it, nor does a second INIT.
    m.wrmsr(0, 0x830, to(1, 0x4040n));
    m.wrmsr(0, 0x830, to(1, INIT));
    expect(m.on(1, () => m.machine.enter())).toBe(Next.Yield);
    m.wrmsr(0, 0x830, to(1, SIPI | 0x9an));
    expect(m.on(1, () => m.machine.enter())).toBe(Next.Resume);
    const cpu = m.cpus[1]!;
    expect(cpu.segment(1)).toMatchObject({ selector: 0x9a00, base: 0x9a000n, limit: 0xffff });
    expect([cpu.rip, cpu.rflags, cpu.cr3, cpu.efer, cpu.cr4]).toEqual([0n, 2n, 0n, 0n, 0n]);
    expect(cpu.cr0 & ~0x60000000n).toBe(0x10n);
    expect(cpu.problems).toEqual([]);
    expect(m.on(1, () => m.machine.gpr(Gpr.rdx))).toBe(0x306d4n);
    expect([m.rdmsr(1, 0x808), m.rdmsr(1, 0x80f), m.rdmsr(1, 0x802), m.rdmsr(1, 0x80d)]).toEqual([
      0n,
      0xffn,
      1n,
      2n,
    ]);
    // One that runs takes no SIPI.
    m.wrmsr(0, 0x830, to(1, SIPI | 0x20n));
    expect(m.on(1, () => m.machine.enter())).toBe(Next.Resume);
    expect(cpu.segment(1).base).toBe(0x9a000n);
  });

  test("INIT and SIPI that come between two looks start the vCPU", () => {
    const m = apics(2);
    m.wrmsr(0, 0x830, to(1, INIT));
    m.wrmsr(0, 0x830, to(1, SIPI | 8n));
    expect(m.external(1)).toBe(Next.Resume);
    expect(m.cpus[1]!.segment(1).base).toBe(0x8000n);
  });

  test("INIT of the first vCPU resets the VM", () => {
    const m = apics(2);
    m.wrmsr(1, 0x830, to(0, INIT));
    expect(m.external(0)).toBe(Next.Stop);
    expect(m.machine.stop.reason).toBe(abi("STOPREASON_RESET"));
  });

  test("An NMI reaches another vCPU, and wakes it", () => {
    const m = apics(2);
    m.wrmsr(0, 0x830, to(1, 0x4400n));
    m.external(1);
    expect(m.nmis[1]).toBe(1);
  });

  test("What TPR holds back comes when CR8 lets it", () => {
    const m = apics(1);
    m.writeCr8(0, 5n);
    m.wrmsr(0, 0x83f, 0x55n);
    expect(m.interrupt(0)).toBeUndefined();
    m.writeCr8(0, 4n);
    expect(m.interrupt(0)).toBe(0x55);
    expect(m.writeCr8(0, 16n)).toBe(false);
  });
});

describe("With VT-x's TPR shadow, where CR8 changes without an exit,", () => {
  const TPR_SHADOW = 4;
  class Shadow extends Apics {
    constructor() {
      super(1);
      const at = abi("VM_INFO") + abi("VMINFO_FEATURES");
      this.machine.memory.setUint32(at, this.machine.memory.getUint32(at, true) | TPR_SHADOW, true);
      this.x2(0);
    }

    /** MOV to CR8: the CPU writes to the virtual-APIC page. */
    set cr8(value: number) {
      this.machine.memory.setUint32(abi("LAPIC_AREA") + 0x80, value << 4, true);
    }

    get threshold(): number {
      return Number((this.cpu as FakeVtx).get(Field.TPR_THRESHOLD));
    }
  }

  test("what it holds back asks for an exit when it falls, and comes then", () => {
    const m = new Shadow();
    m.cr8 = 5;
    m.wrmsr(0, 0x83f, 0x55n);
    expect(m.threshold).toBe(5);
    expect(m.rdmsr(0, 0x80a)).toBe(0x50n);
    m.wrmsr(0, 0x83f, 0x59n);
    expect([m.interrupt(0), m.threshold]).toEqual([undefined, 5]);
    m.cr8 = 3;
    const taken = m.open(0, (cpu) => (cpu as FakeVtx).exit(43));
    expect([taken?.vector, m.threshold]).toEqual([0x59, 0]);
    m.wrmsr(0, 0x80b, 0n);
    expect(m.interrupt(0)).toBe(0x55);
  });

  test("an interrupt that waited for its window goes back when CR8 has risen meanwhile", () => {
    const m = new Shadow();
    m.wrmsr(0, 0x83f, 0x55n);
    expect(m.cpu.interruptWindow).toBe(true);
    m.cr8 = 6;
    expect(m.open(0, (cpu) => cpu.windowOpens())).toBeUndefined();
    expect([m.cpu.interruptWindow, m.threshold]).toEqual([false, 5]);
    m.cr8 = 0;
    expect(m.open(0, (cpu) => (cpu as FakeVtx).exit(43))?.vector).toBe(0x55);
  });
});
