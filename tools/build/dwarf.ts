/** Reads the entries of an ELF file's debug information (DWARF 5, section 7.5; versions 2 to 4 as far as NASM writes them). */
import { Cursor } from "./cursor.ts";
import type { ElfFile } from "./elf.ts";

/** DWARF 5, tables 7.3 and 7.5. */
export const Tag = {
  CompileUnit: 0x11,
  InlinedSubroutine: 0x1d,
  Subprogram: 0x2e,
  Variable: 0x34,
  Label: 0x0a,
} as const;
export const Attribute = {
  Name: 0x03,
  StatementList: 0x10,
  LowPc: 0x11,
  HighPc: 0x12,
  Producer: 0x25,
  AbstractOrigin: 0x31,
  DeclaredFile: 0x3a,
  Ranges: 0x55,
  CallFile: 0x58,
  CallLine: 0x59,
  RangeListsBase: 0x74,
} as const;

/** DWARF 5, table 7.6: forms that a value is told apart by here. */
export const Form = { Addr: 0x01, Strp: 0x0e, Rnglistx: 0x23 } as const;

export interface Value {
  form: number;
  value: number;
  /** Where it is in .debug_info. */
  at: number;
}

/** An entry with its parent. */
export interface Entry {
  offset: number;
  tag: number;
  attributes: Map<number, Value>;
  parent: Entry | undefined;
  unit: Unit;
}

export interface Unit {
  offset: number;
  version: number;
  root: Entry;
  entries: Entry[];
}

interface Abbreviation {
  tag: number;
  children: boolean;
  attributes: { name: number; form: number; constant: number }[];
}

const IMPLICIT_CONSTANT = 0x21;

function readAbbreviations(bytes: Buffer, offset: number): Map<number, Abbreviation> {
  const cursor = new Cursor(bytes, offset);
  const found = new Map<number, Abbreviation>();
  for (let code = cursor.uleb(); code !== 0; code = cursor.uleb()) {
    const abbreviation: Abbreviation = { tag: cursor.uleb(), children: cursor.u8() !== 0, attributes: [] };
    for (;;) {
      const [name, form] = [cursor.uleb(), cursor.uleb()];
      if (name === 0 && form === 0) break;
      const constant = form === IMPLICIT_CONSTANT ? cursor.sleb() : 0;
      abbreviation.attributes.push({ name, form, constant });
    }
    found.set(code, abbreviation);
  }
  return found;
}

/** Reads the value of an attribute; of strings and blocks it only passes over them. DWARF 5, section 7.5.6. */
function readValue(cursor: Cursor, form: number, constant: number): number {
  const skip = (length: number): number => {
    cursor.at += length;
    return 0;
  };
  switch (form) {
    case Form.Addr:
    case 0x07: // data8
    case 0x20: // ref_sig8
      return cursor.u64();
    case 0x03: // block2
      return skip(cursor.u16());
    case 0x04: // block4
      return skip(cursor.u32());
    case 0x05: // data2
    case 0x12: // ref2
      return cursor.u16();
    case 0x06: // data4
    case Form.Strp:
    case 0x10: // ref_addr
    case 0x13: // ref4
    case 0x17: // sec_offset
    case 0x1f: // line_strp
      return cursor.u32();
    case 0x08: // string
      cursor.text();
      return 0;
    case 0x09: // block
    case 0x18: // exprloc
      return skip(cursor.uleb());
    case 0x0a: // block1
      return skip(cursor.u8());
    case 0x0b: // data1
    case 0x0c: // flag
    case 0x11: // ref1
      return cursor.u8();
    case 0x0d: // sdata
      return cursor.sleb();
    case 0x0f: // udata
    case 0x15: // ref_udata
    case 0x1a: // strx
    case 0x1b: // addrx
    case 0x22: // loclistx
    case Form.Rnglistx:
      return cursor.uleb();
    case 0x19: // flag_present
      return 1;
    case 0x1e: // data16
      return skip(16);
    case IMPLICIT_CONSTANT:
      return constant;
    default:
      throw new Error(`.debug_info: form 0x${form.toString(16)} is not known`);
  }
}

