/** The documentation speaks of what is there. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { projectDirectory } from "../../tools/machine/run-directory.ts";

const tracked = execFileSync("git", ["ls-files", "-co", "--exclude-standard"], {
  cwd: projectDirectory,
  encoding: "utf8",
})
  .trim()
  .split("\n")
  .filter((file) => existsSync(join(projectDirectory, file)));
const read = (file: string): string => readFileSync(join(projectDirectory, file), "utf8");
const pages = tracked.filter((file) => file.endsWith(".md"));

test("Links in the documentation lead somewhere", () => {
  const broken = pages.flatMap((page) =>
    Array.from(read(page).matchAll(/\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)/g), ([, target]) => target!)
      .filter((target) => !existsSync(join(projectDirectory, dirname(page), target)))
      .map((target) => `${page}: ${target}`),
  );
  expect(broken).toEqual([]);
});

test("Files that sources and pages name exist", () => {
  const sources = tracked.filter((file) => /\.(ts|mjs|c|h|asm|md)$/.test(file) && !file.startsWith("test/"));
  const missing = sources.flatMap((source) =>
    Array.from(
      read(source).matchAll(
        /\b(?:docs|kernel|tools|scripts|test|boot)\/[\w./-]*\w\.(?:md|ts|mjs|c|h|asm)\b/g,
      ),
      ([name]) => name,
    )
      .filter(
        (name) =>
          !name.includes("NAME") &&
          !existsSync(join(projectDirectory, name)) &&
          !existsSync(join(projectDirectory, dirname(source), name)),
      )
      .map((name) => `${source}: ${name}`),
  );
  expect([...new Set(missing)]).toEqual([]);
});

test("The README lists every script, and each says what it does when asked", () => {
  for (const script of readdirSync(join(projectDirectory, "scripts"))) {
    const path = join(projectDirectory, "scripts", script);
    expect(read("README.md"), script).toContain(`\`scripts/${script}\``);
    expect(statSync(path).mode & 0o111, `${script} is executable`).not.toBe(0);
    expect(execFileSync(path, ["--help"], { encoding: "utf8" }).length, `${script} --help`).toBeGreaterThan(
      40,
    );
  }
});

test("docs/command-line.md has every option that root knows, and no other", () => {
  const known = Array.from(
    read("kernel/root/options.ts").matchAll(/word\.starts\("(\w+)="\)/g),
    ([, name]) => name!,
  );
  const documented = Array.from(read("docs/command-line.md").matchAll(/^\| `(\w+)=`/gm), ([, name]) => name!);
  expect(documented.sort()).toEqual([...new Set(known)].sort());
});

test("docs/platform.md names every CPU and MSR policy file, and every device", () => {
  for (const file of ["vcpu/cpuid.ts", "vcpu/msr.ts", "vmx/msr.ts", "svm/msr.ts"])
    expect(read("docs/platform.md")).toContain(`kernel/${file}`);
  for (const file of readdirSync(join(projectDirectory, "kernel/device"))) {
    if (file !== "calendar.ts") expect(read("docs/platform.md")).toContain(file);
  }
});

test("docs/smp.md says of every static buffer that vCPUs share who may touch it when", () => {
  const told = read("docs/smp.md");
  for (const folder of ["device", "monitor", "vcpu", "vmx", "svm"])
    for (const file of readdirSync(join(projectDirectory, "kernel", folder)))
      if (read(`kernel/${folder}/${file}`).includes("memory.data(") && file !== "pcibar.ts")
        expect(told).toContain(file);
});

test("The example of a breakpoint on a line of TypeScript is about that line", () => {
  const [, file, line] = /^hbreak (\S+):(\d+)$/m.exec(read("docs/debugging/exit-handler.gdb"))!;
  const text = read(file!).split("\n")[Number(line) - 1]!;
  expect(text).toMatch(/^ +give\(/);
  expect(read("docs/debugging.md")).toContain(`${file}:${line}\n${line}\t${text}\n`);
});
