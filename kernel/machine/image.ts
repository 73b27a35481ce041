/** The hypervisor's own image: where its sections are, and the monitor module's initial memory. */

export declare function start(): u64;
export declare function textEnd(): u64;
export declare function readOnlyEnd(): u64;
export declare function perCpuEnd(): u64;
export declare function dataEnd(): u64;
export declare function end(): u64;
/** The guard page below root's stack. */
export declare function stackGuard(): u64;
export declare function rootMemory(): u64;
/** This CPU's block, GDT, TSS and IDT. */
export declare function perCpu(): u64;
export declare function gdt(): u64;
export declare function tss(): u64;
export declare function idt(): u64;
/** Character n of the version's text, 0 at its end. */
export declare function version(n: u32): u32;
/** First four bytes of the linker's build id. */
export declare function buildId(): u32;
/**
 * The monitor modules, one an extension (Extension): size of the linear memory in wasm pages, and its initial contents:
 * segment n's place, length and address.
 */
export declare function monitorPages(which: u32): u32;
export declare function monitorSegments(which: u32): u32;
export declare function segmentOffset(which: u32, n: u32): u32;
export declare function segmentLength(which: u32, n: u32): u32;
export declare function segmentAddress(which: u32, n: u32): u64;
