import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { beforeAll, expect, test } from "vitest";
import { buildTools, tool, workFolder } from "./engines.ts";
import { assemble } from "./wasm.ts";

const folder = workFolder("output");

beforeAll(buildTools, 60_000);

/** The C that a module becomes. */
function translate(text: string, ...options: string[]): string {
  writeFileSync(path.join(folder, "module.wasm"), assemble("module", text));
  execFileSync(tool, ["module.wasm", "-o", "module.c", "--prefix", "vm", ...options], { cwd: folder });
  return readFileSync(path.join(folder, "module.c"), "utf8");
}

test("functions whose names come to the same symbol are numbered", () => {
  const c = translate(`(module (func $a.b) (func $a_b) (func $a-b) (func (export "a_b") call $a.b))`);
  expect(Array.from(c.matchAll(/^(?:static )?void (\w+)\(void\) \{/gm), ([, symbol]) => symbol)).toEqual([
    "vm_a_b_2",
    "vm_a_b_3",
    "vm_a_b_4",
    "vm_a_b",
  ]);
});

test("names lose kernel/ and a folder named like the module, and keep the original in a comment", () => {
  const c = translate(
    `(module (func $kernel/vm/main/run) (func $kernel/vcpu/Exit#handle<u32>) (func $~lib/memory/copy))`,
  );
  expect(c).toMatch(/\/\* kernel\/vm\/main\/run \*\/\nstatic void vm_main_run\(void\)/);
  expect(c).toMatch(/\/\* kernel\/vcpu\/Exit#handle<u32> \*\/\nstatic void vm_vcpu_Exit_handle_u32\(void\)/);
  expect(c).toMatch(/\/\* ~lib\/memory\/copy \*\/\nstatic void vm_lib_memory_copy\(void\)/);
});

test("the initial memory is in segments that leave out long runs of zeros", () => {
  const zeros = "\\00".repeat(40);
  const c = translate(
    `(module (memory 2 2) (data (i32.const 100) "${zeros}ab${zeros}c\\00d${zeros}") (data (i32.const 142) "z"))`,
  );
  expect(c).toContain("const u32 vm_memory_pages = WASM3_PAGES;");
  expect(c).toContain("const u32 vm_segment_count = 2;");
  expect(c).toContain("    {140u, 3u, vm_bytes_0},\n    {182u, 3u, vm_bytes_1},\n");
  expect(c).toMatch(/vm_bytes_0\[3\] = \{\n {4}97,98,122,\n\}/);
});

test("a module without memory, table or functions is C still", () => {
  const c = translate("(module)", "--include", "one.h", "--include", "two.h");
  expect(c).toContain('#include "wasm3-runtime.h"\n#include "one.h"\n#include "two.h"\n');
  expect(c).toContain("const u32 vm_segment_count = 0;");
});

test("a function that --noinline names is kept out of line", () => {
  const c = translate("(module (func $slow) (func $quick))", "--noinline", "slow,gone");
  expect(c).toContain("static __attribute__((noinline)) void vm_slow(void);");
  expect(c).toContain("static void vm_quick(void);");
});

test("the run-time header, part of the unsafe surface, stays under 160 lines", () => {
  const header = new URL("../../tools/wasm3-build/wasm3-runtime.h", import.meta.url);
  expect(readFileSync(header, "utf8").split("\n").length).toBeLessThan(160);
});
