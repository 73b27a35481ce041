/**
 * The console of a VM: two byte rings in its monitor's memory at CONSOLE_RING. Each index is free-running and written
 * by one side only; the other side masks it. To root all of it is untrusted.
 */
@unmanaged
export class ConsoleRings {
  /** Written by the monitor. */
  outHead: u32;
  /** Written by root. */
  outTail: u32;
  /** Written by root. */
  inHead: u32;
  /** Written by the monitor. */
  inTail: u32;
}

export const CONSOLE_OUT_OFFSET: u32 = 64;
export const CONSOLE_OUT_SIZE: u32 = 8192;
export const CONSOLE_IN_OFFSET: u32 = CONSOLE_OUT_OFFSET + CONSOLE_OUT_SIZE;
export const CONSOLE_IN_SIZE: u32 = 1024;
