/** Bytes into guest RAM one behind the other, for tables that have no fixed layout. One is written at a time. */
import { Gpa } from "../lib/addr";
import * as guest from "../machine/guest";


@unmanaged
export class Writer {
  at: Gpa;

  byte(value: u32): this {
    guest.store8(this.at, value);
    this.at += 1;
    return this;
  }

  word(value: u32): this {
    guest.store16(this.at, value);
    this.at += 2;
    return this;
  }

  dword(value: u32): this {
    guest.store32(this.at, value);
    this.at += 4;
    return this;
  }

  qword(value: u64): this {
    guest.store64(this.at, value);
    this.at += 8;
    return this;
  }

  /** The characters of an ASCII string, without an end. */
  text(s: string): this {
    for (let i = 0; i < s.length; i++) this.byte(s.charCodeAt(i));
    return this;
  }
}

export const out = changetype<Writer>(memory.data(8, 8));

/** Sets the byte at `at`, which is 0, so that `length` bytes from `start` sum to 0. */
export function checksum(start: Gpa, length: u32, at: Gpa): void {
  let sum: u32 = 0;
  for (let i: u32 = 0; i < length; i++) sum += guest.load8(start + i);
  guest.store8(at, (0x100 - (sum & 0xff)) & 0xff);
}
