/** The guest's DR6: it stays in the CPU while its monitor runs. */

export declare function dr6(): u64;
export declare function setDr6(value: u64): void;
