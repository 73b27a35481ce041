#pragma once
#include "types.h"

INTRINSIC void fpu_setXcr0(u64 value) {
  __asm__ volatile("xsetbv" : : "c"(0), "a"((u32)value), "d"((u32)(value >> 32)));
}
