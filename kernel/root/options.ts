/**
 * The hypervisor's command line (docs/command-line.md). Words are separated by blanks; each is name=value. A word that
 * is not known, or whose value is not understood, refuses the boot by name.
 */
import { MAX_CPUS } from "../abi/address";
import { Text, startsWith } from "../lib/text";
import { TEXT_MAX, boot, textAt } from "./boot";
import { NONE } from "./log";
import { askForPort } from "./serialport";
import { OTHER } from "./uart";

export namespace EndAction {
  export const Reboot: u32 = 0;
  export const Halt: u32 = 1;
  export const PowerOff: u32 = 2;
  /** What comes after a panic comes at every end. */
  export const AsPanic: u32 = 3;
}

/** Whether the table of what the machine offers is printed. */
export namespace Preflight {
  export const Summary: u32 = 0;
  export const Table: u32 = 1;
  /** And that is all. */
  export const Only: u32 = 2;
}

/** Neither yes nor no: unless the machine is known to do it wrong (quirk.ts). */
export const WHERE_SOUND: u32 = 2;


@unmanaged
class Options {
  /** UART of the log and of the guests' consoles; log.NONE for none. */
  console: u32;
  guestConsole: u32;
  baud: u32;
  /** Whether the log, and the guests' consoles, are on the screen: besides a UART or instead of one. */
  screen: bool;
  guestScreen: bool;
  /** The command line has a console=, or a vmconsole=, so the default does not count. */
  consoleGiven: bool;
  guestConsoleGiven: bool;
  level: u32;
  panic: u32;
  end: u32;
  preflight: u32;
  /** Whether a guest's reset restarts it. */
  reboot: u32;
  /** Whether memory is cleared before its first use by a VM. */
  bootScrub: u32;
  /** Whether VT-x's TPR shadow is used where there is one. */
  tprShadow: u32;
  /** Whether APIC-register virtualization and virtual-interrupt delivery are, which want that; the latter may be WHERE_SOUND. */
  apicRegisters: u32;
  virtualInterrupts: u32;
  /** Longest time of a VM in milliseconds, its own and that in which no VM can run; 0 for no limit. */
  limit: u32;
  /** Scheduling slice and watchdog in milliseconds. */
  slice: u32;
  watchdog: u32;
  /** UART of the debugger, log.NONE for none; and whether to wait for one before any VM runs. */
  debug: u32;
  debugBaud: u32;
  debugWait: bool;
  /** CPUs that are used at most. */
  cpus: u32;
  /** Seconds after which a hardware watchdog resets the machine when root hangs; 0: it is not used. */
  hardwareWatchdog: u32;
}

/** Largest size that is understood. */
const SIZE_MAX: i64 = 1 << 44;
/** A UART's speed with divisor 1. */
const CLOCK: i64 = 115200;
/** How much of a word that is not understood is printed. */
export const SHOWN: u32 = 60;

export const options = changetype<Options>(memory.data(96, 8));
const text = memory.data(2048);

/** A word of a command line in linear memory. */
@unmanaged
export class Word {
  start: usize;
  length: u32;

  /** Whether the word starts with `prefix`. */
  starts(prefix: string): bool {
    return startsWith(this.start, this.length, prefix);
  }

  is(other: string): bool {
    return isText(this.start, this.length, other);
  }

