/**
 * The words of the VMCB that a monitor may read and write, and the clean bits that it takes back: the C bodies that ship
 * beside the table of the fake CPU, which is the manual's (APM Vol. 2 15.15.3, VMCB Clean Field; Appendix B).
 */
import { describe, expect, test } from "vitest";
import { cleanBit, forced, isReadable, writable } from "./fake/svm.ts";
import { CPU_CR2, type Call, callAll } from "./oracle/vmcb.ts";

const CLEAN = 0xc0;
const CR2 = 0x640;
const ALL = 0xffffffffn;
const words = Array.from({ length: 256 }, (_, n) => n * 8);
const unaligned = [1, 4, 0x404, 0x54c, 0x57c];

/** The result of one call after some others. */
function last(...calls: Call[]) {
  return callAll(calls).at(-1);
}

test("A monitor reads the words of the allow list, whole, and no others", () => {
  const calls = [...words, ...unaligned].flatMap((at): Call[] => [
    ["poke", at & ~7, BigInt(at) | 0xabcdef0123450000n],
    ["read", at],
  ]);
  const results = callAll(calls);
  [...words, ...unaligned].forEach((at, n) => {
    const expected = isReadable(at) ? BigInt(at) | 0xabcdef0123450000n : "trap";
    expect(results[n * 2 + 1], at.toString(16)).toBe(expected);
  });
});

test("A monitor sets the bits of the allow list, and no others", () => {
  const bits = Array.from({ length: 64 }, (_, n) => 1n << BigInt(n));
  const calls = words.flatMap((at) => bits.map((bit): Call => ["write", at, bit]));
  const results = callAll(calls);
  calls.forEach(([, at, bit], n) => {
    const expected = (writable(at) & bit!) !== 0n ? bit! | forced(at) : undefined;
    const result = results[n];
    const written = result instanceof Map ? (result.get(at) ?? "nothing") : undefined;
    expect(written, `${at.toString(16)}: ${bit!.toString(16)}`).toBe(expected);
  });
  expect(callAll(unaligned.map((at) => ["write", at, 0n])).every((result) => result === "trap")).toBe(true);
});

test("A write takes back the clean bit of its group, and changes nothing else but CR2, which not every VMRUN loads", () => {
  for (const at of words.filter((offset) => writable(offset) !== 0n)) {
    const bit = cleanBit(at);
    const value = writable(at) & -writable(at);
    const expected = new Map([[at, value | forced(at)]]);
    if (at === CR2) expected.set(CPU_CR2, value);
    if (bit !== undefined) expected.set(CLEAN, ALL & ~(1n << BigInt(bit)));
    const result = last(["poke", CLEAN, ALL], ["write", at, value]) as Map<number, bigint>;
    expect(new Map([...result].sort()), at.toString(16)).toEqual(new Map([...expected].sort()));
  }
});

describe("What has a call of its own", () => {
  test.each([
    ["IRET", "iret", 52n],
    ["a virtual interrupt", "virtual", 36n],
  ] as const)("intercepts %s, or does not, beside what root intercepts", (_, call, bit) => {
    const own = 1n << bit;
    const root = 0x1234_5678_8002_0000n & ~own;
    const dirty = [CLEAN, ALL & ~1n] as const;
    const set: Call[] = [
      ["poke", 8, root],
      ["poke", CLEAN, ALL],
      [call, 1],
    ];
    expect(last(...set)).toEqual(new Map([[8, root | own], dirty]));
    expect(last(...set, ["poke", CLEAN, ALL], [call, 0])).toEqual(new Map([[8, root], dirty]));
  });

  test("flushes as root says, unless root has asked for more", () => {
    const asid = 7n;
    for (const control of [1, 3]) {
      const flushed = asid | (BigInt(control) << 32n);
      expect(last(["poke", 0x58, asid], ["flush", control])).toEqual(new Map([[0x58, flushed]]));
    }
    expect(last(["poke", 0x58, asid | (1n << 32n)], ["flush", 3])).toEqual(new Map());
  });
});
