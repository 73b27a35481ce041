import { expect, test } from "vitest";
import { Next } from "./fake/exit.ts";
import { startGuest } from "./fake/guest.ts";
import { Field } from "./fake/vtx.ts";

/** Initialises both 8259s with vectors from 20h on, all inputs unmasked. */
function setUpPics(cpu: ReturnType<typeof startGuest>["cpu"]): void {
  for (const [port, value] of [
    [0x20, 0x11],
    [0x21, 0x20],
    [0x21, 4],
    [0x21, 1],
    [0x21, 0],
    [0xa0, 0x11],
    [0xa1, 0x28],
    [0xa1, 2],
    [0xa1, 1],
    [0xa1, 0],
  ] as const)
    cpu.out(port, value);
}

test("An interrupt that was chosen and not yet entered with is not replaced by another", () => {
  const { machine, cpu } = startGuest({ tscHz: 1_193_182_000n });
  setUpPics(cpu);
  cpu.out(0x43, 0x30);
  cpu.out(0x40, 0x00);
  cpu.out(0x40, 0x10);
  cpu.interruptsOn = true;
  cpu.out(0x3fc, 8); // OUT2
  cpu.out(0x3f9, 2); // THR empty: the UART's line goes up
  expect(cpu.injecting).toBe(true);
  // Root takes the CPU before the entry; meanwhile the timer, of higher priority, comes due.
  machine.tsc += 10_000_000n;
  expect(machine.enter()).toBe(Next.Resume);
  expect(cpu.takeInjected()?.vector).toBe(0x24);
  expect(cpu.interruptWindow).toBe(true);
  cpu.exit(7);
  expect(cpu.takeInjected()?.vector).toBe(0x20);
});

test("An interrupt waits for the window when the guest has interrupts off", () => {
  const { cpu } = startGuest();
  setUpPics(cpu);
  cpu.interruptsOn = false;
  cpu.out(0x3fc, 8);
  cpu.out(0x3f9, 2);
  expect(cpu.injecting).toBe(false);
  expect(cpu.interruptWindow).toBe(true);
  cpu.interruptsOn = true;
  expect(cpu.exit(7)).toBe(Next.Resume);
  expect(cpu.takeInjected()?.vector).toBe(0x24);
  expect(cpu.interruptWindow).toBe(false);
});

test("HLT with interrupts off ends the VM by name", () => {
  const { machine, cpu } = startGuest();
  cpu.interruptsOn = false;
  expect(cpu.hlt()).toBe(Next.Stop);
  expect(machine.stop.reason).toBe(4);
});

test("HLT waits for the timer that the guest has set", () => {
  const { machine, cpu } = startGuest({ tscHz: 1_193_182_000n });
  setUpPics(cpu);
  cpu.interruptsOn = true;
  cpu.out(0x43, 0x34);
  cpu.out(0x40, 0x00);
  cpu.out(0x40, 0x10); // 4096 clocks
  expect(cpu.hlt()).toBe(Next.Yield);
  const left = machine.wake - machine.tsc;
  expect(left).toBeGreaterThan(4_000_000n);
  expect(left).toBeLessThanOrEqual(4_098_000n);
  machine.tsc = machine.wake;
  expect(machine.enter()).toBe(Next.Resume);
  expect(cpu.takeInjected()?.vector).toBe(0x20);
});

test("An exception in real mode is injected without an error code", () => {
  const { cpu } = startGuest();
  cpu.set(Field.GUEST_CR0, 0x30);
  cpu.rdmsr(0x1234);
  expect(cpu.takeInjected()).toEqual({ vector: 13, type: 3 });
});
