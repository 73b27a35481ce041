/**
 * Model-specific registers: what is not named here, or by the vendor's own code (vmx/msr.ts, svm/msr.ts), does not exist, and
 * is #GP, counted. Those that the CPU switches by itself never exit.
 */
import { Refusal } from "../abi/exit";
import { Cr0, Efer } from "../x86/cr";
import * as Msr from "../x86/msr";
import { tsc } from "../machine/time";
import { features } from "./cpuid";
import { raiseGp } from "./event";
import { clockOf, guestTsc } from "./clock";
import { isKvmMsr, readKvmMsr, updateKvmClock, writeKvmMsr } from "./kvmclock";
import { Dirty, Next, Vcpu } from "./vcpu";

function read(v: Vcpu, index: u32): u64 {
  switch (index) {
    case Msr.IA32_TIME_STAMP_COUNTER:
      return guestTsc(v, tsc());
    case Msr.IA32_TSC_ADJUST:
      return clockOf(v).adjust;
    case Msr.IA32_BIOS_SIGN_ID:
    case Msr.IA32_DEBUGCTL:
      return 0;
    case Msr.IA32_EFER:
      return v.system.efer;
    default:
      if (isKvmMsr(index)) return readKvmMsr(v, index);
      v.refuse(Refusal.UnknownMsr);
      raiseGp(v);
      return 0;
  }
}

/** RDMSR gives this value. */
export function answerMsr(v: Vcpu, value: u64): u32 {
  v.rax = <u32>value;
  v.rdx = value >> 32;
  v.skip();
  return Next.Resume;
}

/** WRMSR is done. */
export function takeMsr(v: Vcpu): u32 {
  v.skip();
  return Next.Resume;
}

/** Needs v.system.efer. */
export function onReadMsr(v: Vcpu): u32 {
  const attention = v.attention;
  const value = read(v, <u32>v.rcx);
  return v.attention != attention ? Next.Resume : answerMsr(v, value);
}

/** Whether WRMSR of this value to EFER is taken (SDM Vol. 3A 2.2.1): LMA is the CPU's, LME is fixed while paging is on. */
function writeEfer(v: Vcpu, value: u64): bool {
  const s = v.system;
  if (value & ~features.efer) return false;
  if ((value ^ s.efer) & Efer.LME && s.cr0 & Cr0.PG) return false;
  s.efer = (value & ~Efer.LMA) | (s.efer & Efer.LMA);
  v.dirty |= Dirty.Efer;
  return true;
}

function moveTsc(v: Vcpu, change: u64): void {
  clockOf(v).offset += change;
  clockOf(v).adjust += change;
  v.dirty |= Dirty.TscOffset;
  updateKvmClock(v);
}

/** Whether the write is taken; if not it is #GP. */
function write(v: Vcpu, index: u32, value: u64): bool {
  switch (index) {
    case Msr.IA32_TIME_STAMP_COUNTER:
      // A write moves IA32_TSC_ADJUST by as much (SDM Vol. 3B 18.17.3, Time-Stamp Counter Adjustment).
      moveTsc(v, value - guestTsc(v, tsc()));
      return true;
    case Msr.IA32_TSC_ADJUST:
      moveTsc(v, value - clockOf(v).adjust);
      return true;
    case Msr.IA32_BIOS_SIGN_ID:
    case Msr.IA32_DEBUGCTL:
      return value == 0;
    case Msr.IA32_EFER:
      return writeEfer(v, value);
    default:
      if (isKvmMsr(index)) return writeKvmMsr(v, index, value);
      v.refuse(Refusal.UnknownMsr);
      return false;
  }
}

/** Needs v.system.efer and cr0. */
export function onWriteMsr(v: Vcpu): u32 {
  if (write(v, <u32>v.rcx, (v.rdx << 32) | (<u32>v.rax))) return takeMsr(v);
  raiseGp(v);
  return Next.Resume;
}
