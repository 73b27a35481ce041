import { Running } from "./context";

/**
 * What belongs to one CPU and to no wasm instance: stubs and C intrinsics reach it through GS. It is mapped in
 * every address space, outside of what wasm can address. It starts with the vCPU that runs, or ran last.
 */
@unmanaged
export class PerCpu extends Running {
  /** RSP that run_vcpu left in root, and root's CR3. */
  rootStack: u64;
  rootCr3: u64;
  /** VM exits on this CPU. The watchdog compares it between ticks: the same value means the same exit. */
  exits: u64;
  /** `exits` at the last tick that found a monitor running, the TSC behind that tick, and how many have found that same exit. */
  struckAt: u64;
  lookedAt: u64;
  /** Nonzero between run_vcpu and its return. */
  inMonitor: u32;
  /** Faults taken in root. A second one prints a raw line. */
  crashDepth: u32;
  /** The exit stubs clear these two together. */
  struck: u32;
  /** Attention bits: nonzero, and the exit stub does not resume the guest, but leaves to root or calls the monitor again. */
  attention: u32;
  /** One bit a vector: interrupts that arrived and that root has not seen. */
  pending0: u64;
  pending1: u64;
  pending2: u64;
  pending3: u64;
  /** TSC value at which the timer is armed; ~0 when it is not. */
  armed: u64;
  /** TSC ticks after which the watchdog looks again. An exit that it finds STRIKES times does not come back. */
  watchdog: u64;
  /** LAPIC timer counts a TSC tick, as a 32.32 fixed-point number; 0 when the timer takes TSC deadlines. */
  timerScale: u64;
  x2apic: u32;
  /** VM-instruction error of a failed entry (SDM Vol. 3C 31.4, VM Instruction Error Numbers). */
  instructionError: u32;
  nmis: u32;
  /** AMD-V: TLB_CONTROL that flushes the guest's translations and as little else as the CPU can. */
  flush: u32;
  /** The debugger (kernel/debug/): its top page table, 0 while there is none; what it is told; its UART's port. */
  debugCr3: u64;
  debugInfo: u64;
  debugPort: u32;
  /** Nonzero while it runs. */
  inDebugger: u32;
  /** DR7 while the host runs: the hypervisor's own breakpoints. */
  hostDr7: u64;
  /** Top of the stack for reports of faults in root; root's address space alone has it. */
  panicStack: u64;
  /** Of the boot CPU: the block of the CPU that boot/start.asm brings to root next, 0 while the boot CPU itself comes. */
  joining: u64;
  /** Which CPU this is: 0 is the one that the machine has booted on. */
  number: u32;
  /** Nonzero: an NMI stops the CPU for good. Who stops the others sets it, then sends the NMI. */
  parked: u32;
}

/** In PerCpu.attention. What is not root's is a reason for the exit stub to call the monitor as at an external interrupt. */
export namespace Attention {
  export const Root: u32 = 1 << 0;
  /** A deadline of the guest's has come. The monitor's next deadline() takes this back: it has looked at the time before. */
  export const Timer: u32 = 1 << 1;
  /** Another vCPU has something for the one that runs (docs/smp.md, Kicks). */
  export const Look: u32 = 1 << 2;
}

/** A CPU that is itself a guest may be stopped for any time: one tick more or two say nothing of a monitor. */
export const STRIKES: u32 = 8;

/** Where in the block the CrashRecord starts. */
export const PERCPU_CRASH: u32 = 512;
/** Size of the block. Behind it, in its page, are the GDT, the TSS, and what LGDT reads. */
export const PERCPU_SIZE: u32 = 1024;
export const PERCPU_GDT: u32 = 1024;
export const PERCPU_TSS: u32 = 1024 + 40;
export const PERCPU_GDT_POINTER: u32 = 1024 + 40 + 104;

/** Bytes that are enough for the code that other CPUs start with. */
export const TRAMPOLINE_BYTES: u32 = 64;
