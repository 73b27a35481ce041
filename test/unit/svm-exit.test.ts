/**
 * Every exit that an AMD CPU can make (APM Vol. 2 Appendix C), in any state: the guest goes on, in a state that VMRUN takes,
 * or its VM ends by name.
 */
import { expect, test } from "vitest";
import { EventType, type Injected } from "./fake/cpu.ts";
import { Next } from "./fake/exit.ts";
import { startSvm } from "./fake/guest.ts";
import { abi } from "./fake/layout.ts";
import { Random, effort } from "./fake/pc.ts";
import { Field, type Fields, modes, randomState } from "./fake/state.ts";
import { Code, type ExitDetails, type FakeSvm } from "./fake/svm.ts";

const stop = (name: string) => abi(`STOPREASON_${name}`);
const DB = Code.EXCEPTION + 1;
const AC = Code.EXCEPTION + 17;
const MC = Code.EXCEPTION + 18;
const BUSY = 0xfffffffe;

/** Reasons for which a VM may end, by exit; all others are exits that nothing has been asked for. */
const ends = new Map<number, string[]>([
  [DB, ["TRIPLE_FAULT"]],
  [AC, ["TRIPLE_FAULT"]],
  [Code.SHUTDOWN, ["TRIPLE_FAULT"]],
  [Code.HLT, ["HALTED_FOREVER"]],
  [Code.IOIO, ["POWERED_OFF", "RESET"]],
  [Code.NPF, ["NOT_EMULATED", "DELIVERY_NOT_EMULATED", "TRIPLE_FAULT"]],
  [Code.INVALID, ["ENTRY_REFUSED"]],
]);

/** Those that end no VM, with what the CPU has found at RIP. */
const handled = new Map<number, number[]>([
  [Code.READ_CR4, [0x0f, 0x20, 0xe3]],
  [Code.WRITE_CR4, [0x0f, 0x22, 0xe0]],
  [Code.READ_CR8, [0x44, 0x0f, 0x20, 0xc3]],
  [Code.WRITE_CR8, [0x44, 0x0f, 0x22, 0xc0]],
  [Code.INTR, []],
  [Code.WRITE_CR0, [0x0f, 0x22, 0xc1]],
  [Code.VINTR, []],
  [Code.RDPMC, [0x0f, 0x33]],
  [Code.CPUID, [0x0f, 0xa2]],
  [Code.IRET, [0xcf]],
  [Code.INVD, [0x0f, 0x08]],
  [Code.PAUSE, [0xf3, 0x90]],
  [Code.MSR, [0x0f, 0x32]],
  [Code.FERR_FREEZE, []],
  [Code.ICEBP, [0xf1]],
  [Code.WBINVD, [0x0f, 0x09]],
  [Code.XSETBV, [0x0f, 0x01, 0xd1]],
]);
for (let code = Code.VMRUN; code <= Code.SKINIT; code++) handled.set(code, []);
for (const code of [Code.INVLPGA, Code.MONITOR, Code.MWAIT, Code.MWAIT_ARMED, Code.RDPRU])
  handled.set(code, []);
for (const code of [Code.INVLPGB, Code.INVLPGB_ILLEGAL, Code.MCOMMIT, Code.TLBSYNC]) handled.set(code, []);

const endsOf = (code: number) => (handled.has(code) ? [] : (ends.get(code) ?? ["UNEXPECTED_EXIT"]));

/** All exits, but those that go to root. */
const codes = [
  ...Array.from({ length: 0xb0 }, (_, n) => n),
  0x400,
  0x401,
  0x402,
  0x403,
  Code.INVALID,
  BUSY,
].filter((code) => ![Code.NMI, MC].includes(code));

const bit = (random: Random, n: number) => (random.below(2) ? 1n << BigInt(n) : 0n);
const number64 = (random: Random) => (BigInt(random.below(2 ** 32)) << 32n) | BigInt(random.below(2 ** 32));

