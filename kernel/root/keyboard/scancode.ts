/**
 * From scan codes of set 1 (IBM PC/AT's, to which the 8042 translates) to the bytes that Linux' console sends for a US keyboard.
 */
import { terminal } from "../screen/terminal";

namespace Modifier {
  export const LeftShift: u32 = 1;
  export const RightShift: u32 = 2;
  export const Shift: u32 = 3;
  export const LeftControl: u32 = 4;
  export const RightControl: u32 = 8;
  export const Control: u32 = 12;
  export const LeftAlt: u32 = 16;
  export const RightAlt: u32 = 32;
  export const Alt: u32 = 48;
}

const ESC: u32 = 0x1b;
const TYPED: u32 = 8;

/** What keys 1 to 39h type, and with Shift; 0 for those that type nothing or are looked at below. */
// prettier-ignore
const PLAIN = memory.data<u8>([
  0, 0x1b, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x30, 0x2d, 0x3d, 0x7f, 0x09, // ESC 1234567890-= BS TAB
  0x71, 0x77, 0x65, 0x72, 0x74, 0x79, 0x75, 0x69, 0x6f, 0x70, 0x5b, 0x5d, 0x0d, 0, 0x61, 0x73, // qwertyuiop[] CR as
  0x64, 0x66, 0x67, 0x68, 0x6a, 0x6b, 0x6c, 0x3b, 0x27, 0x60, 0, 0x5c, 0x7a, 0x78, 0x63, 0x76, // dfghjkl;'` \zxcv
  0x62, 0x6e, 0x6d, 0x2c, 0x2e, 0x2f, 0, 0x2a, 0, 0x20,                                        // bnm,./ * space
]);
// prettier-ignore
const SHIFTED = memory.data<u8>([
  0, 0x1b, 0x21, 0x40, 0x23, 0x24, 0x25, 0x5e, 0x26, 0x2a, 0x28, 0x29, 0x5f, 0x2b, 0x7f, 0x09, // ESC !@#$%^&*()_+ BS TAB
  0x51, 0x57, 0x45, 0x52, 0x54, 0x59, 0x55, 0x49, 0x4f, 0x50, 0x7b, 0x7d, 0x0d, 0, 0x41, 0x53, // QWERTYUIOP{} CR AS
  0x44, 0x46, 0x47, 0x48, 0x4a, 0x4b, 0x4c, 0x3a, 0x22, 0x7e, 0, 0x7c, 0x5a, 0x58, 0x43, 0x56, // DFGHJKL:"~ |ZXCV
  0x42, 0x4e, 0x4d, 0x3c, 0x3e, 0x3f, 0, 0x2a, 0, 0x20,                                        // BNM<>? * space
]);
/** Keys 47h to 53h of the keypad with Num Lock: 789-456+1230. */
// prettier-ignore
const KEYPAD = memory.data<u8>([
  0x37, 0x38, 0x39, 0x2d, 0x34, 0x35, 0x36, 0x2b, 0x31, 0x32, 0x33, 0x30, 0x2e,
]);
/** The same keys without, and their doubles on their own: a letter after ESC [, or the number before "~". */
// prettier-ignore
const NAVIGATION = memory.data<u8>([
  1, 0x41, 5, 0, 0x44, 0x47, 0x43, 0, 4, 0x42, 6, 2, 3,
]);
/** The number before "~" of F6 to F12. */
const FUNCTIONS = memory.data<u8>([17, 18, 19, 20, 21, 23, 24]);


@unmanaged
class Scancodes {
  modifiers: u32;
  caps: bool;
  numLock: bool;
  /** The last byte was E0h. */
  extended: bool;
  /** Bytes of Pause that are to come: E1h and five more. */
  skip: u32;
  /** Bytes that the last key has typed. */
  typed: u32;

  reset(): void {
    this.modifiers = 0;
    this.caps = false;
    this.numLock = true;
    this.extended = false;
    this.skip = 0;
  }

  private type(byte: u32): void {
    if (this.typed < TYPED) store<u8>(bytes + this.typed++, <u8>byte);
  }

  typedAt(i: u32): u32 {
    return load<u8>(bytes + i);
  }

  private start(): void {
    this.type(ESC);
    this.type(0x5b);
  }

