import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { compile, type Compiled } from "./asc.ts";
import { Comparison } from "./comparison.ts";
import { callAll } from "./corpus/handwritten.ts";
import { buildTools, gcc, includes, kernelFlags, tool, workFolder } from "./engines.ts";
import { edges32 } from "./values.ts";

const folder = workFolder("assemblyscript");

/** A monitor in small: intrinsics, an exit handler that uses them, an entry. */
const monitor = {
  "kernel/machine/vmcs.ts": `
export declare function vmread(field: u32): u64;
export declare function vmwrite(field: u32, value: u64): void;
export declare namespace window { function open(at: u64): u32; }
`,
  "kernel/vcpu/exit.ts": `
import { vmread, vmwrite, window } from "../machine/vmcs";
@unmanaged export class Field { read(): u64 { return vmread(<u32>changetype<usize>(this)); } }
export const REASON = changetype<Field>(0x4402);
export function dispatch(divisor: u32): u32 {
  switch (<u32>REASON.read()) {
    case 1: return 100 / divisor;
    case 2: {
      vmwrite(0x681e, window.open(divisor));
      return load<u32>(divisor);
    }
    default: assert(divisor > 50); return 0;
  }
}
`,
  "kernel/monitor/main.ts": `
import { dispatch } from "../vcpu/exit";
export function enter(divisor: u32): u32 {
  assert(divisor < 1000);
  return dispatch(divisor) + 1;
}
`,
};

/** Writes a compiled module to files and runs wasm3-build on it. */
function build(name: string, { wasm, map }: Compiled, ...options: string[]) {
  const file = (extension: string) => path.join(folder, `${name}.${extension}`);
  writeFileSync(file("wasm"), wasm);
  writeFileSync(file("map"), map);
  const parameters = [file("wasm"), "-o", file("c"), "--prefix", name, "--map", file("map"), ...options];
  const { status, stdout, stderr } = spawnSync(tool, parameters, { encoding: "utf8" });
  const lines = stderr.split("\n").map((line) => line.replace(`wasm3-build: ${file("wasm")}: `, ""));
  return {
    status,
    stdout,
    refusals: lines.filter(Boolean),
    c: status === 0 ? readFileSync(file("c"), "utf8") : "",
  };
}

beforeAll(buildTools, 60_000);

