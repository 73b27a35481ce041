/** Instructions of generated code against C by hand and wasm2c's: `scripts/bench --toolchain` in short. */
import { expect, test } from "vitest";
import {
  countInstructions,
  meanRatio,
  parseCounts,
  qualityBudget,
  sumKernels,
} from "../../tools/bench/toolchain.ts";
import { workFolder } from "./engines.ts";

test(
  "exits handled in TypeScript cost at most a tenth more instructions than in C, and no more than by wasm2c",
  { timeout: 120_000 },
  async () => {
    const counts = await countInstructions(workFolder("cost"), "exit");
    expect(counts.map(({ part }) => part)).toEqual(["cpuid", "in", "out", "halt"]);
    for (const { part, typescript, c, wasm2c } of counts) {
      console.log(`${part}: ${typescript}, C ${c}, wasm2c ${wasm2c}`);
      expect(typescript, part).toBeLessThanOrEqual(wasm2c);
      expect(c, part).toBeGreaterThan(20);
    }
    expect(meanRatio(counts)).toBeLessThanOrEqual(qualityBudget);
  },
);

const lines = [
  "nothing - - 4 00",
  "a one typescript 15 01",
  "a one c 14 01",
  "a one wasm2c 24 01",
  "a two typescript 37 02",
  "a two c 24 02",
  "a two wasm2c 44 02",
  "b one typescript 24 03",
  "b one c 24 03",
  "b one wasm2c 54 03",
];

test("What surrounds a call is not counted, parts are summed, and each kernel weighs the same in the mean", () => {
  const counts = parseCounts(lines.join("\n"));
  expect(counts[0]).toEqual({ kernel: "a", part: "one", typescript: 11, c: 10, wasm2c: 20 });
  expect(sumKernels(counts)).toMatchObject([
    { kernel: "a", typescript: 44, c: 30, wasm2c: 60 },
    { kernel: "b", typescript: 20, c: 20, wasm2c: 50 },
  ]);
  expect(meanRatio(counts)).toBeCloseTo((44 / 30 + 1) / 2);
});

test("A variant that computes something else is no variant, and neither is one that computes nothing", () => {
  const other = lines.map((line) => line.replace("a two c 24 02", "a two c 24 ff"));
  expect(() => parseCounts(other.join("\n"))).toThrow("a two: c computes something else");
  const same = lines.map((line) => line.replace(/0[12]$/, "01"));
  expect(() => parseCounts(same.join("\n"))).toThrow("two parts compute the same");
});
