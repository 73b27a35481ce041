import { beforeAll, describe, expect, test } from "vitest";
import { Batch, buildTools } from "./engines.ts";
import { Kind, Script, Status, type Outcomes } from "./script.ts";
import { corpora } from "./corpus/all.ts";

const script = new Script();
let batch: Batch;
let native: Outcomes;

beforeAll(() => {
  buildTools();
  batch = new Batch(
    "differential",
    corpora.map(({ program }) => program),
  );
  corpora.forEach((corpus, module) => corpus.calls(script, module));
  native = batch.native(script);
}, 120_000);

/** The first few differences, in words. */
function differences(other: Outcomes, same: (a: bigint, b: bigint) => boolean): string[] {
  const found: string[] = [];
  expect(other.length).toBe(native.length);
  for (let i = 0; i < script.length && found.length < 10; i++) {
    if (same(native[2 * i]!, other[2 * i]!) && native[2 * i + 1] === other[2 * i + 1]) continue;
    const { module, kind, callee, values } = script.step(i);
    const name = batch.programs[module]!.name;
    const what = kind === Kind.Call ? `${batch.signatures[module]![callee]!.name}(${values.join(", ")})` : "hash";
    const outcome = (outcomes: Outcomes) => `${outcomes[2 * i]}:${outcomes[2 * i + 1]}`;
    found.push(`step ${i}: ${name} ${what}: wasm3-build ${outcome(native)}, expected ${outcome(other)}`);
  }
  return found;
}

describe("wasm3-build's C computes", () => {
  test("what V8 computes", () => {
    // V8 has one message for a null table entry and for one of another type.
    const indirect = (status: bigint) => (status === BigInt(Status.UndefinedElement) ? BigInt(Status.SignatureMismatch) : status);
    expect(differences(batch.v8(script), (a, b) => indirect(a) === indirect(b))).toEqual([]);
  });

  test("what the wasm3 interpreter computes", () => {
    expect(differences(batch.interpreter(script), (a, b) => a === b)).toEqual([]);
  });

  test("at least 100,000 results", () => {
    expect(script.length).toBeGreaterThan(100_000);
    console.log(`${script.length} results compared`);
  });
});
