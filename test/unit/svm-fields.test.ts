/**
 * The words of the VMCB that a monitor may read and write, and the clean bits that it takes back: the C bodies that ship
 * beside the table of the fake CPU, which is the manual's (APM Vol. 2 15.15.3, VMCB Clean Field; Appendix B).
 */
import { describe, expect, test } from "vitest";
import { cleanBit, isReadable, writable } from "./fake/svm.ts";
import { type Call, callAll } from "./oracle/vmcb.ts";

const CLEAN = 0xc0;
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
    const expected = (writable(at) & bit!) !== 0n ? bit! : undefined;
    const result = results[n];
    const written = result instanceof Map ? (result.get(at) ?? "nothing") : undefined;
    expect(written, `${at.toString(16)}: ${bit!.toString(16)}`).toBe(expected);
  });
  expect(callAll(unaligned.map((at) => ["write", at, 0n])).every((result) => result === "trap")).toBe(true);
});

test("A write takes back the clean bit of its group, and changes nothing else", () => {
  for (const at of words.filter((offset) => writable(offset) !== 0n)) {
    const bit = cleanBit(at);
    const expected = new Map([[at, 1n]]);
    if (bit !== undefined) expected.set(CLEAN, ALL & ~(1n << BigInt(bit)));
    const result = last(["poke", CLEAN, ALL], ["write", at, 1n]) as Map<number, bigint>;
    expect(new Map([...result].sort()), at.toString(16)).toEqual(new Map([...expected].sort()));
  }
});

describe("What has a call of its own", () => {
  const MASKING = 1n << 24n;
  const TPR = 5n;

  test("asks for a window by a virtual interrupt that no priority holds back, and takes it back", () => {
    const set: Call[] = [
      ["poke", 0x60, MASKING | TPR],
      ["poke", CLEAN, ALL],
      ["window", 1],
    ];
    // V_IRQ, V_INTR_PRIO, V_IGN_TPR
    const on = MASKING | TPR | (1n << 8n) | (15n << 16n) | (1n << 20n);
    const dirty = [CLEAN, ALL & ~8n] as const;
    expect(last(...set)).toEqual(new Map([[0x60, on], dirty]));
    expect(last(...set, ["poke", CLEAN, ALL], ["window", 0])).toEqual(
      new Map([[0x60, MASKING | TPR], dirty]),
    );
  });

  test("intercepts IRET, or does not, beside what root intercepts", () => {
    const root = 0x1234_5678_8002_0000n;
    const iret = 1n << 52n;
    const dirty = [CLEAN, ALL & ~1n] as const;
    const set: Call[] = [
      ["poke", 8, root & ~iret],
      ["poke", CLEAN, ALL],
      ["iret", 1],
    ];
    expect(last(...set)).toEqual(new Map([[8, root | iret], dirty]));
    expect(last(...set, ["poke", CLEAN, ALL], ["iret", 0])).toEqual(new Map([[8, root & ~iret], dirty]));
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
