/** MOV to and from CR4. The CPU does all of the other control registers by itself. */
import { flush } from "../machine/vmcb";
import { isBadCr4, noteCr4, readPdptes } from "../vcpu/cr";
import { raiseGp } from "../vcpu/event";
import { RSP } from "../vcpu/operand";
import { Dirty, Next, Vcpu } from "../vcpu/vcpu";
import { Rflags } from "../x86/cr";
import { CR4_FORCED } from "./control";
import * as F from "./field";

/** Whether the value is taken; if not it is #GP, and nothing has changed. */
function writeCr4(v: Vcpu, value: u64): bool {
  if (isBadCr4(v, value) || !readPdptes(v, v.system.cr0, value)) return false;
  F.CR4.write(value | CR4_FORCED);
  // Guests change PGE to have all translations dropped, global ones too.
  if (value != v.system.cr4) flush();
  noteCr4(value);
  return true;
}

export function onControlRegister(v: Vcpu): u32 {
  if (v.crRead) {
    v.setGpr(v.crGpr, v.system.cr4);
    if (v.crGpr == RSP) {
      v.dirty |= Dirty.Registers;
      v.rflags &= ~Rflags.RF;
    }
  } else if (!writeCr4(v, v.crValue)) {
    raiseGp(v);
    return Next.Resume;
  }
  v.skip();
  return Next.Resume;
}
