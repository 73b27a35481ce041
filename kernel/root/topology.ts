/**
 * Which CPUs are threads of one core: their APIC ids differ in their lowest bits only, and CPUID says in how many of them
 * (SDM Vol. 3A 9.9.3, Hierarchical ID of Logical Processors in an MP System; APM Vol. 3 E.4.16, Function 8000_001Eh).
 */
import { MAX_CPUS } from "../abi/address";
import { bits } from "../lib/bits";
import { cpuApicId, madt } from "./acpi/madt";
import { processor, queryLeaf } from "./processor";

const SMT_LEVEL: u64 = 1;
const regs = memory.data(16, 4);

/** Low bits of an APIC id that number the threads of a core. */
export function threadBits(): u32 {
  if (queryLeaf(0x0b, 0, regs) && bits(load<u32>(regs, 8), 15, 8) == SMT_LEVEL)
    return <u32>bits(load<u32>(regs), 4, 0);
  if (!processor.isAmd || !queryLeaf(0x8000001e, 0, regs)) return 0;
  let width: u32 = 0;
  for (let threads = <u32>bits(load<u32>(regs, 4), 15, 8); threads != 0; threads >>= 1) width++;
  return width;
}

/** Whether another CPU before the MADT's n-th is of the same core. */
function isSibling(n: u32, width: u32): bool {
  for (let i: u32 = 0; i < n; i++) if (cpuApicId(i) >> width == cpuApicId(n) >> width) return true;
  return false;
}

/** Cores of the machine, as far as its CPUs are known; 1 when the MADT knows of none. */
export function cores(): u32 {
  const width = threadBits();
  let count: u32 = 0;
  for (let n: u32 = 0; n < min(madt.cpus, MAX_CPUS); n++) if (!isSibling(n, width)) count++;
  return max<u32>(count, 1);
}
