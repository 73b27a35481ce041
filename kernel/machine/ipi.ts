/** Interrupts from one CPU to another. */

/** Sends `command` (SDM Vol. 3A 11.6.1, Interrupt Command Register, bits 31:0) to the CPU with this APIC id. */
export declare function send(apic: u32, command: u32): void;
