/** The guest's extended state. */

/** Loads XCR0. A value that the CPU refuses is a trap: check it against CPUID leaf 0xd first. */
export declare function setXcr0(value: u64): void;
