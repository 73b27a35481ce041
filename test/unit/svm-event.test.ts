/** Events under AMD-V: injection, windows, NMIs, and single steps (APM Vol. 2 15.20, Event Injection; 15.21). */
import { describe, expect, test } from "vitest";
import { Apics } from "./fake/apics.ts";
import { CodeGuest, UNCLAIMED } from "./fake/code.ts";
import { EventType, type Injected } from "./fake/cpu.ts";
import { Gpr, Next } from "./fake/exit.ts";
import { startSvm } from "./fake/guest.ts";
import { raiseUart } from "./fake/interrupts.ts";
import { abi } from "./fake/layout.ts";
import type { FakeMonitor } from "./fake/monitor.ts";
import { P, RW } from "./fake/paging.ts";
import { Code, FakeSvm, type SvmOptions, Word } from "./fake/svm.ts";

const TF = 0x100n;
const IF = 0x200n;
const RF = 0x10000n;
const BS = 0x4000n;
const GD = 0x2000n;
const STACK = 0x600000n;
const LOST = 0x40000000n;
const DB = { type: EventType.Exception, vector: 1 };
const PF = { type: EventType.Exception, vector: 14, error: 9 };
const AC = { type: EventType.Exception, vector: 17, error: 0 };
const UD = { type: EventType.Exception, vector: 6 };
const NMI = { type: EventType.Nmi, vector: 2 };
const INTERRUPT = { type: EventType.Interrupt, vector: 0x31 };
const UART_INTERRUPT = { type: EventType.Interrupt, vector: 0x24 };
const V_INTR_MASKING = 1n << 24n;
/** V_IRQ of the highest priority, which TPR does not hold back (15.21.4). */
const request = (vector: number) =>
  V_INTR_MASKING | (BigInt(vector) << 32n) | (1n << 8n) | (15n << 16n) | (1n << 20n);

const processors: [string, SvmOptions][] = [
  ["with next RIP and decode assists", { nextRip: true, assists: true }],
  ["without either", { nextRip: false }],
];

/** With interrupts on, a stack in memory, and a page table that is in no RAM. */
function guestOf(): CodeGuest<FakeSvm> {
  const guest = new CodeGuest({}, new FakeSvm());
  guest.tables!.map(STACK, STACK);
  guest.tables!.set(LOST, UNCLAIMED | P | RW, 1);
  guest.put([0x90]);
  guest.flags = IF;
  return guest;
}

/** The walk for the event's gate meets an entry that another CPU has just changed. */
function interrupt(guest: CodeGuest<FakeSvm>, event: Injected): void {
  guest.machine.races = 1;
  guest.cpu.idtr = { base: STACK, limit: 0xfff };
  expect(guest.cpu.violation(UNCLAIMED, { walk: true, event })).toBe(Next.Resume);
}

/** The walk for the event's gate meets a page table in no RAM. */
function pageFault(guest: CodeGuest<FakeSvm>, event: Injected): Next {
  guest.cpu.idtr = { base: LOST - BigInt(event.vector * 16), limit: 0xfff };
  return guest.cpu.violation(UNCLAIMED, { walk: true, event });
}

/** An exit that completes nothing. */
function lookAgain(guest: CodeGuest<FakeSvm>): void {
  guest.tables!.set(STACK, STACK | P | RW);
  guest.machine.races = 1;
  guest.set(Gpr.rbx, STACK);
  const { blocking } = guest.cpu;
  guest.put([0x8b, 0x03]); // MOV EAX, [RBX]
  guest.cpu.violation(UNCLAIMED, {});
  expect([guest.moved, blocking && guest.cpu.injecting]).toEqual([0n, blocking && false]);
}

