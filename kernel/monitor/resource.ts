/** Resource descriptors (ACPI 6.4, 6.4, Resource Data Types for ACPI): what a device's _CRS is made of, in a buffer. */
import { Gpa } from "../lib/addr";
import { closeBuffer, named, openBuffer } from "./aml";
import { out } from "./writer";

namespace Tag {
  export const IRQ: u32 = 0x22;
  export const IO: u32 = 0x47;
  export const END: u32 = 0x79;
  export const MEMORY32_FIXED: u32 = 0x86;
  export const DWORD_SPACE: u32 = 0x87;
  export const WORD_SPACE: u32 = 0x88;
}
const DECODES_16_BITS: u32 = 1;
const WRITABLE: u32 = 1;
/** Of address spaces: the kind, that both ends are fixed, and what is special to the kind. */
const MEMORY_SPACE: u32 = 0;
const IO_SPACE: u32 = 1;
const BUS_SPACE: u32 = 2;
const FIXED: u32 = 0x0c;
const ENTIRE_RANGE: u32 = 3;

/** Name (_CRS, ResourceTemplate () { ... }). */
export function openResources(): Gpa {
  named("_CRS");
  return openBuffer();
}

export function closeResources(start: Gpa): void {
  out.byte(Tag.END).byte(0); // a checksum of 0 says that there is none
  closeBuffer(start);
}

/** Ports, at this place only (6.4.2.5). */
export function io(port: u32, count: u32): void {
  out.byte(Tag.IO).byte(DECODES_16_BITS).word(port).word(port).byte(1).byte(count);
}

/** An edge-triggered interrupt that is nobody else's (6.4.2.1). */
export function irq(n: u32): void {
  out.byte(Tag.IRQ).word(1 << n);
}

/** Memory at this place only (6.4.3.4). */
export function memoryFixed(base: u64, length: u64): void {
  out
    .byte(Tag.MEMORY32_FIXED)
    .word(9)
    .byte(WRITABLE)
    .dword(<u32>base)
    .dword(<u32>length);
}

/** What a bridge passes on, first to last, of 16 bits (6.4.3.5.3). */
function wordSpace(kind: u32, flags: u32, first: u32, last: u32): void {
  out.byte(Tag.WORD_SPACE).word(13).byte(kind).byte(FIXED).byte(flags);
  out
    .word(0)
    .word(first)
    .word(last)
    .word(0)
    .word(last - first + 1);
}

export function busNumbers(first: u32, last: u32): void {
  wordSpace(BUS_SPACE, 0, first, last);
}

export function ioWindow(first: u32, last: u32): void {
  wordSpace(IO_SPACE, ENTIRE_RANGE, first, last);
}

/** Uncached, of 32 bits (6.4.3.5.2). */
export function memoryWindow(first: u32, last: u32): void {
  out.byte(Tag.DWORD_SPACE).word(23).byte(MEMORY_SPACE).byte(FIXED).byte(WRITABLE);
  out
    .dword(0)
    .dword(first)
    .dword(last)
    .dword(0)
    .dword(last - first + 1);
}
