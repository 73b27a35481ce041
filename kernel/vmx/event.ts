/** Injecting events and waiting for windows under VT-x (SDM Vol. 3C 27.6, Event Injection; 27.7.5 to 27.7.6, windows). */
import { bits } from "../lib/bits";
import { setCr2, setDr6 } from "../machine/registers";
import { interruptWindow, nmiWindow } from "../machine/vmcs";
import { EventType, Injection } from "../vcpu/event";
import { Attention, Blocking, Vcpu } from "../vcpu/vcpu";
import { Cr0 } from "../x86/cr";
import { DR6_RESET } from "../x86/dr";
import * as F from "./field";

const VALID: u32 = 0x80000000;
const HAS_ERROR: u32 = 1 << 11;
/** Pending debug exceptions (25.4.2): a single step is due; a breakpoint that DR7 enables was hit. */
export const PENDING_BS: u64 = 1 << 14;
const PENDING_ENABLED: u64 = 1 << 12;

/**
 * Whether an event waits for an entry that has not happened: root took the CPU after the event was chosen. The exit
 * after the entry clears the bit (28.2.5, Information for VM Exits Due to Instruction Execution).
 */
export function isInjecting(): bool {
  return (F.ENTRY_INTERRUPTION.read() & VALID) != 0;
}

/**
 * Reads what decides whether an event can be taken. A pending debug exception would be lost if an entry delivered an NMI
 * or an interrupt (27.7.3, Delivery of Pending Debug Exceptions after VM Entry).
 */
export function loadInterruptibility(v: Vcpu): void {
  v.rflags = F.GUEST_RFLAGS.read();
  v.blocking = F.GUEST_INTERRUPTIBILITY.read();
  v.debugDue = <u32>(F.GUEST_PENDING_DEBUG.read() & (PENDING_BS | PENDING_ENABLED));
}

/** Makes the next entry deliver the event. */
export function inject(v: Vcpu, i: Injection): void {
  const type = <u32>bits(i.event, 10, 8);
  if (i.event & HAS_ERROR) {
    // In real mode exceptions push no error code, and an entry that is to deliver one is refused (27.2.1.3).
    if (F.GUEST_CR0.read() & Cr0.PE) F.ENTRY_ERROR_CODE.write(i.error & 0xffff);
    else i.event &= ~HAS_ERROR;
  }
  if (type >= EventType.SoftwareInterrupt) F.ENTRY_LENGTH.write(i.length & 15);
  let blocking = v.blocking;
  if (type == EventType.HardwareException) {
    F.GUEST_RFLAGS.write(v.rflags);
    // A delivery ends this blocking (27.7.1, Interruptibility State), which an entry with TF allows only while a single
    // step is pending (27.3.1.5): not after the #DB of one.
    blocking &= ~(Blocking.Sti | Blocking.MovSs);
  }
  // An NMI that is delivered again: its first delivery has blocked NMIs already (27.3.1.5).
  if (type == EventType.Nmi) blocking &= ~Blocking.Nmi;
  if (blocking != v.blocking) F.GUEST_INTERRUPTIBILITY.write(blocking);
  v.blocking = blocking;
  F.ENTRY_INTERRUPTION.write(i.event);
}

/** Makes the next entry deliver an interrupt that the guest can take. */
export function injectInterrupt(vector: u32): void {
  F.ENTRY_INTERRUPTION.write(VALID | vector);
}

/** An exit when the guest's TPR falls below this class; 0 for none (25.6.8, Controls for APIC Virtualization). */
export function setTprThreshold(priority: u32): void {
  F.TPR_THRESHOLD.write(priority & 15);
}

/** After a reset nothing blocks events, and none waits. */
export function clearState(v: Vcpu): void {
  F.GUEST_INTERRUPTIBILITY.write(0);
  F.GUEST_PENDING_DEBUG.write(0);
  F.ENTRY_INTERRUPTION.write(0);
  setCr2(0);
  if (!v.debug) setDr6(DR6_RESET);
}

/**
 * Turns window exits on and off: `wanted` has Attention.Nmi and Attention.Interrupt. Where STI blocks, the one for NMIs may
 * open at once (26.2, Other Causes of VM Exits), and again and again; the one for interrupts opens after an instruction.
 */
export function setWindows(v: Vcpu, wanted: u32): void {
  if (v.blocking & Blocking.Sti && wanted & Attention.Nmi) wanted = Attention.Interrupt;
  const change = wanted ^ v.windows;
  if (change & Attention.Interrupt) interruptWindow((wanted & Attention.Interrupt) != 0);
  if (change & Attention.Nmi) nmiWindow((wanted & Attention.Nmi) != 0);
  v.windows = wanted;
}
