/** What the debugger wants to see of a guest: after an exit, and of exceptions and memory. */
import { Stop, WatchKind } from "../abi/debug";
import { Debugging, Request } from "../abi/run";
import { contains } from "../machine/guest";
import { Vector } from "../x86/vector";
import { onMemory } from "./emulate";
import { onException } from "./instruction";
import { Access, Attention, Next, Vcpu } from "./vcpu";

/** Leaves to root, which asks the debugger. */
function tell(v: Vcpu, cause: u32, detail: u64): u32 {
  v.debugCause = cause;
  v.debugDetail = detail;
  v.request = Request.Debug;
  return Next.Yield;
}

/** Root has given the vCPU the CPU: notes whether exits are to be looked at. */
export function expect(v: Vcpu): void {
  if (v.debug & (Debugging.Step | Debugging.Catch)) {
    v.attention |= Attention.Debug;
    v.debug |= Debugging.Entering;
  } else {
    v.attention &= ~Attention.Debug;
  }
}

/** Before the guest goes on, with Attention.Debug: Next.Resume, or what the exit is to end with instead. */
export function observe(v: Vcpu): u32 {
  if (v.debug & Debugging.Entering) {
    v.debug &= ~Debugging.Entering;
    return Next.Resume;
  }
  if (v.debug & Debugging.Catch && v.rip >= v.catchFrom) return tell(v, Stop.Caught, 0);
  if (!(v.debug & Debugging.Step)) return Next.Resume;
  if (v.attention & Attention.Exception) {
    // The step that the debugger's TF has made due is this one. Another exception's handler is where the guest goes on.
    if (v.exceptionVector != Vector.DB) return Next.Resume;
    v.attention &= ~Attention.Exception;
  }
  return tell(v, Stop.Step, 0);
}

/** What waits while the debugger steps: NMIs and interrupts would lead away from what is stepped through. */
export function heldBack(v: Vcpu): u32 {
  return v.debug & Debugging.Step ? v.attention & (Attention.Nmi | Attention.Interrupt) : 0;
}

/** Debug exceptions, and what breakpoint instructions raise (with a length, or as undefined ones), may be the debugger's. */
export function onDebugException(v: Vcpu): u32 {
  if (v.exitVector == Vector.AC) return onException(v);
  if (!v.length && v.exitVector == Vector.DB) return tell(v, Stop.Debug, v.exitQualification);
  v.debugAccess = v.exitVector;
  return tell(v, Stop.Breakpoint, v.length);
}

/** Guest RAM that the guest may not access is watched. */
export function onDebugMemory(v: Vcpu): u32 {
  if (!contains(v.gpa, 1)) return onMemory(v);
  v.debugAccess = v.access & Access.Write ? WatchKind.Write : v.access & Access.Execute ? 0 : WatchKind.Read;
  return tell(v, Stop.Watch, v.gpa);
}
