/**
 * What Linux' console does with characters and control sequences (console_codes(4); ECMA-48 and the VT102's), on the grid.
 * screen/sequence.ts tells them apart; here is what they do. The cursor never leaves the grid.
 */
import { cell, GREY } from "./cell";
import { grid } from "./grid";
import { Pen } from "./pen";

/** What DECSC saves. */
@unmanaged
class Saved {
  x: u32;
  y: u32;
  graphics: u32;
  set: u32;
}


@unmanaged
export class Terminal {
  x: u32;
  y: u32;
  /** The last column has been written: the next character starts a new line (VT102's "last column flag"). */
  atEnd: bool;
  autowrap: bool;
  insert: bool;
  /** LNM: a line feed is a new line. */
  newLine: bool;
  /** DECOM: rows count from the scrolled region's first. */
  origin: bool;
  cursorVisible: bool;
  /** DECCKM: what arrow keys send. */
  applicationKeys: bool;
  /** The rows [first, last) that scroll. */
  first: u32;
  last: u32;
  /** Bit n: set Gn is the VT100's line drawing; and which of the two is in use. */
  graphics: u32;
  set: u32;

  /** As after power-on; the cells stay. */
  reset(): void {
    pen.reset();
    this.x = 0;
    this.y = 0;
    this.atEnd = false;
    this.autowrap = true;
    this.insert = false;
    this.newLine = false;
    this.origin = false;
    this.cursorVisible = true;
    this.applicationKeys = false;
    this.first = 0;
    this.last = grid.rows;
    this.graphics = 0;
    this.set = 0;
    memory.fill(tabs, 0, 320);
    for (let i: u32 = 8; i < 320; i += 8) store<u8>(tabs + i, 1);
    this.save();
  }

  open(columns: u32, rows: u32): void {
    grid.open(columns, rows, cell(32, GREY, 0));
    this.reset();
  }

  /** As after power-on, but that the cursor stays where it is. */
  settle(): void {
    const x = min(this.x, grid.columns - 1);
    const y = min(this.y, grid.rows - 1);
    this.reset();
    this.x = x;
    this.y = y;
  }

  get isLineDrawing(): bool {
    return ((this.graphics >> this.set) & 1) != 0;
  }

  /** Writes a character and goes on to the next cell. */
  write(code: u32): void {
    if (this.atEnd && this.autowrap) {
      this.x = 0;
      this.lineFeed();
    }
    this.atEnd = false;
    if (this.insert) grid.insertCells(this.x, this.y, 1, pen.paper);
    grid.set(this.x, this.y, code | pen.ink);
    if (this.x + 1 < grid.columns) this.x++;
    else this.atEnd = this.autowrap;
  }

  lineFeed(): void {
    this.atEnd = false;
    if (this.y + 1 == this.last) grid.scrollUp(this.first, this.last, 1, pen.paper);
    else if (this.y + 1 < grid.rows) this.y++;
  }

  reverseLineFeed(): void {
    this.atEnd = false;
    if (this.y == this.first) grid.scrollDown(this.first, this.last, 1, pen.paper);
    else if (this.y > 0) this.y--;
  }

  carriageReturn(): void {
    this.x = 0;
    this.atEnd = false;
  }

  backspace(): void {
    if (this.x > 0) this.x--;
    this.atEnd = false;
  }

  tab(): void {
    this.atEnd = false;
    while (this.x + 1 < grid.columns && !load<u8>(tabs + ++this.x));
  }

  setTab(): void {
    store<u8>(tabs + this.x, 1);
  }

  /** TBC: here, or everywhere. */
  clearTabs(which: u32): void {
    if (which == 0) store<u8>(tabs + this.x, 0);
    else if (which == 3) memory.fill(tabs, 0, 320);
  }

  /** Puts the cursor into column x and row y, or as near as there is. */
  moveTo(x: i32, y: i32): void {
    this.atEnd = false;
    const low = this.origin ? <i32>this.first : 0;
    const high = this.origin ? <i32>this.last : <i32>grid.rows;
    this.x = max(0, min(x, <i32>grid.columns - 1));
    this.y = max(low, min(y, high - 1));
  }

  /** Row 0 of CUP and VPA. */
  get home(): i32 {
    return this.origin ? <i32>this.first : 0;
  }

