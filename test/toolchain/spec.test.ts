import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { moduleOf, opcodesOf, text, vector } from "./binary.ts";
import { variants } from "./comparison.ts";
import { buildTools, tool, workFolder } from "./engines.ts";
import { Status } from "./script.ts";
import { suites } from "./spec/all.ts";
import { binary, conversions, unary } from "./spec/definitions.ts";
import { byHand } from "./spec/numbers.ts";
import { Run } from "./spec/suite.ts";

beforeAll(buildTools, 60_000);

describe("what the WebAssembly specification says is computed by", () => {
  let run: Run;

  beforeAll(() => {
    run = new Run("spec", suites);
  });

  test("wasm3-build's C", { timeout: 120_000 }, () => {
    console.log(`${run.length} expectations`);
    expect(run.wrong("native")).toEqual([]);
  });

  test.runIf(process.env["NIGHTLY"] === "1").each(variants)(
    "wasm3-build's C compiled with %s %s",
    { timeout: 300_000 },
    (...flags) => {
      expect(run.wrongWithFlags(...flags)).toEqual([]);
    },
  );

  // These tell whether the expectations are right.
  const nullOrMismatch = (a: Status, b: Status) =>
    a === b || (a === Status.SignatureMismatch && b === Status.UndefinedElement);

  test("V8", () => {
    expect(run.wrong("v8", nullOrMismatch)).toEqual([]);
  });

  test("the wasm3 interpreter", () => {
    expect(run.wrong("interpreter")).toEqual([]);
  });

  test.runIf(process.env["NIGHTLY"] === "1")("wasm2c's C", { timeout: 300_000 }, () => {
    expect(run.wrong("wasm2c", nullOrMismatch)).toEqual([]);
  });
});

const titled = byHand.map(
  ([instruction, operands, result]) =>
    [`${instruction} of ${operands.join(", ")} is ${result}`, instruction, operands, result] as const,
);

test.each(titled)("by hand, %s", (_, instruction, operands, result) => {
  const n = instruction.startsWith("i32") ? 32 : 64;
  const name = instruction.slice(4);
  const [a, b] = operands as [bigint, bigint];
  const outcome = conversions[instruction]?.[2](a) ?? unary[name]?.(n, a) ?? binary[name]!(n, a, b);
  const trap = { zero: Status.DivideByZero, overflow: Status.IntegerOverflow };
  expect(outcome).toEqual(typeof result === "bigint" ? result : { trap: trap[result as keyof typeof trap] });
});

test("every opcode is either refused by name or part of a module above", { timeout: 60_000 }, () => {
  const folder = workFolder("opcodes");
  const tested = new Set(suites.flatMap(({ wasm }) => [...opcodesOf(wasm)]));
  const all = Array.from({ length: 256 }, (_, i) => i).filter((i) => i !== 0xfc);
  const untested: string[] = [];
  let refused = 0;
  for (const opcode of [...all, ...all.map((i) => 0xfc00 + i)]) {
    // The opcode, and zeros for its immediates; wasm3-build looks for what it refuses before anything else.
    const bytes =
      opcode > 0xff ? [0xfc, ...(opcode & 0x80 ? [opcode & 0xff, 1] : [opcode & 0xff])] : [opcode];
    const code = [0, ...bytes, 0, 0, 0, 0x0b];
    const wasm = moduleOf([
      { id: 1, body: vector([[0x60, 0, 0]]) },
      { id: 3, body: [1, 0] },
      { id: 7, body: vector([[...text("run"), 0, 0]]) },
      { id: 10, body: vector([[code.length, ...code]]) },
    ]);
    const file = path.join(folder, "module.wasm");
    writeFileSync(file, wasm);
    const { stderr, status, signal } = spawnSync(tool, [file, "--prefix", "vm", "--report"], {
      encoding: "utf8",
    });
    expect(signal).toBe(null);
    const name = `run: .* \\(opcode 0x0?${opcode.toString(16)}\\) is not supported\n`;
    if (status === 1 && new RegExp(name).test(stderr)) refused++;
    else if (!tested.has(opcode)) untested.push(`0x${opcode.toString(16)} ${stderr}`);
  }
  // memory.grow and global.set are understood, to say who does it, and then refused: refusals.test.ts.
  expect(untested.map((each) => each.split(" ")[0])).toEqual(["0x24", "0x40"]);
  expect(refused).toBeGreaterThan(300);
});
