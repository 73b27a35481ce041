/** Variables of the sources in the C: `wasm3-build --locals`, and the table that tools/build/locals.ts makes for it. */
import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync, readFileSync } from "node:fs";
import path from "node:path";
import { beforeAll, expect, test } from "vitest";
import { localsOf } from "../../tools/build/locals.ts";
import { compile } from "./asc.ts";
import { buildTools, tool, workFolder } from "./engines.ts";

const folder = workFolder("locals");

beforeAll(buildTools, 60_000);

const args = ["m.wasm", "--map", "m.wasm.map", "--prefix", "vm", "--locals", "m.locals", "-o", "m.c"];

/** What TypeScript becomes, with its variables. */
async function translate(source: string, ...flags: string[]): Promise<string> {
  const { wasm, map } = await compile({ "m.ts": source }, "m.ts", ...flags);
  writeFileSync(path.join(folder, "m.wasm"), wasm);
  writeFileSync(path.join(folder, "m.wasm.map"), map);
  writeFileSync(path.join(folder, "m.locals"), localsOf(source, "m.ts").join("\n"));
  execFileSync(tool, args, { cwd: folder });
  return readFileSync(path.join(folder, "m.c"), "utf8");
}

/** What the tool says of a table that it refuses. */
function refusal(table: string): string {
  writeFileSync(path.join(folder, "m.locals"), table);
  const { status, stderr } = spawnSync(tool, args, { cwd: folder, encoding: "utf8" });
  expect(status).toBe(1);
  return stderr;
}

const sum = `export function sum(first: u32, count: u64): u64 {
  let total: u64 = first;
  for (let i: u64 = 1; i < count; i++) {
    const twice = total * 2;
    total += (twice ^ i) + (twice >> 3);
  }
  return total;
}
`;

test.each(["-O0", "-O3"])("parameters and variables have their names and widths at %s", async (level) => {
  const c = await translate(sum, level);
  expect(c).toContain("u64 vm_sum(WASM3_LOCAL u32 first, WASM3_LOCAL u64 count) {");
  for (const name of ["total", "i", "twice"]) {
    expect(c).toContain(` WASM3_LOCAL u64 ${name} = 0;`);
    expect(c).toMatch(new RegExp(` ${name} = wasm_x\\d+;`));
  }
  expect(c).toContain("#define WASM3_LOCAL\n");
});

test("variables cost optimized code nothing", async () => {
  await translate(sum, "-O3");
  execFileSync(
    tool,
    args.map((arg) => (arg === "m.c" ? "named.c" : arg)),
    { cwd: folder },
  );
  const plain = args.filter((arg) => !/locals/.test(arg)).map((arg) => (arg === "m.c" ? "plain.c" : arg));
  execFileSync(tool, plain, { cwd: folder });
  const include = path.resolve(import.meta.dirname, "../../tools/wasm3-build");
  const code = ["named", "plain"].map((name) => {
    execFileSync("gcc", ["-O2", "-c", `-I${include}`, `${name}.c`, "-o", `${name}.o`], { cwd: folder });
    return execFileSync("objdump", ["-d", "--no-show-raw-insn", `${name}.o`], {
      cwd: folder,
      encoding: "utf8",
    })
      .split("\n")
      .slice(3)
      .join("\n");
  });
  expect(code[0]).toBe(code[1]);
});

test("a module whose variables are all parameters is C too", async () => {
  const c = await translate("export function same(value: u32): u32 { return value; }");
  expect(c).toContain("u32 vm_same(WASM3_LOCAL u32 value) {");
  expect(c).toContain("#define WASM3_LOCAL\n");
});

test("this is a parameter, and words of C get an underscore", async () => {
  const c = await translate(
    `@unmanaged class Counter {
      value: u32;
      add(register: u32): u32 {
        if (register > 7) return this.value;
        this.value += register * register;
        return this.value + register;
      }
    }
    export function one(at: usize): u32 { return changetype<Counter>(at).add(3); }
    export function two(at: usize, by: u32): u32 { return changetype<Counter>(at).add(by); }`,
    "-O0",
  );
  expect(c).toContain("(WASM3_LOCAL u32 this, WASM3_LOCAL u32 register_) {");
});

test("a name of an inlined function's that is taken has the function's before it", async () => {
  const c = await translate(
    `function half(n: u32): u32 {
      const more = n * n + 1;
      return more / 2 + more;
    }
    export function run(n: u32): u32 {
      const more = half(n + 5);
      return more * more + n;
    }`,
    "-O3",
  );
  expect(c).toMatch(/u32 vm_run\(WASM3_LOCAL u32 n\) \{.* WASM3_LOCAL u32 half_more = 0;/);
  expect(c).toMatch(/ WASM3_LOCAL u32 more = 0;/);
});

test("the table tells what is shadowed from what shadows it, and what is assigned from what is not", () => {
  const lines = localsOf(
    `function f(a: u32): u32 {
  let b = a;
  { const b: u32 = 2; b + a; }
  b++;
  return b;
}
class C { static s(): u32 { return 1; } get g(): u32 { return this.x; } }`,
    "kernel/x.ts",
  );
  expect(lines).toEqual([
    "parameters kernel/x/f a",
    "parameters kernel/x/C.s",
    "parameters kernel/x/C#get:g this",
    "kernel/x.ts:2:3 set b kernel/x/f",
    "kernel/x.ts:2:11 get a kernel/x/f const",
    "kernel/x.ts:3:5 set b_2 kernel/x/f const",
    "kernel/x.ts:3:23 start b_2 kernel/x/f const",
    "kernel/x.ts:3:27 get a kernel/x/f const",
    "kernel/x.ts:4:3 set b kernel/x/f",
    "kernel/x.ts:4:3 start b kernel/x/f",
    "kernel/x.ts:5:10 get b kernel/x/f",
    "kernel/x.ts:7:63 start this kernel/x/C#get:g const",
  ]);
});

test.each([
  "m.ts:1 set x f",
  "m.ts:1:0 set x f",
  "m.ts:1:2 put x f",
  "m.ts:1:2 set x-y f",
  "m.ts:1:2 set x f let",
  "parameters",
  "parameters f 1st",
  "nonsense",
])("a table with the line `%s` is refused, with the line's number", async (line) => {
  await translate(sum);
  expect(refusal(`# comment\n\n${line}\n`)).toBe(
    "wasm3-build: m.locals:3: expected `FILE:LINE:COLUMN set|get|start NAME FUNCTION [const]` or `parameters FUNCTION NAME...`\n",
  );
});

test("--locals without --map is refused, and so is a table that is not there", () => {
  const without = spawnSync(tool, ["m.wasm", "--prefix", "vm", "-o", "m.c", "--locals", "m.locals"], {
    cwd: folder,
    encoding: "utf8",
  });
  expect(without.status).toBe(1);
  expect(without.stderr).toMatch(/^wasm3-build: --locals m.locals: expected --map too[^\n]*\n$/);
  const missing = spawnSync(tool, [...args.slice(0, 6), "none.locals", "-o", "m.c"], {
    cwd: folder,
    encoding: "utf8",
  });
  expect(missing.status).toBe(1);
  expect(missing.stderr).toBe("wasm3-build: cannot read none.locals: No such file or directory\n");
});
