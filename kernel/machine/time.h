#pragma once
#include "types.h"

INTRINSIC u64 time_tsc(void) {
  u64 low, high; /* the instruction clears the registers' upper halves */
  __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
  return high << 32 | low;
}

/* IA32_TSC_DEADLINE, or the LAPIC's one-shot counter (SDM Vol. 3A 11.5.4, APIC Timer). A deadline that has passed
 * fires at once; the counter also fires early, by less than a count, or when the deadline is far: the product below has
 * room for a counter less than four times as fast as the TSC. */
#define FARTHEST (1ul << 30)
static inline __attribute__((unused)) void time_arm(u64 at) {
  if (PERCPU(u64, PERCPU_ARMED) == at) return;
  PERCPU(u64, PERCPU_ARMED) = at;
  u64 scale = PERCPU(u64, PERCPU_TIMER_SCALE);
  u32 index = 0x6e0;
  u64 value = at ? at : 1;
  if (scale) {
    u64 now = time_tsc(), left = at > now ? at - now : 1;
    value = (left < FARTHEST ? left : FARTHEST) * scale >> 32 | 1;
    index = 0x838;
    if (!PERCPU(u32, PERCPU_X2APIC)) {
      *(volatile u32 *)(APIC_PAGE + 0x380) = (u32)value;
      return;
    }
  }
  __asm__ volatile("wrmsr" : : "c"(index), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}

/* Until an interrupt is marked. Interrupts are off before and behind. */
static inline __attribute__((unused)) void time_wait(void) {
  while (!PERCPU(u32, PERCPU_ATTENTION)) __asm__ volatile("sti; hlt; cli" : : : "memory");
}

INTRINSIC int time_halt(void) {
  if (!PERCPU(u32, RUNNING_ALONE)) return 0;
  __asm__ volatile("cli");
  time_wait();
  __asm__ volatile("sti");
  return 1;
}

INTRINSIC void time_deadline(u64 at) {
  u64 end = PERCPU(u64, RUNNING_SLICE_END);
  __asm__ volatile("andl %0, %%gs:%c1" : : "i"(~ATTENTION_TIMER), "i"(PERCPU_ATTENTION) : "memory");
  time_arm(at < end ? at : end);
}
