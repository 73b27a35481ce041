/**
 * Control registers. The guest owns the bits that it may change freely; a write that changes another one exits. The
 * handlers here decide whether the value is one that the CPU would take, and what the CPU then holds.
 */
import { Cr0, Cr4, Efer } from "../x86/cr";
import { loadPhysical } from "./bus";
import { features, noteOsxsave } from "./cpuid";
import { PDPTE_RESERVED, Seg } from "./system";
import { Vcpu } from "./vcpu";

/** Bits whose change by the guest exits. NE must stay 1 under VT-x; CD and NW would slow the host. */
export const CR0_WATCHED: u64 = Cr0.NE | Cr0.NW | Cr0.CD;
/** CR4 bits that every CPU with this hypervisor has: the guest changes them without an exit. */
export const CR4_FREE: u64 =
  Cr4.VME | Cr4.PVI | Cr4.TSD | Cr4.DE | Cr4.PSE | Cr4.PAE | Cr4.PGE | Cr4.PCE | Cr4.OSFXSR | Cr4.OSXMMEXCPT;
/** CR4 bits that the guest may set at all. */
export function cr4Allowed(): u64 {
  return CR4_FREE | features.cr4;
}

/** Bits whose change makes the CPU read the PDPTEs (SDM Vol. 3A 4.4.1, PDPTE Registers). */
const CR0_PDPTES: u64 = Cr0.CD | Cr0.NW | Cr0.PG;
const CR4_PDPTES: u64 = Cr4.PAE | Cr4.PGE | Cr4.PSE | Cr4.SMEP;

/**
 * Whether MOV to CR0 of this value is #GP (SDM Vol. 2B, MOV to Control Registers; Vol. 3A 10.8.5, Initializing IA-32e
 * Mode). Needs v.system, of its segments the rights of CS and TR.
 */
export function isBadCr0(v: Vcpu, value: u64): bool {
  const s = v.system;
  const paging = (s.cr0 & Cr0.PG) != 0;
  if (value >> 32) return true;
  if (value & Cr0.NW && !(value & Cr0.CD)) return true;
  if (!(value & Cr0.PG)) return paging && (s.is64 || (s.cr4 & Cr4.PCIDE) != 0);
  if (!(value & Cr0.PE)) return true;
  const activates = !paging && (s.efer & Efer.LME) != 0;
  return activates && (!(s.cr4 & Cr4.PAE) || s.segment(Seg.CS).long || s.segment(Seg.TR).is16BitTss);
}

/** Whether MOV to CR4 of this value is #GP. Needs v.system. */
export function isBadCr4(v: Vcpu, value: u64): bool {
  if (value & ~cr4Allowed()) return true;
  const long = (v.system.efer & Efer.LMA) != 0;
  if (long && !(value & Cr4.PAE)) return true;
  const enablesPcid = (value & Cr4.PCIDE) != 0 && !(v.system.cr4 & Cr4.PCIDE);
  return enablesPcid && (!long || (v.system.cr3 & 0xfff) != 0);
}

/**
 * Reads the PDPTEs into v.system if a write that makes CR0 and CR4 these does. False: it is #GP, for one has a reserved bit
 * set. Needs v.system.
 */
export function readPdptes(v: Vcpu, cr0: u64, cr4: u64): bool {
  const s = v.system;
  const changes = ((cr0 ^ s.cr0) & CR0_PDPTES) | ((cr4 ^ s.cr4) & CR4_PDPTES);
  if (!changes || !(cr0 & Cr0.PG) || !(cr4 & Cr4.PAE) || s.efer & Efer.LME) return true;
  for (let n: u32 = 0; n < 4; n++) {
    const entry = loadPhysical(v, (s.cr3 & 0xffffffe0) + n * 8, 8);
    if (entry & 1 && entry & (PDPTE_RESERVED | ~features.physicalMask)) return false;
    s.setPdpte(n, entry);
  }
  return true;
}

/** What the rest of the monitor must know of a new CR4. */
export function noteCr4(v: Vcpu, value: u64): void {
  noteOsxsave(v, (value & Cr4.OSXSAVE) != 0);
}
