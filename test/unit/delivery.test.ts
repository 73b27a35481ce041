/**
 * Events whose delivery an exit has interrupted (SDM Vol. 3C 28.2.4, Information for VM Exits During Event Delivery): they
 * are delivered again, or combined with what happened then.
 */
import { describe, expect, test } from "vitest";
import { CodeGuest, UNCLAIMED } from "./fake/code.ts";
import {
  EventType as Type,
  type GuestCpu,
  type Injected,
  MOV_SS,
  STI,
  type Violation,
  vendors,
} from "./fake/cpu.ts";
import { Next } from "./fake/exit.ts";
import { raiseUart } from "./fake/interrupts.ts";
import { abi } from "./fake/layout.ts";
import { P, RW } from "./fake/paging.ts";
import { Field, type FakeVtx } from "./fake/vtx.ts";

const VALID = 0x80000000;
const HAS_ERROR = 0x800;
const STACK = 0x600000n;
const LOST = 0x40000000n;
const BLOCKED = 8n;
const IF = 0x200n;

const NMI = { type: Type.Nmi, vector: 2 };
const INTERRUPT = { type: Type.Interrupt, vector: 0x31 };

/** A guest with interrupts on, whose stack has not been accessed yet, and with a page table that is in no RAM. */
function guestOf<Cpu extends GuestCpu>(guest: CodeGuest<Cpu>): CodeGuest<Cpu> {
  guest.tables!.map(STACK, STACK);
  guest.tables!.set(LOST, UNCLAIMED | P | RW, 1);
  guest.put([0x90]);
  guest.flags = IF;
  return guest;
}

const vtxGuest = () => guestOf(new CodeGuest<FakeVtx>());

/** A delivery ends blocking by STI and MOV SS, and that of an NMI blocks NMIs, before its exit (28.1). */
function begin(guest: CodeGuest, event: Injected): void {
  guest.cpu.blocking = event.type === Type.Nmi ? BLOCKED : 0n;
}

/** The exit while `event` is delivered, as the CPU reports it. */
function violation(guest: CodeGuest, event: Injected, rest: Violation): Next {
  begin(guest, event);
  return guest.cpu.violation(UNCLAIMED, { event, ...rest });
}

/** Another CPU has just changed the page table: nothing is wrong, and the event is delivered again. */
function interrupt(guest: CodeGuest, event: Injected): void {
  guest.machine.races = 1;
  guest.cpu.idtr = { base: STACK, limit: 0xfff };
  expect(violation(guest, event, { linear: STACK, write: true, walk: true })).toBe(Next.Resume);
}

/** The delivery meets a page table in no RAM, which reads all ones: a page fault, for the event's gate. */
function pageFault(guest: CodeGuest, event: Injected): Next {
  guest.cpu.idtr = { base: LOST - BigInt(event.vector * 16), limit: 0xfff };
  return violation(guest, event, { linear: LOST, walk: true });
}

/** The delivery ends in #DB or #AC, which exit. */
function exception(guest: CodeGuest, event: Injected, vector: number): Next {
  begin(guest, event);
  return guest.cpu.exception(vector, event);
}

const PF = { type: Type.Exception, vector: 14, error: 9 }; // present, reserved bit
const AC = { type: Type.Exception, vector: 17, error: 0 };
const DB = { type: Type.Exception, vector: 1 };
const DF = { type: Type.Exception, vector: 8, error: 0 };

/** The event whose delivery was interrupted is delivered again, once. */
function deliveredAgain(guest: CodeGuest, event: Injected): void {
  const rip = guest.cpu.rip;
  interrupt(guest, event);
  expect(guest.cpu.problems).toEqual([]);
  expect(guest.cpu.takeInjected()).toEqual(event);
  expect(guest.cpu.rip).toBe(rip);
  // Once.
  guest.cpu.cpuid(0);
  expect(guest.cpu.injecting).toBe(false);
}

/** SDM Vol. 3A tables 6-4 and 6-5. */
const classOf = (vector: number) =>
  vector === 14 ? "page fault" : [0, 10, 11, 12, 13].includes(vector) ? "contributory" : "benign";
const hasError = (vector: number) => [8, 10, 11, 12, 13, 14, 17].includes(vector);

