/**
 * A PC as the software on it sees it: ports, time that passes, interrupts that come. Whose virtual CPU it is does not
 * show.
 */
import { expect } from "vitest";
import { Gpr, Next } from "./exit.ts";
import type { GuestCpu } from "./cpu.ts";
import { type GuestOptions, fakeCpu, startOn } from "./guest.ts";
import type { FakeMonitor } from "./monitor.ts";

/** At this frequency of the TSC a clock of the PIT, or of the RTC, is 1000 ticks. */
export const pitTsc = 1_193_182_000n;
export const rtcTsc = 32_768_000n;

export class Pc {
  readonly machine: FakeMonitor;
  readonly cpu: GuestCpu;
  /** How often root has woken the guest because its deadline had come. */
  wakeUps = 0;

  constructor({ vendor, ...options }: GuestOptions = {}) {
    ({ machine: this.machine, cpu: this.cpu } = startOn(fakeCpu(vendor), { tscHz: pitTsc, ...options }));
    this.cpu.interruptsOn = false;
  }

  /** IN. */
  in(port: number, size = 1): number {
    const next = this.cpu.in(port, size);
    expect([Next.Resume, Next.Yield]).toContain(next);
    return Number(this.machine.gpr(Gpr.rax) & BigInt(2 ** (size * 8) - 1));
  }

  /** OUT. Returns what the monitor says is next. */
  out(port: number, value: number, size = 1): Next {
    return this.cpu.out(port, value, size);
  }

  /** OUT of several bytes, each to its port. */
  outs(...writes: [port: number, value: number][]): void {
    for (const [port, value] of writes) this.out(port, value);
  }

  /**
   * Lets time pass as root does: the monitor runs when its deadline comes, and only then. Having been woken, it must
   * want to be woken later.
   */
  pass(ticks: bigint | number): void {
    const { machine } = this;
    const end = machine.tsc + BigInt(ticks);
    while (machine.deadline <= end) {
      if (machine.tsc < machine.deadline) machine.tsc = machine.deadline;
      machine.enter();
      this.wakeUps++;
      if (machine.deadline <= machine.tsc) throw new Error("the monitor wants to be woken again, now");
    }
    if (machine.tsc < end) machine.tsc = end;
  }

  /** Lets clocks pass: of the PIT, or the RTC, by the frequency that was chosen. */
  clocks(n: number): void {
    this.pass(n * 1000);
  }

  /** Takes an interrupt if there is one: its vector. */
  interrupt(): number | undefined {
    this.cpu.interruptsOn = true;
    this.cpu.cpuid(0);
    const taken = this.cpu.takeInjected();
    this.cpu.interruptsOn = false;
    return taken?.vector;
  }

  /** Initialises both 8259s as PCs do: vectors from 20h and 28h on, all inputs but the cascade masked. */
  initialisePics(icw4 = 1): void {
    this.outs([0x20, 0x11], [0x21, 0x20], [0x21, 4], [0x21, icw4]);
    this.outs([0xa0, 0x11], [0xa1, 0x28], [0xa1, 2], [0xa1, icw4]);
    this.unmask();
  }

  /** Unmasks these inputs, 0 to 15, and masks all others. */
  unmask(...inputs: number[]): void {
    let mask = 0xffff & ~4;
    for (const n of inputs) mask &= ~(1 << n);
    this.outs([0x21, mask & 0xff], [0xa1, mask >> 8]);
  }

  /** Ends an interrupt: the non-specific command, to both if it was the slave's. */
  endOfInterrupt(vector: number): void {
    if (vector >= 0x28) this.out(0xa0, 0x20);
    this.out(0x20, 0x20);
  }

  /** Takes all interrupts that there are, and ends each. */
  interrupts(): number[] {
    const taken: number[] = [];
    for (let vector = this.interrupt(); vector !== undefined; vector = this.interrupt()) {
      taken.push(vector);
      this.endOfInterrupt(vector);
      if (taken.length > 100) throw new Error("interrupts without end");
    }
    return taken;
  }
}

/** Numbers that look random and are the same every time (mulberry32). */
export class Random {
  constructor(private state: number) {}

  /** 0 to limit - 1. */
  below(limit: number): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * limit);
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }
}

/** How much longer a test with random input runs at night. */
export const effort = process.env["NIGHTLY"] ? 50 : 1;
