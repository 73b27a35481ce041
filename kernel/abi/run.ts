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
  padding: u32;
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
}
