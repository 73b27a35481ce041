/** PCI configuration space by mechanism 1 (PCI Local Bus 3.0, 3.2.2.3.2): segment 0 of it, registers below 256. */
import { Text } from "../lib/text";
import { in32, in8, out32, out8 } from "../machine/port";

const ADDRESS: u32 = 0xcf8;
const DATA: u32 = 0xcfc;
/** What register 0 reads as where no function is. */
export const NO_DEVICE: u32 = 0xffffffff;
/** In the place of a function: there is none, or no more. */
export const NO_FUNCTION: u32 = 0xffffffff;
const FUNCTIONS: u32 = 8 * 32 * 256;
const HEADER: u32 = 12;
const MULTI_FUNCTION: u32 = 0x80;

/** A function's bus, device and function are `bdf`: 8 bits, 5 bits and 3 bits. */
function select(bdf: u32, register: u32): void {
  out32(ADDRESS, 0x80000000 | (bdf << 8) | (register & 0xfc));
}

export function read(bdf: u32, register: u32): u32 {
  select(bdf, register);
  return in32(DATA);
}

export function write(bdf: u32, register: u32, value: u32): void {
  select(bdf, register);
  out32(DATA, value);
}

export function read8(bdf: u32, register: u32): u32 {
  select(bdf, register);
  return in8(DATA + (register & 3));
}

export function write8(bdf: u32, register: u32, value: u32): void {
  select(bdf, register);
  out8(DATA + (register & 3), value);
}

/** Of its header's type, without what it says of other functions: 0 for what is no bridge. */
export function headerType(bdf: u32): u32 {
  return (read(bdf, HEADER) >> 16) & 0xff & ~MULTI_FUNCTION;
}

/** The first function from `bdf` on that is there; a device without function 0 has none. */
function functionFrom(bdf: u32): u32 {
  for (; bdf < FUNCTIONS; bdf++) {
    if ((read(bdf, 0) & 0xffff) != 0xffff) return bdf;
    if ((bdf & 7) == 0) bdf |= 7;
  }
  return NO_FUNCTION;
}

/** The first of all functions that are there, by their numbers; NO_FUNCTION if there is none. */
export function firstFunction(): u32 {
  return functionFrom(0);
}

/** The one behind a function that is there: function 0 says whether its device has others. */
export function nextFunction(bdf: u32): u32 {
  const isAlone = (bdf & 7) == 0 && !((read(bdf, HEADER) >> 16) & MULTI_FUNCTION);
  return functionFrom(bdf + (isAlone ? 8 : 1));
}

/** "PCI 00:1f.2". */
export function nameFunction(out: Text, bdf: u32): Text {
  out
    .str("PCI ")
    .rawHex(bdf >> 8, 2)
    .str(":")
    .rawHex((bdf >> 3) & 31, 2);
  return out.str(".").dec(bdf & 7);
}
