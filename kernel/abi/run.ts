import { Gprs } from "./gprs";

/**
 * The start of a vCPU's area in its monitor's memory: what the monitor tells root. To root it is untrusted input,
 * copied once and checked.
 */
@unmanaged
export class RunArea extends Gprs {
  /** With Leave.Yield: a Request. */
  request: u32;
  /** With Leave.Stop: a StopReason and what it is about. */
  stopReason: u32;
  stopDetail: u64;
  /** With Request.Halt: TSC value at which to run again at the latest; ~0 for none. */
  wake: u64;
  /** Where the next exit's record goes: an offset from LAST_EXITS_OFFSET. */
  nextExit: u32;
  /** Debugging bits: what the debugger wants. Root writes it; 0 without a debugger. */
  debug: u32;
  /** With Request.Debug: one of Stop, and what it says there. */
  debugCause: u32;
  /** Of Stop.Watch: one of WatchKind. Of Stop.Breakpoint: the vector of what the instruction raises. */
  debugAccess: u32;
  debugDetail: u64;
  /** With Debugging.Catch: the lowest RIP that an exit stops at. */
  catchFrom: u64;
  /** What the guest has for DR6 and DR7 while the debugger has the CPU's. */
  dr6: u64;
  dr7: u64;
  /**
   * Nonzero: another vCPU of the VM has left something for this one. Changed by locked instructions: whoever kicks sets it,
   * the vCPU's own monitor takes it back before it looks (docs/smp.md).
   */
  kicked: u32;
  /** TSC ticks for which the monitor has halted its CPU by itself: root only prints that. */
  rested: u64;
  /** One of ApicMode: how the CPU is to take part in the vCPU's local APIC when it runs next. */
  apicMode: u32;
}

/** What of a local APIC in x2APIC mode the CPU does without exits. In other modes it does nothing. */
export namespace ApicMode {
  export const None: u32 = 0;
  /** RDMSR reads the APIC's page, WRMSR writes TPR. */
  export const Registers: u32 = 1;
  /** And the CPU delivers and ends interrupts; WRMSR of EOI and self-IPI. */
  export const Interrupts: u32 = 2;
}

/** In RunArea.debug. */
export namespace Debugging {
  /** There is a debugger: the debug registers are its own. */
  export const On: u32 = 1 << 0;
  /** Stop behind the next instruction: the guest's RFLAGS.TF is set. */
  export const Step: u32 = 1 << 1;
  /** Stop at the first exit from catchFrom on. */
  export const Catch: u32 = 1 << 2;
  /** The monitor's own: the next look is at an entry, not at an exit. */
  export const Entering: u32 = 1 << 3;
}

/** What a monitor asks of root. */
export namespace Request {
  /** Nothing: run again at once (the monitor splits long work this way). */
  export const Continue: u32 = 0;
  /** The guest waits for an interrupt: run again at `wake`, or when there is input. */
  export const Halt: u32 = 1;
  /** The console ring wants to be drained. */
  export const Console: u32 = 2;
  /** The guest waits for nothing in particular: others first. */
  export const Pass: u32 = 3;
  /** The debugger wants to know: debugCause says what. */
  export const Debug: u32 = 4;
}
