/**
 * Makes the debug information of a linked image that of TypeScript. gcc describes C: each intrinsic is a frame of its own, with a
 * line in a header, and a stack is unwound past the first TypeScript into the stubs that called it. After this
 *
 * - code of an intrinsic has the line of the TypeScript that it is inlined into, and no frame;
 * - a stack ends in the stubs of NASM's that call the modules;
 * - variables and labels of wasm3-build's own, `wasm_...`, are not there: TypeScript's variables are beside them.
 *
 * The program itself stays as it is, byte for byte.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { Attribute, Form, rangesOf, readUnits, Tag, textOf, type Entry, type Unit } from "./dwarf.ts";
import { ElfFile } from "./elf.ts";
import { encodeLineProgram, readLinePrograms, type LineProgram, type LineRow } from "./line-program.ts";
import { command } from "./step.ts";

type Range = [from: number, to: number];

/** An intrinsic where it has been inlined into TypeScript. */
interface Inlined {
  from: number;
  to: number;
  file: number;
  line: number;
}

/** Where intrinsics are in a unit. */
interface Intrinsics {
  inlined: Inlined[];
  outOfLine: Range[];
}

const isIntrinsic = (file: string | undefined): boolean => file !== undefined && file.endsWith(".h");

/** What a unit's entries say about intrinsics. */
class UnitIntrinsics {
  private readonly byOffset: Map<number, Entry>;

  constructor(
    private readonly elf: ElfFile,
    private readonly unit: Unit,
    private readonly files: string[],
  ) {
    this.byOffset = new Map(unit.entries.map((entry) => [entry.offset - unit.offset, entry]));
  }

  private fileOf(entry: Entry | undefined, attribute: number): string | undefined {
    const value = entry?.attributes.get(attribute);
    return value && this.files[value.value];
  }

  private isInlinedIntrinsic(entry: Entry): boolean {
    if (entry.tag !== Tag.InlinedSubroutine) return false;
    const origin = this.byOffset.get(entry.attributes.get(Attribute.AbstractOrigin)?.value ?? 0);
    return isIntrinsic(this.fileOf(origin, Attribute.DeclaredFile));
  }

  /** Where intrinsics are inlined into something else, sorted by address. Those within intrinsics belong to the outer ones. */
  inlined(): Inlined[] {
    return this.unit.entries
      .filter((e) => this.isInlinedIntrinsic(e) && !isIntrinsic(this.fileOf(e, Attribute.CallFile)))
      .flatMap((entry) => {
        const file = entry.attributes.get(Attribute.CallFile)!.value;
        const line = entry.attributes.get(Attribute.CallLine)!.value;
        return rangesOf(this.elf, entry).map(([from, to]) => ({ from, to, file, line }));
      });
  }

  /** Where functions are that are no TypeScript: intrinsics that are called. */
  outOfLine(): Range[] {
    return this.unit.entries
      .filter(({ tag }) => tag === Tag.Subprogram)
      .filter((e) => isIntrinsic(this.fileOf(e, Attribute.DeclaredFile)))
      .flatMap((entry) => rangesOf(this.elf, entry));
  }

  /** Entries that are to lose their names: a debugger passes over what has none, and over what is in it. */
  nameless(): Entry[] {
    return this.unit.entries.filter(
      ({ tag, attributes }) =>
        attributes.has(Attribute.Name) &&
        ((tag === Tag.Subprogram &&
          !attributes.has(Attribute.LowPc) &&
          !attributes.has(Attribute.Ranges) &&
          isIntrinsic(this.files[attributes.get(Attribute.DeclaredFile)?.value ?? -1])) ||
          ((tag === Tag.Variable || tag === Tag.Label) &&
            /^wasm_[wxL]/.test(textOf(this.elf, attributes.get(Attribute.Name))))),
    );
  }
}

/**
 * Gives rows of intrinsics the place that they are inlined into, and drops those that say nothing new then. Where gcc has lost
 * it, because nothing is left of the outer one of two intrinsics, they count as the line before.
 */
export function attributeRows(
  rows: LineRow[],
  files: string[],
  { inlined, outOfLine }: Intrinsics,
): LineRow[] {
  const found: LineRow[] = [];
  let last: LineRow | undefined;
  for (const row of rows) {
    let moved = row;
    const within = ([from, to]: Range) => from <= row.address && row.address < to;
    if (!row.end && isIntrinsic(files[row.file]) && !outOfLine.some(within)) {
      const { file, line } = inlined.find(({ from, to }) => within([from, to])) ?? last ?? row;
      if (last && last.file === file && last.line === line) continue;
      moved = { ...row, file, line, column: 0, discriminator: 0 };
    }
    found.push(moved);
    last = row.end ? undefined : moved;
  }
  return found;
}

