/** ELF executables for x86, 32-bit and 64-bit (System V ABI, Object Files): what is loaded where, and the PVH entry point. */
import { LoadError } from "../abi/stop";
import { alignUp } from "../lib/bits";
import * as guest from "../machine/guest";
import { info } from "./layout";
import { addPart, isInPart } from "./parts";

const MAGIC: u32 = 0x464c457f;
const CLASS_32: u32 = 1;
const CLASS_64: u32 = 2;
const LITTLE_ENDIAN: u32 = 1;
const ET_EXEC: u32 = 2;
const ET_DYN: u32 = 3;
const EM_386: u32 = 3;
const EM_X86_64: u32 = 62;
const HEADER_MIN: u64 = 52;
const HEADER_64: u64 = 64;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
/** Of each kind, so that a file full of them takes no time. */
const MAX_HEADERS: u64 = 256;
const MAX_NOTES: u32 = 256;

/** Xen's note (xen/include/public/elfnote.h): its name is "Xen" with the 0. */
const XEN: u32 = 0x006e6558;
const PHYS32_ENTRY: u32 = 18;


@unmanaged
class Elf {
  is64: u32;
  notes: u32;
  headers: u64;
  headerSize: u64;
  count: u64;
  entry: u64;
  /** What the note says; 0 without one. */
  pvhEntry: u64;
  /** Where the header's entry point is in memory; 0 for in no part. */
  physicalEntry: u64;
}
/** Of a program header, in both classes' places. */
@unmanaged
class ProgramHeader {
  kind: u32;
  padding: u32;
  offset: u64;
  virtual: u64;
  physical: u64;
  fileSize: u64;
  memorySize: u64;
  align: u64;
}

export const elf = changetype<Elf>(memory.data(56, 8));
const header = changetype<ProgramHeader>(memory.data(56, 8));

export function isElf(): bool {
  return info.kernelSize >= 4 && guest.load32(info.kernelAddress) == MAGIC;
}

export function isElf32(): bool {
  return isElf() && info.kernelSize >= HEADER_MIN && guest.load8(info.kernelAddress + 4) == CLASS_32;
}

/** An address or offset of the header: 4 bytes in a 32-bit file, 8 in a 64-bit one. */
function word(at: u64): u64 {
  return elf.is64 ? guest.load64(at) : guest.load32(at);
}

function readHeader(): u32 {
  const file = info.kernelAddress;
  if (info.kernelSize < HEADER_MIN) return LoadError.Truncated;
  const kind = guest.load8(file + 4);
  elf.is64 = kind == CLASS_64 ? 1 : 0;
  if (elf.is64 && info.kernelSize < HEADER_64) return LoadError.Truncated;
  const machine = guest.load16(file + 18);
  if (kind != CLASS_32 && kind != CLASS_64) return LoadError.WrongMachine;
  if (guest.load8(file + 5) != LITTLE_ENDIAN) return LoadError.WrongMachine;
  if (machine != (elf.is64 ? EM_X86_64 : EM_386)) return LoadError.WrongMachine;
  const type = guest.load16(file + 16);
  if (type != ET_EXEC && type != ET_DYN) return LoadError.NotExecutable;
  elf.entry = word(file + 24);
  elf.headers = word(file + (elf.is64 ? 32 : 28));
  elf.headerSize = guest.load16(file + (elf.is64 ? 54 : 42));
  elf.count = guest.load16(file + (elf.is64 ? 56 : 44));
  if (elf.count > MAX_HEADERS) return LoadError.TooManyParts;
  if (elf.count > 0 && elf.headerSize != (elf.is64 ? 56 : 32)) return LoadError.BadHeaders;
  const length = elf.count * elf.headerSize;
  if (elf.headers > info.kernelSize || length > info.kernelSize - elf.headers) return LoadError.Truncated;
  return LoadError.None;
}

function readProgramHeader(n: u64): void {
  const at = info.kernelAddress + elf.headers + n * elf.headerSize;
  const is64 = elf.is64 != 0;
  header.kind = guest.load32(at);
  header.offset = word(at + (is64 ? 8 : 4));
  header.virtual = word(at + (is64 ? 16 : 8));
  header.physical = word(at + (is64 ? 24 : 12));
  header.fileSize = word(at + (is64 ? 32 : 16));
  header.memorySize = word(at + (is64 ? 40 : 20));
  header.align = word(at + (is64 ? 48 : 28));
}

/** Reads the headers and plans the parts; then elf.physicalEntry is known. */
export function readElf(): u32 {
  let why = readHeader();
  elf.physicalEntry = 0;
  for (let n: u64 = 0; n < elf.count && why == LoadError.None; n++) {
    readProgramHeader(n);
    if (header.kind != PT_LOAD) continue;
    why = addPart(header.physical, header.offset, header.fileSize, header.memorySize);
    // The entry point is a virtual address, as far as the segments say what is where.
    const offset = elf.entry - header.virtual;
    const isIn = elf.entry >= header.virtual && offset < header.memorySize;
    if (isIn && elf.physicalEntry == 0) elf.physicalEntry = header.physical + offset;
  }
  if (elf.physicalEntry == 0 && isInPart(elf.entry)) elf.physicalEntry = elf.entry;
  return why;
}

/** Looks for the PVH entry point: then elf.pvhEntry is known. */
export function readPvhNote(): u32 {
  let why = readHeader();
  elf.pvhEntry = 0;
  elf.notes = 0;
  for (let n: u64 = 0; n < elf.count && why == LoadError.None && elf.pvhEntry == 0; n++) {
    readProgramHeader(n);
    if (header.kind == PT_NOTE) why = readNotes();
  }
  return why;
}

function readNotes(): u32 {
  const size = info.kernelSize;
  if (header.offset > size || header.fileSize > size - header.offset) return LoadError.Truncated;
  const alignment: u64 = header.align == 8 ? 8 : 4;
  const start = info.kernelAddress + header.offset;
  for (let at: u64 = 0; at + 12 <= header.fileSize && elf.notes < MAX_NOTES; elf.notes++) {
    const note = start + at;
    const nameSize = <u64>guest.load32(note);
    const valueSize = <u64>guest.load32(note + 4);
    const value = alignUp(at + 12 + nameSize, alignment);
    const isEntry = nameSize == 4 && guest.load32(note + 8) == PHYS32_ENTRY;
    if (isEntry && value + valueSize <= header.fileSize && guest.load32(note + 12) == XEN) {
      if (valueSize == 4) elf.pvhEntry = guest.load32(start + value);
      else if (valueSize == 8) elf.pvhEntry = guest.load64(start + value);
      if (elf.pvhEntry != 0) break;
    }
    at = alignUp(value + valueSize, alignment);
  }
  return LoadError.None;
}
