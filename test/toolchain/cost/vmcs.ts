export declare function vmread(field: u32): u64;
export declare function vmwrite(field: u32, value: u64): void;
