/** The local APIC as its vCPU has it: MSRs, CR8, memory, its timer, and what it asks of the vCPU. */
import { LAPIC_AREA, VCPU_AREA, VCPU_AREA_SIZE, VM_INFO } from "../abi/address";
import { Refusal } from "../abi/exit";
import { VmInfo } from "../abi/vminfo";
import { drainMailbox, hasMail } from "../device/apicbus";
import { endInterrupt, takeAtOnce } from "../device/lapic";
import { endLevel } from "../device/ioapic";
import { writeTpr, readX2, readXapic, writeX2, writeXapic } from "../device/lapicaccess";
import { writeBase } from "../device/lapicmode";
import { Base, Lapic, Signal } from "../device/lapicregister";
import {
  Times,
  isDeadlineDue,
  moveDeadline,
  readDeadline,
  scheduleTimer,
  takeDeadline,
  updateTimer,
  writeDeadline,
} from "../device/lapictimer";
import { tsc } from "../machine/time";
import { clockOf, guestTsc } from "../vcpu/clock";
import { features, noteApic } from "../vcpu/cpuid";
import { raiseGp } from "../vcpu/event";
import { answerMsr, takeMsr } from "../vcpu/msr";
import { RSP } from "../vcpu/operand";
import { Attention, Dirty, Next, Vcpu } from "../vcpu/vcpu";
import { crystalShift } from "../x86/crystal";
import * as Msr from "../x86/msr";
import { lookAtPic, updateOutput } from "./deliver";
import { lock, unlock } from "./lock";
import { followMode } from "./virtualapic";
import { rearm } from "./wiring";

const EOI_MSR: u32 = 0x80b;
const SELF_IPI_MSR: u32 = 0x83f;
const X2APIC_MSRS: u32 = 0x100;
/** Offset in an APIC's page of what its vCPU notes of time, and of a value that is read. */
const TIMES: usize = 0x900;
const VALUE: usize = 0x980;

if (VCPU_AREA_SIZE != 4096) ERROR("a vCPU's area is not as large as its APIC's page");

/** A vCPU's APIC: its page is as far from its area as all others' are. */
export function lapicOf(v: Vcpu): Lapic {
  return changetype<Lapic>(changetype<usize>(v) + (LAPIC_AREA - VCPU_AREA));
}

function timesOf(l: Lapic): Times {
  return changetype<Times>(changetype<usize>(l) + TIMES);
}

/** What time it is. */
function times(l: Lapic): Times {
  const t = timesOf(l);
  const v = changetype<Vcpu>(changetype<usize>(l) - (LAPIC_AREA - VCPU_AREA));
  t.now = tsc();
  t.guest = guestTsc(v, t.now);
  t.elapsed = t.guest - clockOf(v).adjust;
  return t;
}

/** How fast the guest's time passes never changes: noted once, before the vCPU runs. */
export function startTimes(v: Vcpu): void {
  const t = timesOf(lapicOf(v));
  const info = changetype<VmInfo>(VM_INFO);
  t.shift = crystalShift(info.guestTscHz);
  t.inverse = info.tscInverse;
}

/** Only the write of EOI is followed by this, and nobody does that with the VM's lock. @noinline */
function endLevelHere(vector: u32, own: u32): void {
  lock();
  endLevel(vector, own);
  unlock();
}

/** Sees to what the APIC has for its vCPU. INIT and SIPI wait until the instruction that exited is complete. @noinline */
export function settleApic(v: Vcpu): void {
  const s = lapicOf(v).state;
  if (s.signals & Signal.Mode) followMode(v);
  if (s.signals & (Signal.Lint0 | Signal.Pic)) lookAtPic(v);
  if (s.signals & Signal.Eoi) endLevelHere(s.ended, s.number);
  const what = s.signals;
  s.signals = what & (Signal.Init | Signal.Sipi);
  if (what & Signal.Nmi) v.attention |= Attention.Nmi;
  if (what & (Signal.Init | Signal.Sipi)) v.attention |= Attention.Init;
  if (what & (Signal.Timer | Signal.Devices)) rearm(v);
  updateOutput(v);
}

/** What an access has caused is mostly that there may be an interrupt, or none any more. */
function settle(v: Vcpu): void {
  const s = lapicOf(v).state;
  if (s.signals & ~Signal.Output) {
    settleApic(v);
  } else {
    s.signals = 0;
    updateOutput(v);
  }
}

/** Takes what other vCPUs have for this one, and the timer's interrupt if it is due. */
export function pollApic(v: Vcpu, now: u64): void {
  const l = lapicOf(v);
  if (hasMail(l)) drainMailbox(l);
  if (now >= l.state.due && !isDeadlineDue(l)) updateTimer(l, times(l));
  if (l.state.signals) settle(v);
}

/** The guest's TSC has been changed: a deadline of its timer is at another time. */
export function retime(v: Vcpu): void {
  const l = lapicOf(v);
  if (!l.state.tscDeadline) return;
  scheduleTimer(l, times(l));
  settleApic(v);
}

/** Whether RDMSR and WRMSR of this register are the local APIC's. */
export function isApicMsr(index: u32): bool {
  return isQuickMsr(index) || index == Msr.IA32_APIC_BASE;
}

/** Whether WRMSR of it is worth a short way. */
export function isQuickMsr(index: u32): bool {
  return index - Msr.X2APIC_BASE < X2APIC_MSRS || index == Msr.IA32_TSC_DEADLINE;
}

