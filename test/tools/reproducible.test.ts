/** The same sources on the same tools become the same image, wherever they are. */
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Builder } from "../../tools/build/image.ts";
import { typevisor } from "../../tools/build/modules.ts";
import { projectDirectory } from "../../tools/machine/run-directory.ts";

const folder = mkdtempSync(join(tmpdir(), "typevisor-built-in-a-folder-with-a-longer-name-"));
afterAll(() => rmSync(folder, { recursive: true }));

beforeAll(async () => {
  await new Builder(projectDirectory).build(typevisor, () => undefined); // nothing to do, after scripts/build
  for (const name of ["boot", "kernel", "tools", "asconfig.json", "package.json"])
    cpSync(join(projectDirectory, name), join(folder, name), { recursive: true });
  symlinkSync(join(projectDirectory, "node_modules"), join(folder, "node_modules"));
  // From a process of its own: it belongs to the other folder in everything, and so does what it imports.
  const loader = join(folder, "node_modules/tsx/dist/loader.mjs");
  execFileSync(process.execPath, ["--import", loader, "tools/build/main.ts", "--quiet"], {
    cwd: folder,
    env: { ...process.env, LANG: "C", TZ: "Asia/Tokyo" },
  });
}, 300_000);

const modules = typevisor.modules.map(({ name }) => `modules/${name}`);

test.each([
  ...modules.flatMap((name) => [`${name}.wasm`, `${name}.wasm.map`, `${name}.c`]),
  "typevisor.elf",
  "typevisor.lines",
  "typevisor.stacks",
])("Another folder's %s is the same, byte for byte, and does not name the folder", (name) => {
  const [here, there] = [projectDirectory, folder].map((root) => readFileSync(join(root, "build", name)));
  expect(here!.length).toBeGreaterThan(100);
  expect(here!.equals(there!)).toBe(true);
  expect(there!.includes(folder)).toBe(false);
});

test("The image and its line table have the same build id, and it is not that of no image", () => {
  const elf = readFileSync(join(projectDirectory, "build/typevisor.elf"));
  const note = elf.indexOf(Buffer.from("\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0", "latin1"));
  const id = elf.readUInt32BE(note + 16);
  expect(id).not.toBe(0);
  expect(readFileSync(join(projectDirectory, "build/typevisor.lines")).readUInt32LE(4)).toBe(id);
});
