/**
 * Translation of addresses: through the host's tables, through a VM's nested ones, and through a guest's own in every paging
 * mode (SDM Vol. 3A 4.3 to 4.5; Vol. 3C 29.3.2, EPT Translation Mechanism). Rights do not matter to a debugger. A walk
 * remembers the entries on its way, for who wants to show them.
 */
import { Gpa, Hpa } from "../lib/addr";
import { Cr0, Cr4, Efer } from "../x86/cr";
import { ADDRESS, LARGE_PAGE, NOWHERE, fetch32, fetch64 } from "./physical";
import { isCanonical } from "./registers";
import { State, getState, isSvm, record } from "./vm";

/** No guest-physical address. */
export const NO_GPA: Gpa = ~(<u64>0);
const PRESENT: u64 = 1;
/** Of an EPT entry: readable, writable, executable. */
const ANY_RIGHT: u64 = 7;
/** Bits 20:13 of the entry of a 4 MiB page are bits 39:32 of its address. */
const PSE36: u64 = 0x1fe000;


@unmanaged
export class Walk {
  /** How many entries have been read. */
  count: u32;
  /** A page has 1 << shift bytes. */
  shift: u32;
  /** The number of the top table's level. */
  levels: u32;
  padding: u32;

  /** Address and contents of entry n. */
  at(n: u32): u64 {
    return load<u64>(changetype<usize>(this) + 16 + <usize>n * 16);
  }
  entry(n: u32): u64 {
    return load<u64>(changetype<usize>(this) + 24 + <usize>n * 16);
  }

  add(at: u64, entry: u64): void {
    const to = changetype<usize>(this) + 16 + <usize>this.count * 16;
    store<u64>(to, at);
    store<u64>(to + 8, entry);
    this.count++;
  }
}

/** The last walks: of a guest's linear address, of a guest-physical one, of a linear one of the host's. */
export const guestWalk = changetype<Walk>(memory.data(80, 8));
export const nestedWalk = changetype<Walk>(memory.data(80, 8));
export const hostWalk = changetype<Walk>(memory.data(80, 8));

function pageAt(entry: u64, shift: u32, address: u64): u64 {
  const offset = ((<u64>1) << shift) - 1;
  return (entry & ADDRESS & ~offset) | (address & offset);
}

/** Four levels of tables in host-physical memory; an entry with any bit of `present` is. */
function walkHost(walk: Walk, top: Hpa, address: u64, present: u64): Hpa {
  walk.count = 0;
  walk.levels = 4;
  let table = top & ADDRESS;
  for (let shift: u32 = 39; ; shift -= 9) {
    const at = table + ((address >> shift) & 511) * 8;
    const entry = fetch64(at);
    walk.add(at, entry);
    if (!(entry & present)) return NOWHERE;
    if (shift > 12 && (shift == 39 || !(entry & LARGE_PAGE))) {
      table = entry & ADDRESS;
      continue;
    }
    walk.shift = shift;
    return pageAt(entry, shift, address);
  }
}

/** Of a linear address of the host's under the CR3. */
export function fromHost(cr3: u64, address: u64): Hpa {
  hostWalk.count = 0;
  return isCanonical(address) ? walkHost(hostWalk, cr3, address, PRESENT) : NOWHERE;
}

/** Of the selected VM. */
export function fromGuestPhysical(gpa: Gpa): Hpa {
  nestedWalk.count = 0;
  if (gpa >> 48) return NOWHERE;
  return walkHost(nestedWalk, record.nestedTop, gpa, isSvm() ? PRESENT : ANY_RIGHT);
}

/** An entry of a guest's table; 0 where no memory is. */
function guestEntry(gpa: Gpa, wide: bool): u64 {
  const hpa = fromGuestPhysical(gpa);
  if (hpa == NOWHERE) return 0;
  return wide ? fetch64(hpa) : fetch32(hpa);
}

/** The guest-physical address of a linear one of the selected VM's vCPU. */
export function toGuestPhysical(linear: u64): Gpa {
  const cr4 = getState(State.Cr4);
  const long = (getState(State.Efer) & Efer.LMA) != 0;
  guestWalk.count = 0;
  if (long ? !isCanonical(linear) : linear >> 32 != 0) return NO_GPA;
  if (!(getState(State.Cr0) & Cr0.PG)) return linear;
  const wide = (cr4 & Cr4.PAE) != 0;
  const indexBits: u32 = wide ? 9 : 10;
  const frame = wide ? ADDRESS : 0xfffff000;
  let shift: u32 = long ? 39 : wide ? 30 : 22;
  guestWalk.levels = long ? 4 : wide ? 3 : 2;
  // PAE's table of four entries is aligned to its size.
  let table = getState(State.Cr3) & (wide && !long ? 0xffffffe0 : frame);
  for (;;) {
    const index = (linear >> shift) & ((1 << indexBits) - 1);
    const at = table + (index << (wide ? 3 : 2));
    const entry = guestEntry(at, wide);
    guestWalk.add(at, entry);
    if (!(entry & PRESENT)) return NO_GPA;
    const large = wide ? shift == 21 || (long && shift == 30) : shift == 22 && (cr4 & Cr4.PSE) != 0;
    if (shift > 12 && !(large && entry & LARGE_PAGE)) {
      table = entry & frame;
      shift -= indexBits;
      continue;
    }
    guestWalk.shift = shift;
    if (!wide && shift == 22) return (entry & 0xffc00000) | ((entry & PSE36) << 19) | (linear & 0x3fffff);
    return pageAt(entry, shift, linear);
  }
}

/** Of a linear address of the selected VM's vCPU. */
export function fromGuest(linear: u64): Hpa {
  nestedWalk.count = 0;
  const gpa = toGuestPhysical(linear);
  return gpa == NO_GPA ? NOWHERE : fromGuestPhysical(gpa);
}
