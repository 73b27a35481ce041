/** Physical memory, through root's windows. The caller knows what is where: nothing is checked. */
import { Hpa } from "../lib/addr";

export declare function load8(hpa: Hpa): u32;
export declare function load16(hpa: Hpa): u32;
export declare function load32(hpa: Hpa): u32;
export declare function load64(hpa: Hpa): u64;
export declare function store8(hpa: Hpa, value: u32): void;
export declare function store16(hpa: Hpa, value: u32): void;
export declare function store32(hpa: Hpa, value: u32): void;
export declare function store64(hpa: Hpa, value: u64): void;
export declare function copy(to: Hpa, from: Hpa, length: u64): void;
export declare function fill(hpa: Hpa, value: u32, length: u64): void;
/** Between physical and root's linear memory. */
export declare function read(hpa: Hpa, to: usize, length: u32): void;
export declare function write(hpa: Hpa, from: usize, length: u32): void;
/** Device registers, through the uncached window: root maps the page first. */
export declare function loadDevice32(hpa: Hpa): u32;
export declare function storeDevice32(hpa: Hpa, value: u32): void;
