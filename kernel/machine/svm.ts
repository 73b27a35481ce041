/** AMD-V: root's side. */

/** Runs the vCPU of a VcpuContext in root's memory until root is wanted; returns a Leave. */
export declare function runVcpu(context: usize): u32;
/** Says which TLB_CONTROL this CPU's monitors flush their guests' translations with. */
export declare function setFlush(control: u32): void;
