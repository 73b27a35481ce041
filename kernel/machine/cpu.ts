/** Control registers and interrupts of this CPU, for root. Root runs with interrupts off; it looks at what has come
 *  at places of its choosing. */

export declare function readCr0(): u64;
export declare function writeCr0(value: u64): void;
/** Loads CR3 and tells the stubs that this is root's address space. */
export declare function writeCr3(value: u64): void;
export declare function readCr4(): u64;
export declare function writeCr4(value: u64): void;
/** Lets pending interrupts in: their stubs mark them. */
export declare function openInterrupts(): void;
/** Halts until an interrupt has come, unless one is already marked. */
export declare function waitForInterrupt(): void;
/** Takes the marks of 64 vectors, `group` * 64 and up, and clears them. */
export declare function takePending(group: u32): u64;
/** Clears the flag that brings the exit stub to root. */
export declare function clearAttention(): void;
/** Enters the debugger, which there is. */
export declare function stop(): void;
/** Which CPU this is: 0 is the boot CPU. */
export declare function number(): u32;
/** Number of NMIs taken so far. */
export declare function nmis(): u32;
/** Stops this CPU for good. */
export declare function halt(): void;
/** Copies the CrashRecord of this CPU to `out`. */
export declare function crash(out: usize): void;
/** Arms the timer without regard to a slice. */
export declare function armTimer(at: u64): void;
