/** ELF executables for x86 (System V ABI, Object Files), as far as loading a kernel needs them. The monitor checks the same. */
import { Refusal } from "../machine/errors.ts";

/** What goes where in the guest's memory: `size` bytes of the file, and zeros up to `room`. */
export interface Part {
  at: number;
  virtual: number;
  size: number;
  room: number;
}

export interface Elf {
  bits: 32 | 64;
  /** As the header says it. */
  entry: number;
  headers: ProgramHeader[];
}

interface ProgramHeader {
  type: number;
  offset: number;
  virtual: number;
  physical: number;
  size: number;
  room: number;
  align: number;
}

/** Where the fields of each class are: of the file's header, then of a program header. */
const classes = {
  32: { size: 52, phoff: 28, phentsize: 42, phnum: 44, entry: 32, machine: 3, words: [4, 8, 12, 16, 20, 28] },
  64: {
    size: 64,
    phoff: 32,
    phentsize: 54,
    phnum: 56,
    entry: 56,
    machine: 62,
    words: [8, 16, 24, 32, 40, 48],
  },
} as const;
const executables = [2, 3]; // ET_EXEC, ET_DYN
const mostHeaders = 256;
const load = 1; // PT_LOAD
const notes = 4; // PT_NOTE
const physicalEntry = 18; // XEN_ELFNOTE_PHYS32_ENTRY

export function isElf(file: Buffer): boolean {
  return file.toString("latin1", 0, 4) === "\x7fELF";
}

/** Reads the headers, or refuses with a line that begins with `name`. */
export function readElf(name: string, file: Buffer): Elf {
  const refuse = (why: string): never => {
    throw new Refusal(`${name}: ${why}`);
  };
  const truncated = (what: string) =>
    refuse(`the file is truncated: ${what} behind its ${file.length} bytes`);
  const kind = file.length > 5 ? file.readUInt16BE(4) : 0x0201;
  if (kind !== 0x0101 && kind !== 0x0201) refuse("an ELF file, but not for x86");
  const bits = kind === 0x0201 ? 64 : 32;
  const f = classes[bits];
  if (file.length < f.size) truncated("its ELF header ends");
  if (file.readUInt16LE(18) !== f.machine) refuse("an ELF file, but not for x86");
  if (!executables.includes(file.readUInt16LE(16))) refuse("an ELF file, but no executable");
  const word = (at: number) => (bits === 64 ? Number(file.readBigUInt64LE(at)) : file.readUInt32LE(at));
  const count = file.readUInt16LE(f.phnum);
  if (count > mostHeaders) refuse(`it has ${count} program headers, expected at most ${mostHeaders}`);
  if (count > 0 && file.readUInt16LE(f.phentsize) !== f.entry)
    refuse("its program headers have an unknown size");
  const first = word(f.phoff);
  if (first + count * f.entry > file.length) truncated("its program headers end");
  const headers: ProgramHeader[] = [];
  for (let at = first; at < first + count * f.entry; at += f.entry) {
    const field = (n: number) => word(at + f.words[n]!);
    headers.push({
      type: file.readUInt32LE(at),
      offset: field(0),
      virtual: field(1),
      physical: field(2),
      size: field(3),
      room: field(4),
      align: field(5),
    });
  }
  return { bits, entry: word(24), headers };
}

function checkWhole(name: string, file: Buffer, { offset, size }: ProgramHeader): void {
  if (size > 0 && offset + size > file.length)
    throw new Refusal(`${name}: the file is truncated: a part of it ends behind its ${file.length} bytes`);
}

/** What is loaded; or a refusal. */
export function partsOf(name: string, file: Buffer, elf: Elf): Part[] {
  const loaded = elf.headers.filter(({ type }) => type === load);
  return loaded.flatMap((header) => {
    const { physical: at, virtual, size, room } = header;
    if (size > room) throw new Refusal(`${name}: one of its parts is larger in the file than in memory`);
    checkWhole(name, file, header);
    return room > 0 ? [{ at, virtual, size, room }] : [];
  });
}

/** What Xen's note PHYS32_ENTRY says; undefined without one. */
export function pvhEntryOf(name: string, file: Buffer, elf: Elf): number | undefined {
  for (const header of elf.headers) {
    if (header.type !== notes) continue;
    checkWhole(name, file, header);
    const { offset, size, align } = header;
    const entry = findEntry(file.subarray(offset, offset + size), align === 8 ? 8 : 4);
    if (entry !== undefined) return entry;
  }
  return undefined;
}

/** The entry point in a segment of notes. */
function findEntry(segment: Buffer, alignment: number): number | undefined {
  const up = (n: number) => Math.ceil(n / alignment) * alignment;
  for (let at = 0; at + 12 <= segment.length;) {
    const nameSize = segment.readUInt32LE(at);
    const size = segment.readUInt32LE(at + 4);
    const value = up(at + 12 + nameSize);
    const isXen = nameSize === 4 && segment.toString("latin1", at + 12, at + 16) === "Xen\0";
    if (isXen && segment.readUInt32LE(at + 8) === physicalEntry && value + size <= segment.length) {
      const entry =
        size === 8 ? Number(segment.readBigUInt64LE(value)) : size === 4 ? segment.readUInt32LE(value) : 0;
      if (entry !== 0) return entry;
    }
    at = up(value + size);
  }
  return undefined;
}
