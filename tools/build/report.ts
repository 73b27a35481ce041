/**
 * What a build says at its end: each module's capabilities, the image's size and its use of stacks, the size of the
 * unsafe surface.
 */
import { readFileSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import type { Builder } from "./image.ts";
import type { Image } from "./modules.ts";
import { filesBelow } from "./sources.ts";

export const IMAGE_LIMIT = 384 * 1024;
export const UNSAFE_LIMIT = 1500;

/** The files that no compiler checks for memory safety: NASM, the intrinsics' C, wasm3-build's runtime. */
export function unsafeFiles(root: string): string[] {
  return [
    ...filesBelow(join(root, "boot"), ".asm", ".inc", ".ld"),
    ...filesBelow(join(root, "kernel/machine"), ".h", ".c"),
    join(root, "tools/wasm3-build/wasm3-runtime.h"),
  ];
}

/** Lines of code: blank ones and those of comments alone do not count. */
export function countLines(text: string): number {
  return text
    .replace(/\/\*[\s\S]*?\*\//g, "")
    .split("\n")
    .filter((line) => line.trim() !== "" && !/^\s*(;|\/\/)/.test(line)).length;
}

/**
 * Prints the report: of the images all, of others, which do not ship and so may be of any size, that and their stacks.
 * @throws an Error that names what is larger than it may be
 */
export async function printReport(builder: Builder, images: Image[], others: string[] = []): Promise<void> {
  const modules = new Set(images.flatMap((i) => i.modules));
  for (const module of modules) {
    const report = readFileSync(join(builder.out, "modules", `${module.name}.report`), "utf8").trimEnd();
    console.log(
      report
        .split("\n")
        .filter((line) => !line.startsWith("  function "))
        .join("\n"),
    );
  }
  for (const image of images) {
    const size = statSync(join(builder.out, `${image.name}.elf`)).size;
    const lines = statSync(join(builder.out, `${image.name}.lines`)).size;
    console.log(`${image.name}.elf: ${kib(size)} of ${kib(IMAGE_LIMIT)}; line table ${kib(lines)}`);
    console.log(readFileSync(join(builder.out, `${image.name}.stacks`), "utf8").trimEnd());
    if (size > IMAGE_LIMIT) throw new Error(`${image.name}.elf: larger than ${kib(IMAGE_LIMIT)}`);
  }
  for (const name of others) {
    console.log(`${name}.elf: ${kib(statSync(join(builder.out, `${name}.elf`)).size)}`);
    console.log(readFileSync(join(builder.out, `${name}.stacks`), "utf8").trimEnd());
  }
  const files = unsafeFiles(builder.root);
  const counts = files.map((f) => ({
    file: relative(builder.root, f),
    lines: countLines(readFileSync(f, "utf8")),
  }));
  const total = counts.reduce((sum, c) => sum + c.lines, 0);
  console.log(`unsafe surface: ${total} of ${UNSAFE_LIMIT} lines in ${files.length} files`);
  if (total > UNSAFE_LIMIT) throw new Error(`the unsafe surface is larger than ${UNSAFE_LIMIT} lines`);
}

function kib(bytes: number): string {
  return `${(bytes / 1024).toFixed(1)} KiB`;
}
