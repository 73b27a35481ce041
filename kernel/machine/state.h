#include "fpu.h"

INTRINSIC void state_saveExtended(u64 hpa, int xsave) {
  u8 *area = (u8 *)(PHYSICAL_WINDOW + hpa);
  if (xsave) __asm__ volatile("xsave64 (%0)" : : "r"(area), "a"(~0u), "d"(~0u) : "memory");
  else __asm__ volatile("fxsave64 (%0)" : : "r"(area) : "memory");
}
INTRINSIC void state_restoreExtended(u64 hpa, int xsave) {
  u8 *area = (u8 *)(PHYSICAL_WINDOW + hpa);
  if (xsave) __asm__ volatile("xrstor64 (%0)" : : "r"(area), "a"(~0u), "d"(~0u) : "memory");
  else __asm__ volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
}
INTRINSIC u64 state_readXcr0(void) { return fpu_xcr0(); }
INTRINSIC void state_writeXcr0(u64 value) { fpu_setXcr0(value); }

#define STATE_DR(n)                                                                                            \
  case n: __asm__ volatile("mov %%db" #n ", %0" : "=r"(value)); break;
#define STATE_DR_WRITE(n)                                                                                      \
  case n: __asm__ volatile("mov %0, %%db" #n : : "r"(value)); break;
INTRINSIC u64 state_readDr(u32 n) {
  u64 value = 0;
  switch (n) { STATE_DR(0) STATE_DR(1) STATE_DR(2) STATE_DR(3) STATE_DR(6) }
  return value;
}
INTRINSIC void state_writeDr(u32 n, u64 value) {
  switch (n) { STATE_DR_WRITE(0) STATE_DR_WRITE(1) STATE_DR_WRITE(2) STATE_DR_WRITE(3) STATE_DR_WRITE(6) }
}
INTRINSIC u64 state_readCr2(void) {
  u64 value;
  __asm__ volatile("mov %%cr2, %0" : "=r"(value));
  return value;
}
INTRINSIC void state_writeCr2(u64 value) { __asm__ volatile("mov %0, %%cr2" : : "r"(value)); }
