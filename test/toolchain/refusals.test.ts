import { spawnSync } from "node:child_process";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { buildTools, tool, workFolder } from "./engines.ts";
import { assemble, type Bytes } from "./wasm.ts";

const folder = workFolder("refusals");
const file = path.join(folder, "module.wasm");
const out = path.join(folder, "module.c");

beforeAll(buildTools, 60_000);

/** Runs wasm3-build and returns its lines on stderr, having made sure that it failed and wrote nothing. */
function refusal(wasm: Bytes, ...options: string[]): string[] {
  writeFileSync(file, wasm);
  rmSync(out, { force: true });
  const { status, stderr } = spawnSync(tool, [file, "-o", out, "--prefix", "module", ...options], {
    encoding: "utf8",
  });
  expect(status).toBe(1);
  expect(existsSync(out)).toBe(false);
  return stderr
    .trimEnd()
    .split("\n")
    .map((line) => line.replace(`wasm3-build: ${file}: `, ""));
}

/** A module with one function of a body, and what goes before. */
const body = (text: string, fields = "", head = "") =>
  `(module ${fields} (func $victim (export "run") ${head} ${text}))`;
const fixedMemory = "(memory 1 1)";

describe("refused by name, with the function that does it:", () => {
  const cases: [string, string, string, object?][] = [
    [
      "memory.grow",
      body("i32.const 1 memory.grow drop", fixedMemory),
      "victim: memory.grow; the memory's size is fixed",
    ],
    [
      "a float parameter",
      body("", "", "(param f64)"),
      "victim: a parameter or result is neither i32 nor i64; use integers",
    ],
    [
      "a float result",
      body("unreachable", "", "(result f32)"),
      "victim: a parameter or result is neither i32 nor i64; use integers",
    ],
    ["a float local", body("", "", "(local f32)"), "victim: a local is neither i32 nor i64; use integers"],
    ["a float constant", body("f64.const 1 drop"), "victim: a float constant (opcode 0x44) is not supported"],
    [
      "a float load",
      body("i32.const 0 f32.load drop", fixedMemory),
      "victim: a float load (opcode 0x2a) is not supported",
    ],
    [
      "a float store",
      body("i32.const 0 i32.const 0 f32.reinterpret_i32 f32.store", fixedMemory),
      "victim: a float conversion (opcode 0xbe) is not supported",
    ],
    [
      "float arithmetic, wherever it stands",
      body("i32.const 5 f64.convert_i32_s f64.neg i32.trunc_sat_f64_s drop"),
      "victim: a float conversion (opcode 0xb7) is not supported",
    ],
    [
      "select with a type",
      body("i32.const 1 i32.const 2 i32.const 3 select (result i32) drop"),
      "victim: select with a type (opcode 0x1c) is not supported",
    ],
    [
      "a loop with parameters",
      body("i32.const 1 loop (param i32) drop end"),
      "victim: a loop with parameters (opcode 0x03) is not supported",
    ],
    [
      "a block with parameters",
      body("i32.const 1 block (param i32) drop end"),
      "victim: a block with parameters (opcode 0x02) is not supported",
    ],
    [
      "an if with parameters",
      body("i32.const 1 i32.const 1 if (param i32) drop else drop end"),
      "victim: a block with parameters (opcode 0x04) is not supported",
    ],
    [
      "more than one result",
      body("i32.const 1 i32.const 2", "", "(result i32 i32)"),
      "victim: returns 2 values; expected at most one",
    ],
    [
      "an atomic operation",
      body("i32.const 0 i32.const 1 i32.atomic.rmw.add drop", fixedMemory),
      "victim: an atomic operation (opcode 0xfe) is not supported",
      { threads: true },
    ],
    [
      "SIMD",
      body("i32.const 0 i8x16.splat drop"),
      "victim: SIMD (opcode 0xfd) is not supported",
      { simd: true },
    ],
    [
      "a reference",
      body("ref.null func drop"),
      "victim: a reference type (opcode 0xd0) is not supported",
      { reference_types: true },
    ],
    [
      "a table access",
      body("i32.const 0 table.get 0 drop", "(table 1 funcref)"),
      "victim: a table access (opcode 0x25) is not supported",
      { reference_types: true },
    ],
    [
      "a bulk table operation",
      body("i32.const 0 i32.const 0 i32.const 0 table.copy", "(table 1 funcref)"),
      "victim: a table operation (opcode 0xfc0e) is not supported",
    ],
    [
      "a tail call",
      body("return_call $victim"),
      "victim: a tail call (opcode 0x12) is not supported",
      { tail_call: true },
    ],
    [
      "an indirect tail call",
      body("i32.const 0 return_call_indirect", "(table 1 funcref)"),
      "victim: a tail call (opcode 0x13) is not supported",
      { tail_call: true },
    ],
    [
      "an exception block",
      body("try catch_all end"),
      "victim: exception handling (opcode 0x06) is not supported",
      { exceptions: true },
    ],
    [
      "more than 2,000 locals",
      body("", "", `(local ${"i32 ".repeat(2001)})`),
      "victim: 2001 locals; expected at most 2000",
    ],
    [
      "a stack of more than 2,000 values",
      body("i32.const 0 ".repeat(2001) + "drop ".repeat(2001)),
      "victim: needs a stack of more than 2000 values; split the function",
    ],
    [
      "a local on the stack more than 255 times",
      body("local.get 0 ".repeat(257) + "i32.const 0 local.set 0 " + "drop ".repeat(257), "", "(param i32)"),
      "victim: one local is on the stack more than 255 times; split the expression",
    ],
    [
      "recursion",
      body("call $victim"),
      "victim: recursion: victim -> victim; the stack has no bound, use a loop",
    ],
    [
      "recursion through others",
      `(module (func $a call $b) (func $b call $c) (func $c call $b))`,
      "b: recursion: b -> c -> b; the stack has no bound, use a loop",
    ],
    [
      "recursion through the table",
      `(module (type $t (func)) (table 1 funcref) (elem (i32.const 0) $a) (func $a call $b) (func $b i32.const 0 call_indirect (type $t)))`,
      "a: recursion: a -> b -> a; the stack has no bound, use a loop",
    ],
    [
      "a mutable global",
      `(module (global $counter (mut i32) (i32.const 0)) (func $next i32.const 1 global.set $counter))`,
      "next: uses mutable global counter: vCPUs would share it; keep it in linear memory, as an @unmanaged overlay on memory.data()",
    ],
    [
      "a mutable global that nobody uses",
      `(module (global (mut i64) (i64.const 0)))`,
      "mutable global global[0]: vCPUs would share it; keep it in linear memory, as an @unmanaged overlay on memory.data()",
    ],
    [
      "a start function",
      `(module (func $begin) (start $begin))`,
      "begin: a start function would run before the first export; make top-level statements constant",
    ],
    [
      "memory without a maximum",
      `(module (memory 3))`,
      "memory of 3 pages may grow without limit; expected a fixed size (asc --initialMemory 3 --maximumMemory 3)",
    ],
    [
      "memory with a larger maximum",
      `(module (memory 3 4))`,
      "memory of 3 pages may grow to 4; expected a fixed size (asc --initialMemory 3 --maximumMemory 3)",
    ],
    [
      "64-bit memory",
      `(module (memory i64 3 3))`,
      "memory has flags 0x5; expected a 32-bit memory of 64 KiB pages",
      { memory64: true },
    ],
    [
      "several tables",
      `(module (table 1 funcref) (table 1 funcref))`,
      "has 2 tables; expected at most one",
      { reference_types: true },
    ],
    [
      "a table of anything but functions",
      `(module (table 1 externref))`,
      "its table is not of functions; expected funcref",
      { reference_types: true },
    ],
    [
      "a float global",
      `(module (global $pi f64 (f64.const 3)))`,
      "global pi is neither i32 nor i64; use integers",
    ],
    [
      "an imported memory",
      `(module (import "env" "memory" (memory 1 1)))`,
      "imports memory env.memory; expected imports of functions only (asc without --importMemory)",
    ],
    [
      "an imported table",
      `(module (import "env" "table" (table 1 funcref)))`,
      "imports table env.table; expected imports of functions only (asc without --importTable)",
    ],
    [
      "an imported global",
      `(module (import "env" "base" (global i32)))`,
      "imports global env.base; expected imports of functions only",
    ],
    [
      "a passive data segment",
      `(module (memory 1 1) (data "abc"))`,
      "data segment 0 is passive or of another memory (flags 1); expected active ones",
    ],
    [
      "a passive element segment",
      `(module (table 1 funcref) (func $f) (elem func $f))`,
      "element segment 0 is passive, declarative or not plain (flags 1); expected active ones",
    ],
    [
      "data past the end of memory",
      `(module (memory 1 1) (data (i32.const 65534) "abc"))`,
      "data segment 0 ends at 65537; expected at most the memory's 65536 bytes (asc --initialMemory)",
    ],
    [
      "elements past the end of the table",
      `(module (table 1 funcref) (func $f) (elem (i32.const 1) $f))`,
      "element segment 0: entries 1 to 2 of a table of 1",
    ],
    [
      "an exception tag",
      `(module (tag $t))`,
      "section 13 is unknown; expected no exception handling or later proposals",
      { exceptions: true },
    ],
    [
      "an export whose C name is taken",
      `(module (func (export "memory_pages")))`,
      "memory_pages: export memory_pages would be module_memory_pages in C, which is taken; rename it",
    ],
    [
      "exports whose C names are one",
      `(module (func (export "a.b")) (func (export "a_b")))`,
      "a_b: export a_b would be module_a_b in C, which is taken; rename it",
    ],
  ];

  test.each(cases)("%s", (_, text, message, features) => {
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
  const refused = (allowed: string) =>
    run(allowed)
      .stderr.trimEnd()
      .split("\n")
      .map((line) => line.replace(`wasm3-build: ${file}: `, "").replace(list, "LIST"));

  test("one off the list is refused by module and name, with its caller", () => {
    expect(refused("vmcs\ncpu\n")).toEqual(["victim: imports phys.map, which LIST does not list"]);
  });

  test("one that nobody calls is refused too", () => {
    expect(refused("phys\n")).toEqual(["imports vmcs.vmread, which LIST does not list"]);
  });

  test("an empty list allows none", () => {
    expect(refused("# nothing\n\n")).toHaveLength(2);
  });

  test("a line is a module or one function of it; comments and blanks mean nothing", () => {
    expect(run("# reads\n\n  vmcs.vmread # slow\t\r\nphys").stderr).toBe("");
    expect(refused("vmcs.vmwrite\nphys.map")).toEqual(["imports vmcs.vmread, which LIST does not list"]);
  });

  test("a part of a listed name is not listed", () => {
    expect(refused("vmcs\nphysical\nhys\nphys.ma\nphys.mapped")).toHaveLength(1);
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
