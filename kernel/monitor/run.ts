/**
 * What happens around every exit, whatever the vendor. An Extension is resolved when compiling: each of its methods is a
 * direct call of the vendor's function.
 */
import { Exit } from "../abi/exit";
import { Request } from "../abi/run";
import { expect, heldBack, observe } from "../vcpu/debug";
import { Injection, interruptible } from "../vcpu/event";
import { Attention, Dirty, Halted, INJECTION_OFFSET, Next, Vcpu } from "../vcpu/vcpu";
import { answerKick } from "../device/kick";
import { heldByTpr } from "../device/lapic";
import { Lapic } from "../device/lapicregister";
import { isApicMsr, lapicOf, onCr8, onReadApicMsr, onWriteApicMsr, retime } from "./apic";
import { chooseEvent, isAsked, takeInterrupt, updateOutput } from "./deliver";
import { dispatch } from "./dispatch";
import { isWoken, sleep, stir, wait } from "./halt";
import { isLoaded, load } from "./load";
import { takeInit } from "./reset";
import { poll, pollDue, requestDue, takeDue } from "./wiring";

/** What a virtualization extension does for the monitor. */
export interface Extension {
  /** Whether an event waits for an entry that has not happened: root took the CPU after the event was chosen. */
  isInjecting(): bool;
  /** Reads what decides whether an event can be taken: v.rflags, v.blocking and v.debugDue. */
  loadInterruptibility(v: Vcpu): void;
  /** Makes the next entry deliver the event. */
  inject(v: Vcpu, i: Injection): void;
  /** The same of an interrupt that the guest can take. */
  injectInterrupt(vector: u32): void;
  /** Asks for an exit when the guest's TPR falls below a class, where that does not exit anyway. */
  setTprThreshold(priority: u32): void;
  /** Tells the CPU which interrupts the local APIC has, where it delivers them by itself. */
  tellInterrupts(l: Lapic): void;
  /** Turns window exits on and off: `wanted` has Attention.Nmi and Attention.Interrupt. */
  setWindows(v: Vcpu, wanted: u32): void;
  /** Writes all of v.system, RIP, RSP and RFLAGS to the CPU. */
  storeSystem(v: Vcpu): void;
  /** What a reset does to the CPU's state beside that: nothing blocks events, none waits, no debug register is set. */
  clearState(v: Vcpu): void;
  /** RDMSR, WRMSR, and moves of control registers other than CR8. */
  readMsr(v: Vcpu): u32;
  writeMsr(v: Vcpu): u32;
  onControlRegister(v: Vcpu): u32;
}

function injectionOf(v: Vcpu): Injection {
  return changetype<Injection>(changetype<usize>(v) + INJECTION_OFFSET);
}

/** The local APIC has an INIT or a SIPI: what they make of the registers goes to the CPU. @noinline */
function attendInit<E extends Extension>(e: E, v: Vcpu): void {
  v.attention &= ~Attention.Init;
  if (!takeInit(v)) return;
  e.storeSystem(v);
  e.clearState(v);
}

/** The host's timer came for the guest, or another CPU wants the vCPU to look: whether that is all done, as it most often is. */
export function wantedWith<E extends Extension>(e: E, v: Vcpu): bool {
  answerKick(v.number);
  const l = lapicOf(v);
  if (l.state.virtual) {
    if (!v.attention && requestDue(v)) {
      e.tellInterrupts(l);
      if (!v.halted) return true;
    }
  } else if (!v.attention && !e.isInjecting()) {
    e.loadInterruptibility(v);
    if (interruptible(v)) {
      const vector = takeDue(v);
      if (vector) {
        v.halted = Halted.Running;
        e.injectInterrupt(vector);
        return true;
      }
    }
  }
  pollDue(v);
  if (v.halted) stir(v);
  return false;
}

/** The class that TPR holds back may be another one, or the guest has let it go. @noinline */
function attendTpr<E extends Extension>(e: E, v: Vcpu): void {
  updateOutput(v);
  const held = heldByTpr(lapicOf(v));
  if (!held) v.attention &= ~Attention.Tpr;
  if (held == v.tprThreshold) return;
  v.tprThreshold = held;
  e.setTprThreshold(held);
}

