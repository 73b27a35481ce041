import { spawnSync } from "node:child_process";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { buildTools, tool, workFolder } from "./engines.ts";
import { refused } from "./refused.ts";
import { assemble, type Bytes } from "./wasm.ts";

const folder = workFolder("refusals");
const file = path.join(folder, "module.wasm");
const out = path.join(folder, "module.c");

beforeAll(buildTools, 60_000);

/** Runs wasm3-build and returns its lines on stderr, having made sure that it failed and wrote nothing. */
function refusal(wasm: Bytes, ...options: string[]): string[] {
  writeFileSync(file, wasm);
  rmSync(out, { force: true });
  const { status, stderr } = spawnSync(
    tool,
    [file, "-o", out, "--prefix", "module", "--report", ...options],
    {
      encoding: "utf8",
    },
  );
  expect(status).toBe(1);
  expect(existsSync(out)).toBe(false);
  return stderr
    .trimEnd()
    .split("\n")
    .map((line) => line.replace(`wasm3-build: ${file}: `, ""));
}

describe("refused by name, with the function that does it:", () => {
  test.each(refused)("%s", (_, text, message, features) => {
    expect(refusal(assemble("module", text, features))).toEqual([message]);
  });

  // wabt does not assemble these.
  test.each<[string, number[], string]>([
    ["shared memory", [1, 3, 3, 3], "memory is shared; threads are refused (asc without --sharedMemory)"],
    ["several memories", [2, 1, 1, 1, 1, 1, 1], "has 2 memories; expected at most one"],
  ])("%s", (_, section, message) => {
    expect(refusal(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 5, section.length, ...section))).toEqual([
      message,
    ]);
  });

  test("every refusal of a module at once, one line each", () => {
    const text = `(module (memory 1) (func $a f32.const 1 drop) (func $b (param f32)))`;
    expect(refusal(assemble("module", text))).toEqual([
      "memory of 1 pages may grow without limit; expected a fixed size (asc --initialMemory 1 --maximumMemory 1)",
      "a: a float constant (opcode 0x43) is not supported",
      "b: a parameter or result is neither i32 nor i64; use integers",
    ]);
  });
});

describe("imports are capabilities:", () => {
  const text = `(module (import "vmcs" "vmread" (func $r (param i32) (result i64))) (import "phys" "map" (func $m)) (func $victim (export "run") call $m))`;
  const list = path.join(folder, "module.imports");

  /** Runs wasm3-build with a list of imports. */
  function run(allowed: string) {
    writeFileSync(list, allowed);
    writeFileSync(file, assemble("module", text));
    const options = [file, "-o", out, "--prefix", "module", "--allow-imports", list];
    return spawnSync(tool, options, { encoding: "utf8" });
  }
  const refusedBy = (allowed: string) =>
    run(allowed)
      .stderr.trimEnd()
      .split("\n")
      .map((line) => line.replace(`wasm3-build: ${file}: `, "").replace(list, "LIST"));

  test("one off the list is refused by module and name, with its caller", () => {
    expect(refusedBy("vmcs\ncpu\n")).toEqual(["victim: imports phys.map, which LIST does not list"]);
  });

  test("one that nobody calls is refused too", () => {
    expect(refusedBy("phys\n")).toEqual(["imports vmcs.vmread, which LIST does not list"]);
  });

  test("an empty list allows none", () => {
    expect(refusedBy("# nothing\n\n")).toHaveLength(2);
  });

  test("a line is a module or one function of it; comments and blanks mean nothing", () => {
    expect(run("# reads\n\n  vmcs.vmread # slow\t\r\nphys").stderr).toBe("");
    expect(refusedBy("vmcs.vmwrite\nphys.map")).toEqual(["imports vmcs.vmread, which LIST does not list"]);
  });

  test("a part of a listed name is not listed", () => {
    expect(refusedBy("vmcs\nphysical\nhys\nphys.ma\nphys.mapped")).toHaveLength(1);
  });

  test("two names on a line are no list", () => {
    const { status, stderr } = run("vmcs\nphys map\n");
    expect(status).toBe(1);
    expect(stderr).toBe(
      `wasm3-build: ${list}:2: expected one module or module.function a line, or a # and a comment\n`,
    );
  });
});

