/** A vmlinux as small as can be, with kallsyms and ORC in any of their formats: what the kernel's own build makes. */

export interface TinyKernel {
  release?: string;
  /** Which of the orders that kallsyms' tables had. */
  order?: "6.1" | "6.2" | "6.4";
  absolutePerCpu?: boolean;
  sectionHeaders?: boolean;
  /** Whether kallsyms has the ends of ORC's tables. */
  orcSymbols?: boolean;
  /** Address, offset of SP, offset of BP, and the 16 bits of fields. */
  orc?: [address: number, sp: number, bp: number, fields: number][];
}

/** Link addresses, as signed numbers. */
export const text = -0x7f000000;
export const data = text + 0x10000;
const dataSize = 0x20000;
const symbolCount = 300; // more than one marker

/** A name of more than 127 tokens. */
export const longName = `t_${"long_".repeat(50)}name`;

export const banner = (release: string): string =>
  `Linux version ${release} (somebody@somewhere) #1 SMP Debian`;

export interface Symbol {
  type: string;
  name: string;
  address: number;
}

/** The file, its symbols, and where each of its tables is in the file. */
export function tinyKernel(options: TinyKernel = {}): {
  file: Buffer;
  symbols: Symbol[];
  tables: Record<string, number>;
} {
  const { release = "6.1.0-1-tiny", order = "6.1", absolutePerCpu = true, orc = [] } = options;
  const rodata = new Layout(data);
  rodata.put("banner", Buffer.from(`${banner(release)}\n\0`));
  const ip = rodata.put("orc_unwind_ip", Buffer.alloc(orc.length * 4));
  const unwind = rodata.put("orc_unwind", Buffer.alloc(orc.length * 6));
  orc.forEach(([address, sp, bp, fields], i) => {
    ip.bytes.writeInt32LE(address - (ip.address + i * 4), i * 4);
    unwind.bytes.writeInt16LE(sp, i * 6);
    unwind.bytes.writeInt16LE(bp, i * 6 + 2);
    unwind.bytes.writeUInt16LE(fields, i * 6 + 4);
  });
  const symbols = someSymbols(rodata, absolutePerCpu, options.orcSymbols ?? true);
  putKallsyms(rodata, symbols, order, absolutePerCpu);
  return {
    ...elf(rodata.bytes(), options.sectionHeaders ?? true, ip, unwind),
    symbols,
    tables: rodata.offsets(),
  };
}

interface Part {
  address: number;
  bytes: Buffer;
}

const dataAt = 0x1000; // in the file

class Layout {
  private readonly parts = new Map<string, Part>();
  private end: number;

  constructor(private readonly start: number) {
    this.end = start;
  }

  put(name: string, bytes: Buffer): Part {
    const part = { address: this.end, bytes };
    this.parts.set(name, part);
    this.end = Math.ceil((this.end + bytes.length) / 8) * 8;
    return part;
  }

  addressOf(name: string): number {
    return this.parts.get(name)!.address;
  }

  endOf(name: string): number {
    return this.addressOf(name) + this.parts.get(name)!.bytes.length;
  }

  bytes(): Buffer {
    const all = Buffer.alloc(dataSize);
    for (const { address, bytes } of this.parts.values()) bytes.copy(all, address - this.start);
    return all;
  }

  offsets(): Record<string, number> {
    return Object.fromEntries(
      [...this.parts].map(([name, { address }]) => [name, address - this.start + dataAt]),
    );
  }
}

function someSymbols(rodata: Layout, absolutePerCpu: boolean, orcSymbols: boolean): Symbol[] {
  const symbol = (type: string, name: string, address: number): Symbol => ({ type, name, address });
  const symbols = [
    symbol("T", "_text", text),
    symbol("T", "_stext", text),
    symbol("T", "start_kernel", text + 0x10),
    symbol("t", longName, text + 0x80),
    symbol("W", "weak_function", text + 0xa0),
    symbol("T", "asm_exc_page_fault", text + 0x100),
    symbol("T", "entry_SYSCALL_64_after_hwframe", text + 0x200),
    symbol("T", "__x86_indirect_thunk_rax", text + 0x300),
    symbol("r", "linux_banner", data),
    ...["orc_unwind_ip", "orc_unwind"].flatMap((table) => [
      symbol("D", `__start_${table}`, rodata.addressOf(table)),
      symbol("D", `__stop_${table}`, rodata.endOf(table)),
    ]),
    symbol("B", "_end", data + dataSize),
  ].filter(({ name }) => orcSymbols || !name.includes("orc_unwind"));
  if (absolutePerCpu) symbols.push(symbol("A", "fixed_percpu_data", 0), symbol("D", "runqueues", 0x40));
  for (let i = symbols.length; i < symbolCount; i++)
    symbols.push(symbol("t", `f${i}`, text + 0x400 + i * 16));
  const unsigned = (address: number): number => (address < 0 ? address + 2 ** 40 : address);
  return symbols.sort((a, b) => unsigned(a.address) - unsigned(b.address));
}

/** Characters stand for themselves; two more tokens stand for strings. */
const tokens = Array.from({ length: 256 }, (_, i) => (i > 32 && i < 127 ? String.fromCharCode(i) : ""));
tokens[0x80] = "entry_";
tokens[0xff] = "asm_";

