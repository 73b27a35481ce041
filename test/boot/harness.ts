/** What the boot tests share. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { projectDirectory } from "../../tools/machine/run-directory.ts";

export { bootImage } from "../../tools/trial/boot.ts";
export { assembleGuest, guestFile } from "../../tools/trial/guests.ts";

export const nightly = process.env["NIGHTLY"] === "1";

/** The line of a source file that is marked "// fault N", as a report writes it: FILE:LINE. */
export function faultLine(file: string, n: number): string {
  const lines = readFileSync(join(projectDirectory, file), "utf8").split("\n");
  const index = lines.findIndex((line) => new RegExp(`// fault ${n}\\b`).test(line));
  if (index < 0) throw new Error(`${file} marks no line "// fault ${n}"`);
  return `${file}:${index + 1}`;
}