describe.each(processors)("The end of an intercepted instruction, on a CPU %s", (_, has) => {
  const completed: [name: string, run: (cpu: FakeSvm) => Next, length: number][] = [
    ["CPUID", (cpu) => cpu.cpuid(0), 2],
    ["CPUID of a leaf with subleaves", (cpu) => cpu.cpuid(7), 2],
    ["IN", (cpu) => cpu.in(0x71), 1],
    ["OUT", (cpu) => cpu.out(0x80, 1), 1],
    ["IN of 4 bytes", (cpu) => cpu.in(0xcf8, 4), 1],
    ["RDMSR", (cpu) => cpu.rdmsr(0x3b), 2],
    ["WRMSR", (cpu) => cpu.wrmsr(0x3b, 5n), 2],
    ["INVD", (cpu) => cpu.invd(), 2],
    ["WBINVD", (cpu) => cpu.wbinvd(), 2],
    ["XSETBV", (cpu) => cpu.xsetbv(7n), 3],
    ["HLT", (cpu) => cpu.hlt(), 1],
    [
      "MOV from CR4",
      (cpu) => cpu.instruction(Code.READ_CR4, [0x0f, 0x20, 0xe3], { info1: (1n << 63n) | 3n }),
      3,
    ],
    [
      "MOV from CR4 to RSP",
      (cpu) => cpu.instruction(Code.READ_CR4, [0x0f, 0x20, 0xe4], { info1: (1n << 63n) | 4n }),
      3,
    ],
  ];

  test.each(completed)("%s: a single step is due behind it, and RF is off", (_, run, length) => {
    const { cpu } = startSvm(has);
    const { rip } = cpu;
    cpu.rflags = TF | RF | 2n;
    cpu.dr7 |= GD;
    expect(run(cpu)).toBe(Next.Resume);
    expect(cpu.takeInjected()).toEqual(DB);
    expect([cpu.rip, cpu.rflags]).toEqual([rip + BigInt(length), TF | 2n]);
    // As its handler is to find them (13.1.1.3, Debug Status Register; 13.1.1.4).
    expect([cpu.dr6, cpu.dr7]).toEqual([0xffff0ff0n | BS, 0x400n]);
    expect(cpu.blocking).toBe(0n);
  });

  test.each(completed)(
    "%s: without TF RF alone is turned off, and DR6 and DR7 are left alone",
    (_, run, length) => {
      for (const rf of [0n, RF]) {
        const { cpu } = startSvm(has);
        const { rip } = cpu;
        cpu.rflags = IF | rf | 0x8d7n;
        cpu.dr7 |= GD;
        run(cpu);
        expect([cpu.rip, cpu.rflags, cpu.injecting]).toEqual([rip + BigInt(length), IF | 0x8d7n, false]);
        expect([cpu.dr6, cpu.dr7]).toEqual([0xffff0ff0n, 0x400n | GD]);
      }
    },
  );

  test.each(completed)("%s: what STI or MOV SS has held back comes", (_, run) => {
    const { cpu } = startSvm(has);
    raiseUart(cpu);
    cpu.rflags = IF | 2n;
    cpu.blocking = 1n;
    expect(run(cpu)).toBe(Next.Resume);
    expect([cpu.blocking, cpu.takeInjected()]).toEqual([0n, UART_INTERRUPT]);
  });

  test.each(completed)("%s: a single step goes before an interrupt, which waits for its window", (_, run) => {
    const { cpu } = startSvm(has);
    raiseUart(cpu);
    cpu.rflags = IF | TF | 2n;
    run(cpu);
    expect([cpu.takeStep(), cpu.interruptWindow]).toEqual([true, true]);
    cpu.rflags = IF | 2n;
    cpu.windowOpens();
    expect([cpu.takeInjected(), cpu.interruptWindow]).toEqual([UART_INTERRUPT, false]);
  });

  test.each<[string, (cpu: FakeSvm) => Next, number]>([
    ["RDMSR", (cpu) => cpu.rdmsr(0x12345), 13],
    ["WRMSR", (cpu) => cpu.wrmsr(0x12345, 0n), 13],
    ["RDPMC", (cpu) => cpu.rdpmc(), 13],
    ["XSETBV", (cpu) => cpu.xsetbv(0n), 13],
    ["VMMCALL", (cpu) => cpu.vmcall(), 6],
  ])("%s that faults is no step, stays where it is, and sets RF", (_, run, vector) => {
    const { cpu } = startSvm(has);
    const { rip } = cpu;
    cpu.rflags = TF | 2n;
    cpu.blocking = 1n;
    run(cpu);
    expect(cpu.takeInjected()?.vector).toBe(vector);
    expect([cpu.rip, cpu.rflags, cpu.dr6]).toEqual([rip, TF | RF | 2n, 0xffff0ff0n]);
  });
});

