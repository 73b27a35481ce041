/** The monitor on VT-x: what root and the exit stub call. */
import { Injection } from "../vcpu/event";
import { Next, Vcpu } from "../vcpu/vcpu";
import { answerPlain, isPlain } from "../vcpu/cpuid";
import { Exit } from "../abi/exit";
import { onControlRegister } from "../vmx/cr";
import { inject, isInjecting, loadInterruptibility, setWindows } from "../vmx/event";
import { Io, Reason, complete, decode, loadStringPort, skip, wrapEip } from "../vmx/exit";
import { readMsr, writeMsr } from "../vmx/msr";
import { storeSystem } from "../vmx/system";
import * as F from "../vmx/field";
import { dispatch } from "./dispatch";
import { readByte, writeByte } from "./platform";
import { onWide } from "./port";
import { attendWith, enterWith } from "./run";
import { onStringPort } from "./stringport";


@unmanaged
class Vmx {
  isInjecting(): bool {
    return isInjecting();
  }
  loadInterruptibility(v: Vcpu): void {
    loadInterruptibility(v);
  }
  inject(v: Vcpu, i: Injection): void {
    inject(v, i);
  }
  setWindows(v: Vcpu, wanted: u32): void {
    setWindows(v, wanted);
  }
  storeSystem(v: Vcpu): void {
    storeSystem(v);
  }
}

const vmx = changetype<Vmx>(0);

/** @noinline */
function attend(v: Vcpu): u32 {
  return attendWith(vmx, v);
}

/** Root gives the vCPU the CPU: returns Leave.Resume to enter the guest. */
export function enter(area: usize): u32 {
  const v = changetype<Vcpu>(area);
  const next = enterWith(vmx, v);
  return next == Next.Resume ? resume(v) : next;
}

/** What an exit ends with when its handler says to go on. */
function resume(v: Vcpu): u32 {
  return v.attention ? attend(v) : Next.Resume;
}

/** INS and OUTS, and IN and OUT of 2 and 4 bytes. @noinline */
function onOtherIo(v: Vcpu, q: u32): u32 {
  if (q & Io.STRING) {
    loadStringPort(v, q);
    onStringPort(v);
    complete(v);
  } else {
    onWide(v, q >> Io.PORT, (q & Io.SIZE) + 1, q & Io.IN);
    skip(v.rip);
  }
  return resume(v);
}

/** I/O instructions. @noinline */
function onIo(v: Vcpu): u32 {
  v.count(Exit.Port, Reason.IO);
  const q = <u32>F.QUALIFICATION.read();
  const how = q & (Io.SIZE | Io.IN | Io.STRING);
  if (how == Io.IN) v.al = readByte(v, q >> Io.PORT);
  else if (how == 0) writeByte(v, q >> Io.PORT, v.al);
  else return onOtherIo(v, q);
  skip(v.rip);
  return resume(v);
}

function handle(v: Vcpu, kind: u32): u32 {
  if (kind == Exit.ReadMsr) return readMsr(v);
  if (kind == Exit.WriteMsr) return writeMsr(v);
  if (kind == Exit.ControlRegister) return onControlRegister(v);
  return kind == Exit.Refused && wrapEip(v) ? Next.Resume : dispatch(v, kind);
}

/** @noinline */
function onOther(v: Vcpu, reason: u32): u32 {
  v.reason = reason;
  const kind = decode(v);
  v.count(kind, reason);
  const next = handle(v, kind);
  complete(v);
  return next == Next.Resume ? resume(v) : next;
}

/** The guest exited for `reason` (SDM Vol. 3C 28.2.1). What comes most often goes first. */
export function exit(area: usize, reason: u32): u32 {
  const v = changetype<Vcpu>(area);
  const rip = F.GUEST_RIP.read();
  v.rip = rip;
  const leaf = <u32>v.rax;
  if (reason == Reason.CPUID && isPlain(leaf)) {
    v.count(Exit.Cpuid, reason);
    answerPlain(v, leaf);
    skip(rip);
    return resume(v);
  }
  return reason == Reason.IO ? onIo(v) : onOther(v, reason);
}
