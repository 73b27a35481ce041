/** Instructions that exit whatever the guest does, and are neither I/O nor registers. */
import { Refusal } from "../abi/exit";
import { StopReason } from "../abi/stop";
import { setXcr0 } from "../machine/fpu";
import { features } from "./cpuid";
import { queueException, raiseGp, raiseUd } from "./event";
import { Next, Vcpu } from "./vcpu";

/** XSETBV (SDM Vol. 2D): only XCR0, x87 always on, AVX not without SSE, AVX-512 all or nothing and not without AVX. */
function isGoodXcr0(value: u64): bool {
  if (!(value & 1) || value & ~features.xcr0) return false;
  if (value & 4 && !(value & 2)) return false;
  const wide = value & 0xe0;
  return wide == 0 || (wide == 0xe0 && (value & 4) != 0);
}

/**
 * XSETBV. The CPU has checked CR4.OSXSAVE. Faults for the privilege level come before exits too (SDM Vol. 3C 26.1.1), but
 * Bochs exits first: ring 3 must not get through there either. Needs v.system.cpl.
 */
export function onSetXcr(v: Vcpu): u32 {
  const value = (v.rdx << 32) | (<u32>v.rax);
  if (v.system.cpl != 0 || <u32>v.rcx != 0 || !isGoodXcr0(value)) {
    raiseGp(v);
    return Next.Resume;
  }
  setXcr0(value);
  v.skip();
  return Next.Resume;
}

/** INVD and WBINVD: guest memory is coherent without them. */
export function onCacheControl(v: Vcpu): u32 {
  v.skip();
  return Next.Resume;
}

export function onReadCounter(v: Vcpu): u32 {
  raiseGp(v);
  return Next.Resume;
}

export function onUndefined(v: Vcpu): u32 {
  v.refuse(Refusal.Undefined);
  raiseUd(v);
  return Next.Resume;
}

/** #DB and #AC are intercepted only so that they cannot be delivered without end: they go on to the guest. */
export function onException(v: Vcpu): u32 {
  queueException(v, v.exitVector, v.exitVector == 17, v.exitError);
  return Next.Resume;
}

export function onTripleFault(v: Vcpu): u32 {
  return v.stop(StopReason.TripleFault, v.rip);
}

export function onTaskSwitch(v: Vcpu): u32 {
  return v.stop(StopReason.TaskSwitch, v.exitQualification & 0xffff);
}

export function onRefused(v: Vcpu): u32 {
  return v.stop(StopReason.EntryRefused, v.reason);
}

export function onUnexpected(v: Vcpu): u32 {
  return v.stop(StopReason.UnexpectedExit, v.reason);
}
