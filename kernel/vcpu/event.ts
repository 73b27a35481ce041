/**
 * Which event to inject next (SDM Vol. 3A 6.9, Priority Among Concurrent Events). An event whose delivery the exit
 * interrupted goes first, then exceptions, then NMIs, then interrupts.
 */
import { bits } from "../lib/bits";
import { Vector } from "../x86/vector";
import { Rflags } from "../x86/cr";
import { Attention, Blocking, Vcpu } from "./vcpu";

/** Types of events (SDM Vol. 3C 25.8.3; the VMCB's are the same but for the software ones). */
export namespace EventType {
  export const ExternalInterrupt: u32 = 0;
  export const Nmi: u32 = 2;
  export const HardwareException: u32 = 3;
  export const SoftwareInterrupt: u32 = 4;
  export const PrivilegedException: u32 = 5;
  export const SoftwareException: u32 = 6;
}

const VALID: u32 = 0x80000000;
const HAS_ERROR: u32 = 1 << 11;

/** Marks Vcpu.heldInterrupt as holding a vector. */
export const HELD: u32 = 0x100;

/** The event to inject, in the VMCS's format, or 0 for none; its error code and instruction length. */
@unmanaged
export class Injection {
  event: u32;
  error: u32;
  length: u32;
}

export function queueException(v: Vcpu, vector: u32, hasError: bool, error: u32): void {
  v.exceptionVector = vector;
  v.exceptionHasError = hasError ? 1 : 0;
  v.exceptionError = error;
  v.attention |= Attention.Exception;
}

/** #GP(0) and #UD: the guest's RIP stays at the instruction. */
export function raiseGp(v: Vcpu): void {
  queueException(v, Vector.GP, true, 0);
}

export function raiseUd(v: Vcpu): void {
  queueException(v, Vector.UD, false, 0);
}

/** Whether an interrupt could be taken at once. Needs v.rflags, v.blocking and v.debugDue. */
export function interruptible(v: Vcpu): bool {
  return (v.rflags & Rflags.IF) != 0 && !(v.blocking & (Blocking.Sti | Blocking.MovSs)) && !v.debugDue;
}

/** Whether there is an NMI that could be taken, but for what holds it back until the next instruction. */
export function nmiDue(v: Vcpu): bool {
  return (v.attention & Attention.Nmi) != 0 && !(v.blocking & Blocking.Nmi);
}

/** Classes of exceptions for double faults (SDM Vol. 3A table 6-4): 0 benign, 1 contributory, 2 page fault. */
function faultClass(vector: u32): u32 {
  if (vector == Vector.PF) return 2;
  const contributory = vector == Vector.DE || (vector >= Vector.TS && vector <= Vector.GP);
  return contributory ? 1 : 0;
}

/** Two exceptions, one while the other was delivered (table 6-5): whether they make a double fault. */
function makesDoubleFault(first: u32, second: u32): bool {
  const a = faultClass(first);
  const b = faultClass(second);
  return (a == 1 && b == 1) || (a == 2 && b >= 1);
}

/**
 * Takes the next event but interrupts, which the caller adds when none is taken. With an exception, RF in v.rflags is as
 * the handler is to see it. False for a fault in the delivery of a double fault: the guest has shut down.
 */
export function takeEvent(v: Vcpu, injection: Injection): bool {
  injection.event = 0;
  injection.length = 0;
  if (v.attention & Attention.Exception) return takeException(v, injection);
  if (v.attention & Attention.Interrupted) {
    v.attention &= ~Attention.Interrupted;
    injection.event = v.interrupted;
    injection.error = v.interruptedError;
    injection.length = v.interruptedLength;
  } else if (nmiDue(v) && !(v.blocking & (Blocking.MovSs | Blocking.Sti)) && !v.debugDue) {
    v.attention &= ~Attention.Nmi;
    injection.event = VALID | (EventType.Nmi << 8) | Vector.NMI;
  }
  return true;
}

/** Injects an external interrupt. */
export function injectInterrupt(injection: Injection, vector: u32): void {
  injection.event = VALID | vector;
}

function takeException(v: Vcpu, injection: Injection): bool {
  let vector = v.exceptionVector;
  let error = v.exceptionError;
  let hasError = v.exceptionHasError != 0;
  if (v.attention & Attention.Interrupted) {
    const type = <u32>bits(v.interrupted, 10, 8);
    if (type == EventType.HardwareException) {
      const first = v.interrupted & 0xff;
      if (first == Vector.DF && faultClass(vector) != 0) return false;
      if (makesDoubleFault(first, vector)) {
        vector = Vector.DF;
        error = 0;
        hasError = true;
      }
    }
    // A software event comes again when the instruction is executed again; an interrupt must not be lost.
    if (type == EventType.Nmi) v.attention |= Attention.Nmi;
    if (type == EventType.ExternalInterrupt) v.heldInterrupt = HELD | (v.interrupted & 0xff);
    v.attention &= ~Attention.Interrupted;
  }
  v.attention &= ~Attention.Exception;
  // A fault's handler returns to the instruction, whose breakpoint has been hit already (SDM Vol. 3B 18.3.1.1,
  // Instruction-Breakpoint Exception Condition).
  if (vector != Vector.DB && vector != Vector.DF) v.rflags |= Rflags.RF;
  injection.event = VALID | (EventType.HardwareException << 8) | vector | (hasError ? HAS_ERROR : 0);
  injection.error = error;
  return true;
}
