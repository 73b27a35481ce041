/** Everything that a kernel's file says of itself. */
import { payloadOf } from "../../guest/bzimage.ts";
import { findBanner } from "./banner.ts";
import { readKallsyms } from "./kallsyms.ts";
import { readOrc } from "./orc.ts";
import { decompress } from "./payload.ts";
import type { Kernel } from "./symbol-file.ts";
import { readVmlinux } from "./vmlinux.ts";

/** Reads a bzImage, or the vmlinux out of one; or refuses with a line that begins with `name`. */
export function readKernel(name: string, file: Buffer): Kernel {
  const isElf = file.toString("latin1", 0, 4) === "\x7fELF";
  const vmlinux = readVmlinux(name, isElf ? file : decompress(name, payloadOf(name, file)));
  const symbols = readKallsyms(name, vmlinux);
  const banner = findBanner(name, vmlinux, symbols);
  const orc = readOrc(name, vmlinux, symbols, banner.version);
  return { sections: vmlinux.sections, symbols, orc, banner };
}
