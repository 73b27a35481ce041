/**
 * HLT of a vCPU that has its CPU for itself: the monitor halts that, and what comes is seen to as if it had found the guest running. Elsewhere
 * root does (event.test.ts).
 */
import { describe, expect, test } from "vitest";
import { Apics } from "./fake/apics.ts";
import { type Vendor, vendors } from "./fake/cpu.ts";
import { Next } from "./fake/exit.ts";
import { abi } from "./fake/layout.ts";
import { VirtualApics, feature } from "./fake/virtualapic.ts";

const HALT = abi("REQUEST_HALT");
const TIMER = 0x41;
const CODE = 0x300000;

/** vCPUs in x2APIC mode, each alone on its CPU; counts how often each has halted that. */
class Alone {
  halts = 0;
  /** What happens while the CPU is halted. */
  meanwhile: () => void = () => {};

  constructor(readonly m: Apics) {
    m.x2All();
    m.machine.halting = () => {
      this.halts++;
      this.meanwhile();
    };
  }

  /** HLT. */
  halt(n = 0, interruptsOn = true): Next {
    return this.m.on(n, (cpu) => {
      cpu.interruptsOn = interruptsOn;
      this.m.machine.ram.put(CODE, [0xf4]);
      cpu.rip = BigInt(CODE);
      return cpu.hlt();
    });
  }

  /** The exit stub has found something marked, and calls the monitor as at an external interrupt. */
  wanted(n = 0): Next {
    return this.m.external(n);
  }

  /** What the guest takes then. */
  taken(n = 0): number | undefined {
    return this.m.cpus[n]!.takeInjected()?.vector;
  }

  /** Arms the timer's deadline; TSC ticks from now on. Returns when that is. */
  deadline(ticks: bigint): bigint {
    this.m.wrmsr(0, 0x832, 0x40000n | BigInt(TIMER));
    this.m.wrmsr(0, 0x6e0, this.m.rdmsr(0, 0x10)! + ticks);
    return this.m.machine.tsc + ticks;
  }

  get rested(): bigint {
    return this.m.machine.memory.getBigUint64(abi("VCPU_AREA") + abi("RUNAREA_RESTED"), true);
  }
}

const ipi = (to: number, command: bigint) => command | 0x4000n | (BigInt(to) << 32n);
const NMI = 0x400n;
const INIT = 0x500n;
const SIPI = 0x600n;

