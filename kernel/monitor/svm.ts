/** The monitor on AMD-V: what root and the exit stub call. */
import { Exit } from "../abi/exit";
import { Lapic } from "../device/lapicregister";
import { answerPlain, isPlain } from "../vcpu/cpuid";
import { Injection } from "../vcpu/event";
import { Next, Vcpu } from "../vcpu/vcpu";
import { Code } from "../svm/code";
import { onControlRegister } from "../svm/cr";
import {
  clearState,
  inject,
  injectInterrupt,
  isInjecting,
  loadInterruptibility,
  saveInterrupted,
  setWindows,
} from "../svm/event";
import { Io, complete, decode, loadStringPort, step } from "../svm/exit";
import * as F from "../svm/field";
import { Rflags } from "../x86/cr";
import { nextRip } from "../svm/length";
import { readMsr, writeMsr } from "../svm/msr";
import { storeSystem } from "../svm/system";
import { isQuickMsr, takeSelfIpi, writeQuick, writeX2Msr } from "./apic";
import { lock, unlock } from "./lock";
import { readByte, writeByte } from "./platform";
import { onWide } from "./port";
import { attendWith, enterWith, handleWith, wantedWith } from "./run";
import { onStringPort } from "./stringport";


@unmanaged
class Svm {
  isInjecting(): bool {
    return isInjecting();
  }
  loadInterruptibility(v: Vcpu): void {
    loadInterruptibility(v);
  }
  inject(v: Vcpu, i: Injection): void {
    inject(v, i);
  }
  /** MOV to CR8 exits. */
  setTprThreshold(priority: u32): void {}
  tellInterrupts(l: Lapic): void {}
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

const svm = changetype<Svm>(0);

/** @noinline */
function attend(v: Vcpu): u32 {
  return attendWith(svm, v);
}

/** Root gives the vCPU the CPU: returns Leave.Resume to enter the guest. */
export function enter(area: usize): u32 {
  const v = changetype<Vcpu>(area);
  // A host interrupt may have come in the middle of a delivery.
  saveInterrupted(v);
  const next = enterWith(svm, v);
  return next == Next.Resume ? resume(v) : next;
}

/** What an exit ends with when its handler says to go on. */
function resume(v: Vcpu): u32 {
  return v.attention ? attend(v) : Next.Resume;
}

/** INS and OUTS, and IN and OUT of 2 and 4 bytes. @noinline */
function onOtherIo(v: Vcpu, info: u32): u32 {
  if (info & Io.STRING) {
    loadStringPort(v, info);
    onStringPort(v);
    complete(v);
  } else {
    onWide(v, info >> Io.PORT, (info >> Io.SIZE) & 7, info & Io.IN);
    step(v, F.EXIT_INFO_2.read());
  }
  return resume(v);
}

/** I/O instructions: EXITINFO2 is the next one's address. @noinline */
function onIo(v: Vcpu): u32 {
  v.count(Exit.Port, Code.IOIO);
  const info = <u32>F.EXIT_INFO_1.read();
  const how = info & (Io.IN | Io.STRING | (7 << Io.SIZE));
  if (how == (Io.IN | (1 << Io.SIZE))) {
    lock();
    v.al = readByte(v, info >> Io.PORT);
    unlock();
  } else if (how == 1 << Io.SIZE) {
    lock();
    writeByte(v, info >> Io.PORT, v.al);
    unlock();
  } else {
    return onOtherIo(v, info);
  }
  step(v, F.EXIT_INFO_2.read());
  return resume(v);
}

/** @noinline */
function onOther(v: Vcpu, code: u32): u32 {
  v.reason = code;
  const kind = decode(v);
  v.count(kind, code);
  const next = handleWith(svm, v, kind);
  complete(v);
  return next == Next.Resume ? resume(v) : next;
}

/** Whether the guest could take an interrupt behind the instruction that has exited, and has nothing else to see to. */
function canTake(v: Vcpu): bool {
  return !v.attention && (F.RFLAGS.read() & (Rflags.IF | Rflags.TF)) == Rflags.IF;
}

/** WRMSR of an x2APIC register or of the timer's deadline; if it is #GP, nothing has been done yet. @noinline */
function onMsrExit(v: Vcpu): u32 {
  const index = <u32>v.rcx;
  if (F.EXIT_INFO_1.read() & 1 && isQuickMsr(index)) {
    const next = nextRip(v, Code.WRITE_MSR);
    const value = (v.rdx << 32) | (<u32>v.rax);
    const quick = next && writeQuick(v, index, value);
    const taken = next && !quick && canTake(v) && takeSelfIpi(v, index, value);
    if (quick || taken || (next && writeX2Msr(v, index, value))) {
      v.count(Exit.WriteMsr, Code.MSR);
      step(v, next);
      if (taken) injectInterrupt(<u32>value);
      return resume(v);
    }
  }
  return onOther(v, Code.MSR);
}

/** The host's timer came for the guest, or another CPU wants the vCPU to look. @noinline */
function onWanted(v: Vcpu): u32 {
  v.count(Exit.Wanted, Code.INTR);
  saveInterrupted(v);
  return wantedWith(svm, v) ? Next.Resume : resume(v);
}

/** Exits beside I/O and CPUID. @noinline */
function onRest(v: Vcpu, code: u32): u32 {
  if (code == Code.MSR) return onMsrExit(v);
  return code == Code.INTR ? onWanted(v) : onOther(v, code);
}

/** The guest exited with `code` (APM Vol. 2 Appendix C). What comes most often goes first. */
export function exit(area: usize, code: u32): u32 {
  const v = changetype<Vcpu>(area);
  v.rip = F.RIP.read();
  if (code == Code.IOIO) return onIo(v);
  const leaf = <u32>v.rax;
  if (code != Code.CPUID || !isPlain(leaf)) return onRest(v, code);
  const next = nextRip(v, Code.CPUID);
  if (!next) return onOther(v, code);
  v.count(Exit.Cpuid, code);
  answerPlain(v, leaf);
  step(v, next);
  return resume(v);
}
