/**
 * The hypervisor's command line (docs/command-line.md). Words are separated by blanks; each is name=value. A word that
 * is not known, or whose value is not understood, refuses the boot by name.
 */
import { Text } from "../lib/text";
import { TEXT_MAX, boot, textAt } from "./boot";
import { NONE } from "./log";

export namespace PanicAction {
  export const Reboot: u32 = 0;
  export const Halt: u32 = 1;
}


@unmanaged
class Options {
  /** UART of the log and of the guests' consoles; log.NONE for none. */
  console: u32;
  guestConsole: u32;
  baud: u32;
  vga: bool;
  /** The command line has a console=, so the default does not count. */
  consoleGiven: bool;
  level: u32;
  panic: u32;
  /** Whether a guest's reset restarts it. */
  reboot: u32;
  /** Whether memory is cleared before its first use by a VM. */
  bootScrub: u32;
  /** Longest time of a VM in milliseconds, its own and that in which no VM can run; 0 for no limit. */
  limit: u32;
  /** Scheduling slice and watchdog in milliseconds. */
  slice: u32;
  watchdog: u32;
}

/** Largest size that is understood. */
const SIZE_MAX: i64 = 1 << 44;
/** How much of a word that is not understood is printed. */
export const SHOWN: u32 = 60;

export const options = changetype<Options>(memory.data(48, 8));
const text = memory.data(2048);

/** A word of a command line in linear memory. */
@unmanaged
export class Word {
  start: usize;
  length: u32;

  /** Whether the word starts with `prefix`. */
  starts(prefix: string): bool {
    if (<u32>prefix.length > this.length) return false;
    for (let i = 0; i < prefix.length; i++) {
      if (load<u8>(this.start + i) != <u8>prefix.charCodeAt(i)) return false;
    }
    return true;
  }

  is(other: string): bool {
    return this.length == <u32>other.length && this.starts(other);
  }

  /** Whether what follows the "=" is `value`. */
  hasValue(value: string): bool {
    const skip = this.valueStart();
    if (this.length - skip != <u32>value.length) return false;
    for (let i = 0; i < value.length; i++) {
      if (load<u8>(this.start + skip + i) != <u8>value.charCodeAt(i)) return false;
    }
    return true;
  }

  valueStart(): u32 {
    let i: u32 = 0;
    while (i < this.length && load<u8>(this.start + i) != 61) i++;
    return i < this.length ? i + 1 : i;
  }

  /** The value as a decimal number, or -1. */
  number(): i64 {
    return decimal(this.start + this.valueStart(), this.length - this.valueStart());
  }

  /** The value as a size in bytes with K, M or G (and optionally iB or B), or -1. */
  size(): i64 {
    const from = this.valueStart();
    let digits: u32 = 0;
    while (from + digits < this.length && isDigit(load<u8>(this.start + from + digits))) digits++;
    const n = decimal(this.start + from, digits);
    const shift = this.unitShift(from + digits);
    return n < 0 || shift < 0 || n > SIZE_MAX >> shift ? -1 : n << shift;
  }

  /** log2 of the unit that is the word's rest from `from` on, or -1. */
  private unitShift(from: u32): i32 {
    const rest = this.length - from;
    if (rest == 0) return 0;
    if (rest > 3 || (rest > 1 && this.upper(this.length - 1) != 66)) return -1;
    if (rest == 3 && this.upper(from + 1) != 73) return -1;
    const unit = this.upper(from);
    return unit == 75 ? 10 : unit == 77 ? 20 : unit == 71 ? 30 : -1;
  }

  private upper(n: u32): u32 {
    return load<u8>(this.start + n) & 0xdf;
  }
}

function isDigit(c: u32): bool {
  return c >= 48 && c <= 57;
}

function decimal(start: usize, length: u32): i64 {
  if (length == 0 || length > 13) return -1;
  let value: i64 = 0;
  for (let i: u32 = 0; i < length; i++) {
    const c = <u32>load<u8>(start + i);
    if (!isDigit(c)) return -1;
    value = value * 10 + (c - 48);
  }
  return value;
}

/**
 * Takes the next word of the text that starts at `at` and ends at `end`; returns where to look for the one after it.
 * The word is empty at the end.
 */
export function nextWord(at: usize, end: usize, word: Word): usize {
  while (at < end && load<u8>(at) <= 32) at++;
  word.start = at;
  while (at < end && load<u8>(at) > 32) at++;
  word.length = <u32>(at - word.start);
  return at;
}

