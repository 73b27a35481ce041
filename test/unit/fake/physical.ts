/** Sparse physical memory, and walks through the translation tables in it. Addresses below 2^53 are numbers within. */

const PAGE = 4096;

class Page {
  readonly bytes = new Uint8Array(PAGE);
  readonly view = new DataView(this.bytes.buffer);
  /** Cached translations were read from it. */
  holdsTable = false;
}

export class PhysicalMemory {
  private readonly pages = new Map<number, Page>();
  /** Changes with each store into a page that cached translations were read from. */
  tableEpoch = 0;

  has(address: number): boolean {
    return this.pages.has(Math.floor(address / PAGE));
  }

  /** The page to store into. */
  private page(address: number): Page {
    const n = Math.floor(address / PAGE);
    let page = this.pages.get(n);
    if (!page) this.pages.set(n, (page = new Page()));
    if (page.holdsTable) this.tableEpoch++;
    return page;
  }

  /** From now on stores into this page count. */
  watch(address: number): void {
    this.pages.get(Math.floor(address / PAGE))!.holdsTable = true;
  }

  load32(address: number): number {
    return this.pages.get(Math.floor(address / PAGE))?.view.getUint32(address % PAGE, true) ?? 0;
  }

  load(address: bigint | number, size: number): bigint {
    const at = Number(address);
    const offset = at % PAGE;
    if (offset + size > PAGE) {
      const low = PAGE - offset;
      return this.load(at, low) | (this.load(at + low, size - low) << BigInt(low * 8));
    }
    const page = this.pages.get(Math.floor(at / PAGE));
    if (!page) return 0n;
    switch (size) {
      case 1:
        return BigInt(page.bytes[offset]!);
      case 2:
        return BigInt(page.view.getUint16(offset, true));
      case 4:
        return BigInt(page.view.getUint32(offset, true));
      case 8:
        return page.view.getBigUint64(offset, true);
      default:
        return page.bytes.subarray(offset, offset + size).reduceRight((v, b) => (v << 8n) | BigInt(b), 0n);
    }
  }

  store(address: bigint | number, size: number, value: bigint): void {
    const at = Number(address);
    const offset = at % PAGE;
    if (offset + size <= PAGE && size === 8) this.page(at).view.setBigUint64(offset, value, true);
    else if (offset + size <= PAGE && size === 4)
      this.page(at).view.setUint32(offset, Number(value & 0xffffffffn), true);
    else
      for (let i = 0; i < size; i++)
        this.page(at + i).bytes[(at + i) % PAGE] = Number((value >> BigInt(i * 8)) & 0xffn);
  }

  put(address: bigint | number, bytes: Uint8Array): void {
    const at = Number(address);
    for (let done = 0; done < bytes.length;) {
      const offset = (at + done) % PAGE;
      const part = bytes.subarray(done, done + PAGE - offset);
      this.page(at + done).bytes.set(part, offset);
      done += part.length;
    }
  }

  get(address: bigint | number, length: number): Uint8Array {
    const at = Number(address);
    const result = new Uint8Array(length);
    for (let done = 0; done < length;) {
      const offset = (at + done) % PAGE;
      const part = Math.min(PAGE - offset, length - done);
      const page = this.pages.get(Math.floor((at + done) / PAGE));
      if (page) result.set(page.bytes.subarray(offset, offset + part), done);
      done += part;
    }
    return result;
  }

  /** Pages that were never touched stay absent: clearing 512 MiB costs little. */
  fill(address: bigint | number, value: number, length: bigint | number): void {
    const end = Number(address) + Number(length);
    for (let at = Number(address); at < end;) {
      const offset = at % PAGE;
      const part = Math.min(PAGE - offset, end - at);
      const n = Math.floor(at / PAGE);
      if (value !== 0) this.page(at).bytes.fill(value, offset, offset + part);
      else if (this.pages.has(n)) {
        const page = this.page(at);
        if (part === PAGE) this.pages.delete(n);
        else page.bytes.fill(0, offset, offset + part);
      }
      at += part;
    }
  }
}

/** What a walk ended at. Of the flags on the way a page has those that all levels grant. */
export interface Leaf {
  hpa: number;
  size: number;
  /** The last entry: its low word, and where it is. */
  entry: number;
  entryAt: number;
  /** Bits 2:0 that every level has: present, writable, user; of EPT: read, write, execute. */
  rights: number;
  /** Some level has bit 63: no execute. */
  noExecute: boolean;
  /** The tables that were read, from the top. */
  tables: number[];
}

/** Follows a four-level table for a 48-bit address; undefined where nothing is mapped. */
export function walk(memory: PhysicalMemory, top: number, address: number): Leaf | undefined {
  const tables: number[] = [];
  let table = top;
  let rights = 7;
  let noExecute = false;
  for (let level = 4; level > 0; level--) {
    tables.push(table);
    const size = 2 ** (12 + 9 * (level - 1));
    const at = table + (Math.floor(address / size) % 512) * 8;
    const low = memory.load32(at);
    const high = memory.load32(at + 4);
    if (low === 0 && high === 0) return undefined;
    rights &= low;
    noExecute ||= high >>> 31 !== 0;
    const base = (high & 0xfffff) * 2 ** 32 + (low & 0xfffff000) + (low & 0x80000000 ? 2 ** 32 : 0);
    if (level === 1 || low & 0x80) {
      const hpa = base - (base % size) + (address % size);
      return { hpa, size, entry: low, entryAt: at, rights, noExecute, tables };
    }
    table = base;
  }
  return undefined;
}

export interface MappedPage {
  address: bigint;
  hpa: bigint;
  size: bigint;
  flags: bigint;
}

/** Every page that a tree maps, and to `visit` every table of it. */
export function* leaves(
  memory: PhysicalMemory,
  top: bigint,
  visit?: (table: bigint, level: number, address: bigint) => void,
): Generator<MappedPage> {
  const stack: { table: bigint; level: number; address: bigint }[] = [{ table: top, level: 4, address: 0n }];
  while (stack.length > 0) {
    const { table, level, address } = stack.pop()!;
    visit?.(table, level, address);
    if (!memory.has(Number(table))) continue;
    const size = 1n << BigInt(12 + 9 * (level - 1));
    for (let i = 0n; i < 512n; i++) {
      const entry = memory.load(table + i * 8n, 8);
      if (entry === 0n) continue;
      let at = address + i * size;
      if (level === 4 && i >= 256n) at |= 0xffff000000000000n;
      const base = entry & 0x000ffffffffff000n;
      if (level === 1 || entry & 0x80n) yield { address: at, hpa: base & ~(size - 1n), size, flags: entry };
      else stack.push({ table: base, level: level - 1, address: at });
    }
  }
}
