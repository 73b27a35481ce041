/** The arithmetic of clocks (kernel/lib/scale.ts), compiled alone, against BigInt. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { projectDirectory } from "../../tools/machine/run-directory.ts";
import { compile } from "../toolchain/asc.ts";
import { Random } from "./fake/pc.ts";

type Binary = (a: bigint, b: bigint) => bigint;

const ALL = (1n << 64n) - 1n;
const u64 = (value: bigint) => BigInt.asUintN(64, value);
const up = (value: bigint, divisor: bigint) => (value + divisor - 1n) / divisor;

let scale: Binary;
let scaleUp: Binary;
let factorOf: Binary;
let inverseOf: (factor: bigint) => bigint;

beforeAll(async () => {
  const source = readFileSync(join(projectDirectory, "kernel/lib/scale.ts"), "utf8");
  const { wasm } = await compile({ "scale.ts": source }, "scale.ts");
  const { instance } = await WebAssembly.instantiate(new Uint8Array(wasm), {
    env: { abort: () => undefined },
  });
  scale = instance.exports["scale"] as Binary;
  scaleUp = instance.exports["scaleUp"] as Binary;
  factorOf = instance.exports["factorOf"] as Binary;
  inverseOf = instance.exports["inverseOf"] as typeof inverseOf;
});

const edges = [0n, 1n, 2n, 0xffffffffn, 1n << 32n, (1n << 48n) - 1n, 1n << 48n, 1n << 63n, ALL - 1n, ALL];

/** Pairs of the edges, and random ones of every size. */
function pairs(): [bigint, bigint][] {
  const random = new Random(4711);
  const any = () => {
    const word = (BigInt(random.below(2 ** 32)) << 32n) | BigInt(random.below(2 ** 32));
    return word >> BigInt(random.below(64));
  };
  return [
    ...edges.flatMap((a) => edges.map((b): [bigint, bigint] => [a, b])),
    ...Array.from({ length: 20_000 }, (): [bigint, bigint] => [any(), any()]),
  ];
}

test("A value times a factor is what the CPU takes of the 128-bit product: bits 111 to 48", () => {
  for (const [value, factor] of pairs())
    expect(u64(scale(value, factor))).toBe(factor ? u64((value * factor) >> 48n) : value);
});

test("Rounded up it is never less, and all ones when it does not fit", () => {
  for (const [value, factor] of pairs()) {
    const exact = factor ? up(value * factor, 1n << 48n) : value;
    expect(u64(scaleUp(value, factor))).toBe(exact > ALL ? ALL : exact);
  }
});

test("A factor is the quotient of two frequencies with 48 bits behind the point, whatever their size", () => {
  let tried = 0;
  for (const [value, divisor] of pairs()) {
    if (divisor === 0n || value / divisor >= 1n << 16n) continue;
    expect(u64(factorOf(value, divisor))).toBe((value << 48n) / divisor);
    tried++;
  }
  expect(tried).toBeGreaterThan(1000);
});

test("An inverse is rounded up, and exact where it can be", () => {
  expect(inverseOf(0n)).toBe(0n);
  expect(inverseOf(1n << 47n)).toBe(1n << 49n);
  for (const [factor] of pairs()) {
    if (factor <= 1n << 32n) continue;
    expect(u64(inverseOf(factor))).toBe(up(1n << 96n, factor));
  }
});
