/** One exit, one handler. */
import { Exit } from "../abi/exit";
import { Request } from "../abi/run";
import { StopReason } from "../abi/stop";
import { onCpuid } from "../vcpu/cpuid";
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
import { onReadMsr, onWriteMsr } from "../vcpu/msr";
import { Attention, Next, Vcpu } from "../vcpu/vcpu";
import { Rflags } from "../x86/cr";
import { afterPort, nextEvent, readPort, writePort } from "./platform";
import { onStringPort } from "./stringport";

export function dispatch(v: Vcpu, kind: u32): u32 {
  switch (kind) {
    case Exit.Cpuid:
      return onCpuid(v);
    case Exit.Port:
      return onPort(v);
    case Exit.Halt:
      return onHalt(v);
    case Exit.InterruptWindow:
    case Exit.NmiWindow:
      return Next.Resume;
    case Exit.ReadMsr:
      return onReadMsr(v);
    case Exit.WriteMsr:
      return onWriteMsr(v);
    case Exit.Exception:
      return onException(v);
    case Exit.SetXcr:
      return onSetXcr(v);
    case Exit.CacheControl:
      return onCacheControl(v);
    case Exit.ReadCounter:
      return onReadCounter(v);
    case Exit.Undefined:
      return onUndefined(v);
    case Exit.Memory:
      return onLooked(v, kind);
    case Exit.TripleFault:
      return onTripleFault(v);
    case Exit.TaskSwitch:
      return onTaskSwitch(v);
    case Exit.Refused:
      return onRefused(v);
    default:
      return onUnexpected(v);
  }
}

function onPort(v: Vcpu): u32 {
  if (v.portString) return onLooked(v, Exit.Port);
  if (v.portIn) {
    const value = readPort(v, v.port, v.portSize);
    if (v.portSize == 1) v.rax = (v.rax & ~0xff) | value;
    else if (v.portSize == 2) v.rax = (v.rax & ~0xffff) | value;
    else v.rax = value;
  } else {
    writePort(v, v.port, v.portSize, <u32>v.rax);
  }
  v.skip();
  return asRequest(v, afterPort(v), Request.Console);
}

function asRequest(v: Vcpu, next: u32, request: u32): u32 {
  if (next == Next.Yield) v.request = request;
  return next;
}

/** The instruction has to be looked at. Two callers, and so not inlined: it stays out of the way of the quick exits. */
function onLooked(v: Vcpu, kind: u32): u32 {
  return kind == Exit.Memory ? onMemory(v) : asRequest(v, onStringPort(v), Request.Console);
}

/** HLT: root takes the CPU until something is due. */
function onHalt(v: Vcpu): u32 {
  v.skip();
  if (v.attention & Attention.Nmi) return Next.Resume;
  if (!(v.rflags & Rflags.IF)) return v.stop(StopReason.HaltedForever, v.rip);
  if (v.attention & Attention.Interrupt) return Next.Resume;
  return halt(v);
}

/** Waits for an interrupt, or goes on waiting. */
export function halt(v: Vcpu): u32 {
  v.halted = 1;
  v.wake = nextEvent();
  return asRequest(v, Next.Yield, Request.Halt);
}
