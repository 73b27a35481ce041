import { beforeAll, describe, expect, test } from "vitest";
import { Comparison, variants } from "./comparison.ts";
import { corpora } from "./corpus/all.ts";
import { buildTools } from "./engines.ts";

describe("wasm3-build's C computes", () => {
  let comparison: Comparison;

  beforeAll(() => {
    buildTools();
    comparison = new Comparison("differential", corpora);
  }, 120_000);

  test("what V8 computes", () => {
    expect(comparison.differencesFromV8()).toEqual([]);
  });

  test("what the wasm3 interpreter computes", () => {
    expect(comparison.differencesFromInterpreter()).toEqual([]);
  });

  test.runIf(process.env["NIGHTLY"] === "1")("what wasm2c's C computes", { timeout: 300_000 }, () => {
    expect(comparison.differencesFromWasm2c()).toEqual([]);
  });

  test.runIf(process.env["NIGHTLY"] === "1").each(variants)(
    "the same when compiled with %s %s",
    { timeout: 300_000 },
    (...flags) => {
      expect(comparison.differencesWithFlags(...flags)).toEqual([]);
    },
  );

  test("at least 100,000 results", () => {
    console.log(`${comparison.script.length} results compared`);
    expect(comparison.script.length).toBeGreaterThan(100_000);
  });
});
