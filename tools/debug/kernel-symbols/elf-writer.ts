/** Writes an ELF file for x86-64 (System V ABI, chapter 4): sections, some of them without contents. */
import { type Address, writeAddress } from "./address.ts";

export enum SectionType {
  ProgBits = 1,
  SymTab = 2,
  StrTab = 3,
  NoBits = 8,
}

export interface ElfSection {
  name: string;
  type: SectionType;
  flags: number;
  address: Address;
  /** The contents, or only their size. */
  contents: Buffer | number;
  link?: number;
  info?: number;
  align: number;
  entrySize?: number;
}

const headerSize = 64;
const sectionHeaderSize = 64;

/** Strings, each ended by a zero, and where each begins; the first one is empty. */
export function stringTable(strings: string[]): { bytes: Buffer; offsets: number[] } {
  let length = 1;
  const offsets = strings.map((text) => {
    const at = length;
    length += text.length + 1;
    return at;
  });
  return { bytes: Buffer.from(`\0${strings.join("\0")}\0`, "latin1"), offsets };
}

/** The file. Its section headers are the empty one, `sections` in their order and the names' own. */
export function writeElf(sections: ElfSection[]): Buffer {
  const names = stringTable([...sections.map(({ name }) => name), ".shstrtab"]);
  const all = [...sections, section(".shstrtab", SectionType.StrTab, names.bytes)];
  const chunks: Buffer[] = [];
  const table = Buffer.alloc((all.length + 1) * sectionHeaderSize);
  let offset = headerSize;
  all.forEach((one, i) => {
    const padding = Buffer.alloc((8 - (offset % 8)) % 8);
    const bytes = typeof one.contents === "number" ? Buffer.alloc(0) : one.contents;
    const header = table.subarray((i + 1) * sectionHeaderSize);
    writeSectionHeader(header, one, names.offsets[i]!, offset + padding.length);
    chunks.push(padding, bytes);
    offset += padding.length + bytes.length;
  });
  const padding = Buffer.alloc((8 - (offset % 8)) % 8);
  return Buffer.concat([elfHeader(offset + padding.length, all.length + 1), ...chunks, padding, table]);
}

/** A section that only the file has. */
export function section(name: string, type: SectionType, contents: Buffer): ElfSection {
  return { name, type, flags: 0, address: 0, contents, align: type === SectionType.StrTab ? 1 : 8 };
}

function elfHeader(sectionHeaders: number, count: number): Buffer {
  const header = Buffer.alloc(headerSize);
  header.writeUInt32BE(0x7f454c46, 0);
  header.writeUInt8(2, 4); // 64-bit
  header.writeUInt8(1, 5); // little-endian
  header.writeUInt8(1, 6); // version
  header.writeUInt16LE(2, 16); // ET_EXEC
  header.writeUInt16LE(62, 18); // x86-64
  header.writeUInt32LE(1, 20); // version
  header.writeBigUInt64LE(BigInt(sectionHeaders), 40);
  header.writeUInt16LE(headerSize, 52);
  header.writeUInt16LE(sectionHeaderSize, 58);
  header.writeUInt16LE(count, 60);
  header.writeUInt16LE(count - 1, 62); // the names' section
  return header;
}

function writeSectionHeader(header: Buffer, one: ElfSection, name: number, offset: number): void {
  const size = typeof one.contents === "number" ? one.contents : one.contents.length;
  header.writeUInt32LE(name, 0);
  header.writeUInt32LE(one.type, 4);
  header.writeBigUInt64LE(BigInt(one.flags), 8);
  writeAddress(header, one.address, 16);
  header.writeBigUInt64LE(BigInt(offset), 24);
  header.writeBigUInt64LE(BigInt(size), 32);
  header.writeUInt32LE(one.link ?? 0, 40);
  header.writeUInt32LE(one.info ?? 0, 44);
  header.writeBigUInt64LE(BigInt(one.align), 48);
  header.writeBigUInt64LE(BigInt(one.entrySize ?? 0), 56);
}
