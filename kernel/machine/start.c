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

/* Looks at the monitor again, if it is still running by then. */
void timer_watchdog(void) { time_arm(time_tsc() + PERCPU(u64, PERCPU_WATCHDOG)); }
