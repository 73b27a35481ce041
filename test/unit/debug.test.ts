/** Debug exceptions and single steps around exits (SDM Vol. 3B 18, Debug; Vol. 3C 27.7.3, 28.1 and 28.3.4). */
import { describe, expect, test } from "vitest";
import { CodeGuest, UNCLAIMED } from "./fake/code.ts";
import { Gpr, Next } from "./fake/exit.ts";
import { startGuest } from "./fake/guest.ts";
import { raiseUart } from "./fake/interrupts.ts";
import { Random, effort } from "./fake/pc.ts";
import { Field, type FakeVtx } from "./fake/vtx.ts";

const STI = 1n;
const MOV_SS = 2n;
const TF = 0x100n;
const IF = 0x200n;
const BS = 0x4000n;
const GD = 0x2000n;
const DB = { type: 3, vector: 1 };
const UART_INTERRUPT = { type: 0, vector: 0x24 };

/** #DB exits. INT1 is of type 5, privileged software exception. */
function debugException(
  cpu: FakeVtx,
  qualification: bigint,
  fields: Parameters<FakeVtx["exit"]>[1] = {},
): Next {
  return cpu.exit(0, { EXIT_INTERRUPTION: 0x80000301, QUALIFICATION: qualification, ...fields });
}

/** Adds flags to the usual ones: reserved bit 1. */
function setFlags(cpu: FakeVtx, flags: bigint): void {
  cpu.set(Field.GUEST_RFLAGS, 2n | flags);
}

describe("A debug exception", () => {
  test("goes on to the guest, with DR6 and DR7 as its delivery leaves them", () => {
    // 18.2.3, Debug Status Register: B0 to B3 may be cleared, nothing else is ever; 18.2.4: GD is cleared.
    const random = new Random(1);
    const causes = [0n, 1n, 2n, 3n, 13n, 14n];
    const { machine, cpu } = startGuest();
    for (let i = 0; i < 100 * effort; i++) {
      const some = () => causes.reduce((sum, bit) => sum | (BigInt(random.below(2)) << bit), 0n);
      const before = 0xffff0ff0n | some() | (BigInt(random.below(2)) << 15n);
      const now = some();
      const dr7 = 0x400n | BigInt(random.below(0x10000)) | (random.below(2) ? GD : 0n);
      machine.dr6 = before;
      cpu.set(Field.GUEST_DR7, dr7);
      expect(debugException(cpu, now)).toBe(Next.Resume);
      expect(cpu.takeInjected()).toEqual(DB);
      expect(machine.dr6.toString(16)).toBe(((before & ~0xfn) | now).toString(16));
      expect(cpu.get(Field.GUEST_DR7)).toBe(dr7 & ~GD);
    }
  });

  test("of a breakpoint keeps RF as the CPU has saved it", () => {
    for (const rf of [0n, 0x10000n]) {
      const { cpu } = startGuest();
      setFlags(cpu, rf);
      debugException(cpu, 1n);
      expect(cpu.get(Field.GUEST_RFLAGS)).toBe(2n | rf);
    }
  });

  test("after a stepped STI can be delivered: the entry does not want another step to be pending (27.3.1.5)", () => {
    const { cpu } = startGuest();
    setFlags(cpu, TF | IF);
    debugException(cpu, BS, { INTERRUPTIBILITY: STI });
    expect(cpu.problems).toEqual([]);
    expect(cpu.takeInjected()).toEqual(DB);
  });

  test("of INT1 returns behind it, as a trap, with or without a prefix", () => {
    for (const length of [1n, 2n]) {
      const { cpu } = startGuest();
      const rip = cpu.rip;
      setFlags(cpu, TF);
      debugException(cpu, 0n, {
        EXIT_INTERRUPTION: 0x80000501,
        EXIT_LENGTH: length,
        INTERRUPTIBILITY: MOV_SS,
        PENDING_DEBUG: BS,
      });
      expect(cpu.problems).toEqual([]);
      const injected = cpu.takeInjected()!;
      expect(injected.vector).toBe(1);
      // What is pushed is RIP, and of a software event the next instruction's (27.6.1.1).
      expect(cpu.rip + BigInt(injected.length ?? 0)).toBe(rip + length);
    }
  });

  test("comes before an interrupt, which waits for its window", () => {
    const { cpu } = startGuest();
    raiseUart(cpu);
    setFlags(cpu, IF);
    debugException(cpu, 1n);
    expect(cpu.takeInjected()).toEqual(DB);
    expect(cpu.interruptWindow).toBe(true);
    cpu.exit(7);
    expect(cpu.takeInjected()).toEqual(UART_INTERRUPT);
  });
});

test("An alignment check goes on to the guest with its error code, 0", () => {
  const { cpu } = startGuest();
  const rip = cpu.rip;
  cpu.exit(0, { EXIT_INTERRUPTION: 0x80000b11, EXIT_ERROR_CODE: 0 });
  expect(cpu.problems).toEqual([]);
  expect(cpu.takeInjected()).toEqual({ type: 3, vector: 17, error: 0 });
  expect(cpu.rip).toBe(rip);
});

