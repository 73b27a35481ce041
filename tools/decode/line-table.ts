/** The line table of a build, as tools/build/lines.ts writes it and kernel/root/lines.ts describes it. */
import { lineTableMagic } from "../build/lines.ts";

const header = 20;
const rowSize = 8;

/** The build that a table belongs to; undefined for a file that is no table. */
export function buildOf(table: Buffer): string | undefined {
  if (table.length < header || table.readUInt32LE(0) !== lineTableMagic) return undefined;
  return table.readUInt32LE(4).toString(16).padStart(8, "0");
}

export class LineTable {
  readonly build: string;
  private readonly rows: number;
  private readonly files: number;
  private readonly functions: number;

  /** @throws an Error that says what is wrong with the file */
  constructor(private readonly table: Buffer) {
    const build = buildOf(table);
    if (build === undefined) throw new Error("not a line table");
    this.build = build;
    this.rows = table.readUInt32LE(8);
    this.files = table.readUInt32LE(12);
    this.functions = table.readUInt32LE(16);
    if (header + (this.rows + this.functions) * rowSize + this.files * 4 > table.length)
      throw new Error("the line table is truncated");
  }

  /** "kernel/vcpu/cpuid.ts:41 (monitor_vmx_vcpu_cpuid_onCpuid)"; undefined for an address outside of the kernel's text. */
  place(address: number): string | undefined {
    const functionsAt = header + this.rows * rowSize;
    const filesAt = functionsAt + this.functions * rowSize;
    const row = this.last(header, this.rows, address);
    if (row === undefined) return undefined;
    const file = this.table.readUInt16LE(row + 4);
    const line = this.table.readUInt16LE(row + 6);
    if (file >= this.files || line === 0) return undefined; // line 0 follows the end of a section
    const named = this.last(functionsAt, this.functions, address);
    const name = named === undefined ? "" : ` (${this.name(this.table.readUInt32LE(named + 4))})`;
    return `${this.name(this.table.readUInt32LE(filesAt + file * 4))}:${line}${name}`;
  }

  /** Offset of the last record whose address is not above `address`. */
  private last(from: number, count: number, address: number): number | undefined {
    let low = 0;
    let high = count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.table.readUInt32LE(from + middle * rowSize) <= address) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? undefined : from + (low - 1) * rowSize;
  }

  private name(at: number): string {
    const end = this.table.indexOf(0, at);
    return this.table.toString("latin1", at, end < 0 ? undefined : end);
  }
}
