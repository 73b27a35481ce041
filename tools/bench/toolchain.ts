/**
 * Instructions that generated code executes, against C by hand and against wasm2c's C from the same wasm
 * (test/toolchain/cost). All are compiled alike and stepped one instruction at a time, so the figures are exact.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { cFlags } from "../build/image.ts";
import { command } from "../build/step.ts";

/** Instructions of one call, of a part of a kernel. */
export interface Counts {
  kernel: string;
  part: string;
  typescript: number;
  c: number;
  wasm2c: number;
}

/** TypeScript's instructions to C's, in the mean of the kernels. No part may take more than wasm2c's. */
export const qualityBudget = 1.1;

const root = join(import.meta.dirname, "../..");
const cost = join(root, "test/toolchain/cost");
const handWritten = ["crc32", "dispatcher", "pages", "ring", "sort"];
const ascFlags =
  "--runtime stub -O3 --converge --debug --sourceMap --enable bulk-memory --initialMemory 4 --maximumMemory 4";

async function build(folder: string): Promise<string> {
  const run = (program: string, args: string[]) => command(program, args, folder);
  const node = (program: string, args: string[]) =>
    run(process.execPath, [join(root, "node_modules", program), ...args]);
  await command("make", ["-s", "-C", "tools/wasm3-build"], root);
  const wasm = join(folder, "kernels.wasm");
  await command(
    process.execPath,
    [
      join(root, "node_modules/assemblyscript/bin/asc.js"),
      join(cost, "kernels.ts"),
      "-o",
      wasm,
      ...ascFlags.split(" "),
    ],
    root,
  );
  const translator = join(root, "build/tools/wasm3-build");
  const flags = "-o kernels.c --prefix kernels --map kernels.wasm.map --include machine.h";
  await run(translator, ["kernels.wasm", ...flags.split(" ")]);
  await node("wabt/bin/wasm2c", ["kernels.wasm", "-n", "kernels", "-o", "kernels.w2c.c"]);

  const include = [
    cost,
    join(cost, "../host"),
    join(cost, "../host/wasm2c"),
    join(root, "tools/wasm3-build"),
    folder,
  ].map((f) => `-I${f}`);
  // wasm2c's C has functions of floats, which want SSE; without vectors it uses it for nothing else.
  const wasm2cFlags = cFlags.filter((flag) => !/^-W|general-regs/.test(flag));
  const compile = (flags: string[], source: string, object: string) =>
    run("gcc", [...flags, "-O2", ...include, "-c", source, "-o", object]);
  const objects = ["kernels", "wasm2c", ...handWritten.map((name) => `hand-${name}`), "routines", "count"];
  const hostFlags = ["-std=gnu11", "-fno-pie", "-w"];
  await Promise.all([
    compile([...cFlags, "-UWASM3_SEGMENT", "-DWASM3_SEGMENT=__seg_gs"], "kernels.c", "kernels.o"), // FS is libc's
    compile([...wasm2cFlags, "-w", "-fno-tree-vectorize"], join(cost, "wasm2c.c"), "wasm2c.o"),
    ...handWritten.map((name) => compile(cFlags, join(cost, `hand-${name}.c`), `hand-${name}.o`)),
    compile(hostFlags, join(cost, "routines.c"), "routines.o"),
    compile(hostFlags, join(cost, "../host/count.c"), "count.o"),
  ]);
  await run("gcc", ["-no-pie", "-o", "count", ...objects.map((name) => `${name}.o`)]);
  return join(folder, "count");
}

/**
 * Builds all variants and counts the parts whose names contain `wanted`.
 * @throws an Error if one of them computes something else than the others
 */
export async function countInstructions(folder: string, wanted = ""): Promise<Counts[]> {
  mkdirSync(folder, { recursive: true });
  return parseCounts(await command(await build(folder), [wanted], folder));
}

/** Lines of test/toolchain/host/count.c: kernel, part, variant, instructions, digest of what was computed. */
export function parseCounts(text: string): Counts[] {
  const found = new Map<string, Counts>();
  const outcomes = new Map<string, string>();
  let overhead = 0;
  for (const line of text.trim().split("\n")) {
    const [kernel, part, variant, steps, outcome] = line.split(" ") as [
      string,
      string,
      string,
      string,
      string,
    ];
    if (kernel === "nothing") {
      overhead = Number(steps);
      continue;
    }
    const name = `${kernel} ${part}`;
    if ((outcomes.get(name) ?? outcome) !== outcome)
      throw new Error(`${name}: ${variant} computes something else`);
    outcomes.set(name, outcome);
    const counts = found.get(name) ?? { kernel, part, typescript: 0, c: 0, wasm2c: 0 };
    found.set(name, { ...counts, [variant]: Number(steps) - overhead });
  }
  if (new Set(outcomes.values()).size !== outcomes.size)
    throw new Error("two parts compute the same: one of them did nothing");
  return [...found.values()];
}

/** The kernels, each the sum of its parts. */
export function sumKernels(counts: Counts[]): Counts[] {
  const sums = new Map<string, Counts>();
  for (const { kernel, typescript, c, wasm2c } of counts) {
    const sum = sums.get(kernel) ?? { kernel, part: "all", typescript: 0, c: 0, wasm2c: 0 };
    sums.set(kernel, {
      ...sum,
      typescript: sum.typescript + typescript,
      c: sum.c + c,
      wasm2c: sum.wasm2c + wasm2c,
    });
  }
  return [...sums.values()];
}

/** The mean of the kernels' ratios, each weighing the same. */
export function meanRatio(counts: Counts[]): number {
  const kernels = sumKernels(counts);
  return kernels.reduce((sum, { typescript, c }) => sum + typescript / c, 0) / kernels.length;
}
