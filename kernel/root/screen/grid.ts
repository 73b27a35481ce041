/**
 * The cells of the screen in linear memory: the truth, of which a painter shows what has changed. Rows are a ring, so that
 * scrolling all of them moves none.
 */

export const COLUMNS_MAX: u32 = 320;
const ROWS_MAX: u32 = 128;


@unmanaged
class Grid {
  columns: u32;
  rows: u32;
  /** The ring's row that is the screen's first. */
  top: u32;

  /** Empties it. Sizes beyond what there is room for are cut. */
  open(columns: u32, rows: u32, blank: u32): void {
    this.columns = min(columns, COLUMNS_MAX);
    this.rows = min(rows, ROWS_MAX);
    this.top = 0;
    this.clear(0, this.rows, blank);
  }

  /** Address of the row's first cell. */
  row(y: u32): usize {
    const at = this.top + y;
    return cells + (at >= this.rows ? at - this.rows : at) * this.columns * 4;
  }

  set(x: u32, y: u32, cell: u32): void {
    store<u32>(this.row(y) + x * 4, cell);
    store<u8>(dirty + y, 1);
  }

  /** Whether the row may have changed since the question was asked last. */
  takeDirty(y: u32): bool {
    const was = load<u8>(dirty + y) != 0;
    store<u8>(dirty + y, 0);
    return was;
  }

  touch(from: u32, to: u32): void {
    for (let y = from; y < to; y++) store<u8>(dirty + y, 1);
  }

  /** Makes cells [from, to) of a row `blank`. */
  clearCells(y: u32, from: u32, to: u32, blank: u32): void {
    const row = this.row(y);
    for (let x = from; x < to; x++) store<u32>(row + x * 4, blank);
    store<u8>(dirty + y, 1);
  }

  /** Makes rows [from, to) `blank`. */
  clear(from: u32, to: u32, blank: u32): void {
    for (let y = from; y < to; y++) this.clearCells(y, 0, this.columns, blank);
  }

  /** Moves rows [from, to) up by `count`; what comes in from below is `blank`. */
  scrollUp(from: u32, to: u32, count: u32, blank: u32): void {
    count = min(count, to - from);
    if (from == 0 && to == this.rows) {
      this.top = (this.top + count) % this.rows;
    } else {
      for (let y = from; y + count < to; y++) memory.copy(this.row(y), this.row(y + count), this.columns * 4);
    }
    this.clear(to - count, to, blank);
    this.touch(from, to);
  }

  /** Moves rows [from, to) down by `count`. */
  scrollDown(from: u32, to: u32, count: u32, blank: u32): void {
    count = min(count, to - from);
    for (let y = to; y > from + count; y--)
      memory.copy(this.row(y - 1), this.row(y - 1 - count), this.columns * 4);
    this.clear(from, from + count, blank);
    this.touch(from, to);
  }

  /** Moves cells of a row from x on to the right by `count`, and out of it. */
  insertCells(x: u32, y: u32, count: u32, blank: u32): void {
    const row = this.row(y) + x * 4;
    count = min(count, this.columns - x);
    memory.copy(row + count * 4, row, (this.columns - x - count) * 4);
    this.clearCells(y, x, x + count, blank);
  }

  /** Takes `count` cells out of a row; those behind them move up. */
  deleteCells(x: u32, y: u32, count: u32, blank: u32): void {
    const row = this.row(y) + x * 4;
    count = min(count, this.columns - x);
    memory.copy(row, row + count * 4, (this.columns - x - count) * 4);
    this.clearCells(y, this.columns - count, this.columns, blank);
  }
}

const cells = memory.data(163840, 8);
const dirty = memory.data(128);
export const grid = changetype<Grid>(memory.data(12, 4));

if (COLUMNS_MAX * ROWS_MAX * 4 != 163840 || ROWS_MAX != 128) ERROR("the grid has another size");
