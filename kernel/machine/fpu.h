#pragma once
#include "types.h"

INTRINSIC u64 fpu_xcr0(void) {
  u32 low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (u64)high << 32 | low;
}

INTRINSIC void fpu_setXcr0(u64 value) {
  __asm__ volatile("xsetbv" : : "c"(0), "a"((u32)value), "d"((u32)(value >> 32)));
}
