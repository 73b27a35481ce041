/** What the boot tests share. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type MachineKind, processorsFor } from "../../tools/machine/machine.ts";
import { projectDirectory } from "../../tools/machine/run-directory.ts";

export { bootImage, bootToEnd } from "../../tools/trial/boot.ts";
export { assembleGuest, guestFile } from "../../tools/trial/guests.ts";

export const nightly = process.env["NIGHTLY"] === "1";

/** A machine to boot on. */
export interface Place {
  machine: MachineKind;
  cpu?: string;
}

export const vtx: Place = { machine: "bochs" };
/** AMD-V without anything that a CPU may lack. */
export const svm: Place = { machine: "qemu-tcg" };
/** AMD-V with next RIP, flush by ASID and the pause filter. */
export const ryzen: Place = { machine: "bochs", cpu: "ryzen" };

/** Where every machine test runs that is not about one vendor. */
export const places: [name: string, place: Place][] = [
  ["VT-x", vtx],
  ["AMD-V", svm],
  ...(nightly ? ([["a Ryzen", ryzen]] satisfies [string, Place][]) : []),
];

/** Whether everything is tried there. On Bochs every instruction is counted: the short form has what is VT-x' own. */
export const triesAll = (place: Place): boolean => nightly || place.machine !== "bochs";

/** How many CPUs of several there are that run no VM: in QEMU's emulator it is the boot CPU (kernel/root/quirk.ts). */
export const spareCpus = (place: Place): number => processorsFor(place.machine, 2) - 2;

/** The place in the words of scripts/boot and scripts/debug. */
export const optionsOf = ({ machine, cpu }: Place): string[] => [
  ...["--machine", machine],
  ...(cpu === undefined ? [] : ["--cpu", cpu]),
];

/** The line of a source file that is marked "// fault N", as a report writes it: FILE:LINE. */
export function faultLine(file: string, n: number): string {
  const lines = readFileSync(join(projectDirectory, file), "utf8").split("\n");
  const index = lines.findIndex((line) => new RegExp(`// fault ${n}\\b`).test(line));
  if (index < 0) throw new Error(`${file} marks no line "// fault ${n}"`);
  return `${file}:${index + 1}`;
}