function defaults(): void {
  options.console = 0;
  options.consoleGiven = false;
  options.guestConsole = 0;
  options.baud = 115200;
  options.vga = false;
  options.level = 2;
  options.panic = PanicAction.Halt;
  options.reboot = 1;
  options.bootScrub = 1;
  options.limit = 0;
  options.slice = 10;
  options.watchdog = 20;
}

/** com1, com2 (the log's with ",baud" or without), none; the log's also vga, besides a UART or instead of one. */
function consoleOption(word: Word, guest: bool): bool {
  let value = NONE;
  let length: u32 = word.length - word.valueStart();
  const baudAt = word.valueStart() + 5;
  if (!guest && length > 5 && load<u8>(word.start + baudAt - 1) == 44) {
    const baud = decimal(word.start + baudAt, word.length - baudAt);
    if (baud < 50 || baud > 115200 || 115200 % baud != 0) return false;
    options.baud = <u32>baud;
    length = 4;
  }
  const from = word.start + word.valueStart();
  if (length == 4 && load<u32>(from) == 0x316d6f63) value = 0;
  else if (length == 4 && load<u32>(from) == 0x326d6f63) value = 1;
  else if (!word.hasValue("none") && (guest || !word.hasValue("vga"))) return false;
  if (guest) {
    options.guestConsole = value;
    return true;
  }
  if (word.hasValue("vga")) options.vga = true;
  if (!options.consoleGiven || !word.hasValue("vga")) options.console = value;
  options.consoleGiven = true;
  return true;
}

/** Milliseconds, 0 when the word's value is none. */
function milliseconds(word: Word): u32 {
  const n = word.number();
  return n >= 1 && n <= 86400000 ? <u32>n : 0;
}

const BAUD_OR_SCREEN = "com1 or com2 with ,BAUD (50 or more, divides 115200) or without, vga, none";
const MILLISECONDS = "milliseconds, 1 to 86400000";

/** Takes the word; null, or what was expected of it. */
function set(word: Word): string | null {
  if (word.starts("console=")) return consoleOption(word, false) ? null : BAUD_OR_SCREEN;
  if (word.starts("vmconsole=")) return consoleOption(word, true) ? null : "com1, com2, none";
  if (word.starts("loglvl=")) {
    options.level = word.hasValue("error") ? 0 : word.hasValue("warning") ? 1 : word.hasValue("info") ? 2 : 3;
    return options.level < 3 || word.hasValue("debug") ? null : "error, warning, info, debug";
  }
  if (word.starts("panic=")) {
    options.panic = word.hasValue("reboot") ? PanicAction.Reboot : PanicAction.Halt;
    return options.panic == PanicAction.Reboot || word.hasValue("halt") ? null : "halt, reboot";
  }
  if (word.starts("reboot=") || word.starts("bootscrub=")) {
    const yes: u32 = word.hasValue("yes") ? 1 : 0;
    if (word.starts("reboot=")) options.reboot = yes;
    else options.bootScrub = yes;
    return yes || word.hasValue("no") ? null : "yes, no";
  }
  if (word.starts("vmlimit=")) return (options.limit = milliseconds(word)) ? null : MILLISECONDS;
  if (word.starts("slice=")) return (options.slice = milliseconds(word)) ? null : MILLISECONDS;
  if (word.starts("watchdog=")) return (options.watchdog = milliseconds(word)) ? null : MILLISECONDS;
  return "console=, vmconsole=, loglvl=, panic=, reboot=, bootscrub=, slice=, watchdog=, vmlimit=";
}

const word = changetype<Word>(memory.data(8));

/** Reads all of the command line. What was not understood is written to `why`, if nothing is there yet. */
export function readOptions(why: Text): void {
  defaults();
  const length = textAt(boot.commandLine, text);
  if (length > TEXT_MAX && why.length == 0)
    why.str("command line: expected ").dec(TEXT_MAX).str(" bytes at most");
  const end = text + min(length, TEXT_MAX);
  for (let at = nextWord(text, end, word); word.length > 0; at = nextWord(at, end, word)) {
    const expected = set(word);
    if (expected == null || why.length > 0) continue;
    why.str("command line: ").bytes(word.start, min(word.length, SHOWN)).str(": expected ").str(expected);
  }
}
