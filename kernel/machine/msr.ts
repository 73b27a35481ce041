/** The host's model-specific registers. Reading or writing one that does not exist is a trap: ask CPUID, or exists(). */

/** Whether the CPU has the register. */
export declare function exists(index: u32): bool;
export declare function read(index: u32): u64;
export declare function write(index: u32, value: u64): void;
