/** Choosing the event that the next entry delivers: exceptions and NMIs from the vCPU, interrupts from the platform. */
import { VM_INFO } from "../abi/address";
import { StopReason } from "../abi/stop";
import { VmFeature, VmInfo } from "../abi/vminfo";
import { lapic, post, vcpus } from "../device/apicbus";
import { driveInput, handsPicTo } from "../device/ioapic";
import { acknowledge, driveLint0, heldByTpr, lapicOutput, listensToPic } from "../device/lapic";
import { Lapic, Signal } from "../device/lapicregister";
import { isVirtualDue } from "../device/lapicvirtual";
import { acknowledgeInterrupt, picOutput } from "../device/pic8259";
import { HELD, Injection, injectInterrupt, interruptible, takeEvent } from "../vcpu/event";
import { Attention, Next, Vcpu } from "../vcpu/vcpu";
import { lapicOf, settleApic } from "./apic";
import { lock, unlock } from "./lock";

/** The I/O APIC's input that the 8259s' output is wired to, as on a PC. */
const PIC_INPUT: u32 = 0;

/** The vector that the APIC asks for; 0 for none, and where the CPU sees to its interrupts by itself. */
function output(l: Lapic): u32 {
  return l.state.virtual ? 0 : lapicOutput(l);
}

/** Whether there is an interrupt for software that lets it come. */
export function isDue(v: Vcpu): bool {
  if (v.attention & Attention.Interrupt) return true;
  const l = lapicOf(v);
  return l.state.virtual != 0 && isVirtualDue(l);
}

/** Whether the processor is asked for an interrupt: by its APIC, by the 8259s, or by one that it has taken and not delivered. */
export function updateOutput(v: Vcpu): void {
  const l = lapicOf(v);
  if (v.heldInterrupt || l.state.extInt || output(l)) v.attention |= Attention.Interrupt;
  else v.attention &= ~Attention.Interrupt;
  if (l.state.virtual && l.state.irrTop | l.state.levels) v.attention |= Attention.Virtual;
  if (hasTprShadow() && (heldByTpr(l) || v.tprThreshold)) v.attention |= Attention.Tpr;
}

/** Whether the guest's TPR may fall without an exit. */
function hasTprShadow(): bool {
  return (changetype<VmInfo>(VM_INFO).features & VmFeature.TprShadow) != 0;
}

/** Whether the 8259s' output reaches this vCPU, by LINT0 or through the I/O APIC. The caller goes on to updateOutput(). */
export function lookAtPic(v: Vcpu): void {
  const l = lapicOf(v);
  const up = picOutput();
  const direct = driveLint0(l, up);
  l.state.extInt = direct || (up && handsPicTo(l, PIC_INPUT, v.number)) ? 1 : 0;
}

/** The 8259s' output may have changed: for this vCPU, and for all that listen. With the VM's lock. */
export function updatePic(v: Vcpu): void {
  const own = v.number;
  driveInput(PIC_INPUT, picOutput(), own);
  for (let n: u32 = 0; n < vcpus(); n++) {
    if (n != own && (listensToPic(lapic(n)) || handsPicTo(lapic(n), PIC_INPUT, own)))
      post(n, Signal.Pic, own);
  }
  lapicOf(v).signal(Signal.Pic);
  settleApic(v);
}

/** Whether the processor is still asked for an interrupt: TPR may have changed without an exit. */
export function isAsked(v: Vcpu): bool {
  const l = lapicOf(v);
  if (v.heldInterrupt || l.state.extInt || output(l)) return true;
  updateOutput(v);
  return false;
}

/** The vector of the next interrupt, which is taken. */
export function takeInterrupt(v: Vcpu): u32 {
  const l = lapicOf(v);
  if (l.state.extInt) {
    lock();
    const vector = acknowledgeInterrupt();
    updatePic(v);
    unlock();
    return vector;
  }
  const vector = lapicOutput(l);
  acknowledge(l, vector);
  updateOutput(v);
  return vector;
}

/**
 * Fills in the injection and returns Next.Resume, or Next.Stop for a triple fault. Needs v.rflags and v.blocking. What
 * stays in v.attention of NMIs and interrupts wants a window.
 */
export function chooseEvent(v: Vcpu, injection: Injection): u32 {
  if (!takeEvent(v, injection)) return v.stop(StopReason.TripleFault, v.rip);
  if (v.heldInterrupt) v.attention |= Attention.Interrupt;
  if (injection.event != 0 || !(v.attention & Attention.Interrupt) || !interruptible(v)) return Next.Resume;
  if (!isAsked(v)) return Next.Resume;
  if (v.heldInterrupt & HELD) {
    injectInterrupt(injection, v.heldInterrupt & 0xff);
    v.heldInterrupt = 0;
    updateOutput(v);
  } else {
    injectInterrupt(injection, takeInterrupt(v));
  }
  return Next.Resume;
}
