/**
 * What happens around every exit, whatever the vendor. An Extension is resolved when compiling: each of its methods is a
 * direct call of the vendor's function.
 */
import { Injection, nmiDue } from "../vcpu/event";
import { Attention, Next, Vcpu } from "../vcpu/vcpu";
import { chooseEvent } from "./deliver";
import { halt } from "./dispatch";
import { isLoaded, load } from "./load";
import { poll } from "./wiring";

/** What a virtualization extension does for the monitor. */
export interface Extension {
  /** Whether an event waits for an entry that has not happened: root took the CPU after the event was chosen. */
  isInjecting(): bool;
  /** Reads what decides whether an event can be taken: v.rflags, v.blocking and v.debugDue. */
  loadInterruptibility(v: Vcpu): void;
  /** Makes the next entry deliver the event. */
  inject(v: Vcpu, i: Injection): void;
  /** Turns window exits on and off: `wanted` has Attention.Nmi and Attention.Interrupt. */
  setWindows(v: Vcpu, wanted: u32): void;
  /** Writes all of v.system, RIP, RSP and RFLAGS to the CPU. */
  storeSystem(v: Vcpu): void;
}

const injection = changetype<Injection>(memory.data(16, 4));

/** Sees to what must be before the guest goes on, or instead of it. */
export function attendWith<E extends Extension>(e: E, v: Vcpu): u32 {
  if (v.attention & Attention.Leave) {
    const next = v.leave;
    v.leave = Next.Resume;
    v.attention &= ~Attention.Leave;
    return next;
  }
  if (!e.isInjecting()) {
    e.loadInterruptibility(v);
    const next = chooseEvent(v, injection);
    if (next != Next.Resume) return next;
    if (injection.event) e.inject(v, injection);
  }
  e.setWindows(v, v.attention & (Attention.Nmi | Attention.Interrupt));
  v.attention &= ~Attention.Window;
  return Next.Resume;
}

/** Root gives the vCPU the CPU. Whether the guest goes on, or what is next instead. */
export function enterWith<E extends Extension>(e: E, v: Vcpu): u32 {
  if (!isLoaded()) {
    const next = load(v);
    if (next != Next.Resume) return next;
    e.storeSystem(v);
  }
  poll(v);
  if (v.halted) {
    if (!(v.attention & Attention.Interrupt) && !nmiDue(v)) return halt(v);
    v.halted = 0;
  }
  return Next.Resume;
}
