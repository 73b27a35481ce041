/** Bits of the control registers, EFER and RFLAGS (SDM Vol. 3A 2.5, Control Registers; 2.2.1; 2.3). */

export namespace Cr0 {
  export const PE: u64 = 1 << 0;
  export const MP: u64 = 1 << 1;
  export const EM: u64 = 1 << 2;
  export const TS: u64 = 1 << 3;
  export const ET: u64 = 1 << 4;
  export const NE: u64 = 1 << 5;
  export const WP: u64 = 1 << 16;
  export const AM: u64 = 1 << 18;
  export const NW: u64 = 1 << 29;
  export const CD: u64 = 1 << 30;
  export const PG: u64 = 0x80000000;
}

export namespace Cr4 {
  export const VME: u64 = 1 << 0;
  export const PVI: u64 = 1 << 1;
  export const TSD: u64 = 1 << 2;
  export const DE: u64 = 1 << 3;
  export const PSE: u64 = 1 << 4;
  export const PAE: u64 = 1 << 5;
  export const MCE: u64 = 1 << 6;
  export const PGE: u64 = 1 << 7;
  export const PCE: u64 = 1 << 8;
  export const OSFXSR: u64 = 1 << 9;
  export const OSXMMEXCPT: u64 = 1 << 10;
  export const UMIP: u64 = 1 << 11;
  export const LA57: u64 = 1 << 12;
  export const VMXE: u64 = 1 << 13;
  export const SMXE: u64 = 1 << 14;
  export const FSGSBASE: u64 = 1 << 16;
  export const PCIDE: u64 = 1 << 17;
  export const OSXSAVE: u64 = 1 << 18;
  export const SMEP: u64 = 1 << 20;
  export const SMAP: u64 = 1 << 21;
  export const PKE: u64 = 1 << 22;
  export const CET: u64 = 1 << 23;
}

export namespace Efer {
  export const SCE: u64 = 1 << 0;
  export const LME: u64 = 1 << 8;
  export const LMA: u64 = 1 << 10;
  export const NXE: u64 = 1 << 11;
  export const SVME: u64 = 1 << 12;
}

export namespace Rflags {
  export const CF: u64 = 1 << 0;
  export const FIXED: u64 = 1 << 1;
  export const PF: u64 = 1 << 2;
  export const AF: u64 = 1 << 4;
  export const ZF: u64 = 1 << 6;
  export const SF: u64 = 1 << 7;
  export const TF: u64 = 1 << 8;
  export const IF: u64 = 1 << 9;
  export const DF: u64 = 1 << 10;
  export const OF: u64 = 1 << 11;
  export const RF: u64 = 1 << 16;
  export const VM: u64 = 1 << 17;
  export const AC: u64 = 1 << 18;
}
