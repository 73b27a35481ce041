/**
 * The screen as a console: bytes go to the terminal's grid, and a painter follows. How many lines a guest writes does not
 * matter: what changes is painted when time has come, and then painting rests for so long that it takes 3 % of a CPU at most.
 */
import { tsc } from "../../machine/time";
import { clock } from "../clock";
import { reachDisplay } from "../space";
import { GLYPH_HEIGHT, GLYPH_WIDTH } from "../font/glyph";
import { CURSOR, UNKNOWN } from "./cell";
import { Kind, display } from "./display";
import { grid } from "./grid";
import { painter, scaleOf } from "./painter";
import { Pen } from "./pen";
import { sequence } from "./sequence";
import { pen, terminal } from "./terminal";
import { TEXT_COLUMNS, TEXT_ROWS, hideTextCursor, paintText } from "./vgatext";

/** Painting rests for so many times as long as it took. */
const REST: u64 = 32;
/** Parts of a second that it takes at once, about: other CPUs may wait for root's lock. */
const STEPS: u64 = 1000;
/** Cells that have not changed, between two that have, which are painted with them. */
const GAP: u32 = 2;


@unmanaged
class Screen {
  /** TSC before which nothing is painted. */
  due: u64;
  /** What is painted on; None without a screen, or where the command line wants none. */
  kind: u32;
  /** The row to look at next. */
  row: u32;
  /** 1 + the cell with the cursor, 0 for none. */
  cursor: u32;
  /** The last byte put: whether a line is open. */
  last: u32;
  /** Whether it can be painted on already. */
  isOpen: bool;
  /** Whether everything is painted at once: there is no scheduler yet, or no more. */
  direct: bool;
  painting: bool;
  /** Something may have to be painted. */
  isBehind: bool;

  /** Takes the screen over, of which the loader has told; text at once, pixels by openPixels(). */
  open(): void {
    this.kind = display.kind;
    this.direct = true;
    this.last = 10;
    if (this.kind == Kind.None) return;
    if (this.kind == Kind.Text) {
      // Where the boot loader has left it.
      hideTextCursor();
      terminal.open(TEXT_COLUMNS, TEXT_ROWS);
    } else {
      const scale = scaleOf(display.width);
      terminal.open(display.width / (GLYPH_WIDTH * scale), display.height / (GLYPH_HEIGHT * scale));
    }
    for (let i: u32 = 0; i < grid.columns * grid.rows; i++) store<u32>(shown + i * 4, UNKNOWN);
    this.isOpen = this.kind == Kind.Text;
    this.isBehind = true;
  }

  /** Paints what was written so far, as soon as the framebuffer can be reached. False when memory ran out. */
  openPixels(): bool {
    if (this.kind != Kind.Pixels || this.isOpen) return true;
    const base = reachDisplay(display.address, display.length);
    if (base == 0) return false;
    painter.open(display, base);
    this.isOpen = true;
    this.refresh();
    return true;
  }

  put(byte: u32): void {
    if (this.kind == Kind.None) return;
    this.last = byte;
    this.isBehind = true;
    sequence.put(byte);
  }

  /** Before a line of the log: whatever a guest has made of the terminal, it can be read. */
  beginLine(): void {
    if (this.kind == Kind.None) return;
    kept.state = sequence.state;
    kept.more = sequence.more;
    kept.graphics = terminal.graphics;
    kept.insert = terminal.insert;
    keptPen.copyFrom(pen);
    sequence.reset();
    terminal.graphics = 0;
    terminal.insert = false;
    pen.reset();
    if (this.last == 10) return;
    this.put(13);
    this.put(10);
  }

  endLine(): void {
    if (this.kind == Kind.None) return;
    sequence.state = kept.state;
    sequence.more = kept.more;
    terminal.graphics = kept.graphics;
    terminal.insert = kept.insert;
    pen.copyFrom(keptPen);
    this.refresh();
  }

  /** Nothing else works any more, and a line may follow: it is painted at once, on a terminal as after power-on. */
  rescue(): void {
    // What has failed is painting itself.
    if (this.painting) this.kind = Kind.None;
    if (this.kind == Kind.None || (this.direct && this.isOpen)) return;
    this.direct = true;
    sequence.reset();
    terminal.settle();
    this.openPixels();
    this.refresh();
  }

  /** When to come again: a TSC value. */
  get next(): u64 {
    return this.isOpen && this.isBehind ? this.due : ~(<u64>0);
  }

  /** Paints what has changed, if it is time. */
  refresh(): void {
    if (this.kind == Kind.None || !this.isOpen || !this.isBehind) return;
    const start = tsc();
    if (!this.direct && start < this.due) return;
    this.painting = true;
    this.followCursor();
    this.isBehind = !this.paintRows(this.direct ? ~(<u64>0) : start + clock.tscHz / STEPS);
    this.painting = false;
    const now = tsc();
    this.due = now + (now - start) * REST;
  }

  /** Paints rows until the TSC has come to `end`; whether it has come round to where it began. */
  private paintRows(end: u64): bool {
    for (let left = grid.rows; left > 0; left--) {
      if (grid.takeDirty(this.row)) this.paintRow(this.row);
      this.row = this.row + 1 < grid.rows ? this.row + 1 : 0;
      if (tsc() >= end) return left == 1;
    }
    return true;
  }

  private followCursor(): void {
    const place: u32 = terminal.cursorVisible ? 1 + terminal.y * grid.columns + terminal.x : 0;
    if (place == this.cursor) return;
    if (this.cursor) this.touchCursor();
    this.cursor = place;
    if (place) this.touchCursor();
    else if (this.kind == Kind.Text) hideTextCursor();
  }

  private touchCursor(): void {
    const y = (this.cursor - 1) / grid.columns;
    grid.touch(y, y + 1);
  }

  /** What cell x of row y is to look like. */
  private wanted(row: usize, x: u32, y: u32): u32 {
    return load<u32>(row + x * 4) | (this.cursor == 1 + y * grid.columns + x ? CURSOR : 0);
  }

  private paintRow(y: u32): void {
    const row = grid.row(y);
    const last = shown + y * grid.columns * 4;
    let from: u32 = 0;
    let to: u32 = 0; // the cells that have changed so far: none where `to` is 0
    for (let x: u32 = 0; x < grid.columns; x++) {
      const cell = this.wanted(row, x, y);
      if (cell == load<u32>(last + x * 4)) continue;
      store<u32>(last + x * 4, cell);
      if (to != 0 && x > to + GAP) {
        this.paint(y, from, to, last);
        to = 0;
      }
      if (to == 0) from = x;
      to = x + 1;
    }
    if (to != 0) this.paint(y, from, to, last);
  }

  private paint(y: u32, from: u32, to: u32, cells: usize): void {
    if (this.kind == Kind.Text) paintText(y, from, to, cells);
    else painter.paint(y, from, to, cells);
  }
}


@unmanaged
class Kept {
  state: u32;
  more: u32;
  graphics: u32;
  insert: bool;
}

/** What a guest has made of the terminal, while the log has it. */
const kept = changetype<Kept>(memory.data(16, 4));
const keptPen = changetype<Pen>(memory.data(20, 4));
/** The cells as they were painted. */
const shown = memory.data(163840, 8);
export const screen = changetype<Screen>(memory.data(32, 8));
