/** Which CPU this is (SDM Vol. 2A, CPUID, figure 3-6; APM Vol. 3 E.3.2, Function 1h), and its microcode's version. */
import { bits } from "../lib/bits";
import * as cpuid from "../machine/cpuid";
import * as msr from "../machine/msr";
import * as Msr from "../x86/msr";

export namespace Vendor {
  export const Other: u32 = 0;
  export const Intel: u32 = 1;
  export const Amd: u32 = 2;
  export const Hygon: u32 = 3;
}


@unmanaged
class Processor {
  /** One of Vendor. */
  vendor: u32;
  family: u32;
  model: u32;
  stepping: u32;
  /** 0: not told. */
  microcode: u32;
  /** It says that it is a hypervisor's. */
  virtual: bool;

  get isIntel(): bool {
    return this.vendor == Vendor.Intel;
  }
  get isAmd(): bool {
    return this.vendor == Vendor.Amd || this.vendor == Vendor.Hygon;
  }
}

export const processor = changetype<Processor>(memory.data(24, 4));
const regs = memory.data(16, 4);

function vendorOf(ebx: u32): u32 {
  if (ebx == 0x756e6547) return Vendor.Intel; // "Genu"
  if (ebx == 0x68747541) return Vendor.Amd; // "Auth"
  return ebx == 0x6f677948 ? Vendor.Hygon : Vendor.Other; // "Hygo"
}

/** Whether the CPU has the leaf: the highest of a group is in EAX of its first one. Its answer is then in `out`. */
export function queryLeaf(leaf: u32, subleaf: u32, out: usize): bool {
  cpuid.query(leaf & 0xffff0000, 0, out);
  if (load<u32>(out) < leaf) return false;
  cpuid.query(leaf, subleaf, out);
  return true;
}

/**
 * SDM Vol. 3A 10.11.7.1, Determining the Signature: CPUID puts it there where 0 was before. AMD's is there from the start
 * (APM Vol. 2, IA32_BIOS_SIGN_ID is MSR0000_008B, Patch Level).
 */
function microcode(): u32 {
  if (!msr.exists(Msr.IA32_BIOS_SIGN_ID)) return 0;
  if (!processor.isIntel) return processor.isAmd ? <u32>msr.read(Msr.IA32_BIOS_SIGN_ID) : 0;
  msr.write(Msr.IA32_BIOS_SIGN_ID, 0);
  cpuid.query(1, 0, regs);
  return <u32>(msr.read(Msr.IA32_BIOS_SIGN_ID) >> 32);
}

/** Asks this CPU. */
export function identify(): void {
  cpuid.query(0, 0, regs);
  processor.vendor = vendorOf(load<u32>(regs, 4));
  cpuid.query(1, 0, regs);
  const signature = <u64>load<u32>(regs);
  processor.virtual = load<u32>(regs, 8) >> 31 != 0;
  processor.family = <u32>bits(signature, 11, 8);
  processor.model = <u32>bits(signature, 7, 4);
  processor.stepping = <u32>bits(signature, 3, 0);
  if (processor.family == 6 || processor.family == 15) processor.model |= (<u32>bits(signature, 19, 16)) << 4;
  if (processor.family == 15) processor.family += <u32>bits(signature, 27, 20);
  processor.microcode = microcode();
}