describe("--report", () => {
  const report = (text: string, ...options: string[]) => {
    writeFileSync(file, assemble("module", text));
    const { status, stdout } = spawnSync(tool, [file, "--prefix", "vm", "--report", ...options], {
      encoding: "utf8",
    });
    return { status, lines: stdout.trimEnd().split("\n") };
  };

  test("prints functions, imports, memory image and the stack's bound, and needs no output", () => {
    const { status, lines } = report(`(module
      (import "vmcs" "vmread" (func $r (param i32) (result i64)))
      (import "phys" "map" (func $m))
      (memory (export "memory") 2 2) (data (i32.const 16) "abc") (data (i32.const 70000) "d")
      (func $leaf (param i64) (result i64) local.get 0 i64.const 3 i64.mul)
      (func $middle (param i32) (result i64) local.get 0 call $r call $leaf)
      (func $run (export "run") (param i32) call $m local.get 0 call $middle drop))`);
    expect(status).toBe(0);
    expect(lines[0]).toBe(`module vm (${file})`);
    expect(lines).toContain("  imports   vmcs: vmread(i32): i64");
    expect(lines).toContain("  imports   phys: map()");
    expect(lines).toContain("  exports   run(i32)");
    expect(lines).toContain("  memory    2 pages of 64 KiB, all zeros but 4 bytes in 2 segments");
    expect(lines).toContainEqual(
      expect.stringMatching(
        /^ {2}stack {5}at most 3 calls deep, at most \d+ slots of 8 bytes: run -> middle -> leaf$/,
      ),
    );
    expect(lines).toContainEqual(
      expect.stringMatching(
        /^ {2}function {2}leaf\(i64\): i64: 7 bytes, 4 operations, 2 slots, 1 calls deep$/,
      ),
    );
    expect(lines.at(-1)).toBe("  refused   nothing");
  });

  test("bounds the slots by the largest sum along any chain of calls, not by the longest chain", () => {
    const wide = Array.from({ length: 40 }, (_, i) => `local.get ${i} i32.add`).join(" ");
    const { lines } = report(`(module
      (func $wide (result i32) (local ${"i32 ".repeat(40)}) i32.const 1 ${wide})
      (func $a) (func $b call $a) (func $c call $b)
      (func $run (export "run") call $c call $wide drop))`);
    const stack = lines.find((line) => line.startsWith("  stack"))!;
    expect(stack).toMatch(/at most 4 calls deep, .*: run -> c -> b -> a$/);
    expect(Number(/at most (\d+) slots/.exec(stack)![1])).toBeGreaterThan(40);
  });

  test("says that recursion has no bound", () => {
    const { status, lines } = report(
      "(module (func $even call $odd) (func $odd call $even))",
      "--allow-recursion",
    );
    expect(status).toBe(0);
    expect(lines).toContain("  stack     no bound: even -> odd -> even");
  });

  test.each([
    [
      "after reading",
      "(module (func $f f32.const 1 drop))",
      "f: a float constant (opcode 0x43) is not supported",
    ],
    [
      "after compiling",
      "(module (func $f call $f))",
      "f: recursion: f -> f; the stack has no bound, use a loop",
    ],
    [
      "while reading",
      '(module (memory 1 1) (data "abc"))',
      "data segment 0 is passive or of another memory (flags 1); expected active ones",
    ],
  ])("lists what was refused %s", (_, text, message) => {
    const { status, lines } = report(text);
    expect(status).toBe(1);
    expect(lines.filter((line) => line.startsWith("  refused"))).toEqual([`  refused   ${message}`]);
  });

  test("is silent without being asked", () => {
    writeFileSync(file, assemble("module", "(module)"));
    const { status, stdout, stderr } = spawnSync(tool, [file, "-o", out, "--prefix", "vm"], {
      encoding: "utf8",
    });
    expect([status, stdout, stderr]).toEqual([0, "", ""]);
  });
});

