/** The guest's extended state. */

/** Loads XCR0. A value that the CPU refuses is a trap: check it against CPUID leaf 0xd first. */
/** XCR0 as it is: the guest's. Only where the CPU has XSAVE. */
export declare function xcr0(): u64;
export declare function setXcr0(value: u64): void;
