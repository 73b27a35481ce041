/** Page tables in a fake machine's RAM, of every format (SDM Vol. 3A 4.3 to 4.5). */
import type { FakeRam } from "./ram.ts";

export type PagingMode = "none" | "32-bit" | "PAE" | "4-level";

export const P = 1n;
export const RW = 2n;
export const US = 4n;
export const A = 0x20n;
export const D = 0x40n;
export const PS = 0x80n;
export const XD = 1n << 63n;

/** A level's shift and index bits, from the top. PAE's first is the PDPTE registers. */
const LEVELS = {
  "32-bit": { shifts: [22, 12], bits: 10, size: 4 },
  PAE: { shifts: [30, 21, 12], bits: 9, size: 8 },
  "4-level": { shifts: [39, 30, 21, 12], bits: 9, size: 8 },
};

export class PageTables {
  readonly top: number;
  private next: number;

  /** Takes pages for tables from `base` on. */
  constructor(
    private readonly ram: FakeRam,
    readonly mode: Exclude<PagingMode, "none">,
    base: number,
  ) {
    this.top = base;
    this.next = base + 0x1000;
  }

  private get format() {
    return LEVELS[this.mode];
  }

  /** Address of the entry for `linear` in the table of `level` (0 is a page table), with tables made as needed. */
  entryAddress(linear: bigint, level = 0): number {
    const { shifts, bits, size } = this.format;
    let table = this.top;
    for (let i = 0; ; i++) {
      const at = table + Number((linear >> BigInt(shifts[i]!)) & ((1n << BigInt(bits)) - 1n)) * size;
      if (shifts.length - 1 - i === level) return at;
      let entry = this.ram.load(BigInt(at), size);
      if (!(entry & P)) {
        // PDPTEs have no rights of their own.
        entry = BigInt(this.next) | (this.mode === "PAE" && i === 0 ? P : P | RW | US);
        this.next += 0x1000;
        this.ram.store(BigInt(at), size, entry);
      }
      table = Number(entry & 0xffffffffff000n);
    }
  }

  get(linear: bigint, level = 0): bigint {
    return this.ram.load(BigInt(this.entryAddress(linear, level)), this.format.size);
  }

  set(linear: bigint, entry: bigint, level = 0): void {
    this.ram.store(BigInt(this.entryAddress(linear, level)), this.format.size, entry);
  }

  /** Maps pages from `linear` on to memory from `gpa` on. */
  map(linear: bigint, gpa: bigint, pages = 1, flags = P | RW | US): void {
    for (let i = 0n; i < BigInt(pages); i++) this.set(linear + i * 4096n, (gpa + i * 4096n) | flags);
  }
}
