/**
 * Writes to CR0 that change more than TS and MP, and MOV to and from CR4. The CPU does the rest of the control registers by
 * itself.
 */
import { flush } from "../machine/vmcb";
import { isBadCr0, isBadCr4, noteCr4, readPdptes } from "../vcpu/cr";
import { raiseGp } from "../vcpu/event";
import { loadRm, openRm, RSP } from "../vcpu/operand";
import { Dirty, Next, Vcpu } from "../vcpu/vcpu";
import { Cr0, Efer, Rflags } from "../x86/cr";
import { CR4_FORCED } from "./control";
import * as F from "./field";
import { MOV_TO_CR } from "./length";

/** Bits that LMSW writes; it does not clear PE (APM Vol. 3, LMSW). */
const LMSW: u64 = 15;
/** Those that a CPU has: writes to others are ignored. */
const CR0_KNOWN: u64 =
  Cr0.PE | Cr0.MP | Cr0.EM | Cr0.TS | Cr0.NE | Cr0.WP | Cr0.AM | Cr0.NW | Cr0.CD | Cr0.PG;

/** What writes CR0 is MOV or LMSW. Whether v.code is an LMSW whose operand could not be read: a fault is queued. Makes v.crValue what it writes. */
function lmswFaults(v: Vcpu): bool {
  if (v.code.opcode == MOV_TO_CR) return false;
  if (!openRm(v, 2, 0)) return true;
  const cr0 = v.system.cr0;
  v.crValue = (cr0 & ~LMSW) | (cr0 & Cr0.PE) | (loadRm(v, 2) & LMSW);
  return false;
}

/** Whether the value is taken; if not it is #GP, and nothing has changed. */
function writeCr0(v: Vcpu, value: u64): bool {
  const s = v.system;
  if (isBadCr0(v, value) || !readPdptes(v, value, s.cr4)) return false;
  const active = (value & Cr0.PG) != 0 && (s.efer & Efer.LME) != 0;
  F.EFER.write((s.efer & ~Efer.LMA) | (active ? Efer.LMA : 0) | Efer.SVME);
  F.CR0.write((value & CR0_KNOWN) | Cr0.ET);
  flush();
  return true;
}

function writeCr4(v: Vcpu, value: u64): bool {
  if (isBadCr4(v, value) || !readPdptes(v, v.system.cr0, value)) return false;
  F.CR4.write(value | CR4_FORCED);
  // Guests change PGE to have all translations dropped, global ones too.
  if (value != v.system.cr4) flush();
  noteCr4(v, value);
  return true;
}

export function onControlRegister(v: Vcpu): u32 {
  if (v.crRead) {
    v.setGpr(v.crGpr, v.system.cr4);
    if (v.crGpr == RSP) {
      v.dirty |= Dirty.Registers;
      v.rflags &= ~Rflags.RF;
    }
  } else {
    if (v.crNumber == 0 && lmswFaults(v)) return Next.Resume;
    if (!(v.crNumber == 0 ? writeCr0(v, v.crValue) : writeCr4(v, v.crValue))) {
      raiseGp(v);
      return Next.Resume;
    }
  }
  v.skip();
  return Next.Resume;
}
