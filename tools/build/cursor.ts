/** Reads numbers and strings, one after the other, from little-endian bytes as DWARF has them. */
export class Cursor {
  constructor(
    readonly bytes: Buffer,
    public at = 0,
  ) {}

  u8(): number {
    return this.bytes.readUInt8(this.at++);
  }

  u16(): number {
    this.at += 2;
    return this.bytes.readUInt16LE(this.at - 2);
  }

  u32(): number {
    this.at += 4;
    return this.bytes.readUInt32LE(this.at - 4);
  }

  /** An address: the image's are all far below 2^53. */
  u64(): number {
    this.at += 8;
    return Number(this.bytes.readBigUInt64LE(this.at - 8));
  }

  /** Unsigned LEB128. */
  uleb(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.u8();
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  }

  /** Signed LEB128. */
  sleb(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.u8();
      value += (byte & 127) * scale;
      if (byte < 128) return byte & 64 ? value - scale * 128 : value;
    }
  }

  text(): string {
    const start = this.at;
    this.at = this.bytes.indexOf(0, start) + 1;
    return this.bytes.toString("latin1", start, this.at - 1);
  }
}

export function uleb(value: number): number[] {
  const bytes: number[] = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return [...bytes, value];
}

export function sleb(value: number): number[] {
  const bytes: number[] = [];
  for (; value < -64 || value > 63; value = Math.floor(value / 128)) bytes.push((value & 127) | 128);
  return [...bytes, value & 127];
}
