/** What is on the screen of the bare machine: text and colours of VGA's text mode, or pixels, and a font read from root's source. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { projectDirectory } from "../../../tools/machine/run-directory.ts";
import type { FakeHost } from "./host.ts";

/** The lines of the text screen, without trailing blanks. */
export function textOf(host: FakeHost): string[] {
  const cells = host.memory.get(0xb8000, 80 * 25 * 2).filter((_, i) => i % 2 === 0);
  const text = Buffer.from(cells).toString("latin1");
  return Array.from({ length: 25 }, (_, row) => text.slice(row * 80, row * 80 + 80).trimEnd());
}

/** The attribute of a cell of the text screen. */
export const attributeAt = (host: FakeHost, x: number, y: number): number =>
  host.memory.get(0xb8000 + (y * 80 + x) * 2 + 1, 1)[0]!;

/** Column and row of the text screen's cursor. */
export function cursorOf(host: FakeHost): [number, number] {
  const place = (host.ports.crtc[14] ?? 0) * 256 + (host.ports.crtc[15] ?? 0);
  return [place % 80, Math.floor(place / 80)];
}

/** 16 rows a glyph, the leftmost pixel in bit 7: as the source has them, line by line. */
export const font: Map<number, number[]> = new Map(
  Array.from(
    readFileSync(join(projectDirectory, "kernel/root/font/glyphs.ts"), "utf8").matchAll(
      /0x([0-9a-f]{16}), 0x([0-9a-f]{16}), \/\/ U\+([0-9A-F]{4})/g,
    ),
    ([, high, low, code]) => [
      parseInt(code!, 16),
      [high!, low!].flatMap((word) => [...Buffer.from(word, "hex").reverse()]),
    ],
  ),
);
