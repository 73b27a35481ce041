/**
 * What belongs to one CPU and to no wasm instance: stubs and C intrinsics reach it through GS. It is mapped in
 * every address space, outside of what wasm can address.
 */
@unmanaged
export class PerCpu {
  /** RSP that run_vcpu left in root, and root's CR3. */
  rootStack: u64;
  rootCr3: u64;
  /** VM exits on this CPU. The watchdog compares it between ticks: the same value means the same exit. */
  exits: u64;
  /** `exits` at the last tick that found a monitor running, and how many ticks have found that same exit. */
  struckAt: u64;
  struck: u32;
  /** Nonzero between run_vcpu and its return. */
  inMonitor: u32;
  /** Nonzero: the exit stub leaves to root before it resumes the guest. */
  attention: u32;
  /** Faults taken in root. A second one prints a raw line. */
  crashDepth: u32;
  /** One bit a vector: interrupts that arrived and that root has not seen. */
  pending0: u64;
  pending1: u64;
  pending2: u64;
  pending3: u64;
  // The vCPU that runs, copied from root's VcpuContext by run_vcpu.
  gprs: u64;
  monitorStack: u64;
  vcpu: u32;
  launched: u32;
  ramLow: u64;
  ramHigh: u64;
  sliceEnd: u64;
  /** TSC value at which the timer is armed; ~0 when it is not. */
  armed: u64;
  /** TSC ticks after which the watchdog looks again. An exit that it finds STRIKES times does not come back. */
  watchdog: u64;
  /** Physical address of the current VMCS or VMCB, and where the monitor has the latter. */
  vmcb: u64;
  control: u64;
  /** LAPIC timer counts a TSC tick, as a 32.32 fixed-point number; 0 when the timer takes TSC deadlines. */
  timerScale: u64;
  x2apic: u32;
  /** VM-instruction error of a failed entry (SDM Vol. 3C 31.4, VM Instruction Error Numbers). */
  instructionError: u32;
  nmis: u32;
  /** AMD-V: TLB_CONTROL that flushes the guest's translations and as little else as the CPU can. */
  flush: u32;
}

/** A CPU that is itself a guest may be stopped for any time: one tick more or two say nothing of a monitor. */
export const STRIKES: u32 = 8;

/** Where in the block the CrashRecord starts. */
export const PERCPU_CRASH: u32 = 512;
/** Size of the block; the GDT, the TSS and the interrupt stacks follow it. */
export const PERCPU_SIZE: u32 = 1024;
