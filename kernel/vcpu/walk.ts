/**
 * The guest's own translation of linear to guest-physical addresses, in every paging mode, with all the checks that the
 * CPU makes (SDM Vol. 3A 4.3 to 4.8, from 32-Bit Paging to Accessed and Dirty Flags). Each entry is read once. Entries
 * in memory that nobody claims read all ones, as on a PC.
 */
import { replace32 } from "../machine/guest";
import { Cr0, Cr4, Efer, Rflags } from "../x86/cr";
import { Vector } from "../x86/vector";
import { loadPhysical } from "./bus";
import { features } from "./cpuid";
import { queueException } from "./event";
import { PDPTE_RESERVED, System } from "./system";
import { Access, Dirty, Vcpu } from "./vcpu";

/** What translate() returns instead of an address. */
export const FAULT: u64 = ~(<u64>0);

namespace Entry {
  export const P: u64 = 1 << 0;
  export const RW: u64 = 1 << 1;
  export const US: u64 = 1 << 2;
  export const A: u64 = 1 << 5;
  export const D: u64 = 1 << 6;
  export const PS: u64 = 1 << 7;
  export const XD: u64 = 0x8000000000000000;
}

/** Bits of a page fault's error code (SDM Vol. 3A 4.7, Page-Fault Exceptions). */
namespace Code {
  export const P: u32 = 1 << 0;
  export const WR: u32 = 1 << 1;
  export const US: u32 = 1 << 2;
  export const RSVD: u32 = 1 << 3;
  export const ID: u32 = 1 << 4;
}

/** Beside the bits of Access: with a user's rights. */
const USER: u32 = 1 << 31;

/** Bits 51:12 of an entry, and bits 62:52, which only PAE paging reserves. */
const FRAME: u64 = 0x000ffffffffff000;
const PAE_RESERVED: u64 = 0x7ff0000000000000;
/** Bits 21:13 of the entry of a 4 MiB page: bits 40:32 of its address, as far as the CPU has them. */
const PSE36: u64 = 0x3fe000;

/** Queues the page fault. */
function fault(v: Vcpu, linear: u64, access: u32, code: u32): u64 {
  const s = v.system;
  const tellsFetches = (s.cr4 & Cr4.SMEP) != 0 || ((s.cr4 & Cr4.PAE) != 0 && (s.efer & Efer.NXE) != 0);
  if (access & Access.Write) code |= Code.WR;
  if (access & USER) code |= Code.US;
  if (access & Access.Execute && tellsFetches) code |= Code.ID;
  v.cr2 = linear;
  v.dirty |= Dirty.Cr2;
  queueException(v, Vector.PF, true, code);
  return FAULT;
}

/** The bits of an entry `e` that must be zero and are not. Level 0 is a page table; a leaf maps 1 << shift bytes. */
function reserved(s: System, e: u64, level: u32, leaf: bool, shift: u32): u64 {
  if (!(s.cr4 & Cr4.PAE)) {
    return level == 1 && leaf ? e & PSE36 & ~(((features.physicalMask >> 32) & 0xff) << 13) : 0;
  }
  let bits = FRAME & ~features.physicalMask;
  if (!(s.efer & Efer.LMA)) bits |= PAE_RESERVED;
  if (!(s.efer & Efer.NXE)) bits |= Entry.XD;
  if (!leaf) bits |= Entry.PS;
  // Bit 12 of a large page's entry is part of its memory type.
  else if (level > 0) bits |= (((<u64>1) << shift) - 1) & ~(<u64>0x1fff);
  return e & bits;
}

/** Whether the entries allow the access (4.6.1, Determination of Access Rights): `rights` is all of them ANDed. */
function isAllowed(v: Vcpu, access: u32, rights: u64, executeDisable: bool): bool {
  const s = v.system;
  const userPage = (rights & Entry.US) != 0;
  if (access & Access.Execute && executeDisable) return false;
  const readOnly = (access & Access.Write) != 0 && !(rights & Entry.RW);
  if (access & USER) return userPage && !readOnly;
  if (userPage) {
    if (access & Access.Execute) return !(s.cr4 & Cr4.SMEP);
    if (s.cr4 & Cr4.SMAP && (access & Access.Implicit || !(v.rflags & Rflags.AC))) return false;
  }
  return !readOnly || !(s.cr0 & Cr0.WP);
}

/**
 * The guest-physical address of `linear`, for an access of bits of Access. Sets accessed and dirty bits. FAULT: a page
 * fault is queued; or another CPU has just changed an entry, and the guest is to execute the instruction again.
 * Needs v.system and v.rflags.
 */
export function translate(v: Vcpu, linear: u64, access: u32): u64 {
  const s = v.system;
  if (!(s.cr0 & Cr0.PG)) return linear;
  if (s.cpl == 3 && !(access & Access.Implicit)) access |= USER;
  const wide = (s.cr4 & Cr4.PAE) != 0;
  const indexBits: u32 = wide ? 9 : 10;
  const frame = wide ? FRAME & features.physicalMask : 0xfffff000;
  let level: u32 = s.efer & Efer.LMA ? 4 : 2;
  let entry = s.cr3;
  if (s.usesPdptes) {
    entry = s.pdpte((<u32>(linear >> 30)) & 3);
    if (!(entry & Entry.P)) return fault(v, linear, access, 0);
    // Where MOV to CR3 does not check them.
    if (entry & (PDPTE_RESERVED | ~features.physicalMask))
      return fault(v, linear, access, Code.P | Code.RSVD);
  }
  let rights = Entry.RW | Entry.US;
  let executeDisable: u64 = 0;
  for (;;) {
    level--;
    const shift = 12 + level * indexBits;
    const index = (linear >> shift) & ((1 << indexBits) - 1);
    const at = (entry & frame) + (index << (wide ? 3 : 2));
    entry = loadPhysical(v, at, wide ? 8 : 4);
    if (!(entry & Entry.P)) return fault(v, linear, access, 0);
    const large = level == 1 ? wide || (s.cr4 & Cr4.PSE) != 0 : level == 2 && features.hugePages != 0;
    const leaf = level == 0 || (large && (entry & Entry.PS) != 0);
    if (reserved(s, entry, level, leaf, shift)) return fault(v, linear, access, Code.P | Code.RSVD);
    rights &= entry;
    executeDisable |= entry & Entry.XD;
    if (leaf && !isAllowed(v, access, rights, executeDisable != 0)) return fault(v, linear, access, Code.P);
    const marks = leaf && access & Access.Write ? Entry.A | Entry.D : Entry.A;
    if ((entry & marks) != marks && !replace32(at, <u32>entry, <u32>(entry | marks))) return FAULT;
    if (!leaf) continue;
    const offset = linear & (((<u64>1) << shift) - 1);
    const high = wide || level == 0 ? 0 : (entry & PSE36) << 19;
    return (entry & frame & ~(((<u64>1) << shift) - 1)) | high | offset;
  }
}