function encodeName({ type, name }: Symbol): Buffer {
  const code = `${type}${name}`.replace(/entry_/g, "\x80").replace(/asm_/g, "\xff");
  const length = code.length < 128 ? [code.length] : [(code.length & 0x7f) | 0x80, code.length >> 7];
  return Buffer.concat([Buffer.from(length), Buffer.from(code, "latin1")]);
}

function putKallsyms(out: Layout, symbols: Symbol[], order: string, absolutePerCpu: boolean): void {
  const names = symbols.map(encodeName);
  const starts: number[] = [];
  names.reduce((at, name) => (starts.push(at), at + name.length), 0);
  const count = u32s([symbols.length]);
  const markers = u32s(starts.filter((_, i) => i % 256 === 0));
  const table = Buffer.from(tokens.map((token) => `${token}\0`).join(""), "latin1");
  const index = Buffer.alloc(512);
  tokens.reduce((at, token, i) => (index.writeUInt16LE(at, i * 2), at + token.length + 1), 0);
  const base = Buffer.alloc(8);
  base.writeBigInt64LE(BigInt(text));
  const offsets = u32s(
    symbols.map(({ address }) => {
      if (!absolutePerCpu) return address - text;
      return address < 0 ? text - address - 1 : address;
    }),
  );
  const addresses = (): void => {
    out.put("offsets", offsets);
    out.put("relative_base", base);
  };
  const sequence = Buffer.alloc(symbols.length * 3, 0x61);
  if (order !== "6.4") addresses();
  out.put("num_syms", count);
  out.put("names", Buffer.concat(names));
  out.put("markers", markers);
  if (order === "6.2") out.put("seqs_of_names", sequence);
  out.put("token_table", table);
  out.put("token_index", index);
  if (order === "6.4") {
    addresses();
    out.put("seqs_of_names", sequence);
  }
}

function u32s(values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, i) => bytes.writeInt32LE(value, i * 4));
  return bytes;
}

/** Two segments, and a table of sections behind them. */
function elf(rodata: Buffer, sectionHeaders: boolean, ip: Part, unwind: Part): { file: Buffer } {
  const names = "\0.text\0.data\0.orc_unwind_ip\0.orc_unwind\0.shstrtab\0";
  const file = Buffer.alloc(dataAt + dataSize + names.length + 5 * 64);
  const namesAt = dataAt + dataSize;
  const sections = namesAt + names.length;
  file.write("\x7fELF\x02\x01\x01", 0, "latin1");
  file.writeUInt16LE(2, 16);
  file.writeUInt16LE(62, 18);
  file.writeBigUInt64LE(64n, 32);
  file.writeUInt16LE(56, 54);
  file.writeUInt16LE(2, 56);
  program(file.subarray(64), 5, 0x800, text, 0x800, 0x10000);
  program(file.subarray(120), 6, dataAt, data, dataSize, dataSize);
  rodata.copy(file, dataAt);
  if (!sectionHeaders) return { file: file.subarray(0, namesAt) };
  file.write(names, namesAt, "latin1");
  file.writeBigUInt64LE(BigInt(sections), 40);
  file.writeUInt16LE(64, 58);
  file.writeUInt16LE(5, 60);
  file.writeUInt16LE(4, 62);
  const section = (
    i: number,
    name: string,
    flags: number,
    at: number,
    address: number,
    size: number,
  ): void => {
    const header = file.subarray(sections + i * 64);
    header.writeUInt32LE(names.indexOf(name), 0);
    header.writeUInt32LE(1, 4);
    header.writeBigUInt64LE(BigInt(flags), 8);
    header.writeBigInt64LE(BigInt(address), 16);
    header.writeBigUInt64LE(BigInt(at), 24);
    header.writeBigUInt64LE(BigInt(size), 32);
  };
  section(0, ".text", 6, 0x800, text, 0x10000);
  section(1, ".data", 3, dataAt, data, dataSize);
  section(2, ".orc_unwind_ip", 2, dataAt + ip.address - data, ip.address, ip.bytes.length);
  section(3, ".orc_unwind\0", 2, dataAt + unwind.address - data, unwind.address, unwind.bytes.length);
  section(4, ".shstrtab", 0, namesAt, 0, names.length);
  return { file };
}

function program(
  header: Buffer,
  flags: number,
  offset: number,
  address: number,
  fileSize: number,
  memorySize: number,
): void {
  header.writeUInt32LE(1, 0);
  header.writeUInt32LE(flags, 4);
  header.writeBigUInt64LE(BigInt(offset), 8);
  header.writeBigInt64LE(BigInt(address), 16);
  header.writeBigUInt64LE(BigInt(fileSize), 32);
  header.writeBigUInt64LE(BigInt(memorySize), 40);
}

/** A bzImage with this payload. */
export function bzImage(payload: Buffer): Buffer {
  const paragraphs = Math.ceil(payload.length / 16);
  const file = Buffer.alloc(1024 + paragraphs * 16);
  file.writeUInt8(1, 0x1f1);
  file.writeUInt32LE(paragraphs, 0x1f4);
  file.write("HdrS", 0x202);
  file.writeUInt16LE(0x020f, 0x206);
  file.writeUInt16LE(1, 0x236);
  file.writeUInt32LE(payload.length, 0x24c);
  payload.copy(file, 1024);
  return file;
}
