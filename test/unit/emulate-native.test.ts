import { expect, test } from "vitest";
import { CodeGuest } from "./fake/code.ts";
import { Gpr, Next } from "./fake/exit.ts";
import { CODE, DATA, WINDOW, WINDOW_OFFSET, execute, type Case } from "./oracle/native.ts";
import { assemble } from "./oracle/nasm.ts";
import { DF, Random, STATUS, randomCase, type RandomCase } from "./oracle/random.ts";

/** The data's two pages, which are no neighbours in the guest's memory. */
const PAGES = [0x500000, 0x503000];

function guestOf(bits: 32 | 64): CodeGuest {
  const guest = new CodeGuest({
    size: bits,
    paging: bits === 64 ? "4-level" : "32-bit",
    rip: CODE,
    code: 0x400000n,
  });
  PAGES.forEach((gpa, n) => guest.tables!.map(DATA + BigInt(n * 4096), BigInt(gpa)));
  return guest;
}

/** What the window is made of: in the guest's memory, and in the window's bytes. */
const PARTS = [
  { gpa: PAGES[0]! + WINDOW_OFFSET, from: 0, to: 4096 - WINDOW_OFFSET },
  { gpa: PAGES[1]!, from: 4096 - WINDOW_OFFSET, to: WINDOW },
];

function emulate(guest: CodeGuest, test: Case): Next {
  const ram = guest.machine.ram;
  for (const { gpa, from, to } of PARTS) ram.put(gpa, test.memory.subarray(from, to));
  test.registers.forEach((value, r) => guest.set(r, value));
  guest.flags = test.flags;
  return guest.access(test.code);
}

function memoryOf(guest: CodeGuest): Uint8Array {
  return Buffer.concat(
    PARTS.map(({ gpa, from, to }) => guest.machine.ram.bytes.subarray(gpa, gpa + to - from)),
  );
}

const SIGILL = 4;

for (const bits of [64, 32] as const) {
  test(`${bits}-bit instructions do what they do on this machine's CPU`, () => {
    const random = new Random(bits * 7919);
    const chosen: RandomCase[] = Array.from({ length: 20_000 }, () => randomCase(random, bits));
    const codes = assemble(
      bits,
      chosen.map((c) => c.text),
    );
    const cases: Case[] = chosen.map((c, n) => ({ ...c, bits, code: codes[n]! }));
    const outcomes = execute(cases);
    const guest = guestOf(bits);
    const wrong: string[] = [];
    let compared = 0;
    outcomes.forEach((expected, n) => {
      const { text, undefinedFlags } = chosen[n]!;
      if (expected.signal === SIGILL) return; // this CPU lacks it
      const next = emulate(guest, cases[n]!);
      const fault = guest.fault;
      const mask = (STATUS | DF) & ~undefinedFlags;
      const complain = (what: string) => {
        const state = cases[n]!.registers.map((value, r) => `${Gpr[r]}=${value.toString(16)}`).join(" ");
        wrong.push(
          `${text} (${Buffer.from(codes[n]!).toString("hex")}): ${what}; flags ${cases[n]!.flags.toString(16)} ${state}`,
        );
      };
      compared++;
      if (next !== Next.Resume) return complain("the VM stopped");
      if (expected.signal) {
        if (!fault) complain(`signal ${expected.signal}`);
        return;
      }
      if (fault) return complain(`exception ${fault.vector}`);
      if (guest.moved !== BigInt(codes[n]!.length)) return complain(`RIP moved ${guest.moved}`);
      expected.registers.forEach((value, r) => {
        const got = BigInt.asUintN(bits, guest.get(r));
        if (got !== BigInt.asUintN(bits, value))
          complain(`${Gpr[r]} is ${got.toString(16)}, not ${value.toString(16)}`);
      });
      if ((guest.flags ^ expected.flags) & mask) {
        complain(
          `flags are ${(guest.flags & mask).toString(16)}, not ${(expected.flags & mask).toString(16)}`,
        );
      }
      if (Buffer.compare(memoryOf(guest), expected.memory)) complain("memory differs");
    });
    expect(wrong.slice(0, 8)).toEqual([]);
    expect(compared).toBeGreaterThan(18_000);
  });
}