describe.each(vendors)("On %s:", (vendor) => {
  const start = () => guestOf(new CodeGuest({ vendor }));

  describe("An event whose delivery was interrupted is delivered again", () => {
    const events: [name: string, event: Injected][] = [
      ["an external interrupt", INTERRUPT],
      ["an NMI", NMI],
      ["#UD", { type: Type.Exception, vector: 6 }],
      ["#GP with its error code", { type: Type.Exception, vector: 13, error: 0x1f2 }],
      ["#PF with its error code", { type: Type.Exception, vector: 14, error: 0x8017 }],
    ];
    test.each(events)("%s", (_, event) => deliveredAgain(start(), event));

    test("again and again, until it is through", () => {
      const guest = start();
      for (let i = 0; i < 5; i++) {
        interrupt(guest, NMI);
        expect(guest.cpu.takeInjected()).toEqual(NMI);
      }
    });

    test("before an interrupt that has come meanwhile, which waits for its window", () => {
      const guest = start();
      raiseUart(guest.cpu);
      guest.cpu.interruptsOn = true;
      interrupt(guest, INTERRUPT);
      expect(guest.cpu.takeInjected()).toEqual(INTERRUPT);
      expect(guest.cpu.interruptWindow).toBe(true);
      guest.cpu.windowOpens();
      expect(guest.cpu.takeInjected()).toEqual({ type: 0, vector: 0x24 });
    });
  });

  describe("A second exception in the delivery of a first", () => {
    for (const second of [PF, AC, DB]) {
      for (let vector = 0; vector < 20; vector++) {
        if ([2, 9, 15].includes(vector)) continue;
        const first: Injected = { type: Type.Exception, vector };
        if (hasError(vector)) first.error = vector === 8 || vector === 17 ? 0 : 5;
        const fault = classOf(second.vector) !== "benign";
        const shutdown = vector === 8 && fault;
        const double =
          fault && (classOf(vector) === "page fault" || classOf(vector) === classOf(second.vector));
        const result = shutdown
          ? "a shutdown"
          : double
            ? "a double fault"
            : "delivered, and the first comes again";
        test(`vector ${second.vector} after vector ${vector}: ${result}`, () => {
          const guest = start();
          const next = second === PF ? pageFault(guest, first) : exception(guest, first, second.vector);
          if (shutdown) {
            expect(next).toBe(Next.Stop);
            expect(guest.machine.stop).toEqual({
              reason: abi("STOPREASON_TRIPLE_FAULT"),
              detail: guest.cpu.rip,
            });
            return;
          }
          expect(next).toBe(Next.Resume);
          expect(guest.cpu.problems).toEqual([]);
          expect(guest.cpu.takeInjected()).toEqual(double ? DF : second);
          if (second === PF) expect(guest.cpu.cr2).toBe(LOST);
          // The first one does not come by itself: its instruction is executed again.
          guest.cpu.cpuid(0);
          expect(guest.cpu.injecting).toBe(false);
        });
      }
    }

    test("in real mode has no error code", () => {
      const guest = new CodeGuest({ vendor, size: 16 });
      guest.cpu.cr0 = 0x30n;
      exception(guest, { type: Type.SoftwareInterrupt, vector: 0x10, length: 2 }, 17);
      expect(guest.cpu.takeInjected()).toEqual({ type: Type.Exception, vector: 17 });
    });
  });

  describe("An interrupt whose delivery ended in an exception", () => {
    test("comes after the exception, once and without asking the interrupt controller again", () => {
      const guest = start();
      const { cpu } = guest;
      raiseUart(guest.cpu);
      guest.cpu.interruptsOn = true;
      expect(pageFault(guest, INTERRUPT)).toBe(Next.Resume);
      expect(cpu.takeInjected()).toEqual(PF);
      expect(cpu.interruptWindow).toBe(true);
      // The handler has interrupts off until it returns.
      cpu.interruptsOn = false;
      cpu.cpuid(0);
      expect(cpu.injecting).toBe(false);
      cpu.interruptsOn = true;
      cpu.windowOpens();
      expect(cpu.takeInjected()).toEqual(INTERRUPT);
      expect(cpu.interruptWindow).toBe(true);
      cpu.windowOpens();
      expect(cpu.takeInjected()).toEqual({ type: 0, vector: 0x24 });
      expect(cpu.interruptWindow).toBe(false);
      cpu.cpuid(0);
      expect(cpu.injecting).toBe(false);
    });

    test("is held again if that happens again", () => {
      const guest = start();
      pageFault(guest, INTERRUPT);
      guest.cpu.takeInjected();
      guest.cpu.windowOpens();
      expect(guest.cpu.takeInjected()).toEqual(INTERRUPT);
      pageFault(guest, INTERRUPT);
      expect(guest.cpu.takeInjected()).toEqual(PF);
      guest.cpu.windowOpens();
      expect(guest.cpu.takeInjected()).toEqual(INTERRUPT);
    });

    test("is not lost when root has the CPU in between", () => {
      const guest = start();
      pageFault(guest, INTERRUPT);
      expect(guest.machine.enter()).toBe(Next.Resume);
      expect(guest.cpu.takeInjected()).toEqual(PF);
      guest.cpu.interruptsOn = false;
      expect(guest.machine.enter()).toBe(Next.Resume);
      expect(guest.cpu.injecting).toBe(false);
      guest.cpu.interruptsOn = true;
      expect(guest.machine.enter()).toBe(Next.Resume);
      expect(guest.cpu.takeInjected()).toEqual(INTERRUPT);
    });
  });
});

