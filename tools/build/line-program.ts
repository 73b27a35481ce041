/** Reads and writes the line-number programs of .debug_line (DWARF 5, section 6.2). */
import { join } from "node:path";
import { Cursor, sleb, uleb } from "./cursor.ts";
import type { ElfFile } from "./elf.ts";

export interface LineRow {
  address: number;
  /** Index in `files`. */
  file: number;
  line: number;
  column: number;
  isStatement: boolean;
  discriminator: number;
  /** Nothing at this address any more: the end of a sequence. */
  end: boolean;
}

export interface LineProgram {
  offset: number;
  version: number;
  files: string[];
  rows: LineRow[];
  /** Everything up to the instructions, and how they are encoded. */
  header: Buffer;
  bytes: Buffer;
}

/** A table of directories or files: the forms are DW_FORM_line_strp, _strp, _string, _udata, _data16 and so on. */
function readTable(cursor: Cursor, elf: ElfFile): { path: string; directory: number }[] {
  const formats = Array.from({ length: cursor.u8() }, () => [cursor.uleb(), cursor.uleb()] as const);
  return Array.from({ length: cursor.uleb() }, () => {
    const entry = { path: "", directory: 0 };
    for (const [content, form] of formats) {
      let value: string | number = 0;
      if (form === 0x08) value = cursor.text();
      else if (form === 0x1f) value = new Cursor(elf.section(".debug_line_str"), cursor.u32()).text();
      else if (form === 0x0e) value = new Cursor(elf.section(".debug_str"), cursor.u32()).text();
      else if (form === 0x0f) value = cursor.uleb();
      else if (form === 0x0b) value = cursor.u8();
      else if (form === 0x05) value = cursor.u16();
      else if (form === 0x1e) cursor.at += 16;
      else throw new Error(`.debug_line: form 0x${form.toString(16)} is not known`);
      if (content === 1) entry.path = String(value);
      if (content === 2) entry.directory = Number(value);
    }
    return entry;
  });
}

const fresh = (isStatement: boolean): LineRow => ({
  address: 0,
  file: 1,
  line: 1,
  column: 0,
  isStatement,
  discriminator: 0,
  end: false,
});

/** The programs of a file, in order. Of versions before 5 only the bytes are known. */
export function readLinePrograms(elf: ElfFile): LineProgram[] {
  const section = elf.section(".debug_line");
  const programs: LineProgram[] = [];
  for (let offset = 0; offset < section.length;) {
    const end = offset + 4 + section.readUInt32LE(offset);
    const bytes = section.subarray(offset, end);
    programs.push(readProgram(elf, bytes, offset));
    offset = end;
  }
  return programs;
}

function readProgram(elf: ElfFile, bytes: Buffer, offset: number): LineProgram {
  const cursor = new Cursor(bytes, 4);
  const version = cursor.u16();
  const program: LineProgram = { offset, version, files: [], rows: [], header: bytes, bytes };
  if (version < 5) return program;
  cursor.at += 2; // sizes of an address and of a segment selector
  const start = cursor.u32() + cursor.at;
  program.header = bytes.subarray(0, start);
  const unit = cursor.u8();
  cursor.at++; // operations an instruction
  const initially = cursor.u8() !== 0;
  const base = bytes.readInt8(cursor.at++);
  const range = cursor.u8();
  const firstSpecial = cursor.u8();
  const operands = Array.from({ length: firstSpecial - 1 }, () => cursor.u8());
  const directories = readTable(cursor, elf);
  program.files = readTable(cursor, elf).map(({ path, directory }) =>
    join(directory === 0 ? "" : directories[directory]!.path, path),
  );

  cursor.at = start;
  let row = fresh(initially);
  const emit = (end = false) => {
    program.rows.push({ ...row, end });
    row.discriminator = 0;
  };
  while (cursor.at < bytes.length) {
    const opcode = cursor.u8();
    if (opcode >= firstSpecial) {
      row.address += Math.floor((opcode - firstSpecial) / range) * unit;
      row.line += base + ((opcode - firstSpecial) % range);
      emit();
    } else if (opcode === 0) {
      const next = cursor.uleb() + cursor.at;
      const extended = cursor.u8();
      if (extended === 1) {
        emit(true);
        row = fresh(initially);
      } else if (extended === 2) row.address = cursor.u64();
      else if (extended === 4) row.discriminator = cursor.uleb();
      cursor.at = next;
    } else if (opcode === 1) emit();
    else if (opcode === 2) row.address += cursor.uleb() * unit;
    else if (opcode === 3) row.line += cursor.sleb();
    else if (opcode === 4) row.file = cursor.uleb();
    else if (opcode === 5) row.column = cursor.uleb();
    else if (opcode === 6) row.isStatement = !row.isStatement;
    else if (opcode === 8) row.address += Math.floor((255 - firstSpecial) / range) * unit;
    else if (opcode === 9) row.address += cursor.u16();
    else for (let i = operands[opcode - 1]!; i > 0; i--) cursor.uleb();
  }
  return program;
}

/** The program's bytes with other rows, which say what the old ones said in the same files. */
export function encodeLineProgram(program: LineProgram, rows: LineRow[]): Buffer {
  const initially = program.header.readUInt8(14) !== 0;
  const code: number[] = [];
  let state: LineRow | undefined;
  for (const row of rows) {
    if (!state) {
      const address = Buffer.alloc(8);
      address.writeBigUInt64LE(BigInt(row.address));
      code.push(0, 9, 2, ...address);
      state = { ...fresh(initially), address: row.address };
    }
    if (row.address !== state.address) code.push(2, ...uleb(row.address - state.address));
    if (row.end) {
      code.push(0, 1, 1);
      state = undefined;
      continue;
    }
    if (row.file !== state.file) code.push(4, ...uleb(row.file));
    if (row.column !== state.column) code.push(5, ...uleb(row.column));
    if (row.isStatement !== state.isStatement) code.push(6);
    if (row.discriminator !== 0)
      code.push(...[0, 1 + uleb(row.discriminator).length, 4], ...uleb(row.discriminator));
    if (row.line !== state.line) code.push(3, ...sleb(row.line - state.line));
    code.push(1);
    state = row;
  }
  const bytes = Buffer.concat([program.header, Buffer.from(code)]);
  bytes.writeUInt32LE(bytes.length - 4, 0);
  return bytes;
}