describe("#DB and #AC", () => {
  test("go on to the guest, with DR6, DR7 and RF as the CPU has saved them (15.12.2, #DB)", () => {
    for (const rf of [0n, RF]) {
      const { cpu } = startSvm();
      const { rip } = cpu;
      cpu.dr6 = 0xffff2ff3n;
      cpu.dr7 = 0x455n;
      cpu.rflags = TF | rf | 2n;
      expect(cpu.exception(1)).toBe(Next.Resume);
      expect(cpu.takeInjected()).toEqual(DB);
      expect([cpu.dr6, cpu.dr7, cpu.rflags, cpu.rip]).toEqual([0xffff2ff3n, 0x455n, TF | rf | 2n, rip]);
      expect(cpu.exception(17)).toBe(Next.Resume);
      expect(cpu.takeInjected()).toEqual(AC);
    }
  });

  test("have no error code in real mode", () => {
    const guest = new CodeGuest({ size: 16 }, new FakeSvm());
    guest.cpu.cr0 = 0x10n;
    guest.cpu.exception(17);
    expect(guest.cpu.takeInjected()).toEqual({ type: EventType.Exception, vector: 17 });
    guest.cpu.rdmsr(0x12345);
    expect(guest.cpu.takeInjected()).toEqual({ type: EventType.Exception, vector: 13 });
  });

  test("end an interrupt shadow, and come before an interrupt", () => {
    const { cpu } = startSvm();
    raiseUart(cpu);
    cpu.rflags = IF | 2n;
    cpu.blocking = 1n;
    cpu.exception(1);
    expect([cpu.takeInjected(), cpu.blocking, cpu.interruptWindow]).toEqual([DB, 0n, true]);
    cpu.windowOpens();
    expect(cpu.takeInjected()).toEqual(UART_INTERRUPT);
  });
});

describe.each(processors)("INT1, on a CPU %s", (_, has) => {
  test.each([[[0xf1]], [[0x66, 0xf1]]])("%j is a trap: the handler returns behind it", (bytes) => {
    for (const flags of [0n, TF, RF]) {
      const { cpu, machine } = startSvm(has);
      const { rip } = cpu;
      cpu.rflags = flags | 2n;
      cpu.blocking = 1n;
      cpu.dr7 |= GD;
      expect(cpu.instruction(Code.ICEBP, bytes)).toBe(Next.Resume);
      expect(cpu.takeInjected()).toEqual(DB);
      expect([cpu.rip, cpu.rflags]).toEqual([rip + BigInt(bytes.length), (flags & TF) | 2n]);
      // It is no single step, even of itself: its delivery turns TF off.
      expect([cpu.dr6, cpu.dr7]).toEqual([0xffff0ff0n, 0x400n]);
      cpu.rflags = 2n;
      cpu.cpuid(0);
      expect([cpu.injecting, machine.exits("EXCEPTION")]).toEqual([false, 1n]);
    }
  });
});

test("A floating-point error where CR0.NE is 0 is #MF", () => {
  const { cpu } = startSvm();
  const { rip } = cpu;
  expect(cpu.exit(Code.FERR_FREEZE)).toBe(Next.Resume);
  expect(cpu.takeInjected()).toEqual({ type: EventType.Exception, vector: 16 });
  expect(cpu.rip).toBe(rip);
});

describe("An interrupt", () => {
  test("waits in an interrupt shadow, whose window opens when it has ended", () => {
    const guest = guestOf();
    raiseUart(guest.cpu);
    guest.flags = IF;
    guest.cpu.blocking = 1n;
    lookAgain(guest);
    expect([guest.cpu.injecting, guest.cpu.interruptWindow, guest.cpu.blocking]).toEqual([false, true, 1n]);
    guest.cpu.blocking = 0n;
    guest.cpu.windowOpens();
    expect([guest.cpu.takeInjected(), guest.cpu.interruptWindow]).toEqual([UART_INTERRUPT, false]);
  });

  test("has a window that nothing holds back but IF and the shadow, and that is never delivered itself", () => {
    const { cpu } = startSvm();
    raiseUart(cpu);
    cpu.cpuid(0);
    expect([cpu.interruptWindow, cpu.get(Word.VIRTUAL_INTERRUPT)]).toEqual([true, request(0)]);
    expect(cpu.injecting).toBe(false);
    cpu.out(0x21, 0xff); // masked
    cpu.rflags = IF | 2n;
    expect(cpu.windowOpens()).toBe(Next.Resume);
    expect([cpu.injecting, cpu.interruptWindow]).toEqual([false, false]);
    expect(cpu.get(Word.VIRTUAL_INTERRUPT)).toBe(V_INTR_MASKING);
  });

  test("that is to be delivered waits for the entry when root takes the CPU before", () => {
    const { cpu, machine } = startSvm();
    raiseUart(cpu);
    cpu.rflags = IF | 2n;
    cpu.cpuid(0);
    expect(cpu.injecting).toBe(true);
    for (let i = 0; i < 3; i++) expect(machine.enter()).toBe(Next.Resume);
    expect(cpu.takeInjected()).toEqual(UART_INTERRUPT);
    cpu.cpuid(0);
    expect(cpu.injecting).toBe(false);
  });
});

