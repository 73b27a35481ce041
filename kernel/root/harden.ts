/** CPU features that the hypervisor uses for itself where they are there. */
import { bit } from "../lib/bits";
import * as cpu from "../machine/cpu";
import * as cpuid from "../machine/cpuid";
import * as msr from "../machine/msr";
import { Cr4 } from "../x86/cr";
import * as Msr from "../x86/msr";
import { queryLeaf } from "./processor";

const regs = memory.data(16, 4);

/** Entry 1 of the page attribute table, and write combining (SDM Vol. 3A 12.12.2, IA32_PAT MSR). */
const PAT_ENTRY_1: u64 = 0xff00;
const PAT_COMBINED_1: u64 = 0x0100;

/** Whether page tables choose memory types by a table of the CPU's. */
export function hasPat(): bool {
  cpuid.query(1, 0, regs);
  return bit(load<u32>(regs, 12), 16);
}

export function hardenCpu(): void {
  // Nothing is mapped by this entry yet (12.12.4, Programming the PAT): no cache and no TLB has anything of it.
  if (hasPat()) msr.write(Msr.IA32_PAT, (msr.read(Msr.IA32_PAT) & ~PAT_ENTRY_1) | PAT_COMBINED_1);
  let cr4 = cpu.readCr4() | Cr4.PGE | Cr4.MCE;
  if (queryLeaf(7, 0, regs)) {
    const features = load<u32>(regs, 4);
    if (bit(features, 7)) cr4 |= Cr4.SMEP;
    if (bit(features, 20)) cr4 |= Cr4.SMAP;
  }
  cpu.writeCr4(cr4);
}
