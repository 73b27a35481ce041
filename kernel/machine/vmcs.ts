/**
 * The current VMCS as a monitor may see it: exit information and guest state to read, guest registers and event
 * injection to write. Any other field is refused: when compiling if the field is a constant, else by a trap. Controls
 * are root's; windows and the mode of the first entry have calls of their own.
 */

export declare function vmread(field: u32): u64;
export declare function vmwrite(field: u32, value: u64): void;
/** Whether to exit as soon as the guest can take an interrupt, or an NMI. */
export declare function interruptWindow(on: bool): void;
export declare function nmiWindow(on: bool): void;
/** Whether the next entry is to IA-32e mode, as EFER.LMA must say too; after it the CPU keeps this by itself. */
export declare function longMode(on: bool): void;
/** Drops the guest's own translations from this CPU's TLB. */
export declare function flush(): void;