/** A state of VT-x's tests, as the VMCB has it. */
function load(cpu: FakeSvm, fields: Fields): void {
  const get = (field: number) => fields.get(field)!;
  cpu.cr0 = get(0x6800);
  cpu.cr3 = get(0x6802);
  cpu.cr4 = get(0x6804) & ~0x2000n; // VMXE
  cpu.efer = get(0x2806);
  cpu.rsp = get(0x681c);
  cpu.rip = get(0x681e);
  cpu.rflags = get(0x6820);
  cpu.blocking = get(0x4824);
  cpu.gdtr = { base: get(0x6816), limit: Number(get(0x4810)) };
  cpu.idtr = { base: get(0x6818), limit: Number(get(0x4812)) };
  for (let n = 0; n < 8; n++) {
    const [selector, limit, rights] = [Field.selector(n), Field.limit(n), Field.rights(n)].map((f) =>
      Number(get(f)),
    );
    cpu.setSegment(n, { selector: selector!, base: get(Field.base(n)), limit: limit!, rights: rights! });
  }
}

/** An event in whose delivery a nested page fault or an exception can come. */
function interrupted(cpu: FakeSvm, random: Random): Injected {
  const { Interrupt, Nmi, Exception, SoftwareInterrupt } = EventType;
  const types = [Nmi, Exception, Exception, Exception, SoftwareInterrupt];
  const type = random.pick(cpu.interruptsOn ? [Interrupt, ...types] : types);
  const vector =
    type === Nmi
      ? 2
      : type === Exception
        ? random.pick([0, 1, 3, 4, 6, 8, 10, 11, 12, 13, 14, 17])
        : random.below(256);
  const event: Injected = { type, vector };
  const pushes = type === Exception && [8, 10, 11, 12, 13, 14, 17].includes(vector) && (cpu.cr0 & 1n) !== 0n;
  if (pushes) event.error = vector === 8 ? 0 : random.below(0x10000);
  return event;
}

/** What the CPU says of the exit (15.7 to 15.14). */
function details(cpu: FakeSvm, code: number, random: Random): ExitDetails {
  switch (code) {
    case Code.READ_CR4:
    case Code.WRITE_CR4:
    case Code.READ_CR8:
    case Code.WRITE_CR8:
      return { info1: cpu.has.assists ? (1n << 63n) | BigInt(random.below(16)) : 0n };
    case Code.MSR:
      return { info1: bit(random, 0) };
    case Code.IOIO: {
      const known = [0x20, 0x21, 0x40, 0x43, 0x61, 0x70, 0x71, 0xcf8, 0x3f8, 0x3fd, 0x604];
      const port = random.pick([...known, random.below(65536)]);
      const size = random.pick([0x10n, 0x20n, 0x40n]);
      const info1 = BigInt(port * 65536) | size | bit(random, 0) | bit(random, 2) | bit(random, 3);
      const next = cpu.rip + 1n;
      return { info1, info2: (cpu.segment(1).rights & 0x2000) !== 0 ? next : next & 0xffffffffn };
    }
    case Code.NPF: {
      const walk = random.below(2);
      const info1 = 4n | bit(random, 1) | bit(random, 4) | (1n << (walk ? 33n : 32n));
      const bytes = Uint8Array.from({ length: random.below(16) }, () => random.below(256));
      return { info1, info2: random.pick([0xc0000000n, 0xfee00000n, 0xfffffffffn]), code: bytes };
    }
    default:
      return { info1: number64(random), info2: number64(random) };
  }
}