/** AMD-V says such an event comes again by itself (APM Vol. 2 15.20): svm-event.test.ts. */
describe("On VT-x: An instruction's own event", () => {
  test.each<[name: string, event: Injected]>([
    ["INT n with its length", { type: Type.SoftwareInterrupt, vector: 0x80, length: 2 }],
    ["INT n with prefixes", { type: Type.SoftwareInterrupt, vector: 0x21, length: 5 }],
    ["INT1 with its length", { type: Type.PrivilegedException, vector: 1, length: 1 }],
    ["INT3 with its length", { type: Type.SoftwareException, vector: 3, length: 1 }],
    ["INTO with its length", { type: Type.SoftwareException, vector: 4, length: 1 }],
  ])("is delivered again: %s", (_, event) => deliveredAgain(vtxGuest(), event));

  test("is delivered when the first was INT n, INT1, INT3 or INTO, at whose instruction the guest goes on", () => {
    for (const type of [Type.SoftwareInterrupt, Type.PrivilegedException, Type.SoftwareException]) {
      // Vector 14: that of an exception, of a class that would make a double fault.
      const guest = vtxGuest();
      const rip = guest.cpu.rip;
      expect(pageFault(guest, { type, vector: 14, length: 2 })).toBe(Next.Resume);
      expect(guest.cpu.takeInjected()).toEqual(PF);
      expect(guest.cpu.rip).toBe(rip);
      guest.cpu.cpuid(0);
      expect(guest.cpu.injecting).toBe(false);
    }
  });

  test("bit 12 of the vectoring information, which is undefined, does not matter", () => {
    const guest = vtxGuest();
    guest.machine.races = 1;
    const fields = { VECTORING: VALID + 0x1000 + 0x306, GUEST_LINEAR: STACK, QUALIFICATION: 0x82 };
    guest.cpu.exit(48, { ...fields, GUEST_PHYSICAL: UNCLAIMED });
    expect(guest.cpu.problems).toEqual([]);
    expect(guest.cpu.takeInjected()).toEqual({ type: Type.Exception, vector: 6 });
  });
});

