/**
 * Errata that matter to a hypervisor, by family and model. What is affected and can be done without is not used; of the rest a person
 * is to know. A hypervisor below sees to them itself.
 */
import { bit } from "../lib/bits";
import * as msr from "../machine/msr";
import { hasBrokenPreemptionTimer } from "../vmx/errata";
import { model } from "../x86/signature";
import { processor, queryLeaf } from "./processor";

const IA32_ARCH_CAPABILITIES: u32 = 0x10a;
const ARCH_CAPABILITIES: u32 = 29;
const PSCHANGE_MC_NO: u32 = 6;
const regs = memory.data(16, 4);

export namespace Erratum {
  export const PreemptionTimer: u32 = 0;
  export const Deadline: u32 = 1;
  export const PageSize: u32 = 2;
  export const Tlb383: u32 = 3;
  export const Count: u32 = 4;
}

/**
 * The microcode from which on TSC-deadline interrupts come in time after firmware has written IA32_TSC_ADJUST (Linux,
 * its local APIC driver, by model); 0 for a CPU that is not concerned.
 */
function deadlineMicrocode(): u32 {
  const stepping = processor.stepping;
  switch (model()) {
    case 0x306c0:
      return 0x22;
    case 0x40650:
      return 0x20;
    case 0x40660:
    case 0x40670:
      return 0x17;
    case 0x306d0:
      return 0x25;
    case 0x406e0:
    case 0x506e0:
      return 0xb2;
    case 0x806e0:
    case 0x906e0:
      return 0x52;
    case 0x306f0:
      return stepping == 2 ? 0x3a : stepping == 4 ? 0x0f : 0;
    case 0x406f0:
      return 0x0b000020;
    case 0x50660:
      if (stepping == 2) return 0x11;
      if (stepping == 3) return 0x0700000e;
      return stepping == 4 ? 0x0f00000c : stepping == 5 ? 0x0e000003 : 0;
    case 0x50650:
      return stepping == 3 ? 0x01000136 : stepping == 4 ? 0x02000014 : 0;
    default:
      return 0;
  }
}

/** A version that is not told is not held against the CPU. */
export function hasLateDeadlines(): bool {
  return (
    processor.isIntel &&
    !processor.virtual &&
    processor.microcode != 0 &&
    processor.microcode < deadlineMicrocode()
  );
}

/** Silvermont, Airmont, Goldmont, Tremont. */
function isAtom(): bool {
  switch (processor.model) {
    case 0x37:
    case 0x4a:
    case 0x4c:
    case 0x4d:
    case 0x5a:
    case 0x5c:
    case 0x5d:
    case 0x5f:
    case 0x75:
    case 0x7a:
    case 0x86:
    case 0x96:
    case 0x9c:
      return true;
    default:
      return false;
  }
}

/**
 * "Machine Check Error on Page Size Change" (Intel, Security Advisory INTEL-SA-00210): a guest that changes the size of a page which it
 * executes may stop the machine. CPUs that are not concerned say so, but for Atoms.
 */
function hasPageSizeErratum(): bool {
  if (!processor.isIntel || processor.family != 6 || processor.virtual || isAtom()) return false;
  const says = queryLeaf(7, 0, regs) && bit(load<u32>(regs, 12), ARCH_CAPABILITIES);
  return !(
    says &&
    msr.exists(IA32_ARCH_CAPABILITIES) &&
    bit(msr.read(IA32_ARCH_CAPABILITIES), PSCHANGE_MC_NO)
  );
}

export function concerns(erratum: u32): bool {
  if (erratum == Erratum.PreemptionTimer) return processor.isIntel && hasBrokenPreemptionTimer();
  if (erratum == Erratum.Deadline) return hasLateDeadlines();
  if (erratum == Erratum.PageSize) return hasPageSizeErratum();
  // AMD, Revision Guide for Family 10h Processors (41322), erratum 383.
  return processor.isAmd && processor.family == 0x10;
}

/** Its name, and what is done about it. */
export function describeErratum(erratum: u32): string {
  if (erratum == Erratum.PreemptionTimer)
    return "preemption timer (AAK139, BA86 and others): it may fire at a wrong time; not used here";
  if (erratum == Erratum.Deadline)
    return "TSC deadline: interrupts may come late; not used here; update the firmware for newer microcode";
  if (erratum == Erratum.PageSize)
    return "machine check on page size change: a guest may stop the machine; run only guests that you trust not to";
  return "AMD 383: a TLB with pages of two sizes may end in a machine check; run only guests that you trust";
}
