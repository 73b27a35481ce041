/** The host's model-specific registers. An MSR that does not exist is a trap: ask CPUID first. */

export declare function read(index: u32): u64;
export declare function write(index: u32, value: u64): void;
