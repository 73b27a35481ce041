/**
 * Control registers. The guest owns the bits that it may change freely; a write that changes another one exits. The
 * handlers here decide whether the value is one that the CPU would take, and what the CPU then holds.
 */
import { Cr0, Cr4, Efer } from "../x86/cr";
import { features, noteOsxsave } from "./cpuid";
import { raiseGp } from "./event";
import { Next, Vcpu } from "./vcpu";

/** Bits whose change by the guest exits. NE must stay 1 under VT-x; CD and NW would slow the host. */
export const CR0_WATCHED: u64 = Cr0.NE | Cr0.NW | Cr0.CD;
/** CR4 bits that every CPU with this hypervisor has: the guest changes them without an exit. */
export const CR4_FREE: u64 =
  Cr4.VME | Cr4.PVI | Cr4.TSD | Cr4.DE | Cr4.PSE | Cr4.PAE | Cr4.PGE | Cr4.OSFXSR | Cr4.OSXMMEXCPT;
/** CR4 bits that the guest may set at all. */
export function cr4Allowed(): u64 {
  return CR4_FREE | features.cr4;
}

/** Whether MOV to CR0 of this value is #GP (SDM Vol. 2B, MOV to Control Registers). */
export function isBadCr0(value: u64): bool {
  if (value >> 32) return true;
  if (value & Cr0.NW && !(value & Cr0.CD)) return true;
  return (value & Cr0.PG) != 0 && !(value & Cr0.PE);
}

/** Whether MOV to CR4 of this value is #GP. Needs v.system. */
export function isBadCr4(v: Vcpu, value: u64): bool {
  if (value & ~cr4Allowed()) return true;
  const long = (v.system.efer & Efer.LMA) != 0;
  if (long && !(value & Cr4.PAE)) return true;
  const enablesPcid = (value & Cr4.PCIDE) != 0 && !(v.system.cr4 & Cr4.PCIDE);
  return enablesPcid && (!long || (v.system.cr3 & 0xfff) != 0);
}

/** CR8 without a local APIC: a register that holds 4 bits. */
export function onCr8(v: Vcpu): u32 {
  if (v.crRead) {
    v.setGpr(v.crGpr, v.cr8);
  } else {
    const value = v.gpr(v.crGpr);
    if (value > 15) {
      raiseGp(v);
      return Next.Resume;
    }
    v.cr8 = <u32>value;
  }
  v.skip();
  return Next.Resume;
}

/** What the rest of the monitor must know of a new CR4. */
export function noteCr4(value: u64): void {
  noteOsxsave((value & Cr4.OSXSAVE) != 0);
}
