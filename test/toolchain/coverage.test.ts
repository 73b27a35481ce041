import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { corpora } from "./corpus/all.ts";
import { buildTools, tool, workFolder } from "./engines.ts";

test("every operation that wasm3-build can translate is exercised by the differential tests", () => {
  buildTools();
  const list = (...parameters: string[]) =>
    execFileSync(tool, ["--list-ops", "--allow-recursion", ...parameters], { encoding: "utf8" });
  const missing = new Set(list().trim().split("\n"));
  const folder = workFolder("coverage");
  for (const { program } of corpora) {
    const file = path.join(folder, `${program.name}.wasm`);
    writeFileSync(file, program.wasm);
    for (const line of list(file).trim().split("\n")) missing.delete(line.split(" ")[0]!);
  }
  expect([...missing]).toEqual([]);
});
