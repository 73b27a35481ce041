/**
 * The core crystal clock that a guest is told of (SDM Vol. 2A, CPUID leaf 15h), which is also what its local APIC's timer counts (Vol. 3A
 * 11.5.4, APIC Timer): the TSC's own frequency, or the largest 2^-n of it that the leaf can say in 32 bits.
 */
export function crystalShift(tscHz: u64): u32 {
  let shift: u32 = 0;
  while (tscHz >> shift > 0xffffffff) shift++;
  return shift;
}
