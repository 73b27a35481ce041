/**
 * The guest's RAM. Every address is checked, both ends, against what the VM has: a load from elsewhere reads all ones,
 * a store to elsewhere does nothing (as on a PC where nothing claims the address). No access relies on a fault.
 */

/** Whether all of [gpa, gpa + length) is RAM. */
export declare function contains(gpa: u64, length: u64): bool;
export declare function load8(gpa: u64): u32;
export declare function load16(gpa: u64): u32;
export declare function load32(gpa: u64): u32;
export declare function load64(gpa: u64): u64;
export declare function store8(gpa: u64, value: u32): void;
export declare function store16(gpa: u64, value: u32): void;
export declare function store32(gpa: u64, value: u32): void;
export declare function store64(gpa: u64, value: u64): void;
/** Replaces `from` by `to`, atomically for other CPUs; false when something else is there, or no RAM. */
export declare function replace32(gpa: u64, from: u32, to: u32): bool;
/** Copies between linear memory and guest RAM; false, and nothing is copied, when not all of it is RAM. */
export declare function read(gpa: u64, to: usize, length: u32): bool;
export declare function write(gpa: u64, from: usize, length: u32): bool;
/** Copies or fills within guest RAM, overlapping allowed; false when not all of it is RAM. */
export declare function move(to: u64, from: u64, length: u64): bool;
export declare function fill(gpa: u64, value: u32, length: u64): bool;