  /** Whether what follows the "=" is `value`. */
  hasValue(value: string): bool {
    const skip = this.valueStart();
    return isText(this.start + skip, this.length - skip, value);
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

/** Whether the text is `other`. */
function isText(at: usize, length: u32, other: string): bool {
  return length == <u32>other.length && startsWith(at, length, other);
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

/** What holds unless settings.txt or the command line say otherwise. */
export function setDefaults(): void {
  options.console = 0;
  options.screen = true;
  options.consoleGiven = false;
  options.guestConsole = 0;
  options.guestScreen = true;
  options.guestConsoleGiven = false;
  options.baud = 115200;
  options.level = 2;
  options.panic = EndAction.Halt;
  options.end = EndAction.AsPanic;
  options.preflight = Preflight.Summary;
  options.hardwareWatchdog = 0;
  options.reboot = 1;
  options.bootScrub = 1;
  options.tprShadow = 1;
  options.apicRegisters = 1;
  options.virtualInterrupts = WHERE_SOUND;
  options.limit = 0;
  options.slice = 10;
  options.watchdog = 200;
  options.debug = NONE;
  options.debugBaud = 115200;
  options.debugWait = false;
  options.cpus = MAX_CPUS;
}

/** How many characters there are before a comma, or before the end. */
function nameLength(at: usize, length: u32): u32 {
  let n: u32 = 0;
  while (n < length && load<u8>(at + n) != 44) n++;
  return n;
}

/** UART 0 or 1 by its name; NONE for another name. */
function comAt(at: usize, length: u32): u32 {
  if (length != 4) return NONE;
  const name = load<u32>(at);
  return name == 0x316d6f63 ? 0 : name == 0x326d6f63 ? 1 : NONE;
}

/** The decimal number as a UART's speed; 0 if it has none such. */
function baudAt(at: usize, length: u32): u32 {
  const baud = decimal(at, length);
  return baud < 50 || baud > CLOCK || CLOCK % baud != 0 ? 0 : <u32>baud;
}

/** The first word of its kind, log's or guests': the default does not count. */
function beginConsole(guest: bool): void {
  if (guest ? options.guestConsoleGiven : options.consoleGiven) return;
  if (guest) {
    options.guestConsoleGiven = true;
    options.guestConsole = NONE;
    options.guestScreen = false;
  } else {
    options.consoleGiven = true;
    options.console = NONE;
    options.screen = false;
  }
}

/** A UART (the log's with ",BAUD", ",keep" or without), none; and screen, besides a UART or instead of one. */
function consoleOption(word: Word, guest: bool): bool {
  const from = word.start + word.valueStart();
  const length: u32 = word.length - word.valueStart();
  const name = nameLength(from, length);
  let value = comAt(from, name);
  if (value == NONE && askForPort(from, name)) value = OTHER;
  if (name < length) {
    const speed = from + name + 1;
    const keep = isText(speed, length - name - 1, "keep");
    options.baud = keep ? 0 : baudAt(speed, length - name - 1);
    if (guest || value == NONE || (!options.baud && !keep)) return false;
  }
  const isScreen = word.hasValue("screen");
  if (value == NONE && !isScreen && !word.hasValue("none")) return false;
  beginConsole(guest);
  if (isScreen) {
    if (guest) options.guestScreen = true;
    else options.screen = true;
  } else if (guest) options.guestConsole = value;
  else options.console = value;
  return true;
}

/** com1 or com2, each with ",BAUD", ",wait", or both. */
function debugOption(word: Word): bool {
  let at = word.start + word.valueStart();
  const end = word.start + word.length;
  options.debug = comAt(at, nameLength(at, <u32>(end - at)));
  for (at += 4; at < end && options.debug != NONE;) {
    const from = ++at;
    while (at < end && load<u8>(at) != 44) at++;
    const length = <u32>(at - from);
    if (length == 4 && load<u32>(from) == 0x74696177) options.debugWait = true;
    else if (!(options.debugBaud = baudAt(from, length))) return false;
  }
  return options.debug != NONE;
}

/** Milliseconds, 0 when the word's value is none. */
function milliseconds(word: Word): u32 {
  const n = word.number();
  return n >= 1 && n <= 86400000 ? <u32>n : 0;
}

export const KNOWN =
  "console=, vmconsole=, loglvl=, panic=, end=, preflight=, hwwatchdog=, reboot=, bootscrub=, tprshadow=, apicregs=, vid=, slice=, watchdog=, vmlimit=, cpus=, debug=";
const CONSOLE =
  "com1, com2 or one other (pci, pciN, io:PORT, mmio:ADDRESS, mmio32:ADDRESS) with ,BAUD (50 or more, divides 115200) or ,keep, screen, none";
const GUEST_CONSOLE =
  "com1, com2 or one other (pci, pciN, io:PORT, mmio:ADDRESS, mmio32:ADDRESS), screen, none";
/** What every TCO timer has room for. */
const HARDWARE_WATCHDOG_MAX: i64 = 30;
const MILLISECONDS = "milliseconds, 1 to 86400000";

/** An end's name, AsPanic when it is none. */
function endAction(word: Word): u32 {
  if (word.hasValue("halt")) return EndAction.Halt;
  if (word.hasValue("reboot")) return EndAction.Reboot;
  return word.hasValue("poweroff") ? EndAction.PowerOff : EndAction.AsPanic;
}

/** An option that is yes or no. */
function isSwitch(word: Word): bool {
  return (
    word.starts("reboot=") ||
    word.starts("bootscrub=") ||
    word.starts("tprshadow=") ||
    word.starts("apicregs=") ||
    word.starts("vid=")
  );
}

/** Takes the word; null, or what was expected of it: KNOWN where no such word is known. */
export function setOption(word: Word): string | null {
  if (word.starts("console=")) return consoleOption(word, false) ? null : CONSOLE;
  if (word.starts("vmconsole=")) return consoleOption(word, true) ? null : GUEST_CONSOLE;
  if (word.starts("loglvl=")) {
    options.level = word.hasValue("error") ? 0 : word.hasValue("warning") ? 1 : word.hasValue("info") ? 2 : 3;
    return options.level < 3 || word.hasValue("debug") ? null : "error, warning, info, debug";
  }
  if (word.starts("panic=")) {
    options.panic = endAction(word);
    return options.panic == EndAction.Reboot || options.panic == EndAction.Halt ? null : "halt, reboot";
  }
  if (word.starts("end="))
    return (options.end = endAction(word)) != EndAction.AsPanic ? null : "halt, poweroff, reboot";
  if (word.starts("preflight=")) {
    options.preflight = word.hasValue("yes") ? Preflight.Table : word.hasValue("only") ? Preflight.Only : 0;
    return options.preflight || word.hasValue("no") ? null : "yes, no, only";
  }
  if (word.starts("hwwatchdog=")) {
    const n = word.number();
    if (!word.hasValue("no") && (n < 4 || n > HARDWARE_WATCHDOG_MAX)) return "no, or seconds, 4 to 30";
    options.hardwareWatchdog = word.hasValue("no") ? 0 : <u32>n;
    return null;
  }
  if (isSwitch(word)) {
    const yes: u32 = word.hasValue("yes") ? 1 : 0;
    if (word.starts("reboot=")) options.reboot = yes;
    else if (word.starts("bootscrub=")) options.bootScrub = yes;
    else if (word.starts("apicregs=")) options.apicRegisters = yes;
    else if (word.starts("vid=")) options.virtualInterrupts = yes;
    else options.tprShadow = yes;
    return yes || word.hasValue("no") ? null : "yes, no";
  }
  if (word.starts("debug="))
    return debugOption(word)
      ? null
      : "com1 or com2, with ,BAUD (50 or more, divides 115200) and ,wait or without";
  if (word.starts("cpus=")) {
    const n = word.number();
    if (n < 1 || n > <i64>MAX_CPUS) return "1 to 64";
    options.cpus = <u32>n;
    return null;
  }
  if (word.starts("vmlimit=")) return (options.limit = milliseconds(word)) ? null : MILLISECONDS;
  if (word.starts("slice=")) return (options.slice = milliseconds(word)) ? null : MILLISECONDS;
  if (word.starts("watchdog=")) return (options.watchdog = milliseconds(word)) ? null : MILLISECONDS;
  return KNOWN;
}

const word = changetype<Word>(memory.data(8));

/** Reads all of the command line, over what holds so far. What was not understood is written to `why`, if nothing is there yet. */
export function readOptions(why: Text): void {
  const length = textAt(boot.commandLine, text);
  if (length > TEXT_MAX && why.length == 0)
    why.str("command line: expected ").dec(TEXT_MAX).str(" bytes at most");
  const end = text + min(length, TEXT_MAX);
  for (let at = nextWord(text, end, word); word.length > 0; at = nextWord(at, end, word)) {
    const expected = setOption(word);
    if (expected == null || why.length > 0) continue;
    why.str("command line: ").bytes(word.start, min(word.length, SHOWN)).str(": expected ").str(expected);
  }
  if (options.debug == NONE || why.length > 0) return;
  if (options.debug == options.console || options.debug == options.guestConsole)
    why.str("command line: debug=: expected another UART than that of console= and vmconsole=");
}
