/**
 * A cell of the screen is a u32: the character's code point in bits 15:0, the colours of text and background in 19:16 and
 * 23:20, and what is drawn over it. Colours are numbered as VGA's are: bit 0 blue, bit 1 green, bit 2 red, bit 3 bright.
 */
export const FOREGROUND_SHIFT: u32 = 16;
export const BACKGROUND_SHIFT: u32 = 20;
export const UNDERLINE: u32 = 1 << 24;
/** The cursor is here. Only in what is painted. */
export const CURSOR: u32 = 1 << 25;
/** No cell has this value: it makes a painter paint. */
export const UNKNOWN: u32 = 0xffffffff;

const BLACK: u32 = 0;
export const GREY: u32 = 7;
export const BRIGHT: u32 = 8;

export function cell(code: u32, foreground: u32, background: u32): u32 {
  return code | (foreground << FOREGROUND_SHIFT) | (background << BACKGROUND_SHIFT);
}

/** The eight colours of ECMA-48 8.3.117 (SGR), bit 0 red and bit 2 blue, as they are numbered here. */
export function ansiColour(n: u32): u32 {
  return ((n & 1) << 2) | (n & 2) | ((n >> 2) & 1);
}

/** Red, green and blue of the 16 colours, 8 bits each, as VGA's default palette has them. */
export function rgbOf(colour: u32): u32 {
  if (colour == 6) return 0xaa5500;
  const on: u32 = colour & BRIGHT ? 0xff : 0xaa;
  const off: u32 = colour & BRIGHT ? 0x55 : 0;
  return ((colour & 4 ? on : off) << 16) | ((colour & 2 ? on : off) << 8) | (colour & 1 ? on : off);
}

/** The one of the 16 colours that is like red, green and blue of 0 to 255. */
export function nearest(red: u32, green: u32, blue: u32): u32 {
  const most = max(red, max(green, blue));
  if (most < 0x2b) return BLACK;
  const half = most / 2;
  const hue: u32 = (red > half ? 4 : 0) | (green > half ? 2 : 0) | (blue > half ? 1 : 0);
  // Greys: black, dark, light and white.
  if (hue == GREY) return most < 0x80 ? BRIGHT : most < 0xd5 ? GREY : GREY | BRIGHT;
  return hue | (most > 0xd4 ? BRIGHT : 0);
}

/** A colour of the 256 that xterm numbers: 16, a cube of 6 x 6 x 6, and 24 greys. */
export function indexed(n: u32): u32 {
  if (n < 16) return ansiColour(n & 7) | (n & BRIGHT);
  if (n >= 232) {
    const grey = min<u32>(n - 232, 23) * 10 + 8;
    return nearest(grey, grey, grey);
  }
  const at = n - 16;
  return nearest(((at / 36) % 6) * 51, ((at / 6) % 6) * 51, (at % 6) * 51);
}
