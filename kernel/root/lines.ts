/**
 * The line table: which TypeScript line an address of the kernel's text comes from. It is a boot module of its own
 * (tools/build/lines.ts writes it); without it reports give addresses, which scripts/decode turns into lines.
 *
 *     u32 magic, build id, rows, files, functions   then rows: u32 address, u16 file, u16 line, sorted by address;
 *     functions: u32 address, u32 name; file names: u32 name; names: bytes that end with 0, addressed from the start
 */
import { Text } from "../lib/text";
import * as image from "../machine/image";
import { load16, load32, load8 } from "../machine/phys";

const MAGIC: u32 = 0x4c565954; // "TYVL"
const HEADER: u64 = 20;
const NAME_MAX: u32 = 120;


@unmanaged
class Lines {
  base: u64;
  size: u64;
  rows: u32;
  files: u32;
  functions: u32;
  padding: u32;
}

const lines = changetype<Lines>(memory.data(32, 8));

/** Takes the table from a module. False when it is not one, or of another build. */
export function useLines(base: u64, size: u64): bool {
  if (size < HEADER || load32(base) != MAGIC || load32(base + 4) != image.buildId()) return false;
  lines.rows = load32(base + 8);
  lines.files = load32(base + 12);
  lines.functions = load32(base + 16);
  if (HEADER + (<u64>lines.rows + lines.functions) * 8 + <u64>lines.files * 4 > size) return false;
  lines.base = base;
  lines.size = size;
  return true;
}

/** Number of the last of `count` 8-byte records at `from` whose address is not above `address`, or -1. */
function find(from: u64, count: u32, address: u64): i32 {
  let low: u32 = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (load32(from + <u64>middle * 8) <= address) low = middle + 1;
    else high = middle;
  }
  return <i32>low - 1;
}

function name(out: Text, offset: u32): void {
  for (let i: u32 = 0; i < NAME_MAX && <u64>offset + i < lines.size; i++) {
    const c = load8(lines.base + offset + i);
    if (c == 0) return;
    out.printable(c);
  }
}

/** Address of the function that `address` is in, or 0 when the table does not know it. */
export function functionAt(address: u64): u64 {
  if (lines.base == 0) return 0;
  const functions = lines.base + HEADER + <u64>lines.rows * 8;
  const f = find(functions, lines.functions, address);
  return f < 0 ? 0 : load32(functions + <u64>f * 8);
}

/** Writes "0x203f10 kernel/monitor/dispatch.ts:41 (dispatch)", or the address alone. */
export function place(out: Text, address: u64): Text {
  out.hex(address);
  if (lines.base == 0 || address < image.start() || address >= image.textEnd()) return out;
  const rows = lines.base + HEADER;
  const row = find(rows, lines.rows, address);
  if (row < 0) return out;
  const at = rows + <u64>row * 8;
  const functions = rows + <u64>lines.rows * 8;
  const files = functions + <u64>lines.functions * 8;
  const file = load16(at + 4);
  if (file < lines.files) {
    out.str(" ");
    name(out, load32(files + <u64>file * 4));
    out.str(":").dec(load16(at + 6));
  }
  const f = find(functions, lines.functions, address);
  if (f >= 0) {
    out.str(" (");
    name(out, load32(functions + <u64>f * 8 + 4));
    out.str(")");
  }
  return out;
}
