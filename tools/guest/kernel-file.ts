/**
 * A guest's kernel: its format is told by the file's content, in QEMU's order, and all that can be seen early is refused
 * early. The hypervisor's monitor checks the same again, inside the guest's own walls.
 */
import { Refusal } from "../machine/errors.ts";
import { isBzImage, type KernelImage, lowMemory, readKernel, size } from "./bzimage.ts";
import { isElf, type Part, partsOf, pvhEntryOf, readElf } from "./elf.ts";
import { readMultiboot } from "./multiboot.ts";

export type KernelFormat = "bzImage" | "PVH" | "multiboot";

export interface GuestKernel extends KernelImage {
  format: KernelFormat;
  /** Where what is loaded from the file ends, and the file's size: it must be in memory apart from that. 0: it need not. */
  loadedEnd: number;
  fileSize: number;
}

/** The longest command line that a monitor passes on. */
const cmdlineSize = 2047;
const largestAddress = 0xffffffff;
const mib = 1 << 20;
/** Below 1 MiB kernels may be loaded between these (kernel/monitor/layout.ts). */
const lowFree = { start: 0x21000, end: 0x9fc00 };
const mostParts = 32;

/** What the kernel asks for, or a refusal that begins with `name`. */
export function readKernelFile(name: string, file: Buffer): GuestKernel {
  if (file.length === 0) throw new Refusal(`${name}: the file is empty`);
  if (isBzImage(file)) {
    return { format: "bzImage", ...readKernel(name, file), loadedEnd: 0, fileSize: file.length };
  }
  const multiboot = readMultiboot(name, file);
  if (multiboot !== undefined) return checkParts(name, file, "multiboot", multiboot);
  if (!isElf(file)) {
    throw new Refusal(
      `${name}: not a kernel: no bzImage, no PVH ELF file and no multiboot kernel${lookalike(file)}`,
    );
  }
  const elf = readElf(name, file);
  const entry = pvhEntryOf(name, file, elf);
  if (entry === undefined) {
    const missing = elf.bits === 64 ? "a PVH entry point" : "a PVH entry point or a multiboot header";
    throw new Refusal(`${name}: a ${elf.bits}-bit ELF file without ${missing}`);
  }
  return checkParts(name, file, "PVH", { entry, parts: partsOf(name, file, elf) });
}

/** Where all of it is. */
function checkParts(
  name: string,
  file: Buffer,
  format: KernelFormat,
  { entry, parts }: { entry: number; parts: Part[] },
): GuestKernel {
  const refuse = (why: string): never => {
    throw new Refusal(`${name}: ${why}`);
  };
  const places = parts.filter(({ room }) => room > 0).map(({ at, room }) => ({ start: at, end: at + room }));
  places.sort((a, b) => a.start - b.start);
  if (places.length > mostParts) refuse(`it has ${places.length} parts, expected at most ${mostParts}`);
  places.forEach(({ start, end }, i) => {
    if (end > lowMemory) refuse("a part of it is to be above 3 GiB, where the guest has no memory");
    if (start < mib && (start < lowFree.start || end > lowFree.end))
      refuse("a part of it is to be where the guest's tables are");
    if (i > 0 && start < places[i - 1]!.end) refuse("its parts overlap");
  });
  if (!places.some(({ start, end }) => entry >= start && entry < end))
    refuse("its entry point is outside of it");
  const prefAddress = Math.min(...places.map(({ start }) => start));
  const initSize = Math.max(...places.map(({ end }) => end)) - prefAddress;
  const loadedEnd = Math.max(...parts.map((part) => (part.size > 0 ? part.at + part.size : 0)));
  const kernel = { prefAddress, initSize, initrdAddrMax: largestAddress, cmdlineSize };
  return { format, ...kernel, loadedEnd, fileSize: file.length };
}

/** Checks that the file, which lies below the initrd of `initrdSize` bytes, is not where parts of it are loaded. */
export function checkFileFits(kernel: GuestKernel, guest: { memory: number; initrdSize: number }): void {
  if (kernel.loadedEnd === 0) return;
  const pages = (bytes: number) => Math.ceil(bytes / 4096) * 4096;
  const needed = pages(kernel.loadedEnd) + pages(kernel.fileSize) + pages(guest.initrdSize);
  if (Math.min(guest.memory, lowMemory) >= needed) return;
  const advice = needed > lowMemory ? "" : `, this kernel needs at least ${size(needed)}`;
  throw new Refusal(`--memory: ${size(guest.memory)} is too small to load the kernel in${advice}`);
}

function lookalike(file: Buffer): string {
  return file[0] === 0x1f && file[1] === 0x8b ? ", but a gzip file (unpack it first)" : "";
}