test("Every exit in every state is handled, refused by an exception, or ends the VM by a name that fits it", () => {
  const random = new Random(1);
  const processors = [{ nextRip: true, assists: true }, { nextRip: true }, { nextRip: false }];
  const start = (n: number) => startSvm(processors[n], { ram: 4 << 20 });
  const guests = processors.map((_, n) => start(n));
  const seen = new Set<number>();
  const done = new Set<number>();
  const often = [...handled.keys(), ...ends.keys()];
  for (let i = 0; i < 2000 * Math.ceil(effort / 5); i++) {
    const n = random.below(processors.length);
    const { machine, cpu } = guests[n]!;
    const code = random.below(5) ? random.pick(often) : random.pick(codes);
    load(cpu, randomState(random.pick(modes), random));
    for (let r = 0; r < 16; r++) machine.setGpr(r, random.below(2) ? random.below(256) : number64(random));
    for (let k = 0; k < 20; k++) machine.ram.store(BigInt(random.below(0x8000)), 8, number64(random));
    machine.tsc += BigInt(random.below(100_000_000));
    machine.races = random.below(4) ? 0 : 1;
    const exit = details(cpu, code, random);
    if ([DB, AC, Code.NPF].includes(code) && random.below(2)) exit.during = interrupted(cpu, random);
    // A delivery has ended a shadow, and a window opens in none.
    if (exit.during || code === Code.VINTR) cpu.blocking = 0n;
    if (code === Code.VINTR) cpu.interruptsOn = true;
    const what = `exit ${i}, code ${code.toString(16)}`;
    const bytes = handled.get(code) ?? (code === Code.HLT ? [0xf4] : undefined);
    const { rip } = cpu;
    let next: Next;
    try {
      next = bytes && random.below(4) ? cpu.instruction(code, bytes, exit) : cpu.exit(code, exit);
    } catch (error) {
      throw new Error(`${what}: ${(error as Error).message}`);
    }
    if (code === Code.IRET) cpu.returnTo(0n);
    if (cpu.rip !== rip || cpu.injecting) done.add(code);
    if (next === Next.Resume) continue;
    if (next === Next.Yield) {
      expect([Code.HLT, Code.IOIO, Code.PAUSE], what).toContain(code);
      if (code === Code.HLT) guests[n] = start(n);
      continue;
    }
    expect(next, what).toBe(Next.Stop);
    expect(endsOf(code).map(stop), what).toContain(machine.stop.reason);
    if (endsOf(code)[0] === "UNEXPECTED_EXIT") expect(machine.stop.detail, what).toBe(BigInt(code));
    seen.add(machine.stop.reason);
    guests[n] = start(n);
  }
  const names = [
    "TRIPLE_FAULT",
    "HALTED_FOREVER",
    "ENTRY_REFUSED",
    "UNEXPECTED_EXIT",
    "DELIVERY_NOT_EMULATED",
  ];
  for (const name of [...names, "NOT_EMULATED"]) expect(seen, name).toContain(stop(name));
  // None of them always leaves the guest where it was.
  for (const code of handled.keys())
    if (![Code.VINTR, Code.IRET, Code.INTR].includes(code)) expect(done, code.toString(16)).toContain(code);
});

test("Exits that root does not ask for end the VM by name, exceptions among them", () => {
  const asked = new Set([...handled.keys(), ...ends.keys()]);
  for (const code of codes.filter((c) => !asked.has(c))) {
    const { machine, cpu } = startSvm();
    expect(cpu.exit(code), code.toString(16)).toBe(Next.Stop);
    expect(machine.stop).toEqual({ reason: stop("UNEXPECTED_EXIT"), detail: BigInt(code) });
    expect(machine.exits("UNEXPECTED")).toBe(1n);
  }
});

test("A shutdown names where the guest was, a VMCB that VMRUN refuses its exit code", () => {
  const triple = startSvm();
  expect(triple.cpu.exit(Code.SHUTDOWN)).toBe(Next.Stop);
  expect(triple.machine.stop).toEqual({ reason: stop("TRIPLE_FAULT"), detail: triple.cpu.rip });
  const refused = startSvm();
  expect(refused.cpu.exit(Code.INVALID)).toBe(Next.Stop);
  expect(refused.machine.stop).toEqual({ reason: stop("ENTRY_REFUSED"), detail: 0xffffffffn });
});
