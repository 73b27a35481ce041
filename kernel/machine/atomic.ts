/** Words of linear memory that several CPUs of one VM change at once: each is one locked instruction, and orders all others. */

/** Returns the word as it was before. */
export declare function swap32(address: usize, value: u32): u32;
export declare function or32(address: usize, bits: u32): u32;
export declare function add32(address: usize, value: u32): u32;
/** Puts `to` where `from` is; whether it was. */
export declare function replace32(address: usize, from: u32, to: u32): bool;
/** To be executed while waiting for another CPU. */
export declare function pause(): void;