describe("On VT-x: An NMI whose delivery ended in an exception", () => {
  /** The NMI waits, NMIs are blocked, and the handler of a page fault runs. */
  function waiting(): CodeGuest<FakeVtx> {
    const guest = vtxGuest();
    expect(pageFault(guest, NMI)).toBe(Next.Resume);
    expect(guest.cpu.problems).toEqual([]);
    expect(guest.cpu.takeInjected()).toEqual(PF);
    return guest;
  }

  test("comes when IRET has unblocked NMIs", () => {
    const { cpu } = waiting();
    expect(cpu.nmiWindow).toBe(true);
    cpu.cpuid(0);
    expect(cpu.injecting).toBe(false);
    expect(cpu.nmiWindow).toBe(true);
    cpu.exit(8, { INTERRUPTIBILITY: 0 });
    expect(cpu.problems).toEqual([]);
    expect(cpu.takeInjected()).toEqual(NMI);
    expect(cpu.nmiWindow).toBe(false);
    cpu.exit(10, { EXIT_LENGTH: 2, INTERRUPTIBILITY: BLOCKED });
    expect(cpu.injecting).toBe(false);
  });

  test("comes before an interrupt, whatever RFLAGS.IF", () => {
    const guest = waiting();
    raiseUart(guest.cpu);
    guest.cpu.interruptsOn = true;
    guest.cpu.exit(8, { INTERRUPTIBILITY: 0 });
    expect(guest.cpu.takeInjected()).toEqual(NMI);
    expect(guest.cpu.interruptWindow).toBe(true);
    guest.cpu.exit(7, { INTERRUPTIBILITY: BLOCKED });
    expect(guest.cpu.takeInjected()).toEqual({ type: 0, vector: 0x24 });
    const other = waiting();
    other.cpu.interruptsOn = false;
    other.cpu.exit(8, { INTERRUPTIBILITY: 0 });
    expect(other.cpu.takeInjected()).toEqual(NMI);
  });

  /** An exit that completes no instruction, with NMIs unblocked. */
  function lookAgain(guest: CodeGuest<FakeVtx>, blocking: bigint): void {
    guest.machine.races = 1;
    guest.tables!.set(STACK, STACK | P | RW);
    guest.cpu.set(Field.INTERRUPTIBILITY, blocking);
    guest.access([0x90], { linear: STACK, write: true, walk: true });
  }

  test("waits where MOV SS blocks", () => {
    const guest = waiting();
    lookAgain(guest, MOV_SS);
    expect(guest.cpu.injecting).toBe(false);
    expect(guest.cpu.nmiWindow).toBe(true);
    guest.cpu.exit(8, { INTERRUPTIBILITY: 0 });
    expect(guest.cpu.takeInjected()).toEqual(NMI);
  });

  test("waits where STI blocks, for the window that cannot open at once", () => {
    // 26.2: an NMI window may open where STI blocks, before any instruction; an interrupt window does not.
    const guest = waiting();
    lookAgain(guest, STI);
    expect(guest.cpu.injecting).toBe(false);
    expect([guest.cpu.nmiWindow, guest.cpu.interruptWindow]).toEqual([false, true]);
    guest.cpu.exit(7, { INTERRUPTIBILITY: 0 });
    expect(guest.cpu.takeInjected()).toEqual(NMI);
    expect([guest.cpu.nmiWindow, guest.cpu.interruptWindow]).toEqual([false, false]);
  });

  test("ends HLT only when NMIs are not blocked", () => {
    const guest = waiting();
    expect(guest.cpu.exit(12, { EXIT_LENGTH: 1, INTERRUPTIBILITY: BLOCKED })).toBe(Next.Yield);
    expect(guest.machine.enter()).toBe(Next.Yield);
    const dead = waiting();
    dead.cpu.interruptsOn = false;
    expect(dead.cpu.exit(12, { EXIT_LENGTH: 1, INTERRUPTIBILITY: BLOCKED })).toBe(Next.Stop);
    expect(dead.machine.stop.reason).toBe(abi("STOPREASON_HALTED_FOREVER"));
    for (const on of [true, false]) {
      const woken = waiting();
      woken.cpu.interruptsOn = on;
      const rip = woken.cpu.rip;
      expect(woken.cpu.exit(12, { EXIT_LENGTH: 1, INTERRUPTIBILITY: on ? STI : 0n })).toBe(Next.Resume);
      expect(woken.cpu.takeInjected()).toEqual(NMI);
      expect(woken.cpu.rip).toBe(rip + 1n);
    }
  });
});

describe("On VT-x: IRET that unblocked NMIs and exited", () => {
  const blocked = (guest: CodeGuest<FakeVtx>) => (guest.cpu.get(Field.INTERRUPTIBILITY) & BLOCKED) !== 0n;

  test("finds them blocked when it is executed again (28.2.3)", () => {
    const guest = vtxGuest();
    guest.machine.races = 1;
    guest.access([0xcf], { linear: STACK, walk: true, unblocked: true });
    expect(guest.cpu.injecting).toBe(false);
    expect(blocked(guest)).toBe(true);
  });

  test("leaves them unblocked when it faults (SDM Vol. 3A 6.7.1, Handling Multiple NMIs)", () => {
    const guest = vtxGuest();
    guest.access([0xcf], { linear: LOST, walk: true, unblocked: true });
    expect(guest.cpu.takeInjected()).toEqual(PF);
    expect(blocked(guest)).toBe(false);
    guest.cpu.exit(0, { EXIT_INTERRUPTION: VALID + 0x1000 + HAS_ERROR + 0x311, EXIT_ERROR_CODE: 0 });
    expect(guest.cpu.takeInjected()).toEqual(AC);
    expect(blocked(guest)).toBe(false);
  });

  test("is not what bit 12 means while an event is delivered", () => {
    const guest = vtxGuest();
    guest.machine.races = 1;
    violation(
      guest,
      { type: Type.Exception, vector: 6 },
      { linear: STACK, write: true, walk: true, unblocked: true },
    );
    expect(guest.cpu.takeInjected()).toMatchObject({ vector: 6 });
    expect(blocked(guest)).toBe(false);
  });
});
