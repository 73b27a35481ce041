/** The monitor on VT-x: what root and the exit stub call. */
import { Injection } from "../vcpu/event";
import { Attention, Next, Vcpu } from "../vcpu/vcpu";
import { Exit } from "../abi/exit";
import { onControlRegister } from "../vmx/cr";
import { inject, isInjecting, loadInterruptibility, setWindows } from "../vmx/event";
import { complete, decode } from "../vmx/exit";
import { storeSystem } from "../vmx/system";
import * as F from "../vmx/field";
import { chooseEvent } from "./deliver";
import { dispatch, halt } from "./dispatch";
import { isLoaded, load } from "./load";
import { poll } from "./platform";

const injection = changetype<Injection>(memory.data(16, 4));

/** Delivers what is due before the guest goes on. */
function deliver(v: Vcpu): u32 {
  if (!isInjecting()) {
    loadInterruptibility(v);
    const next = chooseEvent(v, injection);
    if (next != Next.Resume) return next;
    if (injection.event) inject(v, injection);
  }
  setWindows(v, v.attention & (Attention.Nmi | Attention.Interrupt));
  v.attention &= ~Attention.Window;
  return Next.Resume;
}

/** Root gives the vCPU the CPU: returns Leave.Resume to enter the guest. */
export function enter(area: usize): u32 {
  const v = changetype<Vcpu>(area);
  if (!isLoaded()) {
    const next = load(v);
    if (next != Next.Resume) return next;
    storeSystem(v);
  }
  poll(v);
  if (v.halted) {
    if (!(v.attention & (Attention.Interrupt | Attention.Nmi))) return halt(v);
    v.halted = 0;
  }
  return v.attention ? deliver(v) : Next.Resume;
}

/** The guest exited for `reason` (SDM Vol. 3C 28.2.1). */
export function exit(area: usize, reason: u32): u32 {
  const v = changetype<Vcpu>(area);
  v.reason = reason;
  v.rip = F.GUEST_RIP.read();
  const kind = decode(v);
  v.count(kind);
  const next = kind == Exit.ControlRegister ? onControlRegister(v) : dispatch(v, kind);
  complete(v);
  return next == Next.Resume && v.attention ? deliver(v) : next;
}
