/** Intercepts and other controls by name (APM Vol. 2 Appendix B, table B-1). */
import { Cr4 } from "../x86/cr";

/**
 * CR4 bits that a guest always runs with, whatever it reads: without MCE a machine check would shut the CPU down instead
 * of exiting (Vol. 2 9.3.1, Machine-Check Exceptions).
 */
export const CR4_FORCED: u64 = Cr4.MCE;

/** Offset 000h: reads in 15:0, writes in 31:16. */
export namespace CrIntercept {
  export const READ_CR4: u32 = 1 << 4;
  export const READ_CR8: u32 = 1 << 8;
  export const WRITE_CR4: u32 = 1 << 20;
  export const WRITE_CR8: u32 = 1 << 24;
}

/** Offset 00Ch. */
export namespace Intercept1 {
  export const INTR: u32 = 1 << 0;
  export const NMI: u32 = 1 << 1;
  export const INIT: u32 = 1 << 3;
  export const VINTR: u32 = 1 << 4;
  /** Writes to CR0 that change more than TS and MP. */
  export const CR0_SELECTIVE: u32 = 1 << 5;
  export const RDPMC: u32 = 1 << 15;
  export const CPUID: u32 = 1 << 18;
  export const INVD: u32 = 1 << 22;
  export const PAUSE: u32 = 1 << 23;
  export const HLT: u32 = 1 << 24;
  export const INVLPGA: u32 = 1 << 26;
  export const IOIO: u32 = 1 << 27;
  export const MSR: u32 = 1 << 28;
  export const FERR_FREEZE: u32 = 1 << 30;
  export const SHUTDOWN: u32 = 0x80000000;
}

/** Offset 010h. */
export namespace Intercept2 {
  export const VMRUN: u32 = 1 << 0;
  export const VMMCALL: u32 = 1 << 1;
  export const VMLOAD: u32 = 1 << 2;
  export const VMSAVE: u32 = 1 << 3;
  export const STGI: u32 = 1 << 4;
  export const CLGI: u32 = 1 << 5;
  export const SKINIT: u32 = 1 << 6;
  export const ICEBP: u32 = 1 << 8;
  export const WBINVD: u32 = 1 << 9;
  export const MONITOR: u32 = 1 << 10;
  export const MWAIT: u32 = 1 << 11;
  export const MWAIT_ARMED: u32 = 1 << 12;
  export const XSETBV: u32 = 1 << 13;
  export const RDPRU: u32 = 1 << 14;
}

/** Offset 014h: instructions that guests do not have. */
export namespace Intercept3 {
  export const INVLPGB: u32 = 1 << 0;
  export const INVLPGB_ILLEGAL: u32 = 1 << 1;
  export const MCOMMIT: u32 = 1 << 3;
  export const TLBSYNC: u32 = 1 << 4;
}

/** Offset 05Ch. */
export namespace TlbControl {
  export const FLUSH_ALL: u32 = 1;
  /** With flush-by-ASID only. */
  export const FLUSH_GUEST: u32 = 3;
}

/** Offset 060h: RFLAGS.IF and CR8 of the guest are its own. */
export const VIRTUAL_INTERRUPT_MASKING: u64 = 1 << 24;
/** Offset 090h. */
export const NESTED_PAGING: u64 = 1 << 0;
/** Offset 0C0h: the CPU may go on with the ASID that it had (15.15.3, VMCB Clean Field). */
export const ASID_CLEAN: u64 = 1 << 2;

/** EXITCODE of an entry that was refused, -1, as far as all hypervisors below this one write it: its lower half. */
export const VMEXIT_INVALID: u32 = 0xffffffff;