  /** CUU, CUD: the scrolled region's edges hold a cursor that is within. */
  moveRows(count: i32): void {
    const above = this.y >= this.first ? <i32>this.first : 0;
    const below = this.y < this.last ? <i32>this.last : <i32>grid.rows;
    this.moveTo(this.x, max(above, min(<i32>this.y + count, below - 1)));
  }

  /** DECSTBM: rows from `top` to `bottom`, counted from 1; 0 for the screen's own edges. */
  setRegion(top: u32, bottom: u32): void {
    if (top == 0) top = 1;
    if (bottom == 0 || bottom > grid.rows) bottom = grid.rows;
    if (top >= bottom) return;
    this.first = top - 1;
    this.last = bottom;
    this.moveTo(0, this.home);
  }

  /** ED: 0 from the cursor on, 1 up to it, 2 and 3 everything. */
  eraseScreen(what: u32): void {
    if (what == 0) {
      this.eraseLine(0);
      grid.clear(this.y + 1, grid.rows, pen.paper);
    } else if (what == 1) {
      grid.clear(0, this.y, pen.paper);
      this.eraseLine(1);
    } else if (what <= 3) {
      grid.clear(0, grid.rows, pen.paper);
    }
    this.atEnd = false;
  }

  /** EL: 0 from the cursor on, 1 up to it, 2 all of the line. */
  eraseLine(what: u32): void {
    if (what > 2) return;
    const from: u32 = what == 0 ? this.x : 0;
    const to: u32 = what == 1 ? this.x + 1 : grid.columns;
    grid.clearCells(this.y, from, to, pen.paper);
    this.atEnd = false;
  }

  eraseCells(count: u32): void {
    grid.clearCells(this.y, this.x, min(this.x + count, grid.columns), pen.paper);
    this.atEnd = false;
  }

  insertCells(count: u32): void {
    grid.insertCells(this.x, this.y, count, pen.paper);
    this.atEnd = false;
  }

  deleteCells(count: u32): void {
    grid.deleteCells(this.x, this.y, count, pen.paper);
    this.atEnd = false;
  }

  /** IL, DL: only within the scrolled region. */
  insertLines(count: u32): void {
    if (this.y < this.first || this.y >= this.last) return;
    grid.scrollDown(this.y, this.last, count, pen.paper);
    this.atEnd = false;
  }

  deleteLines(count: u32): void {
    if (this.y < this.first || this.y >= this.last) return;
    grid.scrollUp(this.y, this.last, count, pen.paper);
    this.atEnd = false;
  }

  scrollUp(count: u32): void {
    grid.scrollUp(this.first, this.last, count, pen.paper);
  }

  scrollDown(count: u32): void {
    grid.scrollDown(this.first, this.last, count, pen.paper);
  }

  /** DECALN. */
  fillWithE(): void {
    grid.clear(0, grid.rows, 0x45 | pen.ink);
  }

  save(): void {
    saved.x = this.x;
    saved.y = this.y;
    saved.graphics = this.graphics;
    saved.set = this.set;
    savedPen.copyFrom(pen);
  }

  restore(): void {
    this.graphics = saved.graphics;
    this.set = saved.set;
    pen.copyFrom(savedPen);
    this.moveTo(saved.x, saved.y);
  }

  /** CSI h and l with numbers of ECMA-48. */
  setMode(n: u32, on: bool): void {
    if (n == 4) this.insert = on;
    else if (n == 20) this.newLine = on;
  }

  /** CSI ? h and l: the VT102's own. */
  setPrivateMode(n: u32, on: bool): void {
    if (n == 1) this.applicationKeys = on;
    else if (n == 6) {
      this.origin = on;
      this.moveTo(0, this.home);
    } else if (n == 7) {
      this.autowrap = on;
      if (!on) this.atEnd = false;
    } else if (n == 25) this.cursorVisible = on;
  }
}

const tabs = memory.data(320);
const saved = changetype<Saved>(memory.data(16, 4));
const savedPen = changetype<Pen>(memory.data(20, 4));
export const pen = changetype<Pen>(memory.data(20, 4));
export const terminal = changetype<Terminal>(memory.data(44, 4));
