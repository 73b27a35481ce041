/** What GDB says of the built images; no machine is needed for that. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { Builder, debugged } from "../../tools/build/image.ts";
import { attributeRows } from "../../tools/build/debug-info.ts";
import type { LineRow } from "../../tools/build/line-program.ts";
import { typevisor } from "../../tools/build/modules.ts";
import { filesBelow } from "../../tools/build/sources.ts";
import { projectDirectory } from "../../tools/machine/run-directory.ts";

const build = join(projectDirectory, "build");
const images = ["typevisor.debug", "typevisor-debug.debug"];
const modules = typevisor.modules.map(({ name }) => join(build, "modules", `${name}.wasm`));
const digests = () => modules.map((file) => createHash("sha256").update(readFileSync(file)).digest("hex"));
let before: string[];

beforeAll(async () => {
  const builder = new Builder(projectDirectory);
  await builder.build(typevisor, () => undefined); // nothing to do, after scripts/build
  before = digests();
  await builder.build(typevisor, () => undefined, debugged);
}, 300_000);

function gdb(image: string, ...commands: string[]): string {
  const args = ["-nx", "-batch", join("build", image), ...commands.flatMap((command) => ["-ex", command])];
  return execFileSync("gdb", args, {
    cwd: projectDirectory,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
}

/** Runs a script in GDB's Python, which prints JSON. */
function ask<T>(image: string, script: string): T {
  const lines = gdb(image, `python exec(${JSON.stringify(`import gdb, json\n${script}`)})`)
    .trimEnd()
    .split("\n");
  return JSON.parse(lines.at(-1)) as T;
}

/** A line of a source file, from its text. */
function lineOf(file: string, text: string): number {
  const lines = readFileSync(join(projectDirectory, file), "utf8").split("\n");
  const found = lines.findIndex((line) => line.includes(text));
  expect(found, `${file}: ${text}`).toBeGreaterThanOrEqual(0);
  return found + 1;
}

test("the debug image is of the same wasm", () => {
  expect(digests()).toEqual(before);
  for (const name of typevisor.modules.map(({ name }) => `build/modules/${name}`))
    expect(readFileSync(join(projectDirectory, `${name}-debug.c`), "utf8")).toContain(
      `/* Written by wasm3-build from ${name}.wasm; do not edit. */`,
    );
});

test.each(images)("%s: GDB finds the sources from the checkout's top, and lists them", (image) => {
  const line = lineOf("kernel/monitor/vmx.ts", "const kind = decode(v);");
  const text = gdb(
    image,
    `list kernel/monitor/vmx.ts:${line},${line}`,
    `info line kernel/monitor/vmx.ts:${line}`,
  );
  expect(text).toContain(`${line}\t  const kind = decode(v);`);
  expect(text).toMatch(/at address 0x[0-9a-f]+ <monitor_vmx_monitor_vmx_onOther/);
});