describe("a file that is no module is refused", () => {
  const valid = assemble(
    "module",
    `(module (memory 1 1) (func (export "run") (param i32) (result i32) local.get 0))`,
  );

  test("when it is text", () => {
    expect(refusal(new TextEncoder().encode("(module)"))).toEqual([
      "expected a WebAssembly module of version 1",
    ]);
  });

  /** Runs wasm3-build on what may or may not be a module; true if it took it for one. A crash is an error. */
  function isTaken(wasm: Bytes): boolean {
    writeFileSync(file, wasm);
    const { status, signal, stderr } = spawnSync(tool, [file, "-o", out, "--prefix", "module"], {
      encoding: "utf8",
    });
    if (signal || (status !== 0 && !/^wasm3-build: .*\n$/m.test(stderr)))
      throw new Error(`${signal ?? status}: ${stderr}`);
    return status === 0;
  }

  test("when it is cut short anywhere but between sections", () => {
    for (let length = 0; length < valid.length; length++) {
      const wasm = valid.subarray(0, length);
      expect(isTaken(wasm)).toBe(WebAssembly.validate(wasm));
    }
  });

  test("without a crash, whichever of its bytes is wrong", () => {
    for (let at = 0; at < valid.length; at++)
      for (const change of [1, 0x80, 0xff]) {
        const wasm = valid.slice();
        wasm[at]! ^= change;
        isTaken(wasm);
      }
  });
});

describe("a wrong command line is answered with what was expected:", () => {
  const run = (...parameters: string[]) => spawnSync(tool, parameters, { encoding: "utf8" });

  test.each<[string[], string]>([
    [[], "expected IN.wasm, --prefix NAME, and -o OUT.c or --report; see --help"],
    [["a.wasm", "-o", "b.c"], "expected IN.wasm, --prefix NAME, and -o OUT.c or --report; see --help"],
    [["a.wasm", "--prefix", "m"], "expected IN.wasm, --prefix NAME, and -o OUT.c or --report; see --help"],
    [["a.wasm", "b.wasm"], "two modules given, a.wasm and b.wasm; expected one"],
    [["a.wasm", "--output", "b"], "unknown option --output; expected one that --help lists"],
    [["a.wasm", "-o"], "-o: expected a value after it"],
    [["a.wasm", "-o", "b.c", "-o", "c.c"], "-o: given twice"],
    [
      ["a.wasm", "-o", "b.c", "--prefix", "3d"],
      "--prefix 3d: expected a C identifier of letters, digits and single underscores",
    ],
    [
      ["/nonexistent.wasm", "-o", "b.c", "--prefix", "m"],
      "cannot read /nonexistent.wasm: No such file or directory",
    ],
  ])("%j", (parameters, message) => {
    const { status, stderr } = run(...parameters);
    expect(status).toBe(1);
    expect(stderr).toBe(`wasm3-build: ${message}\n`);
  });

  test("an unwritable output", () => {
    writeFileSync(file, assemble("module", "(module)"));
    const { status, stderr } = run(file, "-o", "/nonexistent/module.c", "--prefix", "module");
    expect(status).toBe(1);
    expect(stderr).toMatch(
      /^wasm3-build: cannot write \/nonexistent\/module\.c\.\d+\.tmp: No such file or directory\n$/,
    );
  });

  test("--help goes to stdout and succeeds", () => {
    const { status, stdout } = run("--help");
    expect(status).toBe(0);
    expect(stdout).toMatch(/^usage: wasm3-build IN\.wasm --prefix NAME \[-o OUT\.c\]/);
    for (const option of ["-o", "--prefix", "--map", "--allow-imports", "--report", "--help"])
      expect(stdout).toMatch(new RegExp(`^  ${option} `, "m"));
  });
});
