/**
 * MOV to and from debug registers (SDM Vol. 2B, MOV - Move to/from Debug Registers) while the debugger has the CPU's: the
 * guest reads what it wrote, and its own breakpoints are not armed.
 */
import { Cr4 } from "../x86/cr";
import { DR6_RESET, DR7_RESET } from "../x86/dr";
import { raiseGp, raiseUd } from "./event";
import { RSP } from "./operand";
import { Dirty, Next, Vcpu } from "./vcpu";

/** Bits that can be written; what is 1 after a reset always is. */
const DR6_FREE: u64 = 0xe00f;
const DR7_FREE: u64 = 0xffff2bff;

function read(v: Vcpu, n: u32): u64 {
  return n < 4 ? v.breakpoint(n) : n == 6 ? v.dr6 : v.dr7;
}

function write(v: Vcpu, n: u32, value: u64): void {
  if (n < 4) v.setBreakpoint(n, value);
  else if (n == 6) v.dr6 = (value & DR6_FREE) | DR6_RESET;
  else v.dr7 = (value & DR7_FREE) | DR7_RESET;
}

/** Needs v.system.cr4 and what else Exit.ControlRegister has. */
export function onDebugRegister(v: Vcpu): u32 {
  let n = v.crNumber;
  if (n == 4 || n == 5) {
    if (v.system.cr4 & Cr4.DE) {
      raiseUd(v);
      return Next.Resume;
    }
    n += 2;
  }
  if (v.crRead) {
    v.setGpr(v.crGpr, read(v, n));
    if (v.crGpr == RSP) v.dirty |= Dirty.Registers;
  } else if (n >= 6 && v.crValue >> 32 != 0) {
    raiseGp(v);
    return Next.Resume;
  } else {
    write(v, n, v.crValue);
  }
  v.skip();
  return Next.Resume;
}
