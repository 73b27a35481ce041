/** Multiboot headers (Multiboot 0.6.96 3.1), and the information that a kernel is given (3.3), read as it reads it. */
import { Gpr } from "./exit.ts";
import type { FakeMonitor } from "./monitor.ts";

export interface Addresses {
  header: number;
  load: number;
  loadEnd: number;
  bssEnd: number;
  entry: number;
}

export const MAGIC = 0x1badb002;
export const ADDRESSES = 0x10000;

/** A header with a good checksum. */
export function multibootHeader(flags: number, addresses?: Addresses): Uint8Array {
  const bytes = Buffer.alloc(addresses ? 32 : 12);
  const all = addresses ? (flags | ADDRESSES) >>> 0 : flags;
  const words = [MAGIC, all, -(MAGIC + all) >>> 0];
  if (addresses) {
    const { header, load, loadEnd, bssEnd, entry } = addresses;
    words.push(header, load, loadEnd, bssEnd, entry);
  }
  words.forEach((word, i) => bytes.writeUInt32LE(word >>> 0, i * 4));
  return bytes;
}

export class MultibootInfo {
  readonly at: bigint;

  constructor(private readonly machine: FakeMonitor) {
    this.at = machine.gpr(Gpr.rbx);
  }

  word(offset: number, base = this.at): number {
    return Number(this.machine.ram.load(base + BigInt(offset), 4));
  }

  text(offset: number, base = this.at): string {
    const at = this.word(offset, base);
    const bytes = this.machine.ram.bytes;
    return Buffer.from(bytes.subarray(at, bytes.indexOf(0, at))).toString("latin1");
  }

  get modules(): { start: number; end: number; text: string }[] {
    const list = BigInt(this.word(24));
    return Array.from({ length: this.word(20) }, (_, i) => {
      const at = list + BigInt(i * 16);
      return { start: this.word(0, at), end: this.word(4, at), text: this.text(8, at) };
    });
  }

  get memory(): { base: bigint; end: bigint; type: number }[] {
    const regions = [];
    const list = BigInt(this.word(48));
    for (let at = list; at < list + BigInt(this.word(44)); at += BigInt(this.word(0, at) + 4)) {
      const base = this.machine.ram.load(at + 4n, 8);
      regions.push({ base, end: base + this.machine.ram.load(at + 12n, 8), type: this.word(20, at) });
    }
    return regions;
  }
}
