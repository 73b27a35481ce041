/**
 * A Linux kernel by its 64-bit protocol (Linux Documentation/arch/x86/boot.rst). Everything in the file is the guest's
 * word and is checked.
 */
import { LoadError } from "../abi/stop";
import { alignUp } from "../lib/bits";
import * as guest from "../machine/guest";
import { Seg } from "../vcpu/system";
import { Vcpu } from "../vcpu/vcpu";
import { Cr0, Cr4, Efer } from "../x86/cr";
import {
  CODE_64,
  COMMAND_LINE,
  CODE_SELECTOR,
  GIB4,
  MIB,
  PAGE_TABLES,
  START_INFO as ZERO_PAGE,
  info,
  makeMemoryMap,
  region,
  writeFirmwareTables,
  writeCommandLine,
  writeGdt,
} from "./layout";
import { addMove } from "./parts";

/** The setup header (boot.rst, "The Real-Mode Kernel Header"): offsets in the file and in the zero page. */
namespace Header {
  export const SETUP_SECTS: u64 = 0x1f1;
  export const SYSSIZE: u64 = 0x1f4;
  export const VID_MODE: u64 = 0x1fa;
  export const BOOT_FLAG: u64 = 0x1fe;
  export const JUMP: u64 = 0x200;
  export const MAGIC: u64 = 0x202;
  export const VERSION: u64 = 0x206;
  export const TYPE_OF_LOADER: u64 = 0x210;
  export const LOADFLAGS: u64 = 0x211;
  export const RAMDISK_IMAGE: u64 = 0x218;
  export const RAMDISK_SIZE: u64 = 0x21c;
  export const HEAP_END: u64 = 0x224;
  export const CMD_LINE_PTR: u64 = 0x228;
  export const INITRD_ADDR_MAX: u64 = 0x22c;
  export const KERNEL_ALIGNMENT: u64 = 0x230;
  export const RELOCATABLE: u64 = 0x234;
  export const XLOADFLAGS: u64 = 0x236;
  export const CMDLINE_SIZE: u64 = 0x238;
  export const PREF_ADDRESS: u64 = 0x258;
  export const INIT_SIZE: u64 = 0x260;
  export const START: u64 = 0x1f1;
  export const FILE_MIN: u64 = 0x268;
}

/** The zero page's other fields (Documentation/arch/x86/zero-page.rst). */
namespace Zero {
  export const ACPI_RSDP: u64 = 0x70;
  export const E820_ENTRIES: u64 = 0x1e8;
  export const E820: u64 = 0x2d0;
}

const MAGIC: u32 = 0x53726448; // "HdrS"
const VERSION_MIN: u32 = 0x20c;
const XLF_KERNEL_64: u32 = 1;
const XLF_CAN_BE_LOADED_ABOVE_4G: u32 = 2;
const ALIGNMENT_MAX: u64 = 1 << 30;
const UNDEFINED_LOADER: u32 = 0xff;
const VID_NORMAL: u32 = 0xffff;
const ENTRY_64: u64 = 0x200;

/** The smallest file that can be a bzImage. */
export const BZIMAGE_MIN: u64 = Header.FILE_MIN;

export function isBzImage(): bool {
  return info.kernelSize >= Header.MAGIC + 4 && guest.load32(info.kernelAddress + Header.MAGIC) == MAGIC;
}


@unmanaged
class BzImage {
  entry: u64;
}

const state = changetype<BzImage>(memory.data(8, 8));

/** Checks the file and builds everything around the kernel. */
export function prepareBzImage(): u32 {
  const file = info.kernelAddress;
  const size = info.kernelSize;
  if (size < Header.FILE_MIN) return LoadError.Truncated;
  if (guest.load16(file + Header.BOOT_FLAG) != 0xaa55) return LoadError.NotBzImage;
  if (guest.load16(file + Header.VERSION) < VERSION_MIN) return LoadError.TooOld;
  const flags = guest.load16(file + Header.XLOADFLAGS);
  if (!(flags & XLF_KERNEL_64)) return LoadError.No64BitEntry;
  const sectors = guest.load8(file + Header.SETUP_SECTS);
  const setup = (<u64>(sectors == 0 ? 4 : sectors) + 1) * 512;
  const system = <u64>guest.load32(file + Header.SYSSIZE) * 16;
  // SYSSIZE counts whole paragraphs, of which the file may lack the end.
  if (setup + ENTRY_64 >= size || setup + system > size + 15) return LoadError.Truncated;
  const kernelSize = size - setup;
  const alignment = <u64>guest.load32(file + Header.KERNEL_ALIGNMENT);
  const relocatable = guest.load8(file + Header.RELOCATABLE) != 0;
  if (relocatable && (popcnt(alignment) != 1 || alignment > ALIGNMENT_MAX)) return LoadError.NotBzImage;

  const needed = max<u64>(guest.load32(file + Header.INIT_SIZE), kernelSize);
  const at = placeKernel(guest.load64(file + Header.PREF_ADDRESS), needed, relocatable ? alignment : 0);
  if (at == 0) return LoadError.MemoryTooSmall;
  // A kernel that can be above 4 GiB takes its initrd from anywhere.
  const limit: u64 = flags & XLF_CAN_BE_LOADED_ABOVE_4G ? GIB4 : guest.load32(file + Header.INITRD_ADDR_MAX);
  if (info.initrdSize > 0 && info.initrdAddress + info.initrdSize - 1 > limit) return LoadError.InitrdTooHigh;
  if (info.commandLineLength > guest.load32(file + Header.CMDLINE_SIZE)) return LoadError.CommandLineTooLong;
  addMove(at, file + setup, kernelSize);
  state.entry = at + ENTRY_64;
  writeZeroPage(file);
  writePageTables();
  writeGdt(CODE_64);
  return LoadError.None;
}

