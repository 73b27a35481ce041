/**
 * Base address registers of PCI functions (PCI Local Bus 3.0, 6.2.5): what software writes to size and to place them
 * needs nothing but the masks of configuration space; here is what makes those, and what finds a device by its address.
 */
import { configMask, configSpace } from "./pciconfig";

export namespace Bar {
  export const Memory32: u32 = 0;
  export const Io: u32 = 1;
  export const Memory64: u32 = 4;
  /** With either kind of memory. */
  export const Prefetchable: u32 = 8;
}

const COMMAND: u32 = 0x04;
const FIRST: u32 = 0x10;
export const BARS: u32 = 6;
/** Bits of the command register that let a function answer. */
const COMMAND_IO: u32 = 1;
const COMMAND_MEMORY: u32 = 2;
export const NO_BAR: u32 = ~(<u32>0);
const NOWHERE: u64 = ~(<u64>0);

/**
 * Register `bar` of function n becomes one of so many bytes: a power of two, 16 for memory and 4 for I/O at least. One of
 * Bar.Memory64 takes the register behind it too.
 */
export function addBar(n: u32, bar: u32, kind: u32, size: u64): void {
  const isIo = (kind & Bar.Io) != 0;
  assert(popcnt(size) == 1 && size >= (isIo ? 4 : 16) && bar < (kind & Bar.Memory64 ? BARS - 1 : BARS));
  const at = <usize>(FIRST + bar * 4);
  const mask = ~(size - 1);
  store<u32>(configSpace(n) + at, kind);
  store<u32>(configMask(n) + at, <u32>mask);
  if (kind & Bar.Memory64) store<u32>(configMask(n) + at, <u32>(mask >> 32), 4);
}

/** The size that a mask stands for; 0 for a register that is not there, or is another's upper half. */
export function barSize(n: u32, bar: u32): u64 {
  const at = <usize>(FIRST + bar * 4);
  const low = load<u32>(configMask(n) + at);
  if (bar > 0 && isWide(n, bar - 1)) return 0;
  if (isWide(n, bar)) return ~(((<u64>load<u32>(configMask(n) + at, 4)) << 32) | low) + 1;
  return low == 0 ? 0 : <u64>(~low + 1);
}

function isWide(n: u32, bar: u32): bool {
  const kind = load<u32>(configSpace(n) + <usize>(FIRST + bar * 4));
  return (kind & (Bar.Io | Bar.Memory64)) == Bar.Memory64;
}

/** Where the register puts its device, or NOWHERE: it is not there, or the command register keeps it from answering. */
function barBase(n: u32, bar: u32, isIo: bool): u64 {
  const space = configSpace(n);
  const at = <usize>(FIRST + bar * 4);
  const low = load<u32>(space + at);
  if (barSize(n, bar) == 0 || ((low & Bar.Io) != 0) != isIo) return NOWHERE;
  if (!(load<u16>(space, COMMAND) & (isIo ? COMMAND_IO : COMMAND_MEMORY))) return NOWHERE;
  if (isIo) return low & ~3;
  return (isWide(n, bar) ? (<u64>load<u32>(space + at, 4)) << 32 : 0) | (low & ~15);
}

/** The register of function n that all of [address, address + size) belongs to, or NO_BAR. */
export function barAt(n: u32, isIo: bool, address: u64, size: u32): u32 {
  for (let bar: u32 = 0; bar < BARS; bar++) {
    const base = barBase(n, bar, isIo);
    if (base == NOWHERE || address < base) continue;
    const length = barSize(n, bar);
    if (size <= length && address - base <= length - size) return bar;
  }
  return NO_BAR;
}

/** The offset from the register's base. */
export function barOffset(n: u32, bar: u32, isIo: bool, address: u64): u32 {
  return <u32>(address - barBase(n, bar, isIo));
}
