/**
 * Four-level translation tables, of the host (SDM Vol. 3A 4.5), EPT (SDM Vol. 3C 29.3.2) and NPT alike: 512 entries of
 * 8 bytes a table, an entry that maps a large page has bit 7 set, and 0 means "not present" in each.
 */
import { Hpa } from "../lib/addr";
import { load64, store64 } from "../machine/phys";
import { HUGE, LARGE, NO_FRAME, SMALL, allocateZeroed, release } from "./frames";

const ADDRESS: u64 = 0x000ffffffffff000;
const LARGE_PAGE: u64 = 1 << 7;

/** Bits of an entry that maps a page, bits of one that refers to a table, and the largest page in use. */
@unmanaged
export class Format {
  leaf: u64;
  table: u64;
  largest: u64;
}

function shiftOf(level: u32): u32 {
  return 12 + 9 * (level - 1);
}

function slot(table: Hpa, address: u64, level: u32): u64 {
  return table + ((address >> shiftOf(level)) & 511) * 8;
}

/** Size of what an entry of this level maps. */
function sizeOf(level: u32): u64 {
  return (<u64>1) << shiftOf(level);
}

/** The table that `address` leads to at `level`, made if it is not there; NO_FRAME when memory ran out. */
function descend(top: Hpa, address: u64, level: u32, format: Format): Hpa {
  let table = top;
  for (let at: u32 = 4; at > level; at--) {
    const place = slot(table, address, at);
    let entry = load64(place);
    if (entry == 0) {
      const frame = allocateZeroed();
      if (frame == NO_FRAME) return NO_FRAME;
      entry = frame | format.table;
      store64(place, entry);
    }
    assert((entry & LARGE_PAGE) == 0, "a large page is mapped where a table is wanted");
    table = entry & ADDRESS;
  }
  return table;
}

/**
 * Maps [virtual, virtual + length) to physical with the largest pages that fit. All three are multiples of 4 KiB.
 * False when memory for tables ran out.
 */
export function map(top: Hpa, virtual: u64, physical: Hpa, length: u64, format: Format): bool {
  while (length > 0) {
    const fit = virtual | physical;
    let level: u32 = 1;
    if (format.largest >= LARGE && (fit & (LARGE - 1)) == 0 && length >= LARGE) level = 2;
    if (format.largest >= HUGE && (fit & (HUGE - 1)) == 0 && length >= HUGE) level = 3;
    const table = descend(top, virtual, level, format);
    if (table == NO_FRAME) return false;
    store64(slot(table, virtual, level), physical | format.leaf | (level > 1 ? LARGE_PAGE : 0));
    const size = sizeOf(level);
    virtual += size;
    physical += size;
    length -= min(size, length);
  }
  return true;
}

/** Puts a table that several trees share into the entry of `level` for `address`. */
export function link(top: Hpa, address: u64, level: u32, table: Hpa, format: Format): bool {
  const parent = descend(top, address, level, format);
  if (parent == NO_FRAME) return false;
  store64(slot(parent, address, level), table | format.table);
  return true;
}

/** The table that the entry of `level` for `address` refers to; NO_FRAME when it, or one on the way, is not there. */
export function tableAt(top: Hpa, address: u64, level: u32): Hpa {
  let table = top;
  for (let at: u32 = 4; at >= level && table != NO_FRAME; at--)
    table = load64(slot(table, address, at)) & ADDRESS;
  return table;
}

/** Clears the entry of `level` for `address`, so that the tree no longer owns what it refers to. */
export function unlink(top: Hpa, address: u64, level: u32): void {
  const parent = level == 4 ? top : tableAt(top, address, level + 1);
  if (parent != NO_FRAME) store64(slot(parent, address, level), 0);
}

/** Size of the page that maps `address`, 0 when none does. */
export function mappedSize(top: Hpa, address: u64): u64 {
  let table = top;
  for (let level: u32 = 4; level > 0; level--) {
    const entry = load64(slot(table, address, level));
    if (entry == 0) return 0;
    if (level == 1 || entry & LARGE_PAGE) return sizeOf(level);
    table = entry & ADDRESS;
  }
  return 0;
}

/** Where `address` is mapped to; it must be mapped. */
export function translate(top: Hpa, address: u64): Hpa {
  const size = mappedSize(top, address);
  assert(size != 0, "translation of an address that is not mapped");
  const level: u32 = size == HUGE ? 3 : size == LARGE ? 2 : 1;
  const table = level == 4 ? top : tableAt(top, address, level + 1);
  const entry = load64(slot(table, address, level)) & ADDRESS & ~(size - 1);
  return entry + (address & (size - 1));
}

/** Gives back all tables of a tree, not the pages that they map. */
export function releaseTables(top: Hpa): void {
  for (let i: u64 = 0; i < 512; i++) {
    const upper = load64(top + i * 8);
    if (upper == 0) continue;
    const pointers = upper & ADDRESS;
    for (let j: u64 = 0; j < 512; j++) {
      const entry = load64(pointers + j * 8);
      if (entry == 0 || entry & LARGE_PAGE) continue;
      const directory = entry & ADDRESS;
      for (let k: u64 = 0; k < 512; k++) {
        const last = load64(directory + k * 8);
        if (last != 0 && !(last & LARGE_PAGE)) release(last & ADDRESS, SMALL);
      }
      release(directory, SMALL);
    }
    release(pointers, SMALL);
  }
  release(top, SMALL);
}

/**
 * Makes a 4 KiB page of its own of the one that holds `address`, which is mapped, and gives its entry these bits below the
 * address; bits that are not among `mask` stay. False when memory for tables ran out.
 */
export function protect(top: Hpa, address: u64, mask: u64, bits: u64, format: Format): bool {
  let table = top;
  for (let level: u32 = 4; level > 1; level--) {
    const place = slot(table, address, level);
    const entry = load64(place);
    if (entry & LARGE_PAGE) {
      const smaller = allocateZeroed();
      if (smaller == NO_FRAME) return false;
      const leaf = level == 2 ? entry & ~LARGE_PAGE : entry;
      for (let i: u64 = 0; i < 512; i++) store64(smaller + i * 8, leaf + i * sizeOf(level - 1));
      store64(place, smaller | format.table);
      table = smaller;
    } else {
      table = entry & ADDRESS;
    }
  }
  const place = slot(table, address, 1);
  store64(place, (load64(place) & ~mask) | bits);
  return true;
}
