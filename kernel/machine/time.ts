/** Time, and being woken. */

/** The time stamp counter. */
export declare function tsc(): u64;
/** Makes the host's timer interrupt come when the TSC reaches `at`, or at the end of the slice if that is earlier. */
export declare function deadline(at: u64): void;
/** Halts the CPU until an interrupt has come, which the exit stub sees to: true. False, at once, where other vCPUs live on the CPU. */
export declare function halt(): bool;
