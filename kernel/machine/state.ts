/** State of a vCPU that entries and exits do not switch: root switches it when the CPU changes vCPUs. */
import { Hpa } from "../lib/addr";

/** Stores the extended state that XCR0 enables (or x87 and SSE, without XSAVE) to a 64-byte aligned physical address. */
export declare function saveExtended(hpa: Hpa, xsave: bool): void;
export declare function restoreExtended(hpa: Hpa, xsave: bool): void;
export declare function readXcr0(): u64;
export declare function writeXcr0(value: u64): void;
/** Debug registers 0 to 3 and 6. */
export declare function readDr(n: u32): u64;
export declare function writeDr(n: u32, value: u64): void;
export declare function readCr2(): u64;
export declare function writeCr2(value: u64): void;
