/* Interrupts come only while IF is 1, which the handler's own entry ends: the APIC timer's, for a second. */
#include "apic.h"

static volatile u32 taken, nested;

/* The frame has the flags of what was interrupted. */
static void tick(struct frame *f) {
  taken++;
  nested += !(f->rflags & 0x200);
}

SUBJECT(masked) {
  reset_pics();
  apic_set(APIC_TIMER_DIVIDE, 0xb);
  handlers[0x45] = tick;
  // Every 50 us by the deadline: a periodic one would be behind for ever where the machine is slow.
  apic_set(APIC_LVT_TIMER, 0x45);
  sti();
  u64 end = tsc() + TICKS(1000000UL);
  while (tsc() < end) {
    u32 before = taken;
    apic_set(APIC_TIMER_INITIAL, 5000);
    WAIT(taken != before, 20000);
  }
  cli();
  handlers[0x45] = 0;
  check_time("come", taken, 1000, 1000000);
  check("not-while-interrupts-are-off", nested, 0);
}