/** As in QEMU's emulator, which repeats interrupts that are injected (kernel/root/quirk.ts). */
describe("Where no interrupt may be injected, a virtual one", () => {
  const NO_INJECTION = 32;
  const forbidInjection = ({ memory }: FakeMonitor) =>
    memory.setUint32(abi("VM_INFO") + abi("VMINFO_FEATURES"), NO_INJECTION, true);

  /** Interrupts are on. */
  function guestOfVirtual(): CodeGuest<FakeSvm> {
    const guest = guestOf();
    forbidInjection(guest.machine);
    raiseUart(guest.cpu);
    guest.flags = IF;
    return guest;
  }

  /** Its interrupt is in the VMCB. */
  function requested(): CodeGuest<FakeSvm> {
    const guest = guestOfVirtual();
    guest.cpu.cpuid(0);
    return guest;
  }

  test("is what the guest takes, once; and no event is in the VMCB", () => {
    const { cpu } = requested();
    expect(cpu.get(Word.VIRTUAL_INTERRUPT)).toBe(request(0x24));
    expect([cpu.get(Word.EVENT) & 0x80000000n, cpu.virtualIntercept, cpu.interruptWindow]).toEqual([
      0n,
      false,
      false,
    ]);
    expect(cpu.takeInjected()).toEqual(UART_INTERRUPT);
    cpu.interruptsOn = false;
    cpu.cpuid(0);
    expect([cpu.injecting, cpu.interruptWindow]).toEqual([false, false]);
  });

  test("comes behind its window", () => {
    const guest = guestOfVirtual();
    guest.cpu.interruptsOn = false;
    guest.cpu.cpuid(0);
    expect(guest.cpu.interruptWindow).toBe(true);
    guest.cpu.interruptsOn = true;
    guest.cpu.windowOpens();
    expect([guest.cpu.interruptWindow, guest.cpu.takeInjected()]).toEqual([false, UART_INTERRUPT]);
    // And the next one's window has the intercept again.
    guest.cpu.interruptsOn = false;
    guest.cpu.out(0x20, 0x20);
    guest.cpu.in(0x3fa);
    guest.cpu.out(0x3f9, 0);
    guest.cpu.out(0x3f9, 2);
    expect(guest.cpu.interruptWindow).toBe(true);
  });

  test("stays when an exit comes before the guest has taken it, and is still the only one", () => {
    const { cpu, machine } = requested();
    for (let i = 0; i < 3; i++) {
      expect(cpu.hostInterrupt(undefined, true)).toBe(Next.Resume);
      expect(machine.enter()).toBe(Next.Resume);
      expect(cpu.get(Word.VIRTUAL_INTERRUPT)).toBe(request(0x24));
    }
    expect(cpu.takeInjected()).toEqual(UART_INTERRUPT);
    cpu.interruptsOn = false;
    cpu.cpuid(0);
    expect(cpu.injecting).toBe(false);
  });

  // QEMU leaves V_IRQ on until the delivery is through, and calls what it has interrupted an exception.
  test.each([
    ["as the manual says", { type: EventType.Interrupt, vector: 0x24 }, false],
    ["as QEMU says it", { type: EventType.Exception, vector: 0x24 }, true],
  ])("is delivered again, once, when its delivery is interrupted: %s", (_, during, untaken) => {
    const { cpu } = requested();
    const { rip } = cpu;
    expect(cpu.hostInterrupt(during, untaken)).toBe(Next.Resume);
    expect([cpu.get(Word.VIRTUAL_INTERRUPT), cpu.rip]).toEqual([request(0x24), rip]);
    expect(cpu.takeInjected()).toEqual(UART_INTERRUPT);
    cpu.interruptsOn = false;
    cpu.hostInterrupt();
    expect(cpu.injecting).toBe(false);
  });

  test("comes after the exception that its delivery ends in", () => {
    const { cpu } = requested();
    const during = { type: EventType.Exception, vector: 0x24 };
    expect(cpu.exit(Code.EXCEPTION + 17, { during, untaken: true })).toBe(Next.Resume);
    // #AC alone, which goes by EVENTINJ; for the interrupt there is a window.
    expect([cpu.takeInjected(), cpu.interruptWindow]).toEqual([AC, true]);
    cpu.windowOpens();
    expect(cpu.takeInjected()).toEqual(UART_INTERRUPT);
  });

  test("has the window's place: what waits behind it is looked at 30 us later", () => {
    const guest = guestOfVirtual();
    // An interrupt that its delivery has held back, and the UART's behind it.
    guest.machine.deadline = 0n;
    expect(guest.cpu.hostInterrupt(INTERRUPT)).toBe(Next.Resume);
    expect(guest.cpu.get(Word.VIRTUAL_INTERRUPT)).toBe(request(INTERRUPT.vector));
    const tscHz = guest.machine.memory.getBigUint64(abi("VM_INFO") + abi("VMINFO_TSC_HZ"), true);
    expect(guest.machine.deadline - guest.machine.tsc).toBe(tscHz >> 15n);
    // Not even when it has not been taken yet.
    expect(guest.cpu.hostInterrupt(undefined, true)).toBe(Next.Resume);
    expect(guest.cpu.get(Word.VIRTUAL_INTERRUPT)).toBe(request(INTERRUPT.vector));
    expect(guest.cpu.takeInjected()).toEqual(INTERRUPT);
    guest.cpu.interruptsOn = false;
    expect(guest.cpu.hostInterrupt()).toBe(Next.Resume);
    expect([guest.cpu.injecting, guest.cpu.interruptWindow]).toEqual([false, true]);
    guest.cpu.interruptsOn = true;
    guest.cpu.windowOpens();
    expect(guest.cpu.takeInjected()).toEqual(UART_INTERRUPT);
  });

  test("is gone after an INIT", () => {
    const m = new Apics(2, "AMD-V");
    forbidInjection(m.machine);
    m.x2All();
    const send = (command: bigint) => m.wrmsr(0, 0x830, command | (1n << 32n));
    const enter = () => m.on(1, () => m.machine.enter());
    const cpu = m.cpus[1] as FakeSvm;
    cpu.interruptsOn = true;
    send(0x4040n);
    expect([enter(), cpu.get(Word.VIRTUAL_INTERRUPT)]).toEqual([Next.Resume, request(0x40)]);
    send(0x4500n);
    expect(enter()).toBe(Next.Yield);
    send(0x4608n); // SIPI
    expect([enter(), cpu.get(Word.VIRTUAL_INTERRUPT) & ~(0xffn << 32n)]).toEqual([
      Next.Resume,
      V_INTR_MASKING,
    ]);
  });

  test("is no NMI and no exception: those are injected", () => {
    const guest = guestOfVirtual();
    guest.cpu.interruptsOn = false;
    interrupt(guest, NMI);
    expect(guest.cpu.get(Word.EVENT) & 0x800007ffn).toBe(0x80000202n);
    guest.cpu.takeInjected();
    guest.cpu.exception(17);
    expect(guest.cpu.get(Word.EVENT) & 0x800007ffn).toBe(0x80000311n);
  });
});

