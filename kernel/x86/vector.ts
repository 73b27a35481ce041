/** Exception vectors (SDM Vol. 3A 6.3.1, External Interrupts). */

export namespace Vector {
  export const DE: u32 = 0;
  export const DB: u32 = 1;
  export const NMI: u32 = 2;
  export const BP: u32 = 3;
  export const OF: u32 = 4;
  export const BR: u32 = 5;
  export const UD: u32 = 6;
  export const NM: u32 = 7;
  export const DF: u32 = 8;
  export const TS: u32 = 10;
  export const NP: u32 = 11;
  export const SS: u32 = 12;
  export const GP: u32 = 13;
  export const PF: u32 = 14;
  export const MF: u32 = 16;
  export const AC: u32 = 17;
  export const MC: u32 = 18;
  export const XM: u32 = 19;
}
