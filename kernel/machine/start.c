/* What NASM calls of C: the preparation of root's memory, and what the timer's interrupt does. */
#include "msr.h"
#include "time.h"

extern const u32 root_segment_count;
extern const struct wasm3_segment root_segments[];

void root_prepare(void);
void timer_eoi(void);
void timer_watchdog(void);

/* Root's linear memory as its module wants it: zeros, which the boot loader has made of the BSS, and the segments. */
void root_prepare(void) {
  for (u32 i = 0; i < root_segment_count; i++)
    for (u32 j = 0; j < root_segments[i].length; j++)
      LINEAR(u8, root_segments[i].offset)[j] = root_segments[i].bytes[j];
}

void timer_eoi(void) {
  if (PERCPU(u32, PERCPU_X2APIC)) msr_write(0x80b, 0);
  else *(volatile u32 *)(APIC_PAGE + 0xb0) = 0;
}

/* A strike, if the monitor has had time since the last look: none when it was the interrupts that took it, on a CPU that is
 * a busy host's. Then it gets more, and is looked at again. */
void timer_watchdog(void) {
  u64 patience = PERCPU(u64, PERCPU_WATCHDOG), now = time_tsc();
  u32 same = PERCPU(u64, PERCPU_STRUCK_AT) == PERCPU(u64, PERCPU_EXITS);
  u32 counts = !same || now - PERCPU(u64, PERCPU_LOOKED_AT) >= patience / 2;
  PERCPU(u64, PERCPU_STRUCK_AT) = PERCPU(u64, PERCPU_EXITS);
  PERCPU(u32, PERCPU_STRUCK) = (same ? PERCPU(u32, PERCPU_STRUCK) : 0) + counts;
  time_arm(now + (counts ? patience : patience * STRIKES));
  PERCPU(u64, PERCPU_LOOKED_AT) = now;
}