describe("a module that asc compiled", () => {
  let compiled: Compiled;

  beforeAll(async () => {
    compiled = await compile(monitor, "kernel/monitor/main.ts", "-O3");
  }, 60_000);

  test("keeps its names in C, and the intrinsics' files as capabilities", () => {
    const { status, stdout, c } = build("monitor", compiled, "--include", "machine.h", "--report");
    expect(status).toBe(0);
    expect(stdout).toContain("  imports   env: abort(i32, i32, i32, i32)\n");
    expect(stdout).toMatch(/imports {3}vmcs: .*vmread\(i32\): i64/);
    expect(stdout).toContain("  exports   enter(i32): i32\n");
    expect(c).toContain('#include "wasm3-runtime.h"\n#include "machine.h"\n');
    expect(c).toMatch(/^u32 monitor_enter\(u32 w1\) \{/m);
    expect(c).toContain("vmcs_vmwrite(");
    expect(c).toContain("vmcs_window_open(");
    expect(c).toContain("env_abort(");
  });

  test("becomes readable static functions where it is not inlined", async () => {
    const { c } = build(
      "monitor",
      await compile(monitor, "kernel/monitor/main.ts", "-O0"),
      "--include",
      "machine.h",
    );
    expect(c).toMatch(
      /^\/\* kernel\/vcpu\/exit\/dispatch \*\/\n.*\nstatic u32 monitor_vcpu_exit_dispatch\(u32 w1\) \{/m,
    );
    expect(c).toMatch(
      /^\/\* kernel\/vcpu\/exit\/Field#read \*\/\n.*\nstatic u64 monitor_vcpu_exit_Field_read\(u32 w1\) \{/m,
    );
  });

  test("becomes the same C each time", () => {
    expect(build("monitor", compiled).c).toBe(build("monitor", compiled).c);
  });

  test("has all C of one TypeScript line on one physical line", () => {
    const { c } = build("monitor", compiled);
    const lines = c.split("\n");
    const typescript = lines.flatMap((line, i) => (/^#line \d+ ".*\.ts"$/.test(line) ? [i] : []));
    expect(typescript.length).toBeGreaterThan(5);
    for (const i of typescript) expect(lines[i + 2], `after ${lines[i]}`).toMatch(/^(#line .*)?$/);
  });

  test("returns to the generated file's own lines between functions", async () => {
    const lines = build("monitor", await compile(monitor, "kernel/monitor/main.ts", "-O0")).c.split("\n");
    const own = lines.flatMap((line, i) =>
      /^#line \d+ ".*monitor\.c"$/.test(line) ? [[Number(line.split(" ")[1]), i + 2]] : [],
    );
    expect(own.length).toBeGreaterThan(0);
    for (const [said, is] of own) expect(said).toBe(is);
  });

  test("compiles without warnings to code whose line table names the TypeScript", () => {
    build("monitor", compiled, "--include", "machine.h");
    writeFileSync(path.join(folder, "machine.h"), machine("__builtin_trap()"));
    gcc(folder, ...kernelFlags, ...includes, "-c", "monitor.c", "-o", "monitor.o");
    const table = execFileSync("objdump", ["--dwarf=decodedline", path.join(folder, "monitor.o")], {
      encoding: "utf8",
    });
    const places = new Set(
      Array.from(table.matchAll(/^(\w+\.ts)\s+(\d+)\s/gm), ([, file, line]) => `${file}:${line}`),
    );
    // The file that a place belongs to is the last path component here.
    for (const place of [
      "main.ts:4",
      "main.ts:5",
      "exit.ts:6",
      "exit.ts:7",
      "exit.ts:9",
      "exit.ts:10",
      "exit.ts:12",
    ])
      expect(places).toContain(place);
    for (const place of places) expect(place).not.toMatch(/:0$/);
  });

  test("traps with the TypeScript file and line", () => {
    build("monitor", compiled, "--include", "machine.h");
    const report = '(printf("%s:%d kind %d\\n", __FILE__, __LINE__, kind), exit(0), __builtin_unreachable())';
    writeFileSync(
      path.join(folder, "machine.h"),
      `#include <stdio.h>\n#include <stdlib.h>\n${machine(report)}`,
    );
    const main =
      "int main(int n, char **v) { (void)n; reason = (u64)atoi(v[1]); return (int)monitor_enter((u32)atoi(v[2])); }";
    writeFileSync(path.join(folder, "traps.c"), `#include "monitor.c"\n${main}\n`);
    gcc(folder, "-std=gnu11", "-O2", ...includes, "-o", "traps", "traps.c");
    const run = (...values: number[]) =>
      execFileSync(path.join(folder, "traps"), values.map(String), { encoding: "utf8" });
    expect(run(1, 0)).toBe("kernel/vcpu/exit.ts:7 kind 2\n");
    expect(run(3, 0)).toBe("abort at 12:14\nkernel/vcpu/exit.ts:12 kind 1\n");
    expect(run(1, 1000)).toBe("abort at 4:3\nkernel/monitor/main.ts:4 kind 1\n");
  });
});

/** The header that a monitor's C includes: its intrinsics, and what a trap does. */
function machine(trap: string): string {
  return `
#define WASM3_TRAP(kind) ${trap}
static u64 reason;
static inline u64 vmcs_vmread(u32 field) { (void)field; return reason; }
static inline void vmcs_vmwrite(u32 field, u64 value) { (void)field; reason = value; }
static inline u32 vmcs_window_open(u64 at) { return (u32)at; }
static inline void env_abort(u32 message, u32 file, u32 line, u32 column) {
  (void)message; (void)file; (void)line; (void)column;
#ifdef EXIT_SUCCESS
  printf("abort at %u:%u\\n", line, column);
#endif
}
`;
}

describe("what TypeScript may not do is refused with its file and line:", () => {
  const compiledFrom = (source: string, ...flags: string[]) =>
    compile({ "kernel/monitor/main.ts": source }, "kernel/monitor/main.ts", ...flags);
  const refusals = async (source: string, ...flags: string[]) =>
    build("refused", await compiledFrom(source, ...flags)).refusals;
  const where = "kernel/monitor/main";

  test("new", async () => {
    const source =
      "class Page { at: u32; }\nfunction make(): Page {\n  return new Page();\n}\nexport function run(): u32 { return make().at; }";
    const lines = await refusals(source, "-O0");
    expect(lines).toContain(
      `${where}/make (${where}.ts:3): allocates on the heap (${where}/Page#constructor, which calls ~lib/rt/stub/__new); use memory set aside at start`,
    );
  });

  test("new, optimised away into its caller", async () => {
    const source =
      "class Page { at: u32; }\nlet kept: Page | null = null;\nexport function run(): void {\n  kept = new Page();\n}";
    expect((await refusals(source, "-O3")).join("\n")).toMatch(
      /kernel\/monitor\/main\.ts:4\).*(allocates on the heap|it is the heap's)/,
    );
  });

  test("string concatenation", async () => {
    const source =
      'export function run(a: u32): i32 {\n  const name = a ? "vm" : "host";\n  return (name + "!").length;\n}';
    expect((await refusals(source, "-O3")).join("\n")).toMatch(
      /^kernel\/monitor\/main\/run \(kernel\/monitor\/main\.ts:[23]\): allocates on the heap \(~lib\/rt\/stub.*\); use memory set aside at start$/,
    );
  });

  test("an array literal that a function makes", async () => {
    const source =
      "export function run(a: u32): u32 {\n  const list: u32[] = [a, 2];\n  return list[a & 1];\n}";
    expect((await refusals(source, "-O1")).join("\n")).toMatch(
      /^kernel\/monitor\/main\/run \(kernel\/monitor\/main\.ts:2\): allocates on the heap /,
    );
  });

  test("a mutable global", async () => {
    const source = "let exits: u32 = 0;\nexport function run(): u32 {\n  return ++exits;\n}";
    expect(await refusals(source, "-O3")).toEqual([
      `${where}/run (${where}.ts:3): uses mutable global ${where}/exits: vCPUs would share it; keep it in linear memory, as an @unmanaged overlay on memory.data()`,
    ]);
  });

  test("an exported function with an optional parameter", async () => {
    const source = "export function run(a: u32, b: u32 = load<u32>(a)): u32 {\n  return a + b;\n}";
    const lines = await refusals(source, "-O3");
    expect(lines.join("\n")).toMatch(
      /uses mutable global ~argumentsLength: asc adds it for optional parameters/,
    );
  });

  test("recursion", async () => {
    const source = "export function run(n: u32): u32 {\n  return n < 2 ? n : run(n - 1) + run(n - 2);\n}";
    expect(await refusals(source, "-O3")).toEqual([
      `${where}/run (${where}.ts:2): recursion: ${where}/run -> ${where}/run; the stack has no bound, use a loop`,
    ]);
  });

  test("recursion through function references", async () => {
    const source =
      "function other(n: u32): u32 { return n * 3; }\nexport function run(n: u32): u32 {\n  const f: (n: u32) => u32 = n & 1 ? run : other;\n  return f(n - 1);\n}";
    expect(await refusals(source, "-O3")).toEqual([
      `${where}/run (${where}.ts:4): recursion: ${where}/run -> ${where}/run; the stack has no bound, use a loop`,
    ]);
  });

  test("floats", async () => {
    const source = "export function run(n: u32): u32 {\n  let a = n;\n  return <u32>(<f64>a * 1.5);\n}";
    expect((await refusals(source, "-O3")).join("\n")).toMatch(
      /^kernel\/monitor\/main\/run \(kernel\/monitor\/main\.ts:3\): a float \w+ \(opcode 0x\w+\) is not supported$/,
    );
  });

  test("memory.grow", async () => {
    const source =
      "export function run(n: u32): i32 {\n  const more = n & 7;\n  return memory.grow(more);\n}";
    expect(await refusals(source, "-O3")).toEqual([
      `${where}/run (${where}.ts:3): memory.grow; the memory's size is fixed`,
    ]);
  });

  test("a top-level statement", async () => {
    const source = "// first\nstore<u32>(64, 5);\nexport function run(): u32 { return load<u32>(64); }";
    expect(await refusals(source, "-O3")).toEqual([
      expect.stringMatching(
        /^\S+ \(kernel\/monitor\/main\.ts:2\): a start function would run before the first export; make top-level statements constant$/,
      ),
    ]);
  });

  test("an import that is not listed, where it is first called", async () => {
    const list = path.join(folder, "refused.imports");
    writeFileSync(list, "vmcs.vmread # reading is harmless\nenv\n");
    expect(
      build("refused", await compile(monitor, "kernel/monitor/main.ts", "-O3"), "--allow-imports", list)
        .refusals,
    ).toEqual([
      expect.stringMatching(
        /^kernel\/\S+ \(kernel\/vcpu\/exit\.ts:9\): imports vmcs\.window\.open, which \S*refused\.imports does not list$/,
      ),
      expect.stringMatching(
        /^kernel\/\S+ \(kernel\/vcpu\/exit\.ts:9\): imports vmcs\.vmwrite, which \S*refused\.imports does not list$/,
      ),
    ]);
  });

  test("an operation that it does not know", async () => {
    const source = "export function run(a: u64, b: u64): u64 {\n  let c = a ^ b;\n  return rotl(c, b);\n}";
    const { wasm, map } = await compiledFrom(source, "-O3");
    const rotl = wasm.lastIndexOf(0x89);
    expect(rotl).toBeGreaterThan(0);
    wasm[rotl] = 0xc7; // which WebAssembly does not define
    expect(build("refused", { wasm, map }).refusals).toEqual([
      `${where}/run (${where}.ts:3): an unknown operation (opcode 0xc7) is not supported`,
    ]);
  });
});

/** What kernel code is made of, to be compared with V8. */
const library = `
@unmanaged class Ring { head: u32; tail: u32; at(i: u32): usize { return changetype<usize>(this) + 8 + (i & 63); } }
const ring = changetype<Ring>(memory.data(72));
const squares: StaticArray<u16> = [0, 1, 4, 9, 16, 25, 36, 49];
const enum Exit { Port, Halt = 12, Msr }
function bits(value: u64, high: u32, low: u32): u64 { return (value >> low) & ((<u64>1 << (high - low + 1)) - 1); }
function smaller<T>(a: T, b: T): T { return a < b ? a : b; }
function twice(a: u32): u32 { return a * 2; }
function thrice(a: u32): u32 { return a * 3; }
export function field(value: u64, low: u32): u64 { return bits(value, (low & 31) + 15, low & 31); }
export function push(byte: u32): u32 {
  if (ring.head - ring.tail == 64) return 0xffffffff;
  store<u8>(ring.at(ring.head++), <u8>byte);
  return ring.head;
}
export function pop(): u32 { return ring.head == ring.tail ? 0xffffffff : load<u8>(ring.at(ring.tail++)); }
export function square(i: u32): u32 { return unchecked(squares[i & 7]); }
export function least(a: i64, b: i64): i64 { return smaller<i64>(a, b) ^ <i64>smaller<u32>(<u32>a, <u32>b); }
export function narrow(a: i32): i64 { return <i64>(<i8>a) * <i64>(<u16>a) + <i64>(<i16>(a >> 3)); }
export function decode(reason: u32): u32 {
  switch (reason & 15) {
    case Exit.Port: return 1;
    case 2: case 3: return 2;
    case Exit.Halt: return 3;
    case Exit.Msr: return reason >> 4;
    default: return reason * 7;
  }
}
export function chosen(which: u32, a: u32): u32 {
  let f: (a: u32) => u32 = which & 1 ? twice : thrice;
  return f(a) + f(a + 1);
}
export function text(i: u32): u32 { return "Typevisor".charCodeAt(i & 7); }
export function sum(n: u32, step: u32): u64 {
  let total: u64 = 0;
  for (let i: u32 = 0; i < (n & 255); i += (step & 7) + 1) total = rotl(total, 7) ^ (<u64>i * 0x9e3779b97f4a7c15);
  return total;
}
export function moved(at: u32, size: u32): u64 {
  const page = memory.data(256);
  memory.fill(page, <u8>at, 256);
  store<u64>(page + 8, 0x0123456789abcdef);
  memory.copy(page + (at & 63), page + 8, size & 127);
  return load<u64>(page + (at & 63)) ^ load<u64>(page + 100);
}
export function divided(a: i32, b: i32): i32 { return a / b + a % b; }
export function bounded(a: u32): u32 { assert(a < 50, "out of bounds"); return a; }
function abort(message: string | null, file: string | null, line: u32, column: u32): void { unreachable(); }
`;

describe("kernel code computes the same in C as in V8 and the wasm3 interpreter", () => {
  test.each(["-O0", "-O1", "-O3"])("compiled by asc %s", { timeout: 60_000 }, async (level) => {
    const mixed = "kernel/lib/mixed.ts";
    // Unoptimised, asc sets the mutable global ~argumentsLength before each call of a function reference.
    const source = level === "-O0" ? library.replace(/export function chosen[^}]*}/, "") : library;
    const { wasm } = await compile(
      { [mixed]: source },
      mixed,
      level,
      "--use",
      "abort=kernel/lib/mixed/abort",
    );
    const name = `mixed${level.slice(1)}`;
    const values = [0n, 1n, 2n, 3n, 12n, 13n, 49n, 50n, ...edges32];
    const comparison = new Comparison(name, [{ program: { name, wasm }, calls: callAll(wasm, 7, values) }]);
    expect(comparison.differencesFromV8()).toEqual([]);
    expect(comparison.differencesFromInterpreter()).toEqual([]);
  });
});
