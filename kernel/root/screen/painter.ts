/**
 * Paints cells into a linear framebuffer of 15 to 32 bits a pixel. A line of pixels is put together in linear memory and
 * written at once: nothing is ever read from the framebuffer, and what is written is in order, as write combining wants it.
 */
import * as phys from "../../machine/phys";
import { GLYPH_HEIGHT, GLYPH_WIDTH, glyphOf } from "../font/glyph";
import { BACKGROUND_SHIFT, CURSOR, FOREGROUND_SHIFT, UNDERLINE, rgbOf } from "./cell";
import { Display } from "./display";
import { COLUMNS_MAX } from "./grid";

/** The largest scale, and bytes that a line of pixels may have. */
const SCALE_MAX: u32 = 4;
const LINE: u32 = COLUMNS_MAX * GLYPH_WIDTH * SCALE_MAX * 4;
const UNDERLINE_ROW: u32 = 14;


@unmanaged
class Painter {
  /** What phys takes for the first pixel. */
  base: u64;
  pitch: u32;
  /** Bytes a pixel, pixels a pixel of a glyph, bytes of four of those. */
  bytes: u32;
  scale: u32;
  unit: u32;
  /** 1 + the colours that the nibbles' pixels are made of, as in a cell. */
  colours: u32;

  /** `base`: the first pixel's address, as phys takes it. Clears the framebuffer. */
  open(d: Display, base: u64): void {
    this.base = base;
    this.pitch = d.pitch;
    this.bytes = (d.depth + 7) / 8;
    this.scale = scaleOf(d.width);
    this.unit = 4 * this.bytes * this.scale;
    this.colours = 0;
    for (let i: u32 = 0; i < 16; i++) store<u32>(palette + i * 4, d.pixel(rgbOf(i)));
    for (let y: u64 = 0; y < d.height; y++) phys.fill(base + y * d.pitch, 0, d.width * this.bytes);
  }

  /** The pixels of each of the 16 nibbles in two colours. Pixels of 3 bytes are stored as 4, in order. */
  private mix(colours: u32): void {
    this.colours = colours + 1;
    const front = load<u32>(palette + (colours & 15) * 4);
    const back = load<u32>(palette + ((colours >> 4) & 15) * 4);
    for (let nibble: u32 = 0; nibble < 16; nibble++) {
      let at = nibbles + nibble * NIBBLE;
      for (let bit: i32 = 3; bit >= 0; bit--) {
        const colour = (nibble >> bit) & 1 ? front : back;
        for (let i: u32 = 0; i < this.scale; i++, at += this.bytes) store<u32>(at, colour);
      }
    }
  }

  /** Appends a nibble's pixels: whole words, the last of which may go beyond. */
  private append(to: usize, nibble: u32): usize {
    const from = nibbles + nibble * NIBBLE;
    for (let i: u32 = 0; i < this.unit; i += 8) store<u64>(to + i, load<u64>(from + i));
    return to + this.unit;
  }

  /** Paints cells [from, to) of row y, which are at `cells`. */
  paint(y: u32, from: u32, to: u32, cells: usize): void {
    const width = GLYPH_WIDTH * this.scale * this.bytes;
    for (let x = from; x < to; x++) store<u32>(glyphs + x * 4, <u32>glyphOf(load<u16>(cells + x * 4)));
    let line = this.base + <u64>(y * GLYPH_HEIGHT * this.scale) * this.pitch + from * width;
    for (let row: u32 = 0; row < GLYPH_HEIGHT; row++) {
      let at = buffer;
      for (let x = from; x < to; x++) {
        const cell = load<u32>(cells + x * 4);
        let bits: u32 = load<u8>(load<u32>(glyphs + x * 4) + row);
        if (cell & UNDERLINE && row == UNDERLINE_ROW) bits = 255;
        if (cell & CURSOR) bits ^= 255;
        const colours = (cell >> FOREGROUND_SHIFT) & 255;
        if (this.colours != colours + 1) this.mix(colours);
        at = this.append(this.append(at, bits >> 4), bits & 15);
      }
      for (let i: u32 = 0; i < this.scale; i++, line += this.pitch)
        phys.write(line, <u32>buffer, (to - from) * width);
    }
  }
}

/** Pixels that one of a glyph has on each side: letters stay readable on screens of many pixels. */
export function scaleOf(width: u32): u32 {
  return width < 2560 ? 1 : width < 5120 ? 2 : SCALE_MAX;
}

/** Bytes of a nibble's pixels at most: 4 pixels of 4 bytes, scaled. */
const NIBBLE: u32 = 16 * SCALE_MAX + 8;
const nibbles = memory.data(1152, 8);
const palette = memory.data(64, 4);
const glyphs = memory.data(1280, 4);
const buffer = memory.data(40976, 8);
export const painter = changetype<Painter>(memory.data(32, 8));

if (BACKGROUND_SHIFT != FOREGROUND_SHIFT + 4) ERROR("the colours are not side by side");
if (16 * NIBBLE > 1152 || LINE + 16 > 40976 || COLUMNS_MAX * 4 > 1280)
  ERROR("the painter's buffers are too small");
