#include "types.h"

INTRINSIC u64 registers_dr6(void) {
  u64 value;
  __asm__ volatile("mov %%db6, %0" : "=r"(value));
  return value;
}
INTRINSIC void registers_setDr6(u64 value) { __asm__ volatile("mov %0, %%db6" : : "r"((u64)(u32)value)); }
INTRINSIC void registers_setCr2(u64 value) { __asm__ volatile("mov %0, %%cr2" : : "r"(value)); }
