/**
 * A serial port that is neither COM1 nor COM2: a 16550-compatible one that a PCI function has, or one that the command line says the place
 * of. Needed before root has an address space of its own, so below 4 GiB.
 */
import { Text, startsWith } from "../lib/text";
import { isRam } from "./boot";
import { EARLY_END } from "./physical";
import { NO_FUNCTION, firstFunction, headerType, nameFunction, nextFunction, read, write } from "./pci";
import { Stride } from "./uart";

/** Class 7, subclass 0, programming interfaces 2 to 6: 16550 and its successors (PCI Code and ID Assignment 1.11, 1.8). */
const SERIAL: u32 = 0x0700;
const IS_16550: u32 = 2;
const LAST_16550: u32 = 6;
const COMMAND_IO: u32 = 1;
const COMMAND_MEMORY: u32 = 2;
const BARS: u32 = 6;


@unmanaged
class SerialPort {
  /** A port or a physical address; 0 for none. */
  base: u64;
  stride: u32;
  /** Its function, 8 * (32 * bus + device) + function; NO_FUNCTION if the command line says the place. */
  bdf: u32;
  /** Whether one has been asked for, and which of PCI's from 0 on; NO_FUNCTION if none of those. */
  isWanted: bool;
  /** Whether there may be one: what is asked for is there, and is no RAM. */
  isFound: bool;
  ordinal: u32;
}

export const serialPort = changetype<SerialPort>(memory.data(24, 8));

/** Of 8 registers, aligned to their size, so that a page holds them. */
function isPlace(base: u64, stride: u32): bool {
  if (stride == Stride.Port) return base != 0 && base + 7 < 0x10000;
  return base != 0 && base < EARLY_END && (base & (8 * stride - 1)) == 0;
}

/** How far `name` goes, if the word starts with it; else 0. */
function after(at: usize, length: u32, name: string): u32 {
  return startsWith(at, length, name) ? name.length : 0;
}

/** A hexadecimal number, with 0x or without; 0 if it is none, or too large. */
function hexadecimal(at: usize, length: u32): u64 {
  const skip = after(at, length, "0x");
  if (length == skip || length - skip > 8) return 0;
  let value: u64 = 0;
  for (let i = skip; i < length; i++) {
    const c = <u32>load<u8>(at + i);
    const digit = c - 48 < 10 ? c - 48 : (c | 32) - 87;
    if (digit > 15 || (digit < 10 && c > 57)) return 0;
    value = (value << 4) | digit;
  }
  return value;
}

function ask(base: u64, stride: u32, ordinal: u32): bool {
  const p = serialPort;
  if (p.isWanted) return p.base == base && p.stride == stride && p.ordinal == ordinal;
  p.isWanted = true;
  p.base = base;
  p.stride = stride;
  p.ordinal = ordinal;
  p.bdf = NO_FUNCTION;
  return true;
}

function askPlace(at: usize, length: u32, skip: u32, stride: u32): bool {
  const base = hexadecimal(at + skip, length - skip);
  return isPlace(base, stride) && ask(base, stride, NO_FUNCTION);
}

/**
 * Takes pci, pciN (0 to 9), io:PORT, mmio:ADDRESS or mmio32:ADDRESS, hexadecimal, as what is wanted. False if it is none of them, or not the
 * one that has been asked for already.
 */
export function askForPort(at: usize, length: u32): bool {
  const pci = after(at, length, "pci");
  if (pci && length == pci) return ask(0, 0, 0);
  if (pci && length == pci + 1) {
    const n = <u32>load<u8>(at + pci) - 48;
    return n < 10 && ask(0, 0, n);
  }
  const io = after(at, length, "io:");
  if (io) return askPlace(at, length, io, Stride.Port);
  const bytes = after(at, length, "mmio:");
  if (bytes) return askPlace(at, length, bytes, Stride.Byte);
  const words = after(at, length, "mmio32:");
  return words != 0 && askPlace(at, length, words, Stride.Word);
}

/** Finds what has been asked for. False if there is none of that kind, or if RAM is there. */
export function findPort(): bool {
  const p = serialPort;
  p.isFound = p.ordinal == NO_FUNCTION || findFunction(p.ordinal);
  if (p.stride != Stride.Port && isRam(p.base)) p.isFound = false;
  return p.isFound;
}

/** Says which it is. */
export function describePort(out: Text): Text {
  const p = serialPort;
  if (p.bdf != NO_FUNCTION) {
    nameFunction(out, p.bdf).str(", ");
  } else if (p.ordinal != NO_FUNCTION) {
    return out.str("PCI's number ").dec(p.ordinal);
  }
  return out.str(p.stride == Stride.Port ? "port " : "memory at ").hex(p.base);
}

/** The first base address register that leads to registers below 4 GiB. */
function takeBar(bdf: u32): bool {
  for (let n: u32 = 0; n < BARS; n++) {
    const bar = read(bdf, 16 + n * 4);
    const isWide = (bar & 7) == 4;
    const isPort = bar & 1;
    const isLow = !isWide || read(bdf, 20 + n * 4) == 0;
    const base = isPort ? bar & ~3 : bar & ~15;
    const stride = isPort ? Stride.Port : Stride.Byte;
    if (isLow && isPlace(base, stride)) {
      write(bdf, 4, (read(bdf, 4) & 0xffff) | (isPort ? COMMAND_IO : COMMAND_MEMORY));
      serialPort.base = base;
      serialPort.stride = stride;
      serialPort.bdf = bdf;
      return true;
    }
    if (isWide) n++;
  }
  return false;
}

function isSerial(bdf: u32): bool {
  const kind = read(bdf, 8);
  const how = (kind >> 8) & 255;
  return kind >> 16 == SERIAL && how >= IS_16550 && how <= LAST_16550 && headerType(bdf) == 0;
}

/** Takes the n-th of the machine's PCI functions that are serial ports, from 0 on, in the order of their numbers. False: there are fewer. */
function findFunction(n: u32): bool {
  for (let bdf = firstFunction(); bdf != NO_FUNCTION; bdf = nextFunction(bdf)) {
    if (isSerial(bdf) && n-- == 0) return takeBar(bdf);
  }
  return false;
}
