/**
 * Checks a Linux kernel file before anything is started with it (linux: Documentation/arch/x86/boot.rst, "The
 * Real-Mode Kernel Header"). The hypervisor's monitor checks the same again, inside the guest's own walls.
 */
import { Refusal } from "../machine/errors.ts";

export interface KernelImage {
  /** Where the kernel starts to run and how much memory it needs from there, before it knows the memory map. */
  prefAddress: number;
  initSize: number;
  /** The highest address the initrd's last byte may have. */
  initrdAddrMax: number;
  /** The longest command line, in bytes. */
  cmdlineSize: number;
}

const magic = 0x53726448; // "HdrS"
const mib = 1 << 20;

export function isBzImage(file: Buffer): boolean {
  return file.length >= 0x206 && file.readUInt32LE(0x202) === magic;
}

/** What the kernel asks for, or a refusal that begins with `name`. */
export function readKernel(name: string, file: Buffer): KernelImage {
  const refuse = (why: string): never => {
    throw new Refusal(`${name}: ${why}`);
  };
  if (file.length === 0) refuse("the file is empty");
  if (file.length < 0x268 || file.readUInt32LE(0x202) !== magic) {
    refuse(`not a Linux kernel in bzImage format${lookalike(file)}`);
  }
  const version = file.readUInt16LE(0x206);
  if (version < 0x020c) {
    refuse(
      `boot protocol ${version >> 8}.${String(version & 0xff).padStart(2, "0")} is too old, 2.12 is needed`,
    );
  }
  if ((file.readUInt16LE(0x236) & 1) === 0)
    refuse("the kernel has no 64-bit entry point (is it a 32-bit kernel?)");
  const setupSectors = file.readUInt8(0x1f1) || 4; // zero means four, for old kernels
  const whole = (setupSectors + 1) * 512 + file.readUInt32LE(0x1f4) * 16; // counted in paragraphs, the last one begun
  if (file.length <= whole - 16) refuse(`the file is truncated: it has ${file.length} of ${whole} bytes`);
  return {
    prefAddress: Number(file.readBigUInt64LE(0x258)),
    initSize: file.readUInt32LE(0x260),
    initrdAddrMax: file.readUInt32LE(0x22c),
    cmdlineSize: file.readUInt32LE(0x238),
  };
}

/** The compressed kernel in the file, once all that readKernel asks for is true. */
export function payloadOf(name: string, file: Buffer): Buffer {
  readKernel(name, file);
  const start = ((file.readUInt8(0x1f1) || 4) + 1) * 512 + file.readUInt32LE(0x248);
  const length = file.readUInt32LE(0x24c);
  if (length === 0) throw new Refusal(`${name}: there is no compressed kernel in it, is it Linux?`);
  if (start + length > file.length) {
    throw new Refusal(
      `${name}: the file is truncated: its compressed kernel ends at byte ${start + length} of ${file.length}`,
    );
  }
  return file.subarray(start, start + length);
}

function lookalike(file: Buffer): string {
  if (file.subarray(0, 4).toString("latin1") === "\x7fELF")
    return ", but an ELF file (take arch/x86/boot/bzImage)";
  if (file.readUInt16BE(0) === 0x1f8b) return ", but a gzip file (unpack it first)";
  return "";
}

/**
 * Checks that the kernel, its initrd (of `initrdSize` bytes, 0 for none) and its command line fit a guest with
 * `memory` bytes.
 */
export function checkFit(
  kernel: KernelImage,
  guest: { memory: number; initrdSize: number; append: string },
): void {
  const kernelEnd = kernel.prefAddress + kernel.initSize;
  const initrdSize = Math.ceil(guest.initrdSize / 4096) * 4096;
  const needed = kernelEnd + initrdSize;
  const length = Buffer.byteLength(guest.append);
  if (length > kernel.cmdlineSize) {
    throw new Refusal(`--append: ${length} bytes are too long, this kernel takes ${kernel.cmdlineSize}`);
  }
  if (guest.memory < kernelEnd) {
    throw new Refusal(
      `--memory: ${size(guest.memory)} is too small, this kernel needs at least ${size(needed)}`,
    );
  }
  const room = Math.min(guest.memory, lowMemory, kernel.initrdAddrMax + 1) - kernelEnd;
  if (initrdSize > room) {
    const advice = needed <= lowMemory ? ` (--memory ${size(needed)} is the least for it)` : "";
    throw new Refusal(
      `the initrd of ${size(initrdSize)} is too large for the guest: ${size(room)} are free${advice}`,
    );
  }
}

/** Guest memory from here on lies above 4 GiB, where an initrd cannot be. */
export const lowMemory = 3 * 1024 * mib;

/** Bytes as whole MiB, rounded up. */
export function size(bytes: number): string {
  return `${Math.ceil(bytes / mib)}M`;
}
