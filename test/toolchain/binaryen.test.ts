import { readFileSync } from "node:fs";
import path from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { Comparison, variants } from "./comparison.ts";
import { binaryenProgram, callEvenly } from "./corpus/binaryen.ts";
import type { Corpus } from "./corpus/corpus.ts";
import { buildTools, root, workFolder } from "./engines.ts";
import { rewrite } from "./rewrite.ts";

const nightly = process.env["NIGHTLY"] === "1";
const batches = nightly ? 50 : 1;
const modules = nightly ? 20 : 12;
const calls = 1050;

/** Differences of wasm3-build's C from each other engine; wasm2c takes its time. */
function differences(comparison: Comparison, variant: readonly string[]): Record<string, string[]> {
  return {
    v8: comparison.differencesFromV8(),
    interpreter: comparison.differencesFromInterpreter(),
    ...(nightly ? { wasm2c: comparison.differencesFromWasm2c() } : {}),
    ...(nightly ? { flags: comparison.differencesWithFlags(...variant) } : {}),
  };
}

const none = nightly ? { v8: [], interpreter: [], wasm2c: [], flags: [] } : { v8: [], interpreter: [] };

beforeAll(buildTools, 60_000);

describe("modules by Binaryen's fuzzer compute the same in wasm3-build's C, V8 and the wasm3 interpreter", () => {
  let compared = 0;

  for (let batch = 0; batch < batches; batch++) {
    const seeds = Array.from({ length: modules }, (_, i) => 1 + batch * modules + i);
    test(`seeds ${seeds[0]} to ${seeds.at(-1)}`, { timeout: 600_000 }, async () => {
      const folder = workFolder(nightly ? "binaryen-nightly" : "binaryen");
      const corpora: Corpus[] = [];
      for (let i = 0; i < seeds.length; i += 2)
        corpora.push(
          ...(await Promise.all(seeds.slice(i, i + 2).map((seed) => binaryenProgram(folder, seed, calls)))),
        );
      const comparison = new Comparison(nightly ? "binaryen-nightly" : "binaryen", corpora);
      expect(differences(comparison, variants[batch % variants.length]!)).toEqual(none);
      compared += comparison.script.length;
    });
  }

  test("as many as were asked for", () => {
    console.log(`${batches * modules} modules, ${compared} results compared`);
    expect(compared).toBeGreaterThan(batches * modules * 1000);
  });
});

describe("the functions of the modules that ship compute the same, each called by itself", () => {
  test.each(["monitor-vmx", "monitor-svm", "root"])("%s", { timeout: 600_000 }, (module) => {
    const wasm = rewrite(Uint8Array.from(readFileSync(path.join(root, `build/modules/${module}.wasm`))), {
      limit: 3000,
    });
    const name = module.replace("-", "");
    const count = nightly ? 30_000 : 2_000;
    const comparison = new Comparison(`shipped-${module}`, [
      { program: { name, wasm }, calls: callEvenly(wasm, 1, count, 4) },
    ]);
    expect(differences(comparison, variants[0]!)).toEqual(none);
    const ended = comparison.trapped();
    console.log(`${module}: ${count} calls, ${ended} of them ended in a trap`);
    expect(ended).toBeLessThan(count * 0.9);
  });
});
