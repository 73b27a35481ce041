/** X11's portable compiled format of bitmap fonts, as far as a font of one cell size needs it. */

/** Table types (X11's pcf.h; "The X Font Library", Portable Compiled Format). */
const METRICS = 1 << 2;
const BITMAPS = 1 << 3;
const ENCODINGS = 1 << 5;
const COMPRESSED_METRICS = 0x100;

export interface Metrics {
  left: number;
  width: number;
  ascent: number;
  descent: number;
}

export interface Glyph extends Metrics {
  /** A row a number, the leftmost pixel in bit 31. */
  rows: number[];
}

/** Reads integers of a table in its own byte order, which is the first word's business. */
class Table {
  readonly format: number;
  private readonly little: boolean;
  private readonly view: DataView;

  constructor(bytes: Uint8Array, offset: number) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset + offset);
    this.format = this.view.getUint32(0, true);
    this.little = (this.format & 4) === 0;
  }

  u8(at: number): number {
    return this.view.getUint8(at);
  }
  i16(at: number): number {
    return this.view.getInt16(at, this.little);
  }
  u16(at: number): number {
    return this.view.getUint16(at, this.little);
  }
  u32(at: number): number {
    return this.view.getUint32(at, this.little);
  }
}

function tables(bytes: Uint8Array): Map<number, Table> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint32(0, true) !== 0x70636601) throw new Error("not a PCF file");
  const found = new Map<number, Table>();
  for (let i = 0, count = view.getUint32(4, true); i < count; i++) {
    const at = 8 + i * 16;
    found.set(view.getUint32(at, true), new Table(bytes, view.getUint32(at + 12, true)));
  }
  return found;
}

function metricsOf(table: Table, n: number): Metrics {
  const compressed = (table.format & COMPRESSED_METRICS) !== 0;
  const value = (field: number) =>
    compressed ? table.u8(6 + n * 5 + field) - 0x80 : table.i16(8 + n * 12 + field * 2);
  // Left and right bearing, width, ascent, descent.
  return { left: value(0), width: value(2), ascent: value(3), descent: value(4) };
}

/** The glyph of each code point that the font has. */
export function readPcf(bytes: Uint8Array): (codePoint: number) => Glyph | undefined {
  const all = tables(bytes);
  const [metrics, bitmaps, encodings] = [METRICS, BITMAPS, ENCODINGS].map((kind) => {
    const table = all.get(kind);
    if (!table) throw new Error(`the font has no table of type ${kind}`);
    return table;
  }) as [Table, Table, Table];
  const [firstLow, lastLow, firstHigh, lastHigh] = [4, 6, 8, 10].map((at) => encodings.u16(at)) as [
    number,
    number,
    number,
    number,
  ];
  const count = bitmaps.u32(4);
  const stride = 1 << (bitmaps.format & 3);
  const bitsMostSignificant = (bitmaps.format & 8) !== 0;
  if (!bitsMostSignificant) throw new Error("expected the leftmost pixel in a byte's highest bit");
  const data = 8 + count * 4 + 16;
  return (codePoint) => {
    const [high, low] = [codePoint >> 8, codePoint & 255];
    if (low < firstLow || low > lastLow || high < firstHigh || high > lastHigh) return undefined;
    const n = encodings.u16(14 + 2 * ((high - firstHigh) * (lastLow - firstLow + 1) + low - firstLow));
    if (n === 0xffff) return undefined;
    const own = metricsOf(metrics, n);
    const at = data + bitmaps.u32(8 + n * 4);
    const rows = Array.from({ length: own.ascent + own.descent }, (_, row) => {
      let bits = 0;
      for (let i = 0; i < Math.min(stride, 4); i++) bits |= bitmaps.u8(at + row * stride + i) << (24 - 8 * i);
      return bits >>> 0;
    });
    return { ...own, rows };
  };
}
