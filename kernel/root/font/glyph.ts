/** Which glyph a character has: an index into GLYPHS. */
import { GLYPHS, RUNS, RUN_COUNT } from "./glyphs";

export const GLYPH_WIDTH: u32 = 8;
export const GLYPH_HEIGHT: u32 = 16;
/** What is shown of a character that the font lacks. */
export const REPLACEMENT: u32 = 0xfffd;

/** The address of a character's 16 bytes. */
export function glyphOf(code: u32): usize {
  let first: u32 = 0;
  for (let i: u32 = 0; i < RUN_COUNT; i++) {
    const from = <u32>load<u16>(RUNS + i * 4);
    const to = <u32>load<u16>(RUNS + i * 4, 2);
    if (code >= from && code <= to) return GLYPHS + (first + code - from) * GLYPH_HEIGHT;
    first += to - from + 1;
  }
  // The last of them is REPLACEMENT's.
  return GLYPHS + (first - 1) * GLYPH_HEIGHT;
}
