/** The hypervisor's own image: where its sections are, and the modules' initial memory. */

export declare function start(): u64;
export declare function textEnd(): u64;
export declare function readOnlyEnd(): u64;
export declare function perCpuEnd(): u64;
export declare function dataEnd(): u64;
export declare function end(): u64;
/** The guard page below root's stack. */
export declare function stackGuard(): u64;
export declare function rootMemory(): u64;
/** The boot CPU's block, and the IDT of all CPUs. */
export declare function perCpu(): u64;
export declare function idt(): u64;
/** Where other CPUs start in real mode: a copy of TRAMPOLINE_BYTES of this at the start of a page below 1 MiB. */
export declare function trampoline(): u64;
/** Character n of the version's text, 0 at its end. */
export declare function version(n: u32): u32;
/** First four bytes of the linker's build id. */
export declare function buildId(): u32;
/**
 * The modules that instances are made of: the monitors, by Extension, and the debugger. Size of the linear memory in wasm
 * pages, and its initial contents: segment n's place, length and address.
 */
export declare function memoryPages(module: u32): u32;
export declare function segments(module: u32): u32;
export declare function segmentOffset(module: u32, n: u32): u32;
export declare function segmentLength(module: u32, n: u32): u32;
export declare function segmentAddress(module: u32, n: u32): u64;
