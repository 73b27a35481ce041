/**
 * Tells characters (UTF-8, RFC 3629) and control sequences apart (ECMA-48 5; console_codes(4)) and has the terminal do
 * them. Whatever comes, it is a byte at a time, numbers are bounded, and what is not known does nothing.
 */
import { REPLACEMENT } from "../font/glyph";
import { pen, terminal } from "./terminal";

namespace State {
  export const Ground: u32 = 0;
  export const Escape: u32 = 1;
  /** After ESC and one of "(", ")", "#", "%" and others: one more byte. */
  export const Second: u32 = 2;
  export const Csi: u32 = 3;
  /** A sequence that is not known: to its last byte. */
  export const Ignore: u32 = 4;
  /** Operating system commands and other strings: to BEL or ST. */
  export const Text: u32 = 5;
  /** ESC ] P: seven hexadecimal digits of a palette, by Linux alone. */
  export const Palette: u32 = 6;
}

/** Parameters of a sequence; more are left out. */
const PARAMETERS: u32 = 16;
const NUMBER_MAX: u32 = 9999;
const ANSWER: u32 = 64;

const BEL: u32 = 7;
const CAN: u32 = 0x18;
const SUB: u32 = 0x1a;
const ESC: u32 = 0x1b;
const DEL: u32 = 0x7f;


@unmanaged
class Sequence {
  state: u32;
  /** The byte after ESC, in State.Second; the digits that are left, in State.Palette. */
  second: u32;
  /** "?" or the like in front of the parameters, 0 for none. */
  prefix: u32;
  count: u32;
  /** Bytes of a character that are to come, its code point so far, and the least that it may have. */
  more: u32;
  code: u32;
  least: u32;
  /** Bytes that the terminal answers. */
  answers: u32;

  reset(): void {
    this.state = State.Ground;
    this.more = 0;
  }

  private answer(byte: u32): void {
    if (this.answers < ANSWER) store<u8>(answers + this.answers++, <u8>byte);
  }

  private answerNumber(n: u32): void {
    if (n >= 100) this.answer(48 + ((n / 100) % 10));
    if (n >= 10) this.answer(48 + ((n / 10) % 10));
    this.answer(48 + (n % 10));
  }

  /** Parameter i, or `otherwise` where it is 0 or not there. */
  private number(i: u32, otherwise: u32): u32 {
    const n: u32 = i < this.count ? load<u32>(parameters + i * 4) : 0;
    return n != 0 ? n : otherwise;
  }

  /** What is sent to the terminal, byte by byte. */
  put(byte: u32): void {
    if (this.state == State.Ground && byte >= 32) {
      if (byte < DEL && this.more == 0) this.plain(byte);
      else this.character(byte);
      return;
    }
    if (byte < 32) {
      this.more = 0;
      this.control(byte);
      return;
    }
    switch (this.state) {
      case State.Escape:
        this.escape(byte);
        break;
      case State.Second:
        this.state = State.Ground;
        this.twoBytes(this.second, byte);
        break;
      case State.Csi:
        this.parameter(byte);
        break;
      case State.Ignore:
        if (byte >= 0x40 && byte < DEL) this.state = State.Ground;
        break;
      case State.Text:
        this.text(byte);
        break;
      case State.Palette:
        if (--this.second == 0) this.state = State.Ground;
        break;
    }
  }

  /** A character of ASCII. */
  private plain(code: u32): void {
    terminal.write(terminal.isLineDrawing && code >= 0x5f ? lineDrawing(code) : code);
  }

  /** DEL, which is nothing, or a byte of UTF-8. */
  private character(byte: u32): void {
    if (byte >= 0x80 && byte < 0xc0 && this.more > 0) {
      this.code = (this.code << 6) | (byte & 0x3f);
      if (--this.more > 0) return;
      const surrogate = this.code >= 0xd800 && this.code < 0xe000;
      this.show(this.code < this.least || surrogate || this.code > 0x10ffff ? REPLACEMENT : this.code);
      return;
    }
    if (this.more > 0) {
      this.more = 0;
      terminal.write(REPLACEMENT);
    }
    if (byte < DEL) this.plain(byte);
    else if (byte >= 0xc2 && byte < 0xe0) this.begin(byte & 0x1f, 1, 0x80);
    else if (byte >= 0xe0 && byte < 0xf0) this.begin(byte & 0xf, 2, 0x800);
    else if (byte >= 0xf0 && byte < 0xf5) this.begin(byte & 7, 3, 0x10000);
    else if (byte != DEL) terminal.write(REPLACEMENT);
  }

