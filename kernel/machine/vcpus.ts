/** The other vCPUs of the VM. */

/** Makes the CPU where vCPU n of this VM lives leave its guest and look what is wanted (docs/smp.md); no vCPU n, nothing. */
export declare function interrupt(n: u32): void;
