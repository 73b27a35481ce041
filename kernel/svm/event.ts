/** Injecting events and waiting for windows under AMD-V (APM Vol. 2 15.20, Event Injection; 15.21, Interrupt and Local APIC Support). */
import { VM_INFO } from "../abi/address";
import { VmFeature, VmInfo } from "../abi/vminfo";
import { bits } from "../lib/bits";
import { deadline, tsc } from "../machine/time";
import { flush, interceptIret, interceptVirtual } from "../machine/vmcb";
import { EventType, Injection } from "../vcpu/event";
import { Attention, Blocking, NmiMask, Vcpu } from "../vcpu/vcpu";
import { Cr0, Rflags } from "../x86/cr";
import { DR6_BS, DR6_RESET, DR7_GD, DR7_RESET } from "../x86/dr";
import { Vector } from "../x86/vector";
import * as F from "./field";

const VALID: u32 = 0x80000000;
/**
 * Parts of a second, as shifts, until the exit for an event that waits without one of its own: 30 us, and for an NMI twice as much
 * each time, until an entry and an instruction take less.
 */
const SOONEST: u32 = 15;
const LATEST: u32 = 7;

/**
 * Whether a virtual interrupt with a vector is in the VMCB: one that the guest is to take, where none may be injected. The CPU
 * clears V_IRQ when it has (15.21.4, Injecting Virtual (INTR) Interrupts). The window's has no vector.
 */
function isRequested(): bool {
  const word = F.VIRTUAL_INTERRUPT.read();
  return word >> F.V_VECTOR != 0 && (word & F.V_IRQ) != 0;
}

/** A virtual interrupt for the guest to take, or, with vector 0, for its intercept to say that it can. */
function request(vector: u32): void {
  F.VIRTUAL_INTERRUPT.write(F.V_IRQ | F.V_HIGHEST | F.V_IGNORE_TPR | ((<u64>vector) << F.V_VECTOR));
}

/** Whether an event waits for an entry that has not happened. The exit after it clears the bit (15.6, #VMEXIT). */
export function isInjecting(): bool {
  return (F.EVENT_INJECTION.read() & F.EVENT_VALID) != 0 || isRequested();
}

/**
 * The CPU blocks no NMIs for those that are injected (15.21.9, NMI Support): the monitor keeps that, and IRET ends it. An
 * IRET that was let through is done when RIP has moved.
 */
function isNmiBlocked(v: Vcpu): bool {
  if (v.nmiMask == NmiMask.Returning && F.RIP.read() != v.nmiReturn) v.nmiMask = NmiMask.None;
  return v.nmiMask != NmiMask.None;
}

/** Reads what decides whether an event can be taken. Debug exceptions that are due are queued like any other. */
export function loadInterruptibility(v: Vcpu): void {
  v.rflags = F.RFLAGS.read();
  v.blocking = F.INTERRUPT_SHADOW.read() & 1 ? Blocking.Sti : 0;
  if (isNmiBlocked(v)) v.blocking |= Blocking.Nmi;
}

/** Makes the next entry deliver the event; an instruction's own comes when the guest executes it again. */
export function inject(v: Vcpu, i: Injection): void {
  const type = <u32>bits(i.event, 10, 8);
  if (type == EventType.SoftwareInterrupt) return;
  let event: u64 = i.event;
  // In real mode exceptions push no error code.
  if (event & F.EVENT_HAS_ERROR) {
    if (F.CR0.read() & Cr0.PE) event |= (<u64>(i.error & 0xffff)) << 32;
    else event &= ~F.EVENT_HAS_ERROR;
  }
  if (type == EventType.HardwareException) F.RFLAGS.write(v.rflags);
  if (v.blocking & Blocking.Sti) F.INTERRUPT_SHADOW.write(0);
  if (type == EventType.Nmi) {
    v.nmiMask = NmiMask.Handling;
    v.nmiTries = 0;
    interceptIret(true);
  }
  if (type == EventType.ExternalInterrupt) injectInterrupt((<u32>event) & 0xff);
  else F.EVENT_INJECTION.write(event);
}

function mayInject(): bool {
  return (changetype<VmInfo>(VM_INFO).features & VmFeature.NoInjection) == 0;
}

/** Makes the next entry deliver an interrupt that the guest can take. */
export function injectInterrupt(vector: u32): void {
  if (mayInject()) F.EVENT_INJECTION.write(F.EVENT_VALID | vector);
  else requestInterrupt(vector);
}