  private begin(code: u32, more: u32, least: u32): void {
    this.code = code;
    this.more = more;
    this.least = least;
  }

  /** A character beyond ASCII: C1 controls and what has no width are not shown. */
  private show(code: u32): void {
    if (code < 0xa0 || (code >= 0x300 && code < 0x370) || (code >= 0x200b && code < 0x2010) || code == 0xfeff)
      return;
    terminal.write(code > 0xffff ? REPLACEMENT : code);
  }

  /** C0 controls act within sequences too. */
  private control(byte: u32): void {
    if (byte == ESC) {
      this.state = State.Escape;
      return;
    }
    if (byte == CAN || byte == SUB || (byte == BEL && this.state == State.Text)) this.state = State.Ground;
    if (this.state == State.Text) return;
    if (byte == 8) terminal.backspace();
    else if (byte == 9) terminal.tab();
    else if (byte >= 10 && byte <= 12) {
      if (terminal.newLine) terminal.carriageReturn();
      terminal.lineFeed();
    } else if (byte == 13) terminal.carriageReturn();
    else if (byte == 14) terminal.set = 1;
    else if (byte == 15) terminal.set = 0;
  }

  /** A byte of a string: dropped. Linux' own two commands of ESC ] end by themselves, and no palette is changed. */
  private text(byte: u32): void {
    const first = this.second == 0x5d;
    this.second = 0;
    if (first && byte == 0x52) this.state = State.Ground;
    if (!first || byte != 0x50) return;
    this.state = State.Palette;
    this.second = 7;
  }

  private escape(byte: u32): void {
    this.state = State.Ground;
    switch (byte) {
      case 0x5b: // [
        this.state = State.Csi;
        this.prefix = 0;
        this.count = 1;
        store<u32>(parameters, 0);
        break;
      case 0x5d: // ] OSC
      case 0x50: // P DCS
      case 0x58: // X SOS
      case 0x5e: // ^ PM
      case 0x5f: // _ APC
        this.state = State.Text;
        this.second = byte;
        break;
      case 0x20: // what has one byte more
      case 0x23: // #
      case 0x25: // %
      case 0x28: // (
      case 0x29: // )
      case 0x2a: // *
      case 0x2b: // +
        this.state = State.Second;
        this.second = byte;
        break;
      case 0x37: // 7 DECSC
        terminal.save();
        break;
      case 0x38: // 8 DECRC
        terminal.restore();
        break;
      case 0x44: // D IND
        terminal.lineFeed();
        break;
      case 0x45: // E NEL
        terminal.carriageReturn();
        terminal.lineFeed();
        break;
      case 0x48: // H HTS
        terminal.setTab();
        break;
      case 0x4d: // M RI
        terminal.reverseLineFeed();
        break;
      case 0x5a: // Z DECID
        this.identify();
        break;
      case 0x63: // c RIS
        terminal.reset();
        terminal.eraseScreen(2);
        break;
    }
  }

  private twoBytes(first: u32, byte: u32): void {
    if (first == 0x28 || first == 0x29) {
      const bit: u32 = 1 << (first - 0x28);
      if (byte == 0x30) terminal.graphics |= bit;
      else terminal.graphics &= ~bit;
    } else if (first == 0x23 && byte == 0x38) terminal.fillWithE();
  }

  /** A byte of a control sequence after CSI: a prefix, parameters, and the one that says what it is. */
  private parameter(byte: u32): void {
    const last = parameters + (this.count - 1) * 4;
    if (byte >= 0x30 && byte <= 0x39) store<u32>(last, min(load<u32>(last) * 10 + byte - 48, NUMBER_MAX));
    else if (byte == 0x3a || byte == 0x3b) {
      // One more than are used: the last of too many are all there.
      if (this.count <= PARAMETERS) this.count++;
      store<u32>(parameters + (this.count - 1) * 4, 0);
    } else if (byte >= 0x3c && byte <= 0x3f) this.prefix = byte;
    else if (byte < 0x30 || byte >= DEL) this.state = State.Ignore;
    else if (byte == 0x5b) {
      // ESC [ [ and a letter is what Linux' function keys send.
      this.state = State.Second;
      this.second = 0;
    } else {
      this.state = State.Ground;
      this.count = min(this.count, PARAMETERS);
      if (this.prefix == 0) this.act(byte);
      else if (this.prefix == 0x3f && (byte == 0x68 || byte == 0x6c)) this.modes(byte == 0x68);
    }
  }

