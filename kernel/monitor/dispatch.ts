/** One exit, one handler, whatever the vendor: but for I/O, and for MSRs and control registers (run.ts). */
import { Exit } from "../abi/exit";
import { Request } from "../abi/run";
import { StopReason } from "../abi/stop";
import { onCpuid } from "../vcpu/cpuid";
import { onDebugException, onDebugMemory } from "../vcpu/debug";
import { onDebugRegister } from "../vcpu/dr";
import { nmiDue } from "../vcpu/event";
import {
  onCacheControl,
  onException,
  onReadCounter,
  onRefused,
  onSetXcr,
  onTaskSwitch,
  onTripleFault,
  onUndefined,
  onUnexpected,
} from "../vcpu/instruction";
import { onMemory } from "../vcpu/emulate";
import { Halted, Next, Vcpu } from "../vcpu/vcpu";
import { Rflags } from "../x86/cr";
import { isDue, updateOutput } from "./deliver";
import { info } from "./layout";
import { nextEvent } from "./wiring";

export function dispatch(v: Vcpu, kind: u32): u32 {
  switch (kind) {
    case Exit.Cpuid:
      return onCpuid(v);
    case Exit.Halt:
      return onHalt(v);
    case Exit.InterruptWindow:
    case Exit.NmiWindow:
    case Exit.Refetched:
      return Next.Resume;
    case Exit.Exception:
      return v.debug ? onDebugException(v) : onException(v);
    case Exit.DebugRegister:
      return onDebugRegister(v);
    case Exit.SetXcr:
      return onSetXcr(v);
    case Exit.CacheControl:
      return onCacheControl(v);
    case Exit.ReadCounter:
      return onReadCounter(v);
    case Exit.Undefined:
      return onUndefined(v);
    case Exit.Memory:
      return v.debug ? onDebugMemory(v) : onMemory(v);
    case Exit.TripleFault:
      return onTripleFault(v);
    case Exit.TaskSwitch:
      return onTaskSwitch(v);
    case Exit.Preempted:
      return onPreempted(v);
    case Exit.Pause:
      return onPause(v);
    case Exit.Refused:
      return onRefused(v);
    default:
      return onUnexpected(v);
  }
}

/** Root decides who runs next. */
function onPreempted(v: Vcpu): u32 {
  v.request = Request.Continue;
  return Next.Yield;
}

/** The guest spins, on a lock whose owner may be waiting for the CPU: others first. */
function onPause(v: Vcpu): u32 {
  v.skip();
  v.request = Request.Pass;
  return Next.Yield;
}

/** HLT: root takes the CPU until something is due. A debug exception, which a single step is, ends it (SDM Vol. 2A). */
function onHalt(v: Vcpu): u32 {
  v.skip();
  updateOutput(v);
  if (v.rflags & Rflags.TF || nmiDue(v)) return Next.Resume;
  // Another vCPU may send it an NMI, or start it anew.
  if (!(v.rflags & Rflags.IF) && info.vcpus == 1) return v.stop(StopReason.HaltedForever, v.rip);
  if (v.rflags & Rflags.IF && isDue(v)) return Next.Resume;
  return halt(v);
}

/** Waits for an interrupt. */
export function halt(v: Vcpu): u32 {
  v.halted = Halted.Hlt;
  return wait(v);
}

/** Waits, or goes on waiting. */
export function wait(v: Vcpu): u32 {
  v.request = Request.Halt;
  v.wake = nextEvent(v);
  return Next.Yield;
}

/** Waits for nothing but another vCPU. */
export function sleep(v: Vcpu): u32 {
  v.request = Request.Halt;
  v.wake = ~(<u64>0);
  return Next.Yield;
}
