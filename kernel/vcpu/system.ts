/**
 * The system registers of a vCPU, copied from the VMCS or VMCB when a handler needs them and written back when it
 * changed them. They lie in the vCPU's area behind its counters.
 */

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
  get unusable(): bool {
    return (this.rights & UNUSABLE) != 0;
  }
}

export const UNUSABLE: u32 = 1 << 16;

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

  /** One of Seg. */
  segment(n: u32): Segment {
    return changetype<Segment>(changetype<usize>(this) + offsetof<System>() + <usize>n * offsetof<Segment>());
  }
}