  /** ESC [ N ~ */
  private numbered(n: u32): void {
    this.start();
    if (n >= 10) this.type(48 + n / 10);
    this.type(48 + (n % 10));
    this.type(0x7e);
  }

  /** The modifier that a key is, or 0. */
  private modifierOf(key: u32, extended: bool): u32 {
    if (key == 0x1d) return extended ? Modifier.RightControl : Modifier.LeftControl;
    if (key == 0x38) return extended ? Modifier.RightAlt : Modifier.LeftAlt;
    // With E0h these are what keyboards send around navigation keys.
    if (extended) return 0;
    return key == 0x2a ? Modifier.LeftShift : key == 0x36 ? Modifier.RightShift : 0;
  }

  /** A byte of the keyboard; what it types is then in `typed`. */
  take(byte: u32): void {
    this.typed = 0;
    if (this.skip > 0) {
      this.skip--;
      return;
    }
    if (byte == 0xe1) {
      this.skip = 5;
      return;
    }
    const extended = this.extended;
    this.extended = byte == 0xe0;
    if (byte == 0xe0) return;
    const key = byte & 0x7f;
    const isUp = byte >= 0x80;
    const modifier = this.modifierOf(key, extended);
    if (modifier) {
      if (isUp) this.modifiers &= ~modifier;
      else this.modifiers |= modifier;
    } else if (!isUp) this.press(key, extended);
  }

  private press(key: u32, extended: bool): void {
    if (!extended && key == 0x3a) this.caps = !this.caps;
    else if (!extended && key == 0x45) this.numLock = !this.numLock;
    else if (extended && key == 0x1c) this.character(0x0d);
    else if (extended && key == 0x35) this.character(0x2f);
    else if (key >= 0x47 && key <= 0x53) this.keypad(key - 0x47, extended);
    else if (extended) return;
    else if (key >= 0x3b && key <= 0x3f) this.firstFunction(key - 0x3b);
    else if (key >= 0x40 && key <= 0x44) this.numbered(load<u8>(FUNCTIONS + key - 0x40));
    else if (key == 0x57 || key == 0x58) this.numbered(load<u8>(FUNCTIONS + key - 0x57 + 5));
    else if (key == 0x56) this.character(this.modifiers & Modifier.Shift ? 0x3e : 0x3c);
    else if (key <= 0x39) this.letter(key);
  }

  /** F1 to F5 are ESC [ [ A to E. */
  private firstFunction(n: u32): void {
    this.start();
    this.type(0x5b);
    this.type(0x41 + n);
  }

  private keypad(n: u32, extended: bool): void {
    const digit = load<u8>(KEYPAD + n);
    const what = load<u8>(NAVIGATION + n);
    // Minus and plus are always themselves.
    if (!extended && (what == 0 || this.numLock != ((this.modifiers & Modifier.Shift) != 0)))
      return this.character(digit);
    if (what == 0) return;
    if (what < 10) return this.numbered(what);
    this.type(ESC);
    this.type(terminal.applicationKeys && what != 0x47 ? 0x4f : 0x5b);
    this.type(what);
  }

  private letter(key: u32): void {
    const plain = load<u8>(PLAIN + key);
    const isLetter = plain >= 0x61 && plain <= 0x7a;
    const shift = ((this.modifiers & Modifier.Shift) != 0) != (isLetter && this.caps);
    if (key == 0x0f && this.modifiers & Modifier.Shift) {
      this.start();
      this.type(0x5a);
    } else if (plain) this.character(load<u8>((shift ? SHIFTED : PLAIN) + key));
  }

  /** With Control it is a control character where there is one, with Alt ESC comes first. */
  private character(code: u32): void {
    if (this.modifiers & Modifier.Control) {
      if (code >= 0x40 && code < 0x7f) code &= 0x1f;
      else if (code == 0x20 || code == 0x32) code = 0;
      else if (code >= 0x33 && code <= 0x37) code -= 0x18;
      else if (code == 0x38) code = 0x7f;
      else if (code == 0x2f) code = 0x1f;
    }
    if (this.modifiers & Modifier.Alt) this.type(ESC);
    this.type(code);
  }
}

const bytes = memory.data(8);
export const scancodes = changetype<Scancodes>(memory.data(16, 4));
