/** What this CPU says of itself. */

/** Executes CPUID and stores EAX, EBX, ECX and EDX as four u32 at `out`. */
export declare function query(leaf: u32, subleaf: u32, out: usize): void;