  private modes(on: bool): void {
    for (let i: u32 = 0; i < this.count; i++) {
      if (this.prefix) terminal.setPrivateMode(this.number(i, 0), on);
      else terminal.setMode(this.number(i, 0), on);
    }
  }

  private act(byte: u32): void {
    const n = this.number(0, 1);
    const t = terminal;
    switch (byte) {
      case 0x40: // @ ICH
        t.insertCells(n);
        break;
      case 0x41: // A CUU
        t.moveRows(-(<i32>n));
        break;
      case 0x42: // B CUD
      case 0x65: // e VPR
        t.moveRows(n);
        break;
      case 0x43: // C CUF
      case 0x61: // a HPR
        t.moveTo(t.x + n, t.y);
        break;
      case 0x44: // D CUB
        t.moveTo(<i32>t.x - <i32>n, t.y);
        break;
      case 0x45: // E CNL
        t.moveRows(n);
        t.carriageReturn();
        break;
      case 0x46: // F CPL
        t.moveRows(-(<i32>n));
        t.carriageReturn();
        break;
      case 0x47: // G CHA
      case 0x60: // ` HPA
        t.moveTo(n - 1, t.y);
        break;
      case 0x48: // H CUP
      case 0x66: // f HVP
        t.moveTo(this.number(1, 1) - 1, t.home + n - 1);
        break;
      case 0x4a: // J ED
        t.eraseScreen(this.number(0, 0));
        break;
      case 0x4b: // K EL
        t.eraseLine(this.number(0, 0));
        break;
      case 0x4c: // L IL
        t.insertLines(n);
        break;
      case 0x4d: // M DL
        t.deleteLines(n);
        break;
      case 0x50: // P DCH
        t.deleteCells(n);
        break;
      case 0x53: // S SU
        t.scrollUp(n);
        break;
      case 0x54: // T SD
        t.scrollDown(n);
        break;
      case 0x58: // X ECH
        t.eraseCells(n);
        break;
      case 0x63: // c DA
        this.identify();
        break;
      case 0x64: // d VPA
        t.moveTo(t.x, t.home + n - 1);
        break;
      case 0x67: // g TBC
        t.clearTabs(this.number(0, 0));
        break;
      case 0x68: // h SM
      case 0x6c: // l RM
        this.modes(byte == 0x68);
        break;
      case 0x6d: // m SGR
        pen.select(parameters, this.count);
        break;
      case 0x6e: // n DSR
        this.status(n);
        break;
      case 0x72: // r DECSTBM
        t.setRegion(this.number(0, 0), this.number(1, 0));
        break;
      case 0x73: // s
        t.save();
        break;
      case 0x75: // u
        t.restore();
        break;
    }
  }

  private start(): void {
    this.answer(ESC);
    this.answer(0x5b);
  }

  /** DA: a VT102. */
  private identify(): void {
    this.start();
    this.answer(0x3f);
    this.answer(0x36);
    this.answer(0x63);
  }

  /** DSR 5: "well"; 6: where the cursor is. */
  private status(n: u32): void {
    if (n != 5 && n != 6) return;
    this.start();
    if (n == 5) this.answer(0x30);
    else {
      this.answerNumber(terminal.y - terminal.home + 1);
      this.answer(0x3b);
      this.answerNumber(terminal.x + 1);
    }
    this.answer(n == 5 ? 0x6e : 0x52);
  }

  /** Byte i of the answers. */
  answerAt(i: u32): u32 {
    return load<u8>(answers + i);
  }
}

/** The VT100's line drawing set, from 5Fh on. */
const LINE_DRAWING = memory.data<u16>([
  0xa0, 0x25c6, 0x2592, 0x2409, 0x240c, 0x240d, 0x240a, 0xb0, 0xb1, 0x2591, 0x240b, 0x2518, 0x2510, 0x250c,
  0x2514, 0x253c, 0x2500, 0x2500, 0x2500, 0x2500, 0x5f, 0x251c, 0x2524, 0x2534, 0x252c, 0x2502, 0x2264,
  0x2265, 0x3c0, 0x2260, 0xa3, 0xb7,
]);

function lineDrawing(code: u32): u32 {
  return load<u16>(LINE_DRAWING + (code - 0x5f) * 2);
}

const parameters = memory.data(68, 4);
const answers = memory.data(64);
export const sequence = changetype<Sequence>(memory.data(32, 4));