describe("An event whose delivery a host interrupt has stopped", () => {
  test.each<[string, Injected]>([
    ["an external interrupt", INTERRUPT],
    ["an NMI", NMI],
    ["#UD", UD],
    ["#DB", DB],
    ["#GP with its error code", { type: EventType.Exception, vector: 13, error: 0x1f2 }],
    ["#PF with its error code", { type: EventType.Exception, vector: 14, error: 0x8017 }],
  ])("is delivered again, once: %s", (_, event) => {
    const guest = guestOf();
    const { rip } = guest.cpu;
    expect(guest.cpu.hostInterrupt(event)).toBe(Next.Resume);
    // Root may have the CPU more than once.
    expect(guest.machine.enter()).toBe(Next.Resume);
    expect([guest.cpu.takeInjected(), guest.cpu.rip]).toEqual([event, rip]);
    guest.cpu.hostInterrupt();
    expect(guest.cpu.injecting).toBe(false);
  });

  test("goes before an interrupt that has come since", () => {
    const guest = guestOf();
    raiseUart(guest.cpu);
    guest.flags = IF;
    guest.cpu.hostInterrupt(INTERRUPT);
    expect([guest.cpu.takeInjected(), guest.cpu.interruptWindow]).toEqual([INTERRUPT, true]);
    guest.cpu.windowOpens();
    expect(guest.cpu.takeInjected()).toEqual(UART_INTERRUPT);
  });
});