export function readUnits(elf: ElfFile): Unit[] {
  const info = elf.section(".debug_info");
  const abbreviations = elf.section(".debug_abbrev");
  const units: Unit[] = [];
  for (let offset = 0; offset < info.length;) {
    const cursor = new Cursor(info, offset);
    const end = cursor.u32() + offset + 4;
    const version = cursor.u16();
    if (version >= 5) cursor.at += 2; // unit type, size of an address
    const table = readAbbreviations(abbreviations, cursor.u32());
    if (version < 5) cursor.at++;
    units.push(readUnit(cursor, end, { offset, version }, table));
    offset = end;
  }
  return units;
}

function readUnit(
  cursor: Cursor,
  end: number,
  head: { offset: number; version: number },
  table: Map<number, Abbreviation>,
): Unit {
  const unit = { ...head, entries: [] as Entry[] } as Unit;
  let parent: Entry | undefined;
  while (cursor.at < end) {
    const offset = cursor.at;
    const code = cursor.uleb();
    if (code === 0) {
      parent = parent?.parent;
      continue;
    }
    const abbreviation = table.get(code);
    if (!abbreviation) throw new Error(`.debug_info: no abbreviation ${code} at 0x${offset.toString(16)}`);
    const entry: Entry = { offset, tag: abbreviation.tag, attributes: new Map(), parent, unit };
    for (const { name, form, constant } of abbreviation.attributes) {
      const at = cursor.at;
      entry.attributes.set(name, { form, value: readValue(cursor, form, constant), at });
    }
    unit.entries.push(entry);
    if (abbreviation.children) parent = entry;
  }
  unit.root = unit.entries[0]!;
  return unit;
}

/** The text of a string attribute. */
export function textOf(elf: ElfFile, value: Value | undefined): string {
  if (!value) return "";
  if (value.form === 0x08) return new Cursor(elf.section(".debug_info"), value.at).text();
  const section = value.form === 0x1f ? ".debug_line_str" : ".debug_str";
  return new Cursor(elf.section(section), value.value).text();
}

/** The addresses of an entry, as [from, to). */
export function rangesOf(elf: ElfFile, entry: Entry): [number, number][] {
  const low = entry.attributes.get(Attribute.LowPc);
  const high = entry.attributes.get(Attribute.HighPc);
  if (low && high) return [[low.value, high.form === Form.Addr ? high.value : low.value + high.value]];
  const ranges = entry.attributes.get(Attribute.Ranges);
  if (!ranges || entry.unit.version < 5) return [];

  // DWARF 5, section 7.25, Non-Contiguous Address Ranges.
  const lists = elf.section(".debug_rnglists");
  const cursor = new Cursor(lists, ranges.value);
  if (ranges.form === Form.Rnglistx) {
    const base = entry.unit.root.attributes.get(Attribute.RangeListsBase)?.value ?? 12;
    cursor.at = base + lists.readUInt32LE(base + 4 * ranges.value);
  }
  let base = entry.unit.root.attributes.get(Attribute.LowPc)?.value ?? 0;
  const found: [number, number][] = [];
  for (;;) {
    const kind = cursor.u8();
    if (kind === 0) return found;
    if (kind === 4) {
      found.push([base + cursor.uleb(), base + cursor.uleb()]);
    } else if (kind === 5) {
      base = cursor.u64();
    } else if (kind === 6) {
      found.push([cursor.u64(), cursor.u64()]);
    } else if (kind === 7) {
      const from = cursor.u64();
      found.push([from, from + cursor.uleb()]);
    } else {
      throw new Error(`.debug_rnglists: entry of kind ${kind} is not known`);
    }
  }
}