/** Root looks at the mode whenever it has the CPU: if the vCPU does not leave to it anyway, it does so now. @noinline */
function leaveForMode(v: Vcpu): void {
  v.attention &= ~Attention.ApicMode;
  if (v.attention & Attention.Leave) return;
  v.request = Request.Continue;
  v.leaveWith(Next.Yield);
}

/** Sees to what must be before the guest goes on, or instead of it. */
export function attendWith<E extends Extension>(e: E, v: Vcpu): u32 {
  const next = v.attention == Attention.Virtual ? Next.Resume : see(e, v);
  if (v.attention & Attention.Virtual) {
    v.attention &= ~Attention.Virtual;
    const l = lapicOf(v);
    // It may have been switched to another mode since.
    if (l.state.virtual) e.tellInterrupts(l);
  }
  return next;
}

function see<E extends Extension>(e: E, v: Vcpu): u32 {
  // An interrupt is what most often wants to be seen to.
  if (v.attention == Attention.Interrupt && !v.heldInterrupt && !v.debug) {
    if (!e.isInjecting()) {
      e.loadInterruptibility(v);
      if (interruptible(v) && isAsked(v)) e.injectInterrupt(takeInterrupt(v));
    }
    if (v.attention & Attention.Tpr) attendTpr(e, v);
    e.setWindows(v, v.attention & Attention.Interrupt);
    return Next.Resume;
  }
  if (v.attention & Attention.Init) attendInit(e, v);
  if (v.attention & Attention.ApicMode) leaveForMode(v);
  if (v.attention & Attention.Leave) {
    const next = v.leave;
    v.leave = Next.Resume;
    v.attention &= ~Attention.Leave;
    return next;
  }
  if (v.attention & Attention.Debug) {
    const next = observe(v);
    if (next != Next.Resume) return next;
  }
  const held = heldBack(v);
  v.attention &= ~held;
  if (!e.isInjecting()) {
    e.loadInterruptibility(v);
    const injection = injectionOf(v);
    const next = chooseEvent(v, injection);
    if (next != Next.Resume) return next;
    if (injection.event) e.inject(v, injection);
  }
  if (v.attention & Attention.Tpr) attendTpr(e, v);
  e.setWindows(v, v.attention & (Attention.Nmi | Attention.Interrupt));
  v.attention = (v.attention & ~Attention.Window) | held;
  return Next.Resume;
}

/** RDMSR and WRMSR. */
function onMsr<E extends Extension>(e: E, v: Vcpu, isRead: bool): u32 {
  if (isApicMsr(<u32>v.rcx)) return isRead ? onReadApicMsr(v) : onWriteApicMsr(v);
  const next = isRead ? e.readMsr(v) : e.writeMsr(v);
  if (v.dirty & Dirty.TscOffset) retime(v);
  return next;
}

/** One exit, one handler. */
export function handleWith<E extends Extension>(e: E, v: Vcpu, kind: u32): u32 {
  if (kind == Exit.ReadMsr || kind == Exit.WriteMsr) return onMsr(e, v, kind == Exit.ReadMsr);
  if (kind == Exit.ControlRegister) return v.crNumber == 8 ? onCr8(v) : e.onControlRegister(v);
  return dispatch(v, kind);
}

/** Root gives the vCPU the CPU. Whether the guest goes on, or what is next instead. */
export function enterWith<E extends Extension>(e: E, v: Vcpu): u32 {
  expect(v);
  answerKick(v.number);
  if (!isLoaded()) {
    // What vCPU 0 puts in place the others find there.
    if (v.number != 0) return sleep(v);
    const next = load(v);
    if (next != Next.Resume) return next;
    e.storeSystem(v);
  }
  poll(v);
  if (v.attention & Attention.Init) attendInit(e, v);
  if (v.halted == Halted.Running) return Next.Resume;
  if (v.halted == Halted.WaitForSipi) {
    v.attention &= ~Attention.Leave;
    v.leave = Next.Resume;
    return wait(v);
  }
  if (!isWoken(v)) return wait(v);
  v.halted = Halted.Running;
  return Next.Resume;
}
