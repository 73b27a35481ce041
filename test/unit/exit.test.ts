/** Every exit that the CPU can make (SDM Vol. 3D Appendix C), in any state: the guest goes on, or its VM ends by name. */
import { expect, test } from "vitest";
import { CodeGuest } from "./fake/code.ts";
import { Next } from "./fake/exit.ts";
import { startGuest } from "./fake/guest.ts";
import { abi } from "./fake/layout.ts";
import { Random, effort } from "./fake/pc.ts";
import { modes, randomState } from "./fake/state.ts";
import { Field, type FakeVtx } from "./fake/vtx.ts";

const ENTRY_FAILURE = 0x80000000;
const REASONS = 82;
const stop = (name: string) => abi(`STOPREASON_${name}`);

/** Reasons for which a VM may end, by exit; all others are exits that nothing has been asked for. */
const ends: Record<number, string[]> = {
  0: ["TRIPLE_FAULT"],
  2: ["TRIPLE_FAULT"],
  9: ["TASK_SWITCH"],
  12: ["HALTED_FOREVER"],
  28: ["UNEXPECTED_EXIT"], // CLTS, LMSW, CR3
  30: ["POWERED_OFF", "RESET"],
  48: ["NOT_EMULATED", "DELIVERY_NOT_EMULATED", "TRIPLE_FAULT"],
};
/** Those that never end a VM. */
const handled = [1, 7, 8, 10, 11, 13, 15, 31, 32, 36, 39, 43, 45, 50, 52, 53, 54, 55, 58, 59, 60, 70, 76, 77];
for (let reason = 18; reason <= 27; reason++) handled.push(reason);

function endsOf(reason: number): string[] {
  if (reason >= ENTRY_FAILURE) return ["ENTRY_REFUSED"];
  return handled.includes(reason) ? [] : (ends[reason] ?? ["UNEXPECTED_EXIT"]);
}

const bit = (random: Random, n: number) => (random.below(2) ? 1n << BigInt(n) : 0n);
const number64 = (random: Random) => (BigInt(random.below(2 ** 32)) << 32n) | BigInt(random.below(2 ** 32));

/** Qualifications that the CPU can give (28.2.1). */
function qualification(reason: number, random: Random): bigint {
  switch (reason) {
    case 0:
      return bit(random, 0) | bit(random, 3) | bit(random, 13) | bit(random, 14);
    case 28:
      return BigInt(random.pick([0, 4, 8, 0x18, 3, 0x13, 0x20, 0x30]) | (random.below(16) << 8));
    case 30: {
      const port = random.pick([
        0x20,
        0x21,
        0x40,
        0x43,
        0x61,
        0x70,
        0x71,
        0xcf8,
        0x3f8,
        0x3fd,
        0x604,
        random.below(65536),
      ]);
      return (
        BigInt(random.pick([0, 1, 3])) |
        bit(random, 3) |
        bit(random, 4) |
        bit(random, 5) |
        BigInt(port * 65536)
      );
    }
    case 48:
      return BigInt(random.pick([1, 2, 4]) | random.pick([0, 0x80, 0x180])) | bit(random, 12);
    default:
      return number64(random);
  }
}

/** An event in whose delivery an EPT violation or an exception can come. */
function vectoring(cpu: FakeVtx, random: Random): number {
  const on = cpu.interruptsOn;
  const protectedMode = (cpu.get(Field.GUEST_CR0) & 1n) !== 0n;
  const type = random.pick(on ? [0, 2, 3, 3, 4, 5, 6] : [2, 3, 3, 4, 5, 6]);
  const vector =
    type === 2 ? 2 : type === 3 ? random.pick([0, 1, 6, 8, 10, 11, 12, 13, 14, 17]) : random.below(256);
  const error = type === 3 && protectedMode && [8, 10, 11, 12, 13, 14, 17].includes(vector);
  // Bit 12 is undefined.
  return (0x80000000 | (type << 8) | vector | (error ? 0x800 : 0) | (random.below(2) << 12)) >>> 0;
}

/** Makes the state one that the CPU saves at an exit of this reason (28.1, 28.3.4). */
function settle(cpu: FakeVtx, reason: number, event: number): void {
  const stepped = reason === 0;
  let blocking = cpu.get(Field.INTERRUPTIBILITY);
  const flags = cpu.get(Field.GUEST_RFLAGS);
  if (reason === 7 || (reason === 8 && blocking & 2n) || event) blocking &= 8n;
  if (reason === 7) cpu.set(Field.GUEST_RFLAGS, flags | 0x200n);
  if (reason === 8) blocking &= 1n;
  if (event && ((event >> 8) & 7) === 2) blocking |= 8n;
  // A step over STI is a debug exception at once.
  if (blocking & 1n && flags & 0x100n && !stepped) blocking &= 8n;
  if (stepped) blocking &= 9n;
  cpu.set(Field.INTERRUPTIBILITY, blocking);
  // Only MOV SS holds debug exceptions back over an exit.
  cpu.set(Field.PENDING_DEBUG, blocking & 2n ? (flags & 0x100n ? 0x4000n : 0x1001n) : 0n);
}

