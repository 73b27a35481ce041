import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { compile } from "./asc.ts";
import { buildTools, workFolder } from "./engines.ts";
import { buildMutant, buildOriginal, mutants, toolchainIn, type Mutant } from "./mutants.ts";

const nightly = process.env["NIGHTLY"] === "1";
const chosen = mutants.filter(({ quick }) => nightly || quick);

let original: string;

beforeAll(() => {
  buildTools();
  original = buildOriginal();
}, 120_000);

describe("a bug in wasm3-build is noticed:", () => {
  test.each(chosen.map((mutant): [string, Mutant] => [mutant.class, mutant]))(
    "%s",
    { timeout: 120_000 },
    (_, mutant) => {
      expect(mutant.check(buildMutant(original, mutant), "mutant")).toBe(true);
    },
  );

  test("and none is where none was seeded", { timeout: 300_000 }, () => {
    for (const check of new Set(chosen.map(({ check }) => check)))
      expect(check(toolchainIn(original), "mutant")).toBe(false);
  });
});

test(
  "an operation that is not in the table is refused, with its TypeScript line",
  { timeout: 60_000 },
  async () => {
    const from = `ROW(MemSize, "", 'w', 'w', NEXT, "$d = WASM3_PAGES;") \\\n`;
    const { tool } = buildMutant(original, { file: "operations.h", from, to: `\\\n` });
    const folder = workFolder("mutant");
    const main = "kernel/monitor/main.ts";
    const source =
      "export function run(n: u32): i32 {\n  const more = n & 7;\n  return memory.size() + more;\n}";
    const { wasm, map } = await compile({ [main]: source }, main, "-O3");
    const file = path.join(folder, "module.wasm");
    writeFileSync(file, wasm);
    writeFileSync(`${file}.map`, map);
    const parameters = [file, "--map", `${file}.map`, "--prefix", "vm", "-o", `${file}.c`];
    const { status, stderr } = spawnSync(tool, parameters, { encoding: "utf8" });
    expect(status).toBe(1);
    expect(stderr).toBe(
      `wasm3-build: ${file}: kernel/monitor/main/run (${main}:3): wasm3 makes an operation of opcode 0x3f that operations.h does not have\n`,
    );
  },
);
