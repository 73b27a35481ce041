/**
 * The guest's RAM. Every address is checked, both ends, against what the VM has: a load from elsewhere reads all ones,
 * a store to elsewhere does nothing (as on a PC where nothing claims the address). No access relies on a fault.
 */
import { Gpa } from "../lib/addr";

/** Whether all of [gpa, gpa + length) is RAM. */
export declare function contains(gpa: Gpa, length: u64): bool;
export declare function load8(gpa: Gpa): u32;
export declare function load16(gpa: Gpa): u32;
export declare function load32(gpa: Gpa): u32;
export declare function load64(gpa: Gpa): u64;
export declare function store8(gpa: Gpa, value: u32): void;
export declare function store16(gpa: Gpa, value: u32): void;
export declare function store32(gpa: Gpa, value: u32): void;
export declare function store64(gpa: Gpa, value: u64): void;
/** Replaces `from` by `to`, atomically for other CPUs; false when something else is there, or no RAM. */
export declare function replace32(gpa: Gpa, from: u32, to: u32): bool;
/** Copies between linear memory and guest RAM; false, and nothing is copied, when not all of it is RAM. */
export declare function read(gpa: Gpa, to: usize, length: u32): bool;
export declare function write(gpa: Gpa, from: usize, length: u32): bool;
/** Copies or fills within guest RAM, overlapping allowed; false when not all of it is RAM. */
export declare function move(to: Gpa, from: Gpa, length: u64): bool;
export declare function fill(gpa: Gpa, value: u32, length: u64): bool;
