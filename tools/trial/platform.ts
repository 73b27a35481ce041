/** The platform tests' programs (test/guests/platform): a multiboot kernel of the runtime and some subjects. */
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { projectDirectory } from "../machine/run-directory.ts";
import { builtFile } from "./boot.ts";

const sources = join(projectDirectory, "test/guests/platform");

// Neither SSE, which nobody saves at an interrupt, nor a red zone, which an interrupt would overwrite.
const compilerFlags = [
  ..."-m64 -c -O1 -std=gnu11 -Wall -Wextra -Werror -ffreestanding -mgeneral-regs-only -mno-red-zone".split(
    " ",
  ),
  ..."-fno-pic -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables".split(" "),
  "-fno-strict-aliasing",
  "-fno-toplevel-reorder" /* a file's subjects run in their order */,
];

/** Builds a program; `files` are the sources of its subjects, in the order in which they run. */
export function buildPlatformGuest(name: string, files: readonly string[]): string {
  const folder = builtFile(`platform-guests/${name}`);
  mkdirSync(folder, { recursive: true });
  const objects = ["boot", "runtime", "acpi", ...files].map((file) => {
    const object = join(folder, `${file}.o`);
    if (file === "boot")
      execFileSync("nasm", ["-f", "elf64", "-Werror", "-o", object, join(sources, "boot.asm")]);
    else execFileSync("gcc", [...compilerFlags, "-o", object, join(sources, `${file}.c`)]);
    return object;
  });
  const output = join(folder, name);
  const script = join(sources, "guest.ld");
  execFileSync("ld", ["-n", "-T", script, "--oformat=binary", "-o", output, ...objects]);
  return output;
}
