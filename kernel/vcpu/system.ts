/**
 * The system registers of a vCPU, copied from the VMCS or VMCB when a handler needs them and written back when it
 * changed them. They lie in the vCPU's area behind its counters.
 */

import { Cr0, Cr4, Efer } from "../x86/cr";

/** A segment register with its hidden part. `rights` is in the VMCS's format (SDM Vol. 3C 25.4.1). */
@unmanaged
export class Segment {
  base: u64;
  limit: u32;
  rights: u32;
  selector: u32;
  padding: u32;

  set(selector: u32, base: u64, limit: u32, rights: u32): void {
    this.selector = selector;
    this.base = base;
    this.limit = limit;
    this.rights = rights;
  }

  get dpl(): u32 {
    return (this.rights >> 5) & 3;
  }
  /** CS: 64-bit code. */
  get long(): bool {
    return (this.rights & (1 << 13)) != 0;
  }
  /** CS: 32-bit default sizes; SS: 32-bit stack pointer. */
  get big(): bool {
    return (this.rights & (1 << 14)) != 0;
  }
  /** TR: a busy 16-bit TSS. */
  get is16BitTss(): bool {
    return (this.rights & 15) == 3;
  }
  get unusable(): bool {
    return (this.rights & UNUSABLE) != 0;
  }
}

/** In `rights`: data that may be written, code that may be read; data that expands down; code. */
export const ACCESSIBLE: u32 = 1 << 1;
export const EXPAND_DOWN: u32 = 1 << 2;
export const CODE: u32 = 1 << 3;
export const UNUSABLE: u32 = 1 << 16;

/** Bits that must be 0 in a PDPTE that is present; so must be what lies beyond the physical address. */
export const PDPTE_RESERVED: u64 = 0x1e6;

/** Numbers of the segment registers, as instructions encode them; the VMCS's fields are in the same order. */
export namespace Seg {
  export const ES: u32 = 0;
  export const CS: u32 = 1;
  export const SS: u32 = 2;
  export const DS: u32 = 3;
  export const FS: u32 = 4;
  export const GS: u32 = 5;
  export const LDTR: u32 = 6;
  export const TR: u32 = 7;
  export const Count: u32 = 8;
}


@unmanaged
export class System {
  cr0: u64;
  cr3: u64;
  cr4: u64;
  efer: u64;
  gdtrBase: u64;
  idtrBase: u64;
  gdtrLimit: u32;
  idtrLimit: u32;
  /** With PAE paging: the registers that MOV to CR3 loads from memory (SDM Vol. 3A 4.4.1, PDPTE Registers). */
  pdpte0: u64;
  pdpte1: u64;
  pdpte2: u64;
  pdpte3: u64;

  pdpte(n: u32): u64 {
    return load<u64>(changetype<usize>(this) + offsetof<System>("pdpte0") + ((<usize>n) << 3));
  }
  setPdpte(n: u32, value: u64): void {
    store<u64>(changetype<usize>(this) + offsetof<System>("pdpte0") + ((<usize>n) << 3), value);
  }

  get cpl(): u32 {
    return this.segment(Seg.SS).dpl;
  }
  /** The vCPU executes 64-bit code. */
  get is64(): bool {
    return (this.efer & Efer.LMA) != 0 && this.segment(Seg.CS).long;
  }
  /** PAE paging, as opposed to 4-level paging, which uses the same bit of CR4 (SDM Vol. 3A table 4-1). */
  get usesPdptes(): bool {
    return (this.cr0 & Cr0.PG) != 0 && (this.cr4 & Cr4.PAE) != 0 && !(this.efer & Efer.LMA);
  }

  /** One of Seg. */
  segment(n: u32): Segment {
    return changetype<Segment>(changetype<usize>(this) + offsetof<System>() + <usize>n * offsetof<Segment>());
  }
}
