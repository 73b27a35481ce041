/** The guest's DR6 and CR2: they stay in the CPU while its monitor runs. */

export declare function dr6(): u64;
export declare function setDr6(value: u64): void;
export declare function setCr2(value: u64): void;
