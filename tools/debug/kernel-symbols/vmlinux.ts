/** The kernel itself, an ELF file without symbols: what of it is loaded where. Nothing in it is trusted. */
import { Refusal } from "../../machine/errors.ts";
import { type Address, digits, isKernelAddress, readAddress } from "./address.ts";

/** A range of addresses that the kernel occupies. */
export interface Range {
  address: Address;
  size: number;
  executable: boolean;
}

/** What the file has of the memory from `address` on. */
export interface Segment extends Range {
  bytes: Buffer;
}

export interface Section extends Range {
  name: string;
}

export interface Vmlinux {
  segments: Segment[];
  /** By address, the kernel's own ones only; made up from the segments if the file has none. */
  sections: Section[];
}

const loadable = 1; // PT_LOAD
const headerSize = 64;
const programHeaderSize = 56;
const sectionHeaderSize = 64;
const allocated = 2n; // SHF_ALLOC
const executableSection = 4n; // SHF_EXECINSTR

/** Reads the headers, or refuses with a line that begins with `name`. */
export function readVmlinux(name: string, file: Buffer): Vmlinux {
  if (file.length < headerSize || file.readUInt32BE(0) !== 0x7f454c46) {
    throw new Refusal(`${name}: the kernel in it is no ELF file`);
  }
  // 64-bit and little-endian, of an x86-64 processor.
  if (file.readUInt16BE(4) !== 0x0201 || file.readUInt16LE(18) !== 62) {
    throw new Refusal(`${name}: the kernel in it is an ELF file, but not for x86-64`);
  }
  const segments = readSegments(name, file);
  if (!segments.some(({ executable }) => executable)) {
    throw new Refusal(`${name}: no code in the top 2 GiB of addresses, expected a kernel's`);
  }
  const sections = readSections(name, file);
  return { segments, sections: sections.length > 0 ? sections : fromSegments(segments) };
}

/** The table of `count` headers, all inside of the file. */
function headers(
  name: string,
  file: Buffer,
  what: string,
  at: bigint,
  count: number,
  size: number,
): Buffer[] {
  if (at + BigInt(count * size) > BigInt(file.length)) {
    throw new Refusal(
      `${name}: the kernel in it is truncated: its ${what} headers end behind the file's end`,
    );
  }
  return Array.from({ length: count }, (_, i) => file.subarray(Number(at) + i * size).subarray(0, size));
}

function readSegments(name: string, file: Buffer): Segment[] {
  if (file.readUInt16LE(56) > 0 && file.readUInt16LE(54) !== programHeaderSize) {
    throw new Refusal(`${name}: the kernel in it has program headers of an unknown size`);
  }
  const table = headers(
    name,
    file,
    "program",
    file.readBigUInt64LE(32),
    file.readUInt16LE(56),
    programHeaderSize,
  );
  return table
    .filter((header) => header.readUInt32LE(0) === loadable && isKernelAddress(readAddress(header, 16)))
    .map((header) => {
      const offset = header.readBigUInt64LE(8);
      const fileSize = header.readBigUInt64LE(32);
      const address = readAddress(header, 16);
      if (offset + fileSize > BigInt(file.length)) {
        throw new Refusal(
          `${name}: the kernel in it is truncated: its part at 0x${digits(address)} ends behind the file's end`,
        );
      }
      return {
        address,
        size: clip(address, header.readBigUInt64LE(40)),
        executable: (header.readUInt32LE(4) & 1) !== 0,
        bytes: file.subarray(Number(offset), Number(offset + fileSize)),
      };
    });
}

function readSections(name: string, file: Buffer): Section[] {
  const count = file.readUInt16LE(60);
  if (count === 0 || file.readUInt16LE(58) !== sectionHeaderSize) return [];
  const table = headers(name, file, "section", file.readBigUInt64LE(40), count, sectionHeaderSize);
  const names = table[file.readUInt16LE(62)];
  const namesAt = names?.readBigUInt64LE(24) ?? 0n;
  return table
    .filter(
      (header) => (header.readBigUInt64LE(8) & allocated) !== 0n && isKernelAddress(readAddress(header, 16)),
    )
    .map((header) => ({
      name: stringAt(file, namesAt + BigInt(header.readUInt32LE(0))),
      address: readAddress(header, 16),
      size: clip(readAddress(header, 16), header.readBigUInt64LE(32)),
      executable: (header.readBigUInt64LE(8) & executableSection) !== 0n,
    }))
    .sort((a, b) => a.address - b.address);
}

/** A name is only for people to read: what is no name is shown as "?". */
function stringAt(file: Buffer, at: bigint): string {
  if (at >= BigInt(file.length)) return "?";
  const text = file.subarray(Number(at), Number(at) + 64);
  const end = text.indexOf(0);
  return /^[\w.-]+/.exec(text.toString("latin1", 0, end < 0 ? 64 : end))?.[0] ?? "?";
}

/** GDB takes the slide of all code from the section with the name .text. */
function fromSegments(segments: Segment[]): Section[] {
  let code = 0;
  return [...segments]
    .sort((a, b) => a.address - b.address)
    .map(({ address, size, executable }) => ({
      name: executable ? `.text${code++ || ""}` : ".data",
      address,
      size,
      executable,
    }));
}

/** No range goes on behind the last address. */
function clip(address: Address, size: bigint): number {
  return size > BigInt(-address) ? -address : Number(size);
}

/** The `length` bytes that the file has for `address`; undefined if it does not have them all. */
export function bytesAt({ segments }: Vmlinux, address: Address, length: number): Buffer | undefined {
  const segment = segments.find((one) => address >= one.address && address < one.address + one.bytes.length);
  if (segment === undefined) return undefined;
  const offset = address - segment.address;
  return offset + length <= segment.bytes.length
    ? segment.bytes.subarray(offset, offset + length)
    : undefined;
}
