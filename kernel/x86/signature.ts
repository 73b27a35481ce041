/** CPUID's signature of a CPU: stepping, model and family, extended ones included (SDM Vol. 2A, CPUID, figure 3-6). */
import * as cpuid from "../machine/cpuid";

/** What of EAX of leaf 1 is neither reserved nor the type. */
const MASK: u32 = 0x0fff0fff;
const regs = memory.data(16, 4);

export function signature(): u32 {
  cpuid.query(1, 0, regs);
  return load<u32>(regs) & MASK;
}

/** The same without the stepping. */
export function model(): u32 {
  return signature() & ~0xf;
}
