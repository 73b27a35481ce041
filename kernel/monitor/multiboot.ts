/**
 * A multiboot kernel (Multiboot 0.6.96): a 32-bit ELF file, or any file whose header says what goes where. Its initrd is its
 * module.
 */
import { LoadError } from "../abi/stop";
import * as guest from "../machine/guest";
import { Vcpu } from "../vcpu/vcpu";
import { elf, isElf32, readElf } from "./elf";
import {
  CODE_32,
  COMMAND_LINE,
  LOW_END,
  MIB,
  START_INFO,
  info,
  makeMemoryMap,
  region,
  writeFirmwareTables,
  writeCommandLine,
  writeGdt,
} from "./layout";
import { addPart, isInPart } from "./parts";
import { startProtected } from "./protected";

const HEADER_MAGIC: u32 = 0x1badb002;
const LOADER_MAGIC: u64 = 0x2badb002;
/** The header is in the file's first 8 KiB, on 4 bytes (3.1.1, The layout of Multiboot header). */
const SEARCHED: u64 = 8192;
const NO_HEADER: u64 = ~(<u64>0);

namespace Header {
  export const FLAGS: u64 = 4;
  export const CHECKSUM: u64 = 8;
  export const HEADER_ADDR: u64 = 12;
  export const LOAD_ADDR: u64 = 16;
  export const LOAD_END_ADDR: u64 = 20;
  export const BSS_END_ADDR: u64 = 24;
  export const ENTRY_ADDR: u64 = 28;
  export const SIZE: u64 = 12;
  export const SIZE_WITH_ADDRESSES: u64 = 32;
}

/** What a header demands in bits 15:0; a loader that cannot serve one of them must refuse (3.1.2, The magic fields). */
namespace Flag {
  export const PAGE_ALIGNED: u32 = 1 << 0;
  export const MEMORY: u32 = 1 << 1;
  export const VIDEO: u32 = 1 << 2;
  export const DEMANDS: u32 = 0xffff;
  export const ADDRESSES: u32 = 1 << 16;
}

/** What of the information is valid (3.3, Boot information format): memory, command line, modules, map, loader's name. */
const INFO_FLAGS: u32 = (1 << 0) | (1 << 2) | (1 << 3) | (1 << 6) | (1 << 9);
const MODULES: u64 = START_INFO + 0x80;
const MEMORY_MAP: u64 = START_INFO + 0x100;
const LOADER_NAME: u64 = START_INFO + 0x200;
/** The module's string: there is none. */
const NO_TEXT: u64 = START_INFO + 0x210;
const NAME: StaticArray<u8> = [0x54, 0x79, 0x70, 0x65, 0x76, 0x69, 0x73, 0x6f, 0x72]; // "Typevisor"
const NAME_LENGTH: u32 = 9;


@unmanaged
class Multiboot {
  /** Of the header, in the file. */
  offset: u64;
  entry: u64;
  flags: u32;
}

const state = changetype<Multiboot>(memory.data(24, 8));

/** Whether there is a header; which file it is in decides whether that makes it a kernel. */
export function findMultiboot(): bool {
  const end = min(info.kernelSize, SEARCHED);
  for (let at: u64 = 0; at + Header.SIZE <= end; at += 4) {
    const header = info.kernelAddress + at;
    if (guest.load32(header) != HEADER_MAGIC) continue;
    state.flags = guest.load32(header + Header.FLAGS);
    if (HEADER_MAGIC + state.flags + guest.load32(header + Header.CHECKSUM) != 0) continue;
    state.offset = at;
    return true;
  }
  state.offset = NO_HEADER;
  return false;
}

/** The header that was found says where the file goes. */
export function hasAddresses(): bool {
  return (state.flags & Flag.ADDRESSES) != 0;
}

export function prepareMultiboot(): u32 {
  if (state.flags & Flag.VIDEO) return LoadError.MultibootVideo;
  if (state.flags & Flag.DEMANDS & ~(Flag.PAGE_ALIGNED | Flag.MEMORY)) return LoadError.MultibootDemands;
  const why = hasAddresses() ? readAddresses() : readElf();
  if (why != LoadError.None) return why;
  if (!hasAddresses()) state.entry = elf.physicalEntry;
  if (!isInPart(state.entry)) return LoadError.EntryOutside;
  writeInfo();
  writeGdt(CODE_32);
  return LoadError.None;
}

/** The a.out kludge (3.1.3, The address fields of Multiboot header): the header's own address says what the file's are. */
function readAddresses(): u32 {
  const header = info.kernelAddress + state.offset;
  if (state.offset + Header.SIZE_WITH_ADDRESSES > info.kernelSize) return LoadError.Truncated;
  const headerAt = <u64>guest.load32(header + Header.HEADER_ADDR);
  const start = <u64>guest.load32(header + Header.LOAD_ADDR);
  const loadEnd = <u64>guest.load32(header + Header.LOAD_END_ADDR);
  const bssEnd = <u64>guest.load32(header + Header.BSS_END_ADDR);
  state.entry = guest.load32(header + Header.ENTRY_ADDR);
  if (start > headerAt || headerAt - start > state.offset) return LoadError.MultibootAddresses;
  const offset = state.offset - (headerAt - start);
  if (loadEnd != 0 && loadEnd < start) return LoadError.MultibootAddresses;
  // Without an end all of the file is loaded.
  const size = loadEnd == 0 ? info.kernelSize - offset : loadEnd - start;
  if (bssEnd != 0 && bssEnd < start + size) return LoadError.MultibootAddresses;
  return addPart(start, offset, size, bssEnd == 0 ? size : bssEnd - start);
}

function writeInfo(): void {
  guest.fill(START_INFO, 0, 4096);
  guest.store32(START_INFO, INFO_FLAGS);
  guest.store32(START_INFO + 4, <u32>(LOW_END >> 10));
  guest.store32(START_INFO + 8, <u32>((info.ramLow - MIB) >> 10));
  writeCommandLine();
  guest.store32(START_INFO + 16, <u32>COMMAND_LINE);
  guest.store32(START_INFO + 20, info.initrdSize > 0 ? 1 : 0);
  guest.store32(START_INFO + 24, <u32>MODULES);
  if (info.initrdSize > 0) {
    guest.store32(MODULES, <u32>info.initrdAddress);
    guest.store32(MODULES + 4, <u32>(info.initrdAddress + info.initrdSize));
    guest.store32(MODULES + 8, <u32>NO_TEXT);
  }
  const entries = makeMemoryMap();
  guest.store32(START_INFO + 44, entries * 24);
  guest.store32(START_INFO + 48, <u32>MEMORY_MAP);
  for (let n: u32 = 0; n < entries; n++) writeRegion(n);
  for (let i: u32 = 0; i < NAME_LENGTH; i++) guest.store8(LOADER_NAME + i, NAME[i]);
  guest.store32(START_INFO + 64, <u32>LOADER_NAME);
  // The kernel looks for it where a PC has it.
  writeFirmwareTables();
}

/** An entry is preceded by its size, which does not count itself. */
function writeRegion(n: u32): void {
  const entry = MEMORY_MAP + n * 24;
  const r = region(n);
  guest.store32(entry, 20);
  guest.store64(entry + 4, r.base);
  guest.store64(entry + 12, r.end - r.base);
  guest.store32(entry + 20, r.kind);
}

export function startMultiboot(v: Vcpu): void {
  startProtected(v, state.entry);
  v.rax = LOADER_MAGIC;
}

/** The header that was found is in a file that it can be a kernel's of. */
export function isMultiboot(): bool {
  return hasAddresses() || isElf32();
}
