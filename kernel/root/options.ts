/**
 * The hypervisor's command line (docs/command-line.md). Words are separated by blanks; each is name=value. A word that
 * is not known, or whose value is not understood, refuses the boot by name.
 */
import { boot, textAt } from "./boot";
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
  /** Longest CPU time of a VM in milliseconds, 0 for no limit. */
  limit: u32;
  /** Scheduling slice and watchdog in milliseconds. */
  slice: u32;
  watchdog: u32;
}

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
    if (n < 0 || n > 1 << 40) return -1;
    const rest = this.length - from - digits;
    if (rest == 0) return n;
    const unit = load<u8>(this.start + from + digits) & 0xdf;
    const tail = load<u8>(this.start + this.length - 1) & 0xdf;
    if (rest > 3 || (rest > 1 && tail != 66)) return -1;
    if (unit == 75) return n << 10;
    if (unit == 77) return n << 20;
    if (unit == 71) return n << 30;
    return -1;
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

/** com1, com2 (with ",baud" or without), vga or none; the log may go to a UART and to the screen. */
function consoleOption(word: Word, guest: bool): bool {
  let value = NONE;
  let length: u32 = word.length - word.valueStart();
  const baudAt = word.valueStart() + 5;
  if (length > 5 && load<u8>(word.start + baudAt - 1) == 44) {
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

function yesNo(word: Word): i32 {
  return word.hasValue("yes") ? 1 : word.hasValue("no") ? 0 : -1;
}

function set(word: Word): bool {
  if (word.starts("console=")) return consoleOption(word, false);
  if (word.starts("vmconsole=")) return consoleOption(word, true);
  if (word.starts("loglvl=")) {
    options.level = word.hasValue("error") ? 0 : word.hasValue("warning") ? 1 : word.hasValue("info") ? 2 : 3;
    return options.level < 3 || word.hasValue("debug");
  }
  if (word.starts("panic=")) {
    options.panic = word.hasValue("reboot") ? PanicAction.Reboot : PanicAction.Halt;
    return options.panic == PanicAction.Reboot || word.hasValue("halt");
  }
  if (word.starts("reboot=") || word.starts("bootscrub=")) {
    const value = yesNo(word);
    if (word.starts("reboot=")) options.reboot = value;
    else options.bootScrub = value;
    return value >= 0;
  }
  const n = word.number();
  if (n < 0 || n > 86400000) return false;
  if (word.starts("vmlimit=")) options.limit = <u32>n;
  else if (word.starts("slice=")) options.slice = <u32>n;
  else if (word.starts("watchdog=")) options.watchdog = <u32>n;
  else return false;
  return n >= 1;
}

const word = changetype<Word>(memory.data(8));

/** Reads all of the command line. The first word that was not understood is left in `bad`, which is empty if none was. */
export function readOptions(bad: Word): void {
  defaults();
  bad.length = 0;
  const end = text + textAt(boot.commandLine, text);
  for (let at = nextWord(text, end, word); word.length > 0; at = nextWord(at, end, word)) {
    if (set(word) || bad.length > 0) continue;
    bad.start = word.start;
    bad.length = word.length;
  }
}
