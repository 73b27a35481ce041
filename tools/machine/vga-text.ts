/** The VGA text screen, read out of the machine's memory with the emulator's monitor. */

const columns = 80;
const rows = 25;

/** The monitor command (the same in Bochs and QEMU) that dumps the screen: a character and its attribute a word. */
export const dumpVgaText = `xp /${columns * rows}hx 0xb8000`;

/** The screen's text from the dump, without trailing blanks. Characters outside ASCII become "?". */
export function vgaText(dump: string): string {
  const words = dump
    .split("\n")
    .flatMap((line) => line.slice(line.indexOf(":") + 1).match(/0x[0-9a-f]{1,4}\b/g) ?? []);
  const characters = words.map((word) => {
    const code = Number(word) & 0xff;
    if (code === 0) return " ";
    return code >= 0x20 && code < 0x7f ? String.fromCharCode(code) : "?";
  });
  const lines: string[] = [];
  for (let row = 0; row < rows; row++) {
    lines.push(
      characters
        .slice(row * columns, (row + 1) * columns)
        .join("")
        .trimEnd(),
    );
  }
  return lines.join("\n").trimEnd();
}
