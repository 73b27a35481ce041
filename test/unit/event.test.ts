/** Interrupts: when they are delivered, when they wait, and what HLT waits for (SDM Vol. 3A 6.8.1; Vol. 2A, HLT). */
import { describe, expect, test } from "vitest";
import { type GuestCpu, MOV_SS, STI, vendors } from "./fake/cpu.ts";
import { Gpr, Next } from "./fake/exit.ts";
import { type Guest, startGuest } from "./fake/guest.ts";
import { raiseUart, setUpPics } from "./fake/interrupts.ts";
import { abi } from "./fake/layout.ts";
import { Field } from "./fake/vtx.ts";

const IF = 0x202n;
const UART_INTERRUPT = { vector: 0x24, type: 0 };

/** A guest whose UART asks for interrupt 4 while it has interrupts off. */
function guestWithInterrupt<Cpu extends GuestCpu>(guest: Guest<Cpu>): Guest<Cpu> {
  raiseUart(guest.cpu);
  return guest;
}

/** The guest has interrupts on, and exits for that. */
function openWindow(cpu: GuestCpu): Next {
  cpu.rflags = IF;
  return cpu.windowOpens();
}

describe.each(vendors)("On %s:", (vendor) => {
  test("An interrupt that was chosen and not yet entered with is not replaced by another", () => {
    const { machine, cpu } = startGuest({ vendor, tscHz: 1_193_182_000n });
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
    cpu.windowOpens();
    expect(cpu.takeInjected()?.vector).toBe(0x20);
  });

  test("An interrupt waits for the window when the guest has interrupts off", () => {
    const { cpu } = startGuest({ vendor });
    setUpPics(cpu);
    cpu.interruptsOn = false;
    cpu.out(0x3fc, 8);
    cpu.out(0x3f9, 2);
    expect(cpu.injecting).toBe(false);
    expect(cpu.interruptWindow).toBe(true);
    cpu.interruptsOn = true;
    expect(cpu.windowOpens()).toBe(Next.Resume);
    expect(cpu.takeInjected()?.vector).toBe(0x24);
    expect(cpu.interruptWindow).toBe(false);
  });

  test("A window that is not needed any more is dropped when it opens", () => {
    const { cpu } = guestWithInterrupt(startGuest({ vendor }));
    expect(cpu.interruptWindow).toBe(true);
    cpu.out(0x21, 0xff); // masked
    expect(openWindow(cpu)).toBe(Next.Resume);
    expect(cpu.injecting).toBe(false);
    expect(cpu.interruptWindow).toBe(false);
  });

  test("An interrupt whose reason goes away before it is delivered does not come", () => {
    const { cpu } = guestWithInterrupt(startGuest({ vendor }));
    cpu.out(0x3f9, 0);
    openWindow(cpu);
    expect(cpu.injecting).toBe(false);
  });

  test("An instruction that completes behind STI lets the interrupt in", () => {
    const { cpu } = guestWithInterrupt(startGuest({ vendor }));
    cpu.rflags = IF;
    cpu.blocking = STI;
    cpu.cpuid(0);
    expect(cpu.problems).toEqual([]);
    expect(cpu.takeInjected()).toEqual(UART_INTERRUPT);
  });

  test("HLT with interrupts off ends the VM by name", () => {
    const { machine, cpu } = startGuest({ vendor });
    cpu.interruptsOn = false;
    const rip = cpu.rip;
    expect(cpu.hlt()).toBe(Next.Stop);
    expect(machine.stop).toEqual({ reason: abi("STOPREASON_HALTED_FOREVER"), detail: rip + 1n });
  });

  describe("HLT", () => {
    test("with an interrupt that is there already does not wait, and the handler returns behind it", () => {
      const { cpu } = guestWithInterrupt(startGuest({ vendor }));
      const rip = cpu.rip;
      cpu.interruptsOn = true;
      expect(cpu.hlt()).toBe(Next.Resume);
      expect(cpu.problems).toEqual([]);
      expect(cpu.takeInjected()).toEqual(UART_INTERRUPT);
      expect(cpu.rip).toBe(rip + 1n);
    });

    test("waits as long as nothing is due, and is woken by input", () => {
      const { machine, cpu } = startGuest({ vendor });
      setUpPics(cpu);
      cpu.out(0x3fc, 8);
      cpu.out(0x3f9, 1); // received data
      cpu.interruptsOn = true;
      expect(cpu.hlt()).toBe(Next.Yield);
      expect(machine.request).toBe(abi("REQUEST_HALT"));
      expect(machine.wake).toBe(0xffffffffffffffffn);
      expect(machine.enter()).toBe(Next.Yield);
      machine.giveInput("x");
      expect(machine.enter()).toBe(Next.Resume);
      expect(cpu.problems).toEqual([]);
      expect(cpu.takeInjected()).toEqual(UART_INTERRUPT);
      // Woken is woken.
      expect(machine.enter()).toBe(Next.Resume);
    });

    test("is not woken by an interrupt that is masked", () => {
      const { machine, cpu } = guestWithInterrupt(startGuest({ vendor }));
      cpu.out(0x21, 0xff);
      cpu.interruptsOn = true;
      expect(cpu.hlt()).toBe(Next.Yield);
      expect(machine.enter()).toBe(Next.Yield);
    });
  });

  test("HLT waits for the timer that the guest has set", () => {
    const { machine, cpu } = startGuest({ vendor, tscHz: 1_193_182_000n });
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
    const { cpu } = startGuest({ vendor });
    cpu.cr0 = 0x30n;
    cpu.efer = 0n;
    cpu.setSegment(1, { rights: 0x9b });
    cpu.rdmsr(0x1234);
    expect(cpu.takeInjected()).toEqual({ vector: 13, type: 3 });
  });
});

test.each([
  ["STI", STI],
  ["MOV SS", MOV_SS],
])("On VT-x: An interrupt waits where %s blocks, and is asked for as soon as it does not", (_, blocking) => {
  const { machine, cpu } = guestWithInterrupt(startGuest());
  cpu.set(Field.GUEST_RFLAGS, IF);
  machine.setGpr(Gpr.rax, cpu.get(Field.GUEST_CR0) | 0x40000000n);
  // MOV to CR0 is to be executed again: nothing is complete, and blocking goes on.
  cpu.exit(28, { EXIT_LENGTH: 3, QUALIFICATION: 0, INTERRUPTIBILITY: blocking });
  expect(cpu.get(Field.INTERRUPTIBILITY)).toBe(blocking);
  expect(cpu.injecting).toBe(false);
  expect(cpu.interruptWindow).toBe(true);
  cpu.exit(7, { INTERRUPTIBILITY: 0 });
  expect(cpu.problems).toEqual([]);
  expect(cpu.takeInjected()).toEqual(UART_INTERRUPT);
  expect(cpu.interruptWindow).toBe(false);
});
