/** GRUB configuration: what is loaded and with which command lines. */
import { Refusal } from "../machine/errors.ts";

/** A file on the image and the words that the loaded program gets with it. */
export interface Load {
  path: string;
  text: string;
}

export type Boot =
  /** The hypervisor with its modules in order (docs/command-line.md says what their texts mean). */
  | {
      kind: "typevisor";
      hypervisor: Load;
      modules: readonly Load[];
      multiboot?: 1 | 2;
      /** GRUB's name of a video mode for a BIOS, "1024x768x32"; text unless told. On UEFI it is the firmware's. */
      video?: string;
    }
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
 * every word is an argument of its own.
 */
function commandLine(text: string): string {
  if (text === "") return "";
  return text
    .split(" ")
    .map((word) => ` ${quote(word)}`)
    .join("");
}

/**
 * Refuses text that does not come through GRUB as it is. GRUB puts a backslash before each quote and backslash, and
 * nothing can prevent that: the hypervisor takes them out again, but Linux on the bare machine does not.
 */
export function checkCommandLine(option: string, text: string, kind: Boot["kind"]): void {
  if (/[\x00-\x1f\x7f]/.test(text)) throw new Refusal(`${option}: control characters cannot be passed on`);
  if (kind === "bare" && /["'\\]/.test(text)) {
    throw new Refusal(`${option}: GRUB does not pass quotes and backslashes to a bare kernel unchanged`);
  }
}

/** What stands on the serial port when GRUB itself failed; the tools look for it. */
export const grubFailure = "GRUB could not load the image, see its messages above";

export function grubConfig(boot: Boot): string {
  const lines = ["serial --unit=0 --speed=115200", "terminal_output serial"];
  if (boot.kind === "typevisor") {
    const version = boot.multiboot === 1 ? "" : "2";
    lines.push(`multiboot${version} ${boot.hypervisor.path}${commandLine(boot.hypervisor.text)}`);
    for (const module of boot.modules)
      lines.push(`module${version} ${module.path}${commandLine(module.text)}`);
    // After the multiboot commands, which set it: they find in the header that pixels are welcome.
    const mode = boot.video === undefined ? "text" : quote(boot.video);
    if (boot.video !== undefined) lines.push("insmod all_video");
    lines.push(`if [ "$grub_platform" = efi ]; then insmod all_video; else set gfxpayload=${mode}; fi`);
  } else {
    lines.push(`linux ${boot.kernel.path}${commandLine(boot.kernel.text)}`);
    if (boot.initrd !== undefined) lines.push(`initrd ${boot.initrd}`);
  }
  // `boot` comes back only if something above failed.
  lines.push("boot", `echo ${quote(grubFailure)}`, "halt");
  return `${lines.join("\n")}\n`;
}
