/** A buffer that grows, with DWARF's kinds of numbers (DWARF 5, 7.6, Variable Length Data). */
import { type Address, writeAddress } from "./address.ts";

export class DwarfBytes {
  private bytes: Buffer;
  length = 0;

  constructor(expected: number) {
    this.bytes = Buffer.alloc(expected);
  }

  private grow(count: number): number {
    const at = this.length;
    this.length += count;
    if (this.length > this.bytes.length) {
      const larger = Buffer.alloc(this.length * 2);
      this.bytes.copy(larger);
      this.bytes = larger;
    }
    return at;
  }

  u8(...values: number[]): void {
    const at = this.grow(values.length); // first: it may replace the buffer
    this.bytes.set(values, at);
  }

  u16(value: number): void {
    const at = this.grow(2);
    this.bytes.writeUInt16LE(value, at);
  }

  u32(value: number): void {
    const at = this.grow(4);
    this.bytes.writeUInt32LE(value, at);
  }

  address(value: Address): void {
    const at = this.grow(8);
    writeAddress(this.bytes, value, at);
  }

  uleb(value: number): void {
    for (; value > 0x7f; value >>>= 7) this.u8((value & 0x7f) | 0x80);
    this.u8(value);
  }

  sleb(value: number): void {
    for (; value < -0x40 || value > 0x3f; value >>= 7) this.u8((value & 0x7f) | 0x80);
    this.u8(value & 0x7f);
  }

  /** A block of bytes with its length in front. */
  block(bytes: Buffer): void {
    this.uleb(bytes.length);
    this.u8(...bytes);
  }

  text(text: string): void {
    this.u8(...Buffer.from(text, "latin1"), 0);
  }

  /** Zeros, which do nothing in a list of instructions, up to a multiple of `size`. */
  align(size: number): void {
    while (this.length % size !== 0) this.u8(0);
  }

  /** Sets what was left open at `at`. */
  setU32(at: number, value: number): void {
    this.bytes.writeUInt32LE(value, at);
  }

  result(): Buffer {
    return this.bytes.subarray(0, this.length);
  }
}
