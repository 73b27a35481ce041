/* The local APIC's timer (SDM Vol. 3A 11.5.4, APIC Timer). */
#include "apic.h"

/* Ticks of the timer, not divided, in 10 ms. */
static u64 ticks;

static u64 count_ticks(u32 divide) {
  apic_set(APIC_TIMER_DIVIDE, divide);
  apic_set(APIC_LVT_TIMER, MASKED | 0x45);
  u64 begin = tsc();
  apic_set(APIC_TIMER_INITIAL, 0xffffffff);
  u32 first = apic_get(APIC_TIMER_CURRENT);
  while (tsc() - begin < TICKS(10000UL)) pause();
  u32 last = apic_get(APIC_TIMER_CURRENT);
  u64 took = microseconds(tsc() - begin);
  apic_set(APIC_TIMER_INITIAL, 0);
  return (u64)(first - last) * 10000 / took;
}

static u64 one_shot(u32 count) {
  apic_set(APIC_LVT_TIMER, 0x45);
  forget_interrupts();
  u64 begin = tsc();
  apic_set(APIC_TIMER_INITIAL, count);
  if (!comes(0x45, 200000)) return 0;
  return microseconds(tsc() - begin);
}

static u64 periods(u32 count, u32 n) {
  apic_set(APIC_LVT_TIMER, PERIODIC | 0x45);
  forget_interrupts();
  apic_set(APIC_TIMER_INITIAL, count);
  sti();
  WAIT(counts[0x45] != 0, 100000);
  u64 begin = tsc();
  u32 from = counts[0x45];
  WAIT(counts[0x45] - from >= n, 200000);
  cli();
  u64 took = microseconds(tsc() - begin);
  apic_set(APIC_TIMER_INITIAL, 0);
  return took;
}

static u64 deadline(u64 time) {
  forget_interrupts();
  u64 begin = tsc();
  safe_write_msr(MSR_TSC_DEADLINE, begin + TICKS(time));
  if (!comes(0x45, 200000)) return 0;
  return microseconds(tsc() - begin);
}

SUBJECT(apictimer) {
  if (!has_apic()) {
    skip("divide", "there is no local APIC");
    return;
  }
  reset_pics();
  // Figure "Divide Configuration Register": bits 3, 1, 0; 1011b divides by 1.
  apic_set(APIC_TIMER_DIVIDE, 0xffffffff);
  check("divide-holds-three-bits", apic_get(APIC_TIMER_DIVIDE), 0xb);
  ticks = count_ticks(0xb);
  note("ticks-in-10-ms", ticks);
  check_range("it-counts", ticks, 1000, 0xfffffffe);
  static const u8 codes[] = {0x0, 0x1, 0x2, 0x3, 0x8, 0x9, 0xa};
  for (u32 i = 0; i < 7; i++) {
    u64 want = ticks >> (i + 1);
    MEASURE(numbered("divides-by-2-to-the-#", i + 1), count_ticks(codes[i]), want * 9 / 10, want * 11 / 10 + 2);
  }
  apic_set(APIC_TIMER_DIVIDE, 0x3); // by 16
  u32 ms = ticks / 160;
  apic_set(APIC_LVT_TIMER, 0x45);
  check("initial-count-reads-0", apic_get(APIC_TIMER_INITIAL), 0);
  check("current-count-is-0-when-stopped", apic_get(APIC_TIMER_CURRENT), 0);
  apic_set(APIC_TIMER_INITIAL, ms * 50);
  check("initial-count-holds", apic_get(APIC_TIMER_INITIAL), ms * 50);
  check_range("current-count-counts-down", apic_get(APIC_TIMER_CURRENT), 1, ms * 50);
  apic_set(APIC_TIMER_CURRENT, 1);
  check_range("current-count-is-read-only", apic_get(APIC_TIMER_CURRENT), ms, ms * 50);
  apic_set(APIC_TIMER_INITIAL, 0);
  check("initial-count-0-stops", apic_get(APIC_TIMER_CURRENT), 0);
  forget_interrupts();
  check("stopped-does-not-interrupt", comes(0x45, 2000), 0);
  MEASURE("one-shot", one_shot(ms * 5), 4800, 5500);
  check("one-shot-is-once", comes(0x45, 8000), 0);
  check("one-shot-ends-at-0", apic_get(APIC_TIMER_CURRENT), 0);
  check("initial-count-stays", apic_get(APIC_TIMER_INITIAL), ms * 5);
  MEASURE("periodic", periods(ms * 2, 10), 19000, 21000);
  // Masked it counts, and asks for nothing.
  apic_set(APIC_LVT_TIMER, MASKED | 0x45);
  forget_interrupts();
  apic_set(APIC_TIMER_INITIAL, ms);
  check("masked-does-not-interrupt", comes(0x45, 3000), 0);
  check("masked-counts-to-0", apic_get(APIC_TIMER_CURRENT), 0);
  apic_set(APIC_LVT_TIMER, 0x45);
  check("unmasking-does-not-interrupt", comes(0x45, 1000), 0);
  // A new count starts over.
  apic_set(APIC_TIMER_INITIAL, ms * 50);
  sleep_us(3000);
  apic_set(APIC_TIMER_INITIAL, ms * 50);
  check_range("new-count-starts-over", apic_get(APIC_TIMER_CURRENT), ms * 50 - ms * slack, ms * 50);
  apic_set(APIC_TIMER_INITIAL, 0);
}

