/** Guests of our own, for tests and measurements: NASM sources of test/guests, as bzImages. */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { projectDirectory } from "../machine/run-directory.ts";
import { builtFile } from "./boot.ts";

const folder = builtFile("guests-of-tests");

/** Assembles test/guests/NAME.asm. `defines` become %define, and part of the file's name. */
export function assembleGuest(name: string, defines: Record<string, string | number> = {}): string {
  mkdirSync(folder, { recursive: true });
  const suffix = Object.entries(defines).map(([k, v]) => `-${k}-${v}`);
  const output = join(folder, `${name}${suffix.join("")}`);
  const guests = join(projectDirectory, "test/guests/");
  const flags = Object.entries(defines).map(([k, v]) => `-D${k}=${v}`);
  execFileSync("nasm", [
    "-f",
    "bin",
    "-Werror",
    `-I${guests}`,
    ...flags,
    "-o",
    output,
    join(guests, `${name}.asm`),
  ]);
  return output;
}

/** A file with these bytes. */
export function guestFile(name: string, bytes: Uint8Array): string {
  mkdirSync(folder, { recursive: true });
  const output = join(folder, name);
  writeFileSync(output, bytes);
  return output;
}
