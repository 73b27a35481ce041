/** One exit, one handler, whatever the vendor: but for I/O, and for MSRs and control registers (run.ts). */
import { Exit } from "../abi/exit";
import { Request } from "../abi/run";
import { onCpuid } from "../vcpu/cpuid";
import { onDebugException, onDebugMemory } from "../vcpu/debug";
import { onDebugRegister } from "../vcpu/dr";
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
import { Next, Vcpu } from "../vcpu/vcpu";
import { onHalt } from "./halt";

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
