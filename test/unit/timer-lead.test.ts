/** The host's timer comes earlier than the local APIC's is due, by what its interrupt takes to be seen to: the guest's is on time, and never early. */
import { describe, expect, test } from "vitest";
import { Apics } from "./fake/apics.ts";
import { vendors } from "./fake/cpu.ts";

const VECTOR = 0x41;
const AHEAD = 50_000n;
/** TSC ticks of the fake machine that are 2^-17 s. */
const MOST = 1_000_000_000n >> 17n;

/** A guest whose timer is armed anew each time, on a host that takes `latency` ticks to see to an interrupt. */
class Timed {
  readonly m: Apics;

  constructor(
    vendor: (typeof vendors)[number],
    private readonly mode: "deadline" | "one-shot",
  ) {
    this.m = new Apics(1, vendor);
    this.m.x2(0);
    this.m.wrmsr(0, 0x83e, 0xbn);
    this.m.wrmsr(0, 0x832, BigInt(VECTOR) | (mode === "deadline" ? 0x40000n : 0n));
  }

  /** Ticks from when the timer is due to its interrupt. */
  round(latency: bigint): bigint {
    const { m } = this;
    const due = m.machine.tsc + AHEAD;
    if (this.mode === "deadline") m.wrmsr(0, 0x6e0, m.rdmsr(0, 0x10)! + AHEAD);
    else m.wrmsr(0, 0x838, AHEAD);
    // The host's timer fires at once where its time has passed.
    const armed = m.deadlines[0]!;
    m.machine.tsc = (armed > m.machine.tsc ? armed : m.machine.tsc) + latency;
    expect(m.openExternal(0)?.vector).toBe(VECTOR);
    m.wrmsr(0, 0x80b, 0n);
    return m.machine.tsc - due;
  }

  /** How much earlier the host's timer is set now. */
  get lead(): bigint {
    const { m } = this;
    m.wrmsr(0, 0x832, BigInt(VECTOR) | 0x40000n);
    m.wrmsr(0, 0x6e0, m.rdmsr(0, 0x10)! + AHEAD);
    return m.machine.tsc + AHEAD - m.deadlines[0]!;
  }
}

describe.each(vendors)("On %s", (vendor) => {
  test.each(["deadline", "one-shot"] as const)("a %s timer's interrupt learns to be on time", (mode) => {
    const timed = new Timed(vendor, mode);
    const late = Array.from({ length: 60 }, () => timed.round(1000n));
    expect(late[0]).toBe(1000n);
    for (const [n, ticks] of late.entries()) expect(ticks, `round ${n}`).toBeGreaterThanOrEqual(0n);
    expect(late.at(-1)).toBeLessThan(8n);
    expect(timed.lead).toBeGreaterThan(990n);
  });

  test("it is never early, however the host's time to see to it changes", () => {
    const timed = new Timed(vendor, "deadline");
    for (let n = 0; n < 200; n++) {
      const latency = BigInt((n * 7919) % (n % 50 < 25 ? 300 : 3000));
      expect(timed.round(latency), `round ${n}`).toBeGreaterThanOrEqual(0n);
    }
    for (let n = 0; n < 100; n++) expect(timed.round(0n)).toBeGreaterThanOrEqual(0n);
    expect(timed.lead).toBe(0n);
  });

  test("what has held it up for long is not learnt, and what is learnt has a bound", () => {
    const timed = new Timed(vendor, "deadline");
    expect(timed.round(MOST)).toBe(MOST);
    expect(timed.lead).toBe(0n);
    // The worst that is: as late as it is learnt, beside all that has been learnt.
    for (let n = 0; n < 200; n++) timed.round(timed.lead + MOST - 1n);
    expect(timed.lead).toBe(MOST);
    for (let n = 0; n < 200; n++) timed.round(MOST - 1n);
    expect(timed.lead).toBeGreaterThan(MOST - 10n);
    expect(timed.lead).toBeLessThanOrEqual(MOST);
  });

  test("a device's interrupt is not awaited before its time", () => {
    const timed = new Timed(vendor, "deadline");
    for (let n = 0; n < 60; n++) timed.round(1000n);
    timed.m.wrmsr(0, 0x6e0, 0n);
    timed.m.on(0, (cpu) => {
      cpu.out(0x43, 0x34);
      for (const half of [0, 0x10]) cpu.out(0x40, half);
    });
    const due = timed.m.deadlines[0]!;
    timed.m.machine.tsc = due - 500n;
    timed.m.external(0);
    expect([timed.m.machine.tsc, timed.m.deadlines[0]]).toEqual([due - 500n, due]);
  });
});