/** What RDMSR reads is at VALUE; false for #GP. */
function read(l: Lapic, index: u32): bool {
  const value = changetype<usize>(l) + VALUE;
  if (index == Msr.IA32_APIC_BASE) {
    store<u64>(value, l.state.base);
  } else if (index == Msr.IA32_TSC_DEADLINE) {
    store<u64>(value, readDeadline(l, times(l)));
  } else {
    return l.isX2 && readX2(l, times(l), index - Msr.X2APIC_BASE, value);
  }
  return true;
}

/** Whether an x2APIC register has to do with time: SVR, the LVT, the timer's own. */
function isTimed(number: u32): bool {
  return number == 0x0f || (number > 0x30 && number < 0x3f);
}

/** WRMSR of what is written most, as it mostly is: EOI, and a deadline to come. False: it is not that, and nothing has been done. */
export function writeQuick(v: Vcpu, index: u32, value: u64): bool {
  const l = lapicOf(v);
  if (index == EOI_MSR && !value && l.isX2) {
    endInterrupt(l);
    if (l.state.signals) settle(v);
    return true;
  }
  if (index != Msr.IA32_TSC_DEADLINE || !moveDeadline(l, times(l), value)) return false;
  rearm(v);
  return true;
}

/** WRMSR of self-IPI, of a vCPU that can take interrupts and has nothing else to see to: whether it has taken this one, to be injected. */
export function takeSelfIpi(v: Vcpu, index: u32, value: u64): bool {
  const l = lapicOf(v);
  return index == SELF_IPI_MSR && value < 256 && l.isX2 && takeAtOnce(l, <u32>value);
}

/** The timer's deadline has come for a vCPU like that, and nobody else wants it: the vector that it has taken, or 0. */
export function takeTimer(v: Vcpu, now: u64): u32 {
  const l = lapicOf(v);
  return now >= l.state.due && !hasMail(l) && l.isEnabled ? takeDeadline(l) : 0;
}

/** The same where the CPU delivers the interrupt, whenever it can: whether it needs but be told. */
export function requestTimer(v: Vcpu, now: u64): bool {
  const l = lapicOf(v);
  if (now < l.state.due || hasMail(l) || !isDeadlineDue(l)) return false;
  l.state.signals &= ~Signal.Output;
  return !l.state.signals;
}

/** WRMSR of an x2APIC register, or of IA32_TSC_DEADLINE; false for #GP, with no effect. @noinline */
export function writeX2Msr(v: Vcpu, index: u32, value: u64): bool {
  const l = lapicOf(v);
  if (index == Msr.IA32_TSC_DEADLINE) {
    writeDeadlineMsr(v, value);
    return true;
  }
  if (!l.isX2) return false;
  const number = index - Msr.X2APIC_BASE;
  if (!writeX2(l, isTimed(number) ? times(l) : timesOf(l), number, value)) return false;
  if (l.state.signals) settleApic(v);
  return true;
}

/** WRMSR of IA32_TSC_DEADLINE. */
function writeDeadlineMsr(v: Vcpu, value: u64): void {
  const l = lapicOf(v);
  writeDeadline(l, times(l), value);
  if (l.state.signals) settleApic(v);
}

function write(v: Vcpu, index: u32, value: u64): bool {
  const l = lapicOf(v);
  if (index != Msr.IA32_APIC_BASE) return writeX2Msr(v, index, value);
  if (!writeBase(l, value, features.physicalMask)) return false;
  noteApic(v, l.isEnabled);
  settleApic(v);
  return true;
}

export function onReadApicMsr(v: Vcpu): u32 {
  const l = lapicOf(v);
  if (!read(l, <u32>v.rcx)) {
    v.refuse(Refusal.UnknownMsr);
    raiseGp(v);
    return Next.Resume;
  }
  if (l.state.signals) settleApic(v);
  return answerMsr(v, load<u64>(changetype<usize>(l) + VALUE));
}

export function onWriteApicMsr(v: Vcpu): u32 {
  if (write(v, <u32>v.rcx, (v.rdx << 32) | (<u32>v.rax))) return takeMsr(v);
  v.refuse(Refusal.UnknownMsr);
  raiseGp(v);
  return Next.Resume;
}

/** MOV to and from CR8, which is the upper half of TPR (SDM Vol. 3A 11.8.6, Task Priority in IA-32e Mode). */
export function onCr8(v: Vcpu): u32 {
  const l = lapicOf(v);
  if (v.crRead) {
    v.setGpr(v.crGpr, l.tpr >> 4);
    if (v.crGpr == RSP) v.dirty |= Dirty.Registers;
  } else {
    if (v.crValue > 15) {
      raiseGp(v);
      return Next.Resume;
    }
    writeTpr(l, (<u32>v.crValue) << 4);
    settleApic(v);
  }
  v.skip();
  return Next.Resume;
}

/** Whether a guest-physical address is in the page of the vCPU's APIC: in xAPIC mode only. */
export function isApicPage(v: Vcpu, gpa: u64): bool {
  const base = lapicOf(v).state.base;
  return (base & (Base.ENABLE | Base.X2)) == Base.ENABLE && gpa >> 12 == (base & Base.ADDRESS) >> 12;
}

/** Registers are words on 16 bytes each (11.4.1); other bytes of the 16 read 0. */
export function readApicPage(v: Vcpu, offset: u32): u64 {
  const l = lapicOf(v);
  const within = offset & 15;
  if (within >= 4) return 0;
  const word = readXapic(l, times(l), offset & ~15);
  if (l.state.signals) settleApic(v);
  return word >> (within * 8);
}

/** Only whole words are taken. */
export function writeApicPage(v: Vcpu, offset: u32, size: u32, value: u64): void {
  if (offset & 15 || size < 4) return;
  const l = lapicOf(v);
  writeXapic(l, times(l), offset, <u32>value);
  if (l.state.signals) settleApic(v);
}