describe.each(vendors)("On %s a vCPU that is alone on its CPU", (vendor: Vendor) => {
  const alone = (count = 1) => new Alone(new Apics(count, vendor));

  test("halts it, and its timer's interrupt comes behind the HLT", () => {
    const a = alone();
    const due = a.deadline(5000n);
    a.meanwhile = () => (a.m.machine.tsc = due);
    expect([a.halt(), a.halts, a.rested]).toEqual([Next.Resume, 1, 5000n]);
    expect(a.m.machine.deadline).toBe(due);
    expect([a.wanted(), a.taken(), a.m.cpu.rip]).toEqual([Next.Resume, TIMER, BigInt(CODE) + 1n]);
    expect(a.m.cpu.problems).toEqual([]);
    // It is awake: the next look finds it running.
    expect([a.wanted(), a.halts]).toEqual([Next.Resume, 1]);
    a.m.wrmsr(0, 0x80b, 0n);
    // And halts anew.
    expect([a.halt(), a.halts]).toEqual([Next.Resume, 2]);
  });

  test("goes on halting it when what has come is not for the guest, and sleeps for all of that", () => {
    const a = alone();
    const due = a.deadline(5000n);
    a.meanwhile = () => (a.m.machine.tsc += 1000n);
    a.halt();
    for (let n = 2; n <= 4; n++)
      expect([a.wanted(), a.halts, a.taken()]).toEqual([Next.Resume, n, undefined]);
    expect([a.rested, a.m.machine.deadline]).toEqual([4000n, due]);
    a.m.machine.tsc = due;
    expect([a.wanted(), a.taken(), a.halts]).toEqual([Next.Resume, TIMER, 4]);
  });

  test.each([
    ["is woken by a device's interrupt", 0xfe, 1, 0x20],
    ["is not woken by one that is masked", 0xff, 2, undefined],
  ])("%s", (_, mask, halts, vector) => {
    const a = alone();
    a.m.wrmsr(0, 0x835, 0x700n);
    a.m.on(0, (cpu) => {
      cpu.out(0x20, 0x11);
      for (const value of [0x20, 4, 1, mask]) cpu.out(0x21, value);
      cpu.out(0x43, 0x34);
      for (const half of [0, 0x10]) cpu.out(0x40, half);
    });
    a.meanwhile = () => (a.m.machine.tsc = a.m.machine.deadline);
    expect([a.halt(), a.wanted(), a.halts, a.taken()]).toEqual([Next.Resume, Next.Resume, halts, vector]);
  });

  test("is woken by another vCPU's interrupt and NMI; by the NMI alone with interrupts off", () => {
    for (const [command, interruptsOn, vector] of [
      [0x61n, true, 0x61],
      [NMI, true, 2],
      [NMI, false, 2],
    ] as const) {
      const a = alone(2);
      expect([a.halt(0, interruptsOn), a.halts]).toEqual([Next.Resume, 1]);
      a.m.wrmsr(1, 0x830, ipi(0, command));
      a.m.on(0, (cpu) => (cpu.interruptsOn = true));
      expect([a.wanted(), a.taken()]).toEqual([Next.Resume, vector]);
    }
  });

  test("is given to root with an interrupt that does not wake it, and waits there", () => {
    const a = alone(2);
    a.halt(0, false);
    a.m.wrmsr(1, 0x830, ipi(0, 0x61n));
    expect([a.wanted(), a.m.machine.request]).toEqual([Next.Yield, abi("REQUEST_CONTINUE")]);
    const enter = () => a.m.on(0, () => a.m.machine.enter());
    expect([enter(), a.m.machine.request]).toEqual([Next.Yield, HALT]);
    a.m.wrmsr(1, 0x830, ipi(0, NMI));
    expect(enter()).toBe(Next.Resume);
    expect(a.taken()).toBe(2);
  });

  test("leaves it to root while an interrupt waits that it does not let in", () => {
    const a = alone(2);
    a.m.wrmsr(0, 0x83f, 0x61n);
    expect([a.halt(0, false), a.halts, a.m.machine.request]).toEqual([Next.Yield, 0, HALT]);
  });

  test("takes INIT and SIPI from another one", () => {
    const a = alone(2);
    expect(a.halt(1)).toBe(Next.Resume);
    a.m.wrmsr(0, 0x830, ipi(1, INIT));
    expect([a.wanted(1), a.m.machine.request]).toEqual([Next.Yield, HALT]);
    a.m.wrmsr(0, 0x830, ipi(1, SIPI | 0x9n));
    expect(a.m.on(1, () => a.m.machine.enter())).toBe(Next.Resume);
    expect([a.m.cpus[1]!.rip, a.m.cpus[1]!.segment(1).base]).toEqual([0n, 0x9000n]);
  });

  test("takes no SIPI alone: it halts on", () => {
    const a = alone(2);
    a.halt(1);
    a.m.wrmsr(0, 0x830, ipi(1, SIPI | 0x9n));
    let next = a.wanted(1);
    if (next === Next.Yield) next = a.m.on(1, () => a.m.machine.enter());
    expect([next, a.m.machine.request]).toEqual([Next.Yield, HALT]);
    expect(a.m.cpus[1]!.rip).toBe(BigInt(CODE) + 1n);
  });

  test("waits in root when that has taken the CPU meanwhile, as long as nothing has come", () => {
    const a = alone();
    const due = a.deadline(5000n);
    a.halt();
    expect(a.m.on(0, () => a.m.machine.enter())).toBe(Next.Yield);
    expect([a.m.machine.request, a.m.machine.wake, a.halts]).toEqual([HALT, due, 1]);
    a.m.machine.tsc = due;
    expect(a.m.on(0, () => a.m.machine.enter())).toBe(Next.Resume);
    expect(a.taken()).toBe(TIMER);
  });

  test("leaves the waiting to root while that has what the guest has printed to take", () => {
    const a = alone();
    a.m.on(0, (cpu) => cpu.out(0x3f8, 0x21));
    expect([a.halt(), a.halts, a.m.machine.request]).toEqual([Next.Yield, 0, HALT]);
    expect(a.m.machine.takeOutput()).toBe("!");
    expect([a.halt(), a.halts]).toEqual([Next.Resume, 1]);
    // It prints no more while it halts: what has come since is another vCPU's.
    a.m.on(0, (cpu) => cpu.out(0x3f8, 0x21));
    expect([a.wanted(), a.halts, a.m.machine.request]).toEqual([Next.Yield, 1, HALT]);
  });

  test("leaves it to root where there is a debugger", () => {
    const a = alone();
    const { memory } = a.m.machine;
    memory.setUint32(abi("VCPU_AREA") + abi("RUNAREA_DEBUG"), abi("DEBUGGING_ON"), true);
    expect([a.halt(), a.halts, a.m.machine.request]).toEqual([Next.Yield, 0, HALT]);
  });
});

describe("With virtual-interrupt delivery a vCPU that is alone on its CPU", () => {
  const alone = () => new Alone(new VirtualApics(1, "VT-x", {}, feature.tprShadow | feature.interrupts));

  test("is woken by its timer, whose interrupt the CPU delivers", () => {
    const a = alone();
    const due = a.deadline(5000n);
    a.meanwhile = () => (a.m.machine.tsc = due);
    expect([a.halt(), a.halts]).toEqual([Next.Resume, 1]);
    expect(a.wanted()).toBe(Next.Resume);
    expect((a.m as VirtualApics).virtual(0).deliver()?.vector).toBe(TIMER);
  });

  test("is not woken by what its TPR holds back, and halts on", () => {
    const a = alone();
    a.m.wrmsr(0, 0x808, 0x60n);
    const due = a.deadline(5000n);
    a.meanwhile = () => (a.m.machine.tsc = due);
    a.halt();
    expect([a.wanted(), a.halts]).toEqual([Next.Resume, 2]);
    expect(a.m.on(0, () => a.m.machine.enter())).toBe(Next.Yield);
    expect(a.m.machine.request).toBe(HALT);
  });
});