test.each(images)(
  "%s: GDB breaks in every file that has code, and every .ts file that it knows is there",
  (image) => {
    const script = `
files = {}
for address in range(int(gdb.parse_and_eval('(unsigned long)&kernel_start')), int(gdb.parse_and_eval('(unsigned long)&text_end'))):
    place = gdb.find_pc_line(address)
    if place.symtab and place.symtab.filename.endswith('.ts'):
        files.setdefault(place.symtab.filename, place.line)
broken = {}
for name, line in files.items():
    broken[name] = [b.location for b in [gdb.Breakpoint('%s:%d' % (name, line))] if not b.pending]
print(json.dumps(broken))`;
    const broken = ask<Record<string, string[]>>(image, script);
    const names = Object.keys(broken).map((name) => name.replace(/^\.\//, ""));
    for (const name of names.filter((name) => !name.startsWith("~lib/")))
      expect(existsSync(join(projectDirectory, name)), name).toBe(true);
    const unbroken = names.filter((_, n) => Object.values(broken)[n]!.length === 0);
    expect(unbroken.filter((name) => !name.startsWith("~lib/"))).toEqual([]);
    // Those without code declare, or have constants only.
    const kernel = filesBelow(join(projectDirectory, "kernel"), ".ts").map((file) =>
      relative(projectDirectory, file),
    );
    // No device has base address registers yet: the image has none of them, but for their tests. Two declare, and no more.
    const codeless = ["device/pcibar", "root/acpi/iommu", "root/font/glyphs"].map(
      (file) => `kernel/${file}.ts`,
    );
    const silent = kernel.filter((file) => !names.includes(file) && !codeless.includes(file));
    expect(silent.filter((file) => /^kernel\/(monitor|root|device)\//.test(file))).toEqual([]);
    expect(names.length).toBeGreaterThan(60);
  },
);

/** Walks every byte of code: its line, and the functions that GDB would show as frames. */
const everyFrame = `
def frames_at(address):
    block = gdb.block_for_pc(address)
    while block and not block.is_global:
        if block.function:
            yield block.function
        block = block.superblock
lines = set()
frames = set()
for address in range(int(gdb.parse_and_eval('(unsigned long)&kernel_start')), int(gdb.parse_and_eval('(unsigned long)&text_end'))):
    place = gdb.find_pc_line(address)
    here = list(frames_at(address))
    frames.update(f.name for f in here if f.symtab.filename.endswith('.h'))
    if here and place.symtab and place.symtab.filename.endswith('.h'):
        lines.add(here[0].name)
print(json.dumps([sorted(lines), sorted(frames)]))`;

test.each(images)(
  "%s: intrinsics are no frames and have no lines, but for functions that are called",
  (image) => {
    const [lines, frames] = ask<[string[], string[]]>(image, everyFrame);
    const called = execFileSync("nm", [join(build, image)], { encoding: "utf8" });
    for (const name of [...lines, ...frames]) {
      expect(name).toMatch(/^(guest_|env_abort$|time_arm$)/);
      expect(called).toMatch(new RegExp(` t ${name}(\\.|$)`, "m"));
    }
  },
);

test.each(images)("%s: a stack can be unwound, and ends in the stubs", (image) => {
  const frames = execFileSync("readelf", ["--debug-dump=frames-interp", join(build, image)], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  const symbols = execFileSync("nm", [join(build, image)], { encoding: "utf8" });
  const described = Array.from(frames.matchAll(/FDE cie=([0-9a-f]+) pc=([0-9a-f]+)\.\.([0-9a-f]+)/g), (m) =>
    m.slice(1).map((text) => parseInt(text, 16)),
  );
  const outermost = /^([0-9a-f]+) .*CIE[^\n]*\n[^\n]*ra\s*\n[^\n]*\bu\s*\n/m.exec(frames)?.[1];
  expect(outermost).toBeDefined();
  const cieOf = (name: string) => {
    const symbol = new RegExp(`^([0-9a-f]+) [tT] ${name}$`, "m").exec(symbols);
    const address = parseInt(symbol?.[1] ?? "", 16);
    return described.find(([, from, to]) => from! <= address && address < to!)?.[0];
  };
  for (const stub of ["vmx_exit_stub", "vmx_run_vcpu", "svm_run_vcpu", "to_long_mode.long_mode"])
    expect(cieOf(stub), stub).toBe(parseInt(outermost!, 16));
  for (const name of ["monitor_vmx_exit", "monitor_svm_exit", "root_start", "root_trap"]) {
    expect(cieOf(name), name).toBeDefined();
    expect(cieOf(name), name).not.toBe(parseInt(outermost!, 16));
  }
});

test("arguments and variables have their TypeScript names in the debug image, and nothing else is there", () => {
  const image = "typevisor-debug.debug";
  expect(gdb(image, "info scope monitor_vmx_exit")).not.toContain("wasm_");
  const names = (place: string) =>
    Array.from(gdb(image, `info scope ${place}`).matchAll(/^Symbol (\S+) is/gm), ([, name]) => name);
  expect(names("monitor_vmx_exit").slice(0, 2)).toEqual(["area", "reason"]);
  expect(names("monitor_vmx_exit")).toEqual(expect.arrayContaining(["v", "rip", "leaf"]));
  const onOther = lineOf("kernel/monitor/vmx.ts", "const next = handle(v, kind);");
  expect(names(`kernel/monitor/vmx.ts:${onOther}`)).toEqual(expect.arrayContaining(["v", "reason", "kind"]));
  expect(names("monitor_vmx_device_counter8254_Counter_start")).toContain("this");
  const walk = names("monitor_vmx_vcpu_walk_translate");
  expect(walk.slice(0, 3)).toEqual(["v", "linear", "access"]);
  expect(walk).toEqual(expect.arrayContaining(["s", "wide", "indexBits", "level", "entry", "rights", "at"]));
  // In memory, so that they have a value wherever a debugger stops.
  const scope = gdb(image, "info scope monitor_vmx_vcpu_walk_translate");
  expect(scope).not.toMatch(/optimized out|multi-location/);
});

test("a row of an intrinsic counts as the line that it is inlined into, or else as the one before", () => {
  const row = (address: number, file: number, line: number): LineRow => ({
    address,
    file,
    line,
    column: 3,
    isStatement: true,
    discriminator: 0,
    end: false,
  });
  const rows = [row(0, 0, 5), row(2, 1, 70), row(4, 0, 6), row(6, 1, 71), row(8, 1, 72), row(16, 1, 80)];
  const intrinsics = {
    inlined: [{ from: 6, to: 8, file: 0, line: 7 }],
    outOfLine: [[16, 20]] as [number, number][],
  };
  const end = { ...row(20, 1, 80), end: true };
  const found = attributeRows([...rows, end], ["kernel/a.ts", "kernel/machine/a.h"], intrinsics);
  expect(found.map(({ address, file, line }) => [address, file, line])).toEqual([
    [0, 0, 5],
    [4, 0, 6],
    [6, 0, 7],
    [16, 1, 80],
    [20, 1, 80],
  ]);
});
