/** The sections of an ELF file (64-bit, little-endian), and files with some of them replaced. */

interface Section {
  name: string;
  /** Where its header is in the file. */
  header: number;
  offset: number;
  size: number;
}

const NOBITS = 8;

export class ElfFile {
  private readonly sections: Section[] = [];
  private bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
    if (bytes.readUInt32BE(0) !== 0x7f454c46) throw new Error("not an ELF file");
    const [table, size, count, names] = [
      Number(bytes.readBigUInt64LE(40)),
      bytes.readUInt16LE(58),
      bytes.readUInt16LE(60),
      bytes.readUInt16LE(62),
    ];
    const number = (at: number) => Number(bytes.readBigUInt64LE(at));
    const namesAt = number(table + names * size + 24);
    for (let header = table; header < table + count * size; header += size) {
      const start = namesAt + bytes.readUInt32LE(header);
      const name = bytes.toString("latin1", start, bytes.indexOf(0, start));
      if (bytes.readUInt32LE(header + 4) === NOBITS) continue;
      this.sections.push({ name, header, offset: number(header + 24), size: number(header + 32) });
    }
  }

  private find(name: string): Section {
    const found = this.sections.find((section) => section.name === name);
    if (!found) throw new Error(`no section ${name}`);
    return found;
  }

  /** The bytes of a section; changes to them are changes of the file. */
  section(name: string): Buffer {
    const { offset, size } = this.find(name);
    return this.bytes.subarray(offset, offset + size);
  }

  /** Gives a section that is not part of the program other contents, at the end of the file. */
  replace(name: string, contents: Buffer): void {
    const section = this.find(name);
    const offset = (this.bytes.length + 7) & ~7;
    this.bytes = Buffer.concat([this.bytes, Buffer.alloc(offset - this.bytes.length), contents]);
    this.bytes.writeBigUInt64LE(BigInt(offset), section.header + 24);
    this.bytes.writeBigUInt64LE(BigInt(contents.length), section.header + 32);
    Object.assign(section, { offset, size: contents.length });
  }

  contents(): Buffer {
    return this.bytes;
  }
}