function removeName(elf: ElfFile, entry: Entry): void {
  const { form, at } = entry.attributes.get(Attribute.Name)!;
  if (form !== Form.Strp)
    throw new Error(`.debug_info: the name at 0x${at.toString(16)} is not in .debug_str`);
  elf.section(".debug_info").writeUInt32LE(elf.section(".debug_str").length - 1, at); // the NUL of its last string
}

/** Writes the line programs anew; what refers to them follows. */
function replaceLinePrograms(
  elf: ElfFile,
  programs: LineProgram[],
  units: Unit[],
  intrinsics: Map<LineProgram, Intrinsics>,
): void {
  const offsets = new Map<number, number>();
  const parts: Buffer[] = [];
  let next = 0;
  for (const program of programs) {
    const known = intrinsics.get(program);
    const part = known
      ? encodeLineProgram(program, attributeRows(program.rows, program.files, known))
      : program.bytes;
    offsets.set(program.offset, next);
    parts.push(part);
    next += part.length;
  }
  const info = elf.section(".debug_info");
  for (const { root } of units) {
    const list = root.attributes.get(Attribute.StatementList);
    if (list) info.writeUInt32LE(offsets.get(list.value)!, list.at);
  }
  elf.replace(".debug_line", Buffer.concat(parts));
}

/** DWARF 5, section 7.24: the return address (register 16) is at CFA - 8, or nowhere. */
const RETURN_AT_CFA = Buffer.from([0x90, 0x01]);
const NO_RETURN = Buffer.from([0x07, 0x10]);
const NO_ID = 0xffffffff;

/**
 * Says of stubs, of which there is no call frame information, that they return to nowhere: a backtrace ends there. Were that said of
 * the TypeScript that they call, it could not be looked into: GDB finds no variables on the stack of an outermost frame.
 */
export function endStacks(frames: Buffer, stubs: Range[]): Buffer {
  const cie = Buffer.from(frames.subarray(0, frames.readUInt32LE(0) + 4));
  const at = cie.indexOf(RETURN_AT_CFA);
  if (cie.readUInt32LE(4) !== NO_ID || at < 0) throw new Error(".debug_frame: not as gcc writes it");
  NO_RETURN.copy(cie, at);
  const described = stubs.map(([from, to]) => {
    const fde = Buffer.alloc(24);
    fde.writeUInt32LE(20, 0);
    fde.writeUInt32LE(frames.length, 4);
    fde.writeBigUInt64LE(BigInt(from), 8);
    fde.writeBigUInt64LE(BigInt(to - from), 16);
    return fde;
  });
  return Buffer.concat([frames, cie, ...described]);
}

/** Where code of NASM's is, from its units, whose languages and producers are its own. */
function stubRanges(elf: ElfFile, units: Unit[]): Range[] {
  return units
    .filter(({ root }) => textOf(elf, root.attributes.get(Attribute.Producer)).startsWith("NASM"))
    .flatMap(({ root }) => rangesOf(elf, root))
    .filter(([from, to]) => from < to);
}

/** Rewrites the debug information of a linked image. */
export async function refineDebugInfo(file: string, cwd: string): Promise<void> {
  const elf = new ElfFile(readFileSync(file));
  const units = readUnits(elf);
  const programs = readLinePrograms(elf);
  const intrinsics = new Map<LineProgram, Intrinsics>();
  for (const unit of units) {
    const list = unit.root.attributes.get(Attribute.StatementList)?.value;
    const program = programs.find(({ offset }) => offset === list);
    if (unit.version < 5 || !program) continue;
    const found = new UnitIntrinsics(elf, unit, program.files);
    intrinsics.set(program, { inlined: found.inlined(), outOfLine: found.outOfLine() });
    for (const entry of found.nameless()) removeName(elf, entry);
  }
  replaceLinePrograms(elf, programs, units, intrinsics);
  elf.replace(".debug_frame", endStacks(elf.section(".debug_frame"), stubRanges(elf, units)));
  writeFileSync(file, elf.contents());
  await command("objcopy", [file], cwd); // without what has been replaced
}
