/** The monitor on VT-x: what root and the exit stub call. */
import { Injection } from "../vcpu/event";
import { Next, Vcpu } from "../vcpu/vcpu";
import { answerPlain, isPlain } from "../vcpu/cpuid";
import { Exit } from "../abi/exit";
import { Lapic } from "../device/lapicregister";
import { highestRequested, highestServing, levelTriggered } from "../device/lapicvirtual";
import { onControlRegister } from "../vmx/cr";
import {
  clearState,
  inject,
  injectInterrupt,
  isInjecting,
  loadInterruptibility,
  setTprThreshold,
  setWindows,
} from "../vmx/event";
import { Io, Reason, complete, decode, loadStringPort, skip, wrapEip } from "../vmx/exit";
import { requestInterrupt, setEoiExits, setInterruptStatus } from "../vmx/interrupts";
import { readMsr, writeMsr } from "../vmx/msr";
import { storeSystem } from "../vmx/system";
import * as F from "../vmx/field";
import { Rflags } from "../x86/cr";
import { isQuickMsr, takeSelfIpi, writeQuick, writeX2Msr } from "./apic";
import { updateOutput } from "./deliver";
import { lock, unlock } from "./lock";
import { readByte, writeByte } from "./platform";
import { onWide } from "./port";
import { attendWith, enterWith, handleWith, wantedWith } from "./run";
import { onStringPort } from "./stringport";
import { onVirtualApic } from "./virtualapic";


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
  setTprThreshold(priority: u32): void {
    setTprThreshold(priority);
  }
  tellInterrupts(l: Lapic): void {
    tellInterrupts(l);
  }
  injectInterrupt(vector: u32): void {
    injectInterrupt(vector);
  }
  setWindows(v: Vcpu, wanted: u32): void {
    setWindows(v, wanted);
  }
  storeSystem(v: Vcpu): void {
    storeSystem(v);
  }
  clearState(v: Vcpu): void {
    clearState(v);
  }
  readMsr(v: Vcpu): u32 {
    return readMsr(v);
  }
  writeMsr(v: Vcpu): u32 {
    return writeMsr(v);
  }
  onControlRegister(v: Vcpu): u32 {
    return onControlRegister(v);
  }
}

/** The highest request that is new, which is mostly all; or all that the APIC's page says. @noinline */
function tellInterrupts(l: Lapic): void {
  const s = l.state;
  const requested = s.irrTop;
  s.irrTop = 0;
  if (!s.levels) {
    requestInterrupt(requested);
    return;
  }
  s.levels = 0;
  setInterruptStatus(highestRequested(l), highestServing(l));
  setEoiExits(levelTriggered(l, 0), levelTriggered(l, 1), levelTriggered(l, 2), levelTriggered(l, 3));
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
  if (how == Io.IN) {
    lock();
    v.al = readByte(v, q >> Io.PORT);
    unlock();
  } else if (how == 0) {
    lock();
    writeByte(v, q >> Io.PORT, v.al);
    unlock();
  } else {
    return onOtherIo(v, q);
  }
  skip(v.rip);
  return resume(v);
}

function handle(v: Vcpu, kind: u32): u32 {
  if (kind == Exit.Wanted) {
    updateOutput(v);
    return Next.Resume;
  }
  if (kind == Exit.Apic)
    return onVirtualApic(v, v.reason == Reason.VIRTUALIZED_EOI, <u32>v.exitQualification);
  return kind == Exit.Refused && wrapEip(v) ? Next.Resume : handleWith(vmx, v, kind);
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

/** Whether the guest could take an interrupt behind the instruction that has exited, and has nothing else to see to. */
function canTake(v: Vcpu): bool {
  return !v.attention && (F.GUEST_RFLAGS.read() & (Rflags.IF | Rflags.TF)) == Rflags.IF;
}

/** WRMSR of an x2APIC register or of the timer's deadline; if it is #GP, nothing has been done yet. @noinline */
function onWriteMsr(v: Vcpu): u32 {
  const index = <u32>v.rcx;
  if (!isQuickMsr(index)) return onOther(v, Reason.WRMSR);
  const value = (v.rdx << 32) | (<u32>v.rax);
  if (!writeQuick(v, index, value)) {
    if (canTake(v) && takeSelfIpi(v, index, value)) injectInterrupt(<u32>value);
    else if (!writeX2Msr(v, index, value)) return onOther(v, Reason.WRMSR);
  }
  v.count(Exit.WriteMsr, Reason.WRMSR);
  skip(v.rip);
  return resume(v);
}

/** The host's timer came for the guest, or another CPU wants the vCPU to look. @noinline */
function onWanted(v: Vcpu): u32 {
  v.count(Exit.Wanted, Reason.EXTERNAL_INTERRUPT);
  return wantedWith(vmx, v) ? Next.Resume : resume(v);
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
  if (reason == Reason.IO) return onIo(v);
  if (reason == Reason.WRMSR) return onWriteMsr(v);
  return reason == Reason.EXTERNAL_INTERRUPT ? onWanted(v) : onOther(v, reason);
}