test("Every exit in every state is handled, refused by an exception, or ends the VM by a name that fits it", () => {
  const random = new Random(1);
  const entryFailures = [33, 34, 41].map((reason) => ENTRY_FAILURE + reason);
  const reasons = Array.from({ length: REASONS }, (_, n) => n);
  const seen = new Set<number>();
  let guest = startGuest({ ram: 4 << 20 });
  for (let i = 0; i < 1200 * Math.ceil(effort / 5); i++) {
    const { machine, cpu } = guest;
    const often = random.pick([0, 12, 28, 30, 48, 7, 8, 31, 32]);
    const reason = random.below(2) ? often : random.pick([...reasons, ...entryFailures]);
    for (const [field, value] of randomState(random.pick(modes), random)) cpu.set(field, value);
    cpu.cr0 = cpu.get(Field.GUEST_CR0) | bit(random, 30);
    cpu.set(Field.GUEST_CR0, cpu.get(Field.GUEST_CR0) & ~(1n << 30n));
    cpu.cr4 = cpu.get(Field.GUEST_CR4) & ~0x2040n;
    for (let n = 0; n < 16; n++) machine.setGpr(n, random.below(2) ? random.below(256) : number64(random));
    for (let n = 0; n < 20; n++) machine.ram.store(BigInt(random.below(0x8000)), 8, number64(random));
    machine.tsc += BigInt(random.below(100_000_000));
    machine.races = random.below(4) ? 0 : 1;
    const event = (reason === 0 || reason === 48) && random.below(2) ? vectoring(cpu, random) : 0;
    settle(cpu, reason, event);
    const int1 = reason === 0 && !event && random.below(4) === 0;
    const next = cpu.exit(reason, {
      QUALIFICATION: qualification(reason, random),
      EXIT_LENGTH: 1 + random.below(15),
      EXIT_INTERRUPTION: int1 ? 0x80000501 : random.pick([0x80000301, 0x80000b11, 0x80001b11]),
      EXIT_ERROR_CODE: 0,
      VECTORING: event,
      VECTORING_ERROR_CODE: random.below(0x10000),
      GUEST_PHYSICAL: random.pick([0xc0000000n, 0xfee00000n, 0xfffffffffn]),
      GUEST_LINEAR: BigInt(random.below(2 ** 32)),
    });
    const what = `exit ${i}, reason ${reason}`;
    if (next === Next.Resume) {
      expect(cpu.problems, what).toEqual([]);
    } else if (next === Next.Yield) {
      expect([12, 30, 52], what).toContain(reason);
      if (reason === 12) guest = startGuest({ ram: 4 << 20 });
    } else {
      expect(next, what).toBe(Next.Stop);
      expect(endsOf(reason).map(stop), what).toContain(machine.stop.reason);
      seen.add(machine.stop.reason);
      guest = startGuest({ ram: 4 << 20 });
    }
    if (reason >= ENTRY_FAILURE || endsOf(reason)[0] === "UNEXPECTED_EXIT")
      if (reason !== 28) expect(machine.stop.detail, what).toBe(BigInt(reason));
  }
  const names = ["TRIPLE_FAULT", "HALTED_FOREVER", "ENTRY_REFUSED", "UNEXPECTED_EXIT", "TASK_SWITCH"];
  for (const name of [...names, "DELIVERY_NOT_EMULATED"]) expect(seen, name).toContain(stop(name));
});

test("A task switch names the selector, a triple fault where the guest was", () => {
  const task = startGuest();
  expect(task.cpu.exit(9, { QUALIFICATION: 0x40000128, EXIT_LENGTH: 7 })).toBe(Next.Stop);
  expect(task.machine.stop).toEqual({ reason: stop("TASK_SWITCH"), detail: 0x128n });
  const triple = startGuest();
  expect(triple.cpu.exit(2)).toBe(Next.Stop);
  expect(triple.machine.stop).toEqual({ reason: stop("TRIPLE_FAULT"), detail: triple.cpu.rip });
});

test("EIP wraps behind an instruction that ends at 4 GiB, and RIP does not", () => {
  for (const size of [32, 64] as const) {
    const { cpu, machine } = new CodeGuest<FakeVtx>({ size });
    cpu.set(Field.ENTRY_CONTROLS, size === 64 ? 0x204 : 4);
    cpu.set(Field.GUEST_RIP, 0xfffffffen);
    expect(cpu.exit(10, { EXIT_LENGTH: 5 })).toBe(Next.Resume);
    if (size === 64) {
      expect([cpu.rip, ...cpu.problems]).toEqual([0x100000003n]);
      continue;
    }
    // Such an entry fails, with nothing changed (27.8), an event to deliver included.
    expect(cpu.problems).toEqual(["RIP: above 4 GiB outside 64-bit mode"]);
    cpu.set(Field.ENTRY_INTERRUPTION, 0x80000306);
    expect(machine.exports.exit(machine.vcpu, ENTRY_FAILURE + 33)).toBe(Next.Resume);
    expect([cpu.rip, ...cpu.problems]).toEqual([3n]);
    expect(cpu.takeInjected()).toEqual({ type: 3, vector: 6 });
    // That was its only reason.
    expect(machine.exports.exit(machine.vcpu, ENTRY_FAILURE + 33)).toBe(Next.Stop);
  }
});