describe("A single step over an instruction that exits", () => {
  const completed: [name: string, run: (cpu: FakeVtx) => Next][] = [
    ["CPUID", (cpu) => cpu.cpuid(0)],
    ["CPUID of a leaf with subleaves", (cpu) => cpu.cpuid(7)],
    ["IN", (cpu) => cpu.in(0x71)],
    ["OUT", (cpu) => cpu.out(0x80, 1)],
    ["IN of 4 bytes", (cpu) => cpu.in(0xcf8, 4)],
    ["RDMSR", (cpu) => cpu.rdmsr(0x3b)],
    ["WRMSR", (cpu) => cpu.wrmsr(0x3b, 5n)],
    ["WBINVD", (cpu) => cpu.exit(54, { EXIT_LENGTH: 2 })],
    ["XSETBV", (cpu) => cpu.xsetbv(7n)],
    ["MOV from CR8", (cpu) => cpu.exit(28, { EXIT_LENGTH: 4, QUALIFICATION: 0x18 })],
    ["HLT", (cpu) => cpu.exit(12, { EXIT_LENGTH: 1 })],
  ];
  test.each(completed)("%s ends behind it", (_, run) => {
    const { cpu } = startGuest();
    const rip = cpu.rip;
    setFlags(cpu, TF);
    expect(run(cpu)).toBe(Next.Resume);
    expect(cpu.rip).toBeGreaterThan(rip);
    expect(cpu.get(Field.PENDING_DEBUG)).toBe(BS);
    expect(cpu.injecting).toBe(false);
    expect(cpu.problems).toEqual([]);
  });

  test.each(completed)("%s is no step without TF, and ends blocking by STI and MOV SS", (_, run) => {
    for (const blocking of [STI, MOV_SS]) {
      const { cpu } = startGuest();
      setFlags(cpu, IF);
      cpu.set(Field.INTERRUPTIBILITY, blocking | 8n);
      run(cpu);
      expect(cpu.get(Field.PENDING_DEBUG)).toBe(0n);
      expect(cpu.get(Field.INTERRUPTIBILITY)).toBe(8n);
    }
  });

  test.each<[string, (cpu: FakeVtx) => Next]>([
    ["RDMSR", (cpu) => cpu.rdmsr(0x12345)],
    ["WRMSR", (cpu) => cpu.wrmsr(0x12345, 0n)],
    ["RDPMC", (cpu) => cpu.exit(15, { EXIT_LENGTH: 2 })],
    ["VMCALL", (cpu) => cpu.exit(18, { EXIT_LENGTH: 3 })],
    ["XSETBV", (cpu) => cpu.xsetbv(0n)],
  ])("%s is none if it faults", (_, run) => {
    const { cpu } = startGuest();
    setFlags(cpu, TF);
    run(cpu);
    expect(cpu.get(Field.PENDING_DEBUG)).toBe(0n);
    expect(cpu.takeInjected()!.vector).not.toBe(1);
  });

  test("with breakpoints that MOV SS has held back reports all of them", () => {
    const { cpu } = startGuest();
    setFlags(cpu, TF);
    cpu.exit(10, { EXIT_LENGTH: 2, INTERRUPTIBILITY: MOV_SS, PENDING_DEBUG: 0x1002 });
    expect(cpu.get(Field.PENDING_DEBUG)).toBe(0x5002n);
    expect(cpu.get(Field.INTERRUPTIBILITY)).toBe(0n);
    const other = startGuest().cpu;
    other.exit(10, { EXIT_LENGTH: 2, INTERRUPTIBILITY: MOV_SS, PENDING_DEBUG: 0x1002 });
    expect(other.get(Field.PENDING_DEBUG)).toBe(0x1002n);
  });

  test("goes before an interrupt, whose delivery would lose it (27.7.3)", () => {
    for (const [pending, flags] of [
      [0n, TF],
      [0x1001n, 0n],
    ] as const) {
      const { cpu } = startGuest();
      raiseUart(cpu);
      setFlags(cpu, IF | flags);
      cpu.exit(10, { EXIT_LENGTH: 2, INTERRUPTIBILITY: pending ? MOV_SS : 0n, PENDING_DEBUG: pending });
      expect(cpu.injecting).toBe(false);
      expect(cpu.get(Field.PENDING_DEBUG)).not.toBe(0n);
      expect(cpu.interruptWindow).toBe(true);
      // The entry delivers it, and it exits.
      debugException(cpu, BS, { PENDING_DEBUG: 0 });
      expect(cpu.takeInjected()).toEqual(DB);
      // Its handler returns.
      setFlags(cpu, IF);
      cpu.exit(7);
      expect(cpu.takeInjected()).toEqual(UART_INTERRUPT);
    }
  });

  test("is one iteration of a repeated instruction", () => {
    const guest = new CodeGuest<FakeVtx>();
    guest.tables!.map(0x600000n, 0x600000n);
    guest.put([0xf3, 0x6e]); // REP OUTSB
    guest.set(Gpr.rsi, 0x600000n);
    guest.set(Gpr.rcx, 3);
    guest.flags = TF;
    guest.cpu.stringPort(0x80, 1, false, true);
    expect([guest.get(Gpr.rcx), guest.cpu.get(Field.PENDING_DEBUG), guest.moved]).toEqual([2n, BS, 0n]);
  });

  test("is one of an emulated instruction too", () => {
    const guest = new CodeGuest<FakeVtx>();
    guest.tables!.map(0x700000n, UNCLAIMED);
    guest.flags = TF;
    guest.set(Gpr.rbx, 0x700000);
    guest.access([0x8b, 0x03], { linear: 0x700000n }); // MOV EAX, [RBX]
    expect([guest.moved, guest.cpu.get(Field.PENDING_DEBUG)]).toEqual([2n, BS]);
  });
});