describe("INT n, INT3 and INTO whose delivery was stopped", () => {
  const events: [string, Injected][] = [
    ["INT n", { type: EventType.SoftwareInterrupt, vector: 0x80 }],
    ["INT n of an exception's vector", { type: EventType.SoftwareInterrupt, vector: 14 }],
    ["INT3", { type: EventType.Exception, vector: 3 }],
    ["INTO", { type: EventType.Exception, vector: 4 }],
  ];

  test.each(events)("are not delivered again: the guest executes the instruction again: %s", (_, event) => {
    const guest = guestOf();
    const { rip } = guest.cpu;
    guest.cpu.hostInterrupt(event);
    expect([guest.cpu.injecting, guest.cpu.rip]).toEqual([false, rip]);
    interrupt(guest, event);
    expect([guest.cpu.injecting, guest.cpu.rip]).toEqual([false, rip]);
    guest.cpu.cpuid(0);
    expect(guest.cpu.injecting).toBe(false);
  });

  test.each(events)(
    "let the exception go that has stopped them, and make no double fault: %s",
    (_, event) => {
      const guest = guestOf();
      expect(pageFault(guest, event)).toBe(Next.Resume);
      expect([guest.cpu.takeInjected(), guest.cpu.cr2]).toEqual([PF, LOST]);
      guest.cpu.exception(17, event);
      expect(guest.cpu.takeInjected()).toEqual(AC);
      guest.cpu.cpuid(0);
      expect(guest.cpu.injecting).toBe(false);
    },
  );

  test.each(events)("let an interrupt go first that has come since: %s", (_, event) => {
    const guest = guestOf();
    raiseUart(guest.cpu);
    guest.flags = IF;
    guest.cpu.hostInterrupt(event);
    if (!guest.cpu.injecting) guest.cpu.windowOpens();
    expect(guest.cpu.takeInjected()).toEqual(UART_INTERRUPT);
  });

  test.each(events)("end the VM by name when their gate is in memory that nobody claims: %s", (_, event) => {
    const guest = guestOf();
    guest.tables!.map(0x700000n, UNCLAIMED);
    guest.cpu.idtr = { base: 0x700000n, limit: 0xfff };
    expect(guest.cpu.violation(UNCLAIMED + 0x10n, { event })).toBe(Next.Stop);
    expect(guest.machine.stop).toEqual({
      reason: abi("STOPREASON_DELIVERY_NOT_EMULATED"),
      detail: UNCLAIMED + 0x10n,
    });
  });
});

