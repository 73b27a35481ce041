#pragma once
#include "types.h"

/* boot/percpu.asm */
extern int msr_exists(u32 index);

INTRINSIC u64 msr_read(u32 index) {
  u32 low, high;
  __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
  return (u64)high << 32 | low;
}

INTRINSIC void msr_write(u32 index, u64 value) {
  __asm__ volatile("wrmsr" : : "c"(index), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}
