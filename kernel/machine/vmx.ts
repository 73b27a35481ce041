/** VMX operation: root's side. Results of VMX instructions are true when they succeed. */
import { Hpa } from "../lib/addr";

export declare function on(region: Hpa): bool;
export declare function clear(vmcs: Hpa): bool;
/** Makes the VMCS current, and the CPU's block say so (Running.vmcb). */
export declare function load(vmcs: Hpa): bool;
export declare function read(field: u32): u64;
export declare function write(field: u32, value: u64): bool;
/** INVEPT, single-context, of the EPTP. */
export declare function invalidateEpt(eptp: u64): bool;
/** INVVPID, single-context. */
export declare function invalidateVpid(vpid: u32): bool;
/** Runs the vCPU of a VcpuContext in root's memory until root is wanted; returns a Leave. */
export declare function runVcpu(context: usize): u32;
/** Address of the exit stub, for HOST_RIP; of the one that turns the host's breakpoints on again, where it may have some. */
export declare function exitStub(debug: bool): u64;
/** The VM-instruction error that run_vcpu recorded. */
export declare function instructionError(): u32;