/**
 * `preferred`, or for a relocatable kernel that prefers nothing the first aligned address above 1 MiB; 0 when the memory
 * that it runs in meets the initrd or RAM's end. Elsewhere is no way out: loaded below its preferred address a kernel moves
 * itself there (boot.rst, init_size), and above is less room. `alignment`: 0 for a kernel that is not relocatable.
 */
function placeKernel(preferred: u64, needed: u64, alignment: u64): u64 {
  const end = info.initrdSize > 0 ? info.initrdAddress : info.ramLow;
  const at = preferred < MIB && alignment ? alignUp(MIB, alignment) : preferred;
  const runtime = alignment ? alignUp(at, alignment) : at;
  return at >= MIB && at <= runtime && runtime < end && needed <= end - runtime ? at : 0;
}

function writeZeroPage(file: u64): void {
  guest.fill(ZERO_PAGE, 0, 4096);
  // The header ends where the byte at 201h says: the short jump over it.
  const length = min<u64>(
    <u64>guest.load8(file + Header.JUMP + 1) + Header.MAGIC - Header.START,
    0x290 - Header.START,
  );
  guest.move(ZERO_PAGE + Header.START, file + Header.START, length);
  guest.store16(ZERO_PAGE + Header.VID_MODE, VID_NORMAL);
  guest.store8(ZERO_PAGE + Header.TYPE_OF_LOADER, UNDEFINED_LOADER);
  guest.store8(ZERO_PAGE + Header.LOADFLAGS, guest.load8(ZERO_PAGE + Header.LOADFLAGS) | 1);
  guest.store32(ZERO_PAGE + Header.CMD_LINE_PTR, <u32>COMMAND_LINE);
  guest.store32(ZERO_PAGE + Header.RAMDISK_IMAGE, info.initrdSize > 0 ? <u32>info.initrdAddress : 0);
  guest.store32(ZERO_PAGE + Header.RAMDISK_SIZE, <u32>info.initrdSize);
  writeCommandLine();
  const entries = makeMemoryMap();
  for (let n: u32 = 0; n < entries; n++) writeE820(n);
  guest.store8(ZERO_PAGE + Zero.E820_ENTRIES, entries);
  guest.store64(ZERO_PAGE + Zero.ACPI_RSDP, writeFirmwareTables());
}

function writeE820(n: u32): void {
  const entry = ZERO_PAGE + Zero.E820 + n * 20;
  const r = region(n);
  guest.store64(entry, r.base);
  guest.store64(entry + 8, r.end - r.base);
  guest.store32(entry + 16, r.kind);
}

/** An identity mapping of the first 4 GiB by 2 MiB pages. */
function writePageTables(): void {
  guest.fill(PAGE_TABLES, 0, 6 * 4096);
  guest.store64(PAGE_TABLES, (PAGE_TABLES + 0x1000) | 3);
  for (let i: u64 = 0; i < 4; i++)
    guest.store64(PAGE_TABLES + 0x1000 + i * 8, (PAGE_TABLES + 0x2000 + i * 0x1000) | 3);
  for (let i: u64 = 0; i < 2048; i++) guest.store64(PAGE_TABLES + 0x2000 + i * 8, (i << 21) | 0x83);
}

/** Registers at the 64-bit entry point (boot.rst, "64-bit Boot Protocol"), but for those of every format. */
export function startBzImage(v: Vcpu): void {
  const s = v.system;
  s.cr0 = Cr0.PG | Cr0.WP | Cr0.NE | Cr0.ET | Cr0.MP | Cr0.PE;
  s.cr3 = PAGE_TABLES;
  s.cr4 = Cr4.PAE;
  s.efer = Efer.LME | Efer.LMA;
  s.segment(Seg.CS).set(CODE_SELECTOR, 0, 0xffffffff, 0xa09b);
  v.rip = state.entry;
  v.rsp = ZERO_PAGE;
  v.rsi = ZERO_PAGE;
}
