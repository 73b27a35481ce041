/** Exit codes (APM Vol. 2 Appendix C, SVM Intercept Exit Codes). */

export namespace Code {
  export const READ_CR4: u32 = 0x04;
  export const READ_CR8: u32 = 0x08;
  export const WRITE_CR4: u32 = 0x14;
  export const WRITE_CR8: u32 = 0x18;
  /** The first of those that write control registers. */
  export const WRITE_CR: u32 = 0x10;
  /** The first of 16 each, by register. */
  export const READ_DR: u32 = 0x20;
  export const WRITE_DR: u32 = 0x30;
  /** The first of 32, by vector. */
  export const EXCEPTION: u32 = 0x40;
  export const INTR: u32 = 0x60;
  export const NMI: u32 = 0x61;
  export const VINTR: u32 = 0x64;
  export const WRITE_CR0: u32 = 0x65;
  export const RDPMC: u32 = 0x6f;
  export const CPUID: u32 = 0x72;
  export const IRET: u32 = 0x74;
  export const INVD: u32 = 0x76;
  export const PAUSE: u32 = 0x77;
  export const HLT: u32 = 0x78;
  export const INVLPGA: u32 = 0x7a;
  export const IOIO: u32 = 0x7b;
  export const MSR: u32 = 0x7c;
  export const FERR_FREEZE: u32 = 0x7e;
  export const SHUTDOWN: u32 = 0x7f;
  export const VMRUN: u32 = 0x80;
  export const SKINIT: u32 = 0x86;
  export const ICEBP: u32 = 0x88;
  export const WBINVD: u32 = 0x89;
  export const MONITOR: u32 = 0x8a;
  export const MWAIT: u32 = 0x8b;
  export const MWAIT_ARMED: u32 = 0x8c;
  export const XSETBV: u32 = 0x8d;
  export const RDPRU: u32 = 0x8e;
  export const INVLPGB: u32 = 0xa0;
  export const INVLPGB_ILLEGAL: u32 = 0xa1;
  export const MCOMMIT: u32 = 0xa3;
  export const TLBSYNC: u32 = 0xa4;
  export const NPF: u32 = 0x400;
  /** The CPU refused the VMCB: -1. */
  export const INVALID: u32 = 0xffffffff;
  /** Not the CPU's: an MSR exit that EXITINFO1 says is of WRMSR. */
  export const WRITE_MSR: u32 = 0x10000 | MSR;
}
