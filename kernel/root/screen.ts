/** The VGA text screen (80 x 25 at B8000h), for the log on machines without a serial port. */
import { copy, store16 } from "../machine/phys";

const BASE: u64 = 0xb8000;
const COLUMNS: u32 = 80;
const ROWS: u32 = 25;
const ATTRIBUTE: u32 = 0x0700;

function clear(row: u32): void {
  for (let x: u32 = 0; x < COLUMNS; x++) store16(BASE + (row * COLUMNS + x) * 2, ATTRIBUTE | 32);
}


@unmanaged
class Screen {
  enabled: bool;
  row: u32;
  column: u32;

  /** Takes the screen over, and clears it of what firmware and boot loader have left. */
  open(enabled: bool): void {
    this.enabled = enabled;
    if (!enabled) return;
    for (let row: u32 = 0; row < ROWS; row++) clear(row);
  }

  put(byte: u32): void {
    if (!this.enabled) return;
    if (byte == 13) {
      this.column = 0;
    } else if (byte == 10) {
      this.column = 0;
      this.row++;
    } else {
      store16(BASE + (this.row * COLUMNS + this.column) * 2, ATTRIBUTE | byte);
      if (++this.column == COLUMNS) {
        this.column = 0;
        this.row++;
      }
    }
    if (this.row == ROWS) {
      copy(BASE, BASE + COLUMNS * 2, COLUMNS * (ROWS - 1) * 2);
      this.row = ROWS - 1;
      clear(this.row);
    }
  }
}

export const screen = changetype<Screen>(memory.data(12, 4));
