/** QEMU's screen: a screendump read back into text by the font that root paints with, and keys pressed. */
import { readFileSync } from "node:fs";
import type { Machine } from "../../tools/machine/machine.ts";
import type { RunDirectory } from "../../tools/machine/run-directory.ts";
import { font } from "../unit/fake/screen.ts";

interface Picture {
  width: number;
  height: number;
  /** Red, green and blue of each pixel. */
  bytes: Buffer;
}

/** Reads a PPM (netpbm's P6 with 8 bits a colour). */
function readPpm(file: string): Picture {
  const all = readFileSync(file);
  const header = /^P6\s(\d+)\s(\d+)\s255\s/.exec(all.subarray(0, 40).toString("latin1"));
  if (!header) throw new Error("the screendump is no PPM");
  return { width: Number(header[1]), height: Number(header[2]), bytes: all.subarray(header[0].length) };
}

/** Glyphs by their 16 rows. Of those that look alike the first is taken: ASCII comes first. */
const glyphs = new Map<string, string>();
for (const [code, rows] of font) {
  const key = rows.join();
  if (!glyphs.has(key)) glyphs.set(key, String.fromCharCode(code));
}

/** The character of a cell: by which of its pixels differ from the first one, or from which it differs. */
function characterAt({ width, bytes }: Picture, x: number, y: number, scale: number): string {
  const at = (row: number, column: number) =>
    bytes.readUIntBE(((y * 16 + row) * scale * width + (x * 8 + column) * scale) * 3, 3);
  const background = at(0, 0);
  const rows = Array.from({ length: 16 }, (_, row) =>
    Array.from({ length: 8 }, (_, column) => (at(row, column) === background ? 0 : 0x80 >> column)).reduce(
      (a, b) => a | b,
    ),
  );
  return glyphs.get(rows.join()) ?? glyphs.get(rows.map((row) => row ^ 255).join()) ?? "\ufffd";
}

/** The text on a screen of pixels, without trailing blanks. */
export async function readScreen(machine: Machine, directory: RunDirectory): Promise<string[]> {
  const file = directory.file("screen.ppm");
  await machine.monitor(`screendump ${file}`);
  const picture = readPpm(file);
  const scale = picture.width >= 5120 ? 4 : picture.width >= 2560 ? 2 : 1;
  const [columns, rows] = [8, 16].map((size, i) =>
    Math.floor((i ? picture.height : picture.width) / size / scale),
  ) as [number, number];
  const lines = Array.from({ length: rows }, (_, y) =>
    Array.from({ length: columns }, (_, x) => characterAt(picture, x, y, scale))
      .join("")
      .trimEnd(),
  );
  while (lines.at(-1) === "") lines.pop();
  return lines;
}

/** QEMU's names of keys that are not their own. */
const names: Record<string, string> = {
  " ": "spc", "\n": "ret", "-": "minus", "=": "equal", "/": "slash", ".": "dot", ",": "comma", ";": "semicolon",
  "'": "apostrophe", "[": "bracket_left", "]": "bracket_right", "\\": "backslash",
  '"': "shift-apostrophe", "_": "shift-minus", "+": "shift-equal", "|": "shift-backslash", ">": "shift-dot",
  "<": "shift-comma", ":": "shift-semicolon", "$": "shift-4", "(": "shift-9", ")": "shift-0", "*": "shift-8",
  "&": "shift-7", "^": "shift-6", "!": "shift-1", "@": "shift-2", "#": "shift-3", "%": "shift-5", "?": "shift-slash",
}; // prettier-ignore

/** Types on the machine's keyboard, a key at a time. */
export async function typeKeys(machine: Machine, text: string): Promise<void> {
  for (const c of text)
    await machine.monitor(`sendkey ${names[c] ?? (/[A-Z]/.test(c) ? `shift-${c.toLowerCase()}` : c)} 20`);
}