/* 11.5.4.1, TSC-Deadline Mode. */
SUBJECT(deadline) {
  if (!has_apic() || !(cpuid(1, 0).c >> 24 & 1)) {
    skip("offered", "CPUID does not offer it");
    return;
  }
  reset_pics();
  apic_set(APIC_LVT_TIMER, DEADLINE | 0x45);
  check("mode-holds", apic_get(APIC_LVT_TIMER) & 0x700ff, DEADLINE | 0x45);
  MEASURE("in-time", deadline(3000), 3000, 3600);
  check("disarmed-after-it", read_msr(MSR_TSC_DEADLINE), 0);
  check("once", comes(0x45, 4000), 0);
  forget_interrupts();
  safe_write_msr(MSR_TSC_DEADLINE, 1);
  check("the-past-is-at-once", comes(0x45, 1000), 1);
  u64 later = tsc() + TICKS(1000000UL);
  safe_write_msr(MSR_TSC_DEADLINE, later);
  check("armed-reads-back", read_msr(MSR_TSC_DEADLINE), later);
  apic_set(APIC_TIMER_INITIAL, 1000);
  check("initial-count-is-ignored", apic_get(APIC_TIMER_INITIAL), 0);
  check("current-count-is-0", apic_get(APIC_TIMER_CURRENT), 0);
  safe_write_msr(MSR_TSC_DEADLINE, 0);
  check("0-disarms", comes(0x45, 2000), 0);
  safe_write_msr(MSR_TSC_DEADLINE, tsc() + TICKS(2000UL));
  // A change of the mode disarms.
  apic_set(APIC_LVT_TIMER, 0x45);
  apic_set(APIC_LVT_TIMER, DEADLINE | 0x45);
  check("a-change-of-the-mode-disarms", comes(0x45, 4000), 0);
  // In other modes the MSR reads 0 and takes nothing.
  apic_set(APIC_LVT_TIMER, 0x45);
  safe_write_msr(MSR_TSC_DEADLINE, later);
  check("not-in-one-shot-mode", read_msr(MSR_TSC_DEADLINE), 0);
  check("one-shot-does-not-see-it", comes(0x45, 2000), 0);
  apic_set(APIC_LVT_TIMER, DEADLINE | MASKED | 0x45);
  safe_write_msr(MSR_TSC_DEADLINE, tsc() + TICKS(500UL));
  check("masked-does-not-interrupt", comes(0x45, 2000), 0);
  apic_set(APIC_LVT_TIMER, MASKED | 0x45);
}