/** The CPU does not block NMIs while an injected one is handled (15.21.9): the monitor does, and IRET's exit tells it. */
describe("NMIs", () => {
  /** The NMI's delivery is through, and its handler runs. */
  function handling(): CodeGuest<FakeSvm> {
    const guest = guestOf();
    interrupt(guest, NMI);
    expect([guest.cpu.takeInjected(), guest.cpu.iretIntercept]).toEqual([NMI, true]);
    return guest;
  }

  /** Another one waits; the handler of a page fault runs. */
  function waiting(): CodeGuest<FakeSvm> {
    const guest = handling();
    expect(pageFault(guest, NMI)).toBe(Next.Resume);
    expect(guest.cpu.takeInjected()).toEqual(PF);
    return guest;
  }

  test("are not blocked by one whose handler has returned", () => {
    const guest = handling();
    expect(guest.cpu.iret()).toBe(Next.Resume);
    expect(guest.cpu.iretIntercept).toBe(false);
    guest.cpu.returnTo(0x400100n);
    expect(guest.cpu.iret()).toBe(Next.Resume);
    expect([guest.cpu.injecting, guest.machine.exits("NMI_WINDOW")]).toEqual([false, 1n]);
  });

  test("wait while one is handled, until IRET is done", () => {
    const { cpu, machine } = waiting();
    cpu.cpuid(0);
    expect(cpu.injecting).toBe(false);
    expect(machine.enter()).toBe(Next.Resume);
    expect([cpu.injecting, cpu.iretIntercept]).toEqual([false, true]);
    cpu.iret();
    // It has not been executed yet.
    expect([cpu.injecting, cpu.iretIntercept]).toEqual([false, false]);
    cpu.exception(17);
    expect(cpu.takeInjected()).toEqual(AC);
    cpu.iret();
    cpu.returnTo(0x400100n);
    cpu.exit(Code.PAUSE, { length: 2 });
    expect(machine.enter()).toBe(Next.Resume);
    expect([cpu.takeInjected(), cpu.iretIntercept]).toEqual([NMI, true]);
    cpu.iret();
    cpu.returnTo(0x400200n);
    cpu.cpuid(0);
    expect(cpu.injecting).toBe(false);
  });

  test("come when root has had the CPU since IRET was executed", () => {
    const { cpu } = waiting();
    cpu.iret();
    expect(cpu.hostInterrupt()).toBe(Next.Resume);
    expect(cpu.injecting).toBe(false);
    cpu.returnTo(0x400100n);
    expect(cpu.hostInterrupt()).toBe(Next.Resume);
    expect(cpu.takeInjected()).toEqual(NMI);
  });

  test("go before interrupts, whatever RFLAGS.IF", () => {
    for (const on of [true, false]) {
      const { cpu } = waiting();
      raiseUart(cpu);
      cpu.iret();
      cpu.returnTo(0x400100n);
      cpu.interruptsOn = on;
      cpu.cpuid(0);
      expect([cpu.takeInjected(), cpu.interruptWindow]).toEqual([NMI, true]);
      cpu.interruptsOn = true;
      cpu.windowOpens();
      expect(cpu.takeInjected()).toEqual(UART_INTERRUPT);
    }
  });

  test("wait in an interrupt shadow", () => {
    const guest = waiting();
    guest.cpu.rip = 0x400800n;
    guest.cpu.iret();
    guest.cpu.returnTo(0x400100n);
    guest.cpu.blocking = 1n;
    lookAgain(guest);
    expect([guest.cpu.injecting, guest.cpu.interruptWindow]).toEqual([false, true]);
    guest.cpu.blocking = 0n;
    guest.cpu.windowOpens();
    expect([guest.cpu.takeInjected(), guest.cpu.interruptWindow]).toEqual([NMI, false]);
  });

  test("end HLT only when none is handled", () => {
    const blocked = waiting();
    expect(blocked.cpu.hlt()).toBe(Next.Yield);
    expect(blocked.machine.enter()).toBe(Next.Yield);
    const dead = waiting();
    dead.cpu.interruptsOn = false;
    expect(dead.cpu.hlt()).toBe(Next.Stop);
    expect(dead.machine.stop.reason).toBe(abi("STOPREASON_HALTED_FOREVER"));
    for (const on of [true, false]) {
      const woken = waiting();
      woken.cpu.iret();
      woken.cpu.returnTo(0x400100n);
      woken.cpu.interruptsOn = on;
      expect(woken.cpu.hlt()).toBe(Next.Resume);
      expect([woken.cpu.takeInjected(), woken.cpu.rip]).toEqual([NMI, 0x400101n]);
    }
  });
});

test("A fault in the delivery of a fault is a double fault, and one in that one's shuts the guest down", () => {
  const guest = guestOf();
  expect(pageFault(guest, { type: EventType.Exception, vector: 14, error: 2 })).toBe(Next.Resume);
  const double = guest.cpu.takeInjected()!;
  expect(double).toEqual({ type: EventType.Exception, vector: 8, error: 0 });
  expect(pageFault(guest, double)).toBe(Next.Stop);
  expect(guest.machine.stop).toEqual({ reason: abi("STOPREASON_TRIPLE_FAULT"), detail: guest.cpu.rip });
});

test("An event that an exit has interrupted is taken from the VMCB, where an entry would leave it", () => {
  const guest = guestOf();
  interrupt(guest, INTERRUPT);
  expect(guest.cpu.get(Word.INT_INFO) & 0x80000000n).toBe(0n);
});
