/** GRUB configuration: what is loaded and with which command lines. */
import { Refusal } from "../machine/errors.ts";

/** A file on the image and the words that the loaded program gets with it. */
export interface Load {
  path: string;
  text: string;
}

export type Boot =
  /** The hypervisor with its modules in order (docs/boot.md says what their texts mean). */
  | { kind: "typevisor"; hypervisor: Load; modules: readonly Load[] }
  /** A Linux kernel on the bare machine. */
  | { kind: "bare"; kernel: Load; initrd?: string };

/**
 * One argument of a GRUB script command (GRUB manual, "Quoting"): within single quotes nothing is special, and a
 * single quote itself stands outside, behind a backslash.
 */
export function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/**
 * A command line as GRUB arguments. GRUB joins them with one blank each and quotes an argument that holds blanks, so
 * every word is an argument of its own. It also puts a backslash before each quote and backslash, and nothing can
 * prevent that: such text is refused where the reader (Linux itself) would not take the backslashes out again.
 */
function commandLine(text: string): string {
  if (/[\x00-\x1f\x7f]/.test(text))
    throw new Refusal("a command line with control characters cannot be passed on");
  if (text === "") return "";
  return text
    .split(" ")
    .map((word) => ` ${quote(word)}`)
    .join("");
}

/** What stands on the serial port when GRUB itself failed; the tools look for it. */
export const grubFailure = "GRUB could not load the image, see its messages above";

export function grubConfig(boot: Boot): string {
  const lines = ["serial --unit=0 --speed=115200", "terminal_output serial"];
  if (boot.kind === "typevisor") {
    lines.push(`multiboot2 ${boot.hypervisor.path}${commandLine(boot.hypervisor.text)}`);
    for (const module of boot.modules) lines.push(`module2 ${module.path}${commandLine(module.text)}`);
  } else {
    if (/["'\\]/.test(boot.kernel.text)) {
      throw new Refusal("--append with quotes or backslashes: GRUB changes them on the way to a bare kernel");
    }
    lines.push(`linux ${boot.kernel.path}${commandLine(boot.kernel.text)}`);
    if (boot.initrd !== undefined) lines.push(`initrd ${boot.initrd}`);
  }
  // `boot` comes back only if something above failed.
  lines.push("boot", `echo ${quote(grubFailure)}`, "halt");
  return `${lines.join("\n")}\n`;
}
