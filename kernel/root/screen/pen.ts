/** With what a terminal writes: colours and attributes (ECMA-48 8.3.117, Select Graphic Rendition). */
import {
  BACKGROUND_SHIFT,
  BRIGHT,
  FOREGROUND_SHIFT,
  GREY,
  UNDERLINE,
  ansiColour,
  indexed,
  nearest,
} from "./cell";

namespace Attribute {
  export const Bold: u32 = 1;
  export const Faint: u32 = 2;
  export const Underline: u32 = 4;
  export const Blink: u32 = 8;
  export const Reverse: u32 = 16;
}


@unmanaged
export class Pen {
  foreground: u32;
  background: u32;
  attributes: u32;
  /** All but the character of a cell that is written, and of one that is erased. */
  ink: u32;
  paper: u32;

  reset(): void {
    this.foreground = GREY;
    this.background = 0;
    this.attributes = 0;
    this.mix();
  }

  private mix(): void {
    const a = this.attributes;
    let front = this.foreground;
    let back = this.background;
    if (a & Attribute.Bold) front |= BRIGHT;
    else if (a & Attribute.Faint) front = BRIGHT;
    if (a & Attribute.Blink) back |= BRIGHT;
    this.paper = 32 | (GREY << FOREGROUND_SHIFT) | (this.background << BACKGROUND_SHIFT);
    if (a & Attribute.Reverse) {
      const swapped = front;
      front = back;
      back = swapped;
    }
    this.ink =
      (front << FOREGROUND_SHIFT) | (back << BACKGROUND_SHIFT) | (a & Attribute.Underline ? UNDERLINE : 0);
  }

  private set(attribute: u32): void {
    this.attributes |= attribute;
  }

  private clear(attribute: u32): void {
    this.attributes &= ~attribute;
  }

  /**
   * One parameter of SGR and those behind it that belong to it, of `count` u32 at `parameters` from number `i` on; returns
   * the number of the last. Unknown ones do nothing.
   */
  private one(parameters: usize, i: u32, count: u32): u32 {
    const n = load<u32>(parameters + i * 4);
    if (n == 0) {
      this.foreground = GREY;
      this.background = 0;
      this.attributes = 0;
    } else if (n == 1) this.set(Attribute.Bold);
    else if (n == 2) this.set(Attribute.Faint);
    else if (n == 4 || n == 21) this.set(Attribute.Underline);
    else if (n == 5) this.set(Attribute.Blink);
    else if (n == 7) this.set(Attribute.Reverse);
    else if (n == 22) this.clear(Attribute.Bold | Attribute.Faint);
    else if (n == 24) this.clear(Attribute.Underline);
    else if (n == 25) this.clear(Attribute.Blink);
    else if (n == 27) this.clear(Attribute.Reverse);
    else if (n >= 30 && n <= 37) this.foreground = ansiColour(n - 30);
    else if (n >= 40 && n <= 47) this.background = ansiColour(n - 40);
    else if (n >= 90 && n <= 97) this.foreground = ansiColour(n - 90) | BRIGHT;
    else if (n >= 100 && n <= 107) this.background = ansiColour(n - 100) | BRIGHT;
    else if (n == 39) this.foreground = GREY;
    else if (n == 49) this.background = 0;
    else if (n == 38 || n == 48) return this.extended(parameters, i, count);
    return i;
  }

  /** 38 and 48: ;5;N of 256 colours, or ;2;R;G;B. What is cut short, or of another kind, ends the sequence. */
  private extended(parameters: usize, i: u32, count: u32): u32 {
    const at = parameters + i * 4;
    const kind: u32 = i + 1 < count ? load<u32>(at, 4) : 0;
    let colour: u32 = 0;
    let last = i;
    if (kind == 5 && i + 2 < count) {
      colour = indexed(load<u32>(at, 8) & 255);
      last = i + 2;
    } else if (kind == 2 && i + 4 < count) {
      colour = nearest(load<u32>(at, 8) & 255, load<u32>(at, 12) & 255, load<u32>(at, 16) & 255);
      last = i + 4;
    } else return count;
    if (load<u32>(at) == 38) this.foreground = colour;
    else this.background = colour;
    return last;
  }

  /** All parameters of SGR. */
  select(parameters: usize, count: u32): void {
    for (let i: u32 = 0; i < count; i++) i = this.one(parameters, i, count);
    this.mix();
  }

  copyFrom(other: Pen): void {
    this.foreground = other.foreground;
    this.background = other.background;
    this.attributes = other.attributes;
    this.ink = other.ink;
    this.paper = other.paper;
  }
}
