/** Root file systems of Debian packages, which two boots may make at the same time. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { keepTree } from "../../tools/guest/tree.ts";

function trees(...names: string[]): string {
  const folder = mkdtempSync(join(tmpdir(), "typevisor-trees-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  for (const name of names) {
    mkdirSync(join(folder, name));
    writeFileSync(join(folder, name, "file"), name);
  }
  return folder;
}

test("A tree that another process has made meanwhile is taken as it is", () => {
  const folder = trees("first", "second");
  const kept = join(folder, "kept");
  expect(keepTree(join(folder, "first"), kept)).toBe(kept);
  expect(keepTree(join(folder, "second"), kept)).toBe(kept);
  expect(readFileSync(join(kept, "file"), "utf8")).toBe("first");
  expect(existsSync(join(folder, "first"))).toBe(false);
});

test("One that cannot be moved is an error", () => {
  const folder = trees("first");
  expect(() => keepTree(join(folder, "first"), join(folder, "nowhere", "kept"))).toThrow("ENOENT");
});
