/** Ports of a PC's first UART, by its registers, and its interrupt's vector as pc.ts sets the 8259s up. */
export const DATA = 0x3f8;
export const IER = 0x3f9;
export const IIR = 0x3fa;
export const FCR = 0x3fa;
export const LCR = 0x3fb;
export const MCR = 0x3fc;
export const LSR = 0x3fd;
export const MSR = 0x3fe;
export const SCR = 0x3ff;
export const VECTOR = 0x24;
