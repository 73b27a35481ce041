#pragma once
#include "types.h"

INTRINSIC u64 time_tsc(void) {
  u32 low, high;
  __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
  return (u64)high << 32 | low;
}

/* IA32_TSC_DEADLINE, or the LAPIC's one-shot counter (SDM Vol. 3A 11.5.4, APIC Timer). A deadline that has passed
 * fires at once. */
static inline __attribute__((unused)) void time_arm(u64 at) {
  if (PERCPU(u64, PERCPU_ARMED) == at) return;
  PERCPU(u64, PERCPU_ARMED) = at;
  u64 scale = PERCPU(u64, PERCPU_TIMER_SCALE);
  u32 index = 0x6e0;
  u64 value = at ? at : 1;
  if (scale) {
    u64 now = time_tsc();
    u64 left = at > now ? at - now : 1;
    unsigned __int128 counts = (unsigned __int128)left * scale >> 32;
    value = counts > 0xffffffff ? 0xffffffff : counts ? (u64)counts : 1;
    index = 0x838;
    if (!PERCPU(u32, PERCPU_X2APIC)) {
      *(volatile u32 *)(APIC_PAGE + 0x380) = (u32)value;
      return;
    }
  }
  __asm__ volatile("wrmsr" : : "c"(index), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}

INTRINSIC void time_deadline(u64 at) {
  u64 end = PERCPU(u64, RUNNING_SLICE_END);
  __asm__ volatile("andl %0, %%gs:%c1" : : "i"(~ATTENTION_TIMER), "i"(PERCPU_ATTENTION) : "memory");
  time_arm(at < end ? at : end);
}
