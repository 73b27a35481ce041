/**
 * The vCPU's VMCB as a monitor may see it, in words of 8 bytes: exit information and guest state to read, guest registers
 * and event injection to write. Any other word is refused: when compiling if the offset is a constant, else by a trap.
 * Controls are root's; a monitor's own intercepts and flushes have calls of their own.
 */

export declare function read(offset: u32): u64;
export declare function write(offset: u32, value: u64): void;
/** Whether to exit when the guest can take a virtual interrupt, instead of its delivery. */
export declare function interceptVirtual(on: bool): void;
/** Whether to exit when the guest executes IRET, which ends the blocking of NMIs. */
export declare function interceptIret(on: bool): void;
/** Drops the guest's own translations from the TLB at the next entry. */
export declare function flush(): void;
