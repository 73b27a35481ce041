/** ELF executables for x86, of either class, as small as a test wants them (System V ABI, Object Files). */
export interface ElfPart {
  /** Where it is in memory; the virtual address is the same unless told. */
  at: number;
  virtual?: number;
  bytes: Uint8Array | number[];
  /** Bytes in memory, as many as in the file unless told. */
  room?: number;
}

export interface ElfOptions {
  bits?: 32 | 64;
  entry?: number;
  parts?: ElfPart[];
  /** Contents of the note segment: pvhNote() and others. */
  notes?: Uint8Array;
  /** Alignment of the notes. */
  align?: number;
  /** Bytes between the headers and the first part. */
  gap?: number;
}

export function note(name: string, type: number, value: Uint8Array, align = 4): Uint8Array {
  const up = (n: number) => Math.ceil(n / align) * align;
  const start = up(12 + name.length + 1);
  const bytes = Buffer.alloc(up(start + value.length));
  bytes.writeUInt32LE(name.length + 1, 0);
  bytes.writeUInt32LE(value.length, 4);
  bytes.writeUInt32LE(type, 8);
  bytes.write(name, 12);
  bytes.set(value, start);
  return bytes;
}

/** XEN_ELFNOTE_PHYS32_ENTRY. */
export function pvhNote(entry: number, size: 4 | 8 = 4, align = 4): Uint8Array {
  const value = Buffer.alloc(size);
  value.writeUInt32LE(entry);
  return note("Xen", 18, value, align);
}

/** Where the headers' fields are in each class, for tests that damage them. */
export const fields = {
  32: { header: 52, phoff: 28, phentsize: 42, phnum: 44, entrySize: 32 },
  64: { header: 64, phoff: 32, phentsize: 54, phnum: 56, entrySize: 56 },
};

export function elf(options: ElfOptions = {}): Uint8Array {
  const { bits = 64, entry = 0x100000, parts = [], notes, align = 4, gap = 0 } = options;
  const f = fields[bits];
  const count = parts.length + (notes ? 1 : 0);
  const start = f.header + count * f.entrySize + gap;
  const noteAt = start + parts.reduce((sum, part) => sum + part.bytes.length, 0);
  const file = Buffer.alloc(noteAt + (notes?.length ?? 0));
  const word = (at: number, value: number) =>
    bits === 64 ? file.writeBigUInt64LE(BigInt(value), at) : file.writeUInt32LE(value, at);
  file.set([0x7f, 0x45, 0x4c, 0x46, bits / 32, 1, 1]);
  file.writeUInt16LE(2, 16);
  file.writeUInt16LE(bits === 64 ? 62 : 3, 18);
  word(24, entry);
  word(f.phoff, f.header);
  file.writeUInt16LE(f.entrySize, f.phentsize);
  file.writeUInt16LE(count, f.phnum);
  let at = start;
  const header = (n: number, kind: number, size: number, room: number, physical: number, virtual: number) => {
    const base = f.header + n * f.entrySize;
    file.writeUInt32LE(kind, base);
    const fieldAt = (i: number) => base + (bits === 64 ? 8 + i * 8 : 4 + i * 4);
    [at, virtual, physical, size, room].forEach((value, i) => word(fieldAt(i), value));
    word(base + (bits === 64 ? 48 : 28), kind === 4 ? align : 0x1000);
  };
  parts.forEach((part, n) => {
    const size = part.bytes.length;
    header(n, 1, size, part.room ?? size, part.at, part.virtual ?? part.at);
    file.set(part.bytes, at);
    at += size;
  });
  if (notes) {
    header(parts.length, 4, notes.length, notes.length, 0, 0);
    file.set(notes, at);
  }
  return file;
}
