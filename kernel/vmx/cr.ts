/**
 * Writes to CR0 and CR4 that change a watched bit. The handler puts the new value of the watched bits where the guest
 * reads them and lets the guest execute the instruction again: now it changes no watched bit, so the CPU itself does the
 * rest, with all its checks and side effects (SDM Vol. 3C 26.3, Changes to Instruction Behavior in VMX Non-Root
 * Operation).
 */
import { flush } from "../machine/vmcs";
import { CR4_FREE, isBadCr0, isBadCr4, noteCr4, readPdptes } from "../vcpu/cr";
import { raiseGp } from "../vcpu/event";
import { onUnexpected } from "../vcpu/instruction";
import { Next, Vcpu } from "../vcpu/vcpu";
import { Cr4, Rflags } from "../x86/cr";
import { CR4_FORCED } from "./control";
import * as F from "./field";
import { storePdptes } from "./system";

/** Whether the value is taken; if not it is #GP, and nothing has changed. */
function writeCr0(v: Vcpu, value: u64): bool {
  if (isBadCr0(v, value) || !readPdptes(v, value, v.system.cr4)) return false;
  F.CR0_SHADOW.write(value);
  return true;
}

function writeCr4(v: Vcpu, value: u64): bool {
  if (isBadCr4(v, value) || !readPdptes(v, v.system.cr0, value)) return false;
  F.GUEST_CR4.write((F.GUEST_CR4.read() & CR4_FREE) | (value & ~CR4_FREE) | CR4_FORCED);
  F.CR4_SHADOW.write(value);
  // The second execution changes none of these in the CPU, so it flushes nothing for them.
  if ((value ^ v.system.cr4) & (Cr4.PCIDE | Cr4.SMEP)) flush();
  noteCr4(v, value);
  return true;
}

export function onControlRegister(v: Vcpu): u32 {
  let taken: bool;
  if (v.crNumber == 0) taken = writeCr0(v, v.crValue);
  else if (v.crNumber == 4) taken = writeCr4(v, v.crValue);
  else return onUnexpected(v);
  if (taken) {
    storePdptes(v);
    // The breakpoint of an instruction that exits has been hit already (28.3.3 clears RF).
    F.GUEST_RFLAGS.write(v.rflags | Rflags.RF);
  } else {
    raiseGp(v);
  }
  return Next.Resume;
}
