/** Text into a buffer of fixed size: what does not fit is dropped, never written past the end. */

@unmanaged
export class Text {
  start: usize;
  length: u32;
  capacity: u32;

  /** Uses `capacity` bytes at `start`, empty at first. */
  over(start: usize, capacity: u32): this {
    this.start = start;
    this.capacity = capacity;
    this.length = 0;
    return this;
  }

  byte(value: u32): this {
    if (this.length < this.capacity) {
      store<u8>(this.start + this.length, <u8>value);
      this.length++;
    }
    return this;
  }

  /** A literal. Characters beyond Latin-1 become "?". */
  str(s: string): this {
    for (let i = 0, n = s.length; i < n; i++) {
      const c = <u32>load<u16>(changetype<usize>(s) + ((<usize>i) << 1));
      this.byte(c < 256 ? c : 63);
    }
    return this;
  }

  /** `length` bytes at `from`; control characters become ".". */
  bytes(from: usize, length: u32): this {
    for (let i: u32 = 0; i < length; i++) this.printable(load<u8>(from + i));
    return this;
  }

  printable(c: u32): this {
    return this.byte(c >= 32 && c < 127 ? c : 46);
  }

  dec(value: u64): this {
    let divisor: u64 = 1;
    while (value / divisor >= 10) divisor *= 10;
    for (; divisor > 0; divisor /= 10) this.byte(48 + <u32>((value / divisor) % 10));
    return this;
  }

  /** 0x and at least `digits` digits. */
  hex(value: u64, digits: u32 = 1): this {
    this.byte(48).byte(120);
    return this.rawHex(value, digits);
  }

  rawHex(value: u64, digits: u32): this {
    let n: u32 = 16;
    while (n > digits && n > 1 && value >> ((n - 1) * 4) == 0) n--;
    for (; n > 0; n--) {
      const d = (<u32>(value >> ((n - 1) * 4))) & 15;
      this.byte(d < 10 ? 48 + d : 87 + d);
    }
    return this;
  }

  /** A size in the largest binary unit that divides it: "512 MiB". */
  size(value: u64): this {
    if (value >= 1 << 30 && (value & ((1 << 30) - 1)) == 0) return this.dec(value >> 30).str(" GiB");
    if (value >= 1 << 20 && (value & ((1 << 20) - 1)) == 0) return this.dec(value >> 20).str(" MiB");
    if (value >= 1 << 10) return this.dec(value >> 10).str(" KiB");
    return this.dec(value).str(" bytes");
  }
}

/** Whether the text of so many bytes at `at` starts with `prefix`, which is ASCII. */
export function startsWith(at: usize, length: u32, prefix: string): bool {
  if (<u32>prefix.length > length) return false;
  for (let i = 0; i < prefix.length; i++) if (load<u8>(at + i) != <u8>prefix.charCodeAt(i)) return false;
  return true;
}