/** @noinline */
function requestInterrupt(vector: u32): void {
  request(vector);
  interceptVirtual(false);
}

/** After a reset nothing blocks events, and none waits. */
export function clearState(v: Vcpu): void {
  F.INTERRUPT_SHADOW.write(0);
  F.EVENT_INJECTION.write(0);
  if (isRequested()) F.VIRTUAL_INTERRUPT.write(0);
  F.CR2.write(0);
  if (v.nmiMask == NmiMask.Handling) interceptIret(false);
  v.nmiMask = NmiMask.None;
  if (!v.debug) {
    F.DR6.write(DR6_RESET);
    F.DR7.write(DR7_RESET);
  }
  flush();
}

/** IRET within an NMI's handler: NMIs stay blocked until it is done. */
export function onIret(v: Vcpu): void {
  v.nmiMask = NmiMask.Returning;
  v.nmiReturn = v.rip;
  interceptIret(false);
}

/**
 * Turns the window exit for interrupts on and off; an NMI that a shadow holds back can go when an interrupt could. One that waits
 * for an IRET that has been let through, or for a shadow with IF = 0, has no exit of its own: the host's timer makes one.
 */
export function setWindows(v: Vcpu, wanted: u32): void {
  if (wanted & Attention.Nmi && v.nmiMask != NmiMask.Handling) {
    deadline(tsc() + (changetype<VmInfo>(VM_INFO).tscHz >> (SOONEST - v.nmiTries)));
    if (v.nmiTries < SOONEST - LATEST) v.nmiTries++;
  }
  if (v.blocking & Blocking.Sti && wanted & Attention.Nmi) wanted |= Attention.Interrupt;
  wanted &= Attention.Interrupt;
  if ((wanted | v.windows) != 0) setInterruptWindow(v, wanted);
}

/** A virtual interrupt that the guest is to take has the window's place: what waits behind it looks again a little later. @noinline */
function setInterruptWindow(v: Vcpu, wanted: u32): void {
  if (isRequested()) {
    if (wanted) deadline(tsc() + (changetype<VmInfo>(VM_INFO).tscHz >> SOONEST));
    wanted = 0;
  } else if (wanted != v.windows) {
    if (!wanted) F.VIRTUAL_INTERRUPT.write(0);
    else {
      request(0);
      if (!mayInject()) interceptVirtual(true);
    }
  }
  v.windows = wanted;
}

/**
 * The event whose delivery an exit interrupted: it is to be injected again (15.7.2, Intercepts During IDT Interrupt
 * Delivery). Those of INT3 and INTO look like other exceptions, but RIP is at the instruction, as with INT n.
 */
export function saveInterrupted(v: Vcpu): void {
  let event = F.EXIT_INT_INFO.read();
  if (!(event & F.EVENT_VALID)) return;
  F.EXIT_INT_INFO.write(0);
  if (isRequested()) {
    // QEMU leaves V_IRQ on, and calls the interrupt an exception.
    event = F.EVENT_VALID | (event & 0xff);
    F.VIRTUAL_INTERRUPT.write(0);
  }
  const type = <u32>bits(event, 10, 8);
  const vector = (<u32>event) & 0xff;
  const trap = type == EventType.HardwareException && (vector == Vector.BP || vector == Vector.OF);
  v.interrupted = trap ? VALID | (EventType.SoftwareInterrupt << 8) | vector : <u32>event;
  v.interruptedError = event & F.EVENT_HAS_ERROR ? <u32>(event >> 32) : 0;
  v.attention |= Attention.Interrupted;
}

/** What the delivery of a debug exception does, of one that the CPU has not raised (13.1.1.4, Debug Control Register). */
export function clearGeneralDetect(): void {
  const dr7 = F.DR7.read();
  if (dr7 & DR7_GD) F.DR7.write(dr7 & ~DR7_GD);
}

/** An instruction with RF or TF is complete. `rflags`: what goes on behind it. With TF a single step is due. @noinline */
export function endStep(v: Vcpu, rflags: u64): void {
  F.RFLAGS.write(rflags);
  if (!(rflags & Rflags.TF) || v.attention & Attention.Exception) return;
  clearGeneralDetect();
  F.DR6.write(F.DR6.read() | DR6_BS);
  v.exceptionVector = Vector.DB;
  v.exceptionHasError = 0;
  v.exceptionError = 0;
  v.attention |= Attention.Exception;
}
