import { beforeAll, describe, expect, test } from "vitest";
import { randomProgram } from "./corpus/random.ts";
import { Comparison, variants } from "./comparison.ts";
import { buildTools } from "./engines.ts";

const nightly = process.env["NIGHTLY"] === "1";
const batches = nightly ? 40 : 2;
const programs = nightly ? 8 : 6;
const callsEach = nightly ? 400 : 40;

describe("random programs compute the same in wasm3-build's C, V8 and the wasm3 interpreter", () => {
  beforeAll(buildTools, 60_000);

  for (let batch = 0; batch < batches; batch++) {
    const seeds = Array.from({ length: programs }, (_, i) => 1 + batch * programs + i);
    test(`seeds ${seeds[0]} to ${seeds.at(-1)}`, { timeout: 600_000 }, () => {
      const corpora = seeds.map((seed) => randomProgram(`random${seed}`, seed, 30, callsEach));
      const comparison = new Comparison("fuzz", corpora);
      expect(comparison.differencesFromV8()).toEqual([]);
      expect(comparison.differencesFromInterpreter()).toEqual([]);
      if (nightly) {
        expect(comparison.differencesFromWasm2c()).toEqual([]);
        expect(comparison.differencesWithFlags(...variants[batch % variants.length]!)).toEqual([]);
      }
      console.log(`${comparison.script.length} results compared`);
    });
  }
});
