/** What a packet says, read from its front. Whatever is not as it should be sets `bad`; nothing is read past the end. */

/** The value of a hexadecimal digit, or 16. */
export function digit(c: u32): u32 {
  if (c >= 48 && c <= 57) return c - 48;
  const letter = c | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : 16;
}


@unmanaged
export class Input {
  at: usize;
  end: usize;
  bad: u32;

  over(at: usize, length: u32): this {
    this.at = at;
    this.end = at + length;
    this.bad = 0;
    return this;
  }

  get left(): u32 {
    return <u32>(this.end - this.at);
  }

  /** The next byte without taking it; 0 at the end. */
  peek(): u32 {
    return this.at < this.end ? load<u8>(this.at) : 0;
  }

  take(): u32 {
    const c = this.peek();
    if (this.at < this.end) this.at++;
    return c;
  }

  /** Takes the byte if it is the next. */
  accept(c: u32): bool {
    if (this.at >= this.end || load<u8>(this.at) != c) return false;
    this.at++;
    return true;
  }

  /** The byte must be the next. */
  want(c: u32): void {
    if (!this.accept(c)) this.bad = 1;
  }

  /** Takes the text if it is what comes next. */
  word(s: string): bool {
    const n = <u32>s.length;
    if (n > this.left) return false;
    for (let i: u32 = 0; i < n; i++) {
      if (load<u16>(changetype<usize>(s) + (i << 1)) != load<u8>(this.at + i)) return false;
    }
    this.at += n;
    return true;
  }

  /** At least one hexadecimal digit, and no more than 64 bits of value. */
  hex(): u64 {
    let value: u64 = 0;
    if (digit(this.peek()) > 15) this.bad = 1;
    for (let d = digit(this.peek()); d < 16; d = digit(this.peek())) {
      if (value >> 60) this.bad = 1;
      value = (value << 4) | d;
      this.at++;
    }
    return value;
  }

  /** Two digits. */
  hexByte(): u32 {
    const high = digit(this.take());
    const low = digit(this.take());
    if (high > 15 || low > 15) this.bad = 1;
    return (high << 4) | (low & 15);
  }

  /** `size` bytes of two digits each, the lowest first. */
  little(size: u32): u64 {
    let value: u64 = 0;
    for (let i: u32 = 0; i < size; i++) value |= (<u64>(this.hexByte() & 255)) << (i * 8);
    return value;
  }

  /** The text must end here. */
  close(): void {
    if (this.at != this.end) this.bad = 1;
  }

  /** Takes everything up to the byte, and the byte. */
  skipTo(c: u32): void {
    while (this.at < this.end && this.take() != c) {}
  }

  // A command's words have spaces between them.

  private spaces(): void {
    while (this.accept(32)) {}
  }

  /** Takes the word if it is the next and a whole one. */
  command(s: string): bool {
    this.spaces();
    const before = this.at;
    if (this.word(s) && (this.at == this.end || this.peek() == 32)) return true;
    this.at = before;
    return false;
  }

  /** Whether there is another word. */
  more(): bool {
    this.spaces();
    return this.at < this.end;
  }

  /** A number as a person writes it: decimal, or with 0x in front hexadecimal. */
  number(): u64 {
    this.spaces();
    if (this.word("0x")) return this.hex();
    let value: u64 = 0;
    if (this.peek() - 48 > 9) this.bad = 1;
    for (let d = this.peek() - 48; d <= 9; d = this.peek() - 48) {
      if (value > 0x1000000000000000) this.bad = 1;
      value = value * 10 + d;
      this.at++;
    }
    return value;
  }
}
