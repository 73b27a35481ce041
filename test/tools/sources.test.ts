import { readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { expect, test } from "vitest";
import { typevisor } from "../../tools/build/modules.ts";
import { importedBy } from "../../tools/build/sources.ts";
import { projectDirectory } from "../../tools/machine/run-directory.ts";

test.each(typevisor.modules)(
  "A change of any file that asc compiled into $name builds it again",
  ({ name, entry }) => {
    const map = readFileSync(join(projectDirectory, `build/modules/${name}.wasm.map`), "utf8");
    const compiled = (JSON.parse(map) as { sources: string[] }).sources.filter(
      (file) => !file.startsWith("~lib"),
    );
    const inputs = importedBy(join(projectDirectory, entry)).map((file) => relative(projectDirectory, file));
    expect(compiled.filter((file) => !inputs.includes(file))).toEqual([]);
    expect(compiled.length).toBeGreaterThan(20);
  },
);

test("A change of one vendor's code does not build the other's monitor", () => {
  const monitor = (vendor: string): string => importedBy(`kernel/monitor/${vendor}.ts`).join(" ");
  expect(monitor("svm")).not.toContain("kernel/vmx/");
  expect(monitor("vmx")).not.toContain("kernel/svm/");
});
