/** How far physical addresses go. */
import { PHYSICAL_WINDOW, UNCACHED_WINDOW } from "../abi/address";
import { queryLeaf } from "./processor";

/** What root's windows have room for. */
export const WINDOW_SIZE: u64 = UNCACHED_WINDOW - PHYSICAL_WINDOW;

/** What boot/start.asm maps in the physical window: root reaches no more before it has a space of its own. */
export const EARLY_END: u64 = 0x100000000;

const regs = memory.data(16, 4);

/** Bits of a physical address (SDM Vol. 2A, CPUID, leaf 80000008h); 36 on a CPU that does not say. */
export function physicalBits(): u32 {
  return queryLeaf(0x80000008, 0, regs) ? load<u32>(regs) & 0xff : 36;
}

/** The first physical address that root cannot reach: beyond the CPU's, or beyond its own windows. */
export function physicalEnd(): u64 {
  return min((<u64>1) << physicalBits(), WINDOW_SIZE);
}
