/** Physical memory, through root's windows. The caller knows what is where: nothing is checked. */

export declare function load8(hpa: u64): u32;
export declare function load16(hpa: u64): u32;
export declare function load32(hpa: u64): u32;
export declare function load64(hpa: u64): u64;
export declare function store8(hpa: u64, value: u32): void;
export declare function store16(hpa: u64, value: u32): void;
export declare function store32(hpa: u64, value: u32): void;
export declare function store64(hpa: u64, value: u64): void;
export declare function copy(to: u64, from: u64, length: u64): void;
export declare function fill(hpa: u64, value: u32, length: u64): void;
/** Between physical and root's linear memory. */
export declare function read(hpa: u64, to: usize, length: u32): void;
export declare function write(hpa: u64, from: usize, length: u32): void;
/** Device registers, through the uncached window: root maps the page first. */
export declare function loadDevice32(hpa: u64): u32;
export declare function storeDevice32(hpa: u64, value: u32): void;
