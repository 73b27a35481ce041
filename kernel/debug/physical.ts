/**
 * Physical memory, as far as the debugger's own tables map it: where there is no RAM an access would fault, and nobody
 * debugs the debugger. Each access is checked against those tables, whoever has named the address.
 */
import { LINEAR_BASE, PAGE, PHYSICAL_WINDOW } from "../abi/address";
import { Hpa } from "../lib/addr";
import * as phys from "../machine/phys";

export const ADDRESS: u64 = 0x000ffffffffff000;
export const LARGE_PAGE: u64 = 1 << 7;
/** Size of the window. */
const WINDOW: u64 = 0x100000000000;
const OWN_PAGES: u64 = 64;
const WRITABLE: u64 = 2;

/** No physical address. */
export const NOWHERE: Hpa = ~(<u64>0);


@unmanaged
class Own {
  /** Our top page table. */
  top: Hpa;
}
export const own = changetype<Own>(memory.data(8, 8));

/** The entry that maps an address of ours, with the rights that all levels have; 0 when none does. */
function ownEntry(address: u64): u64 {
  let table = own.top;
  let rights: u64 = WRITABLE | 1;
  for (let shift: u32 = 39; ; shift -= 9) {
    const entry = phys.load64(table + ((address >> shift) & 511) * 8);
    rights &= entry;
    if (!(rights & 1)) return 0;
    const large = shift < 39 && (entry & LARGE_PAGE) != 0;
    if (shift > 12 && !large) {
      table = entry & ADDRESS;
      continue;
    }
    const size = (<u64>1) << shift;
    return (entry & ADDRESS & ~(size - 1)) + (address & (size - 1) & ADDRESS) + rights;
  }
}

export function isReadable(hpa: Hpa): bool {
  return hpa < WINDOW && ownEntry(PHYSICAL_WINDOW + hpa) != 0;
}

/** Whether the page is one of our tables, or of our own memory. */
function isOwn(page: Hpa): bool {
  for (let i: u64 = 0; i < OWN_PAGES; i++) {
    const entry = ownEntry(LINEAR_BASE + i * PAGE);
    if (entry != 0 && (entry & ADDRESS) == page) return true;
  }
  if (own.top == page) return true;
  for (let i: u64 = 0; i < 512; i++) {
    const upper = phys.load64(own.top + i * 8);
    if (!(upper & 1)) continue;
    const pointers = upper & ADDRESS;
    if (pointers == page) return true;
    for (let j: u64 = 0; j < 512; j++) {
      const middle = phys.load64(pointers + j * 8);
      if (!(middle & 1) || middle & LARGE_PAGE) continue;
      const directory = middle & ADDRESS;
      if (directory == page) return true;
      for (let k: u64 = 0; k < 512; k++) {
        const last = phys.load64(directory + k * 8);
        if (last & 1 && !(last & LARGE_PAGE) && (last & ADDRESS) == page) return true;
      }
    }
  }
  return false;
}

/** Whether memory may be changed there: RAM, not the image's text or constants, not what the debugger lives on. */
export function isWritable(hpa: Hpa): bool {
  return hpa < WINDOW && (ownEntry(PHYSICAL_WINDOW + hpa) & WRITABLE) != 0 && !isOwn(hpa & ADDRESS);
}

/** Copies to our memory what may lie in two pages. False when some of it is nowhere. */
export function fetch(hpa: Hpa, to: usize, length: u32): bool {
  if (!isReadable(hpa) || !isReadable(hpa + length - 1)) return false;
  phys.read(hpa, to, length);
  return true;
}

/** An aligned word; 0 where there is none. */
export function fetch64(hpa: Hpa): u64 {
  return isReadable(hpa) ? phys.load64(hpa & ~(<u64>7)) : 0;
}

export function fetch32(hpa: Hpa): u32 {
  return isReadable(hpa) ? phys.load32(hpa & ~(<u64>3)) : 0;
}

/** Stores an aligned word of root's or of a monitor's, if it is where memory is. */
export function put32(hpa: Hpa, value: u32): void {
  if (hpa < WINDOW && ownEntry(PHYSICAL_WINDOW + hpa) & WRITABLE) phys.store32(hpa & ~(<u64>3), value);
}

export function put64(hpa: Hpa, value: u64): void {
  if (hpa < WINDOW && ownEntry(PHYSICAL_WINDOW + hpa) & WRITABLE) phys.store64(hpa & ~(<u64>7), value);
}
