/* The HPET (IA-PC HPET Specification 1.0a), where its ACPI table says it is. */
#include "apic.h"

enum { CAPABILITIES = 0, CONFIGURATION = 0x10, STATUS = 0x20, COUNTER = 0xf0, TIMER = 0x100, COMPARATOR = 0x108 };
enum { INT_ENABLE = 4, PERIODIC_MODE = 8, VALUE_SET = 0x40, LEVEL = 2, MODE_32 = 0x100 };
static u64 page;
static u64 period; // femtoseconds

static u64 clocks(u64 time) { return time * 1000000000 / period; }
static u64 counted(void) { return get64(page + COUNTER); }

static void registers(void) {
  // 2.3.4, General Capabilities and ID Register.
  u64 id = get64(page);
  period = id >> 32;
  check_range("period-is-at-most-100-ns", period, 100000, 100000000);
  check_range("revision", id & 0xff, 1, 0xff);
  check_range("timers", (id >> 8 & 31) + 1, 3, 32);
  check("legacy-replacement-is-there", id >> 15 & 1, 1);
  put64(page, 0);
  check("capabilities-are-read-only", get64(page), id);
  check("capabilities-by-halves", (u64)get32(page + 4) << 32 | get32(page), id);
  // 2.3.5, General Configuration Register; 2.3.7: the counter is to be written when it stands.
  put64(page + CONFIGURATION, 0);
  put64(page + COUNTER, 0x123456789abcdef0);
  u64 first = counted();
  check("counter-holds-when-stopped", first, id >> 13 & 1 ? 0x123456789abcdef0 : 0x9abcdef0);
  sleep_us(100);
  check("counter-stands-when-stopped", counted(), first);
  put32(page + COUNTER, 0);
  put32(page + COUNTER + 4, 0);
  check("counter-written-by-halves", counted(), 0);
  put64(page + CONFIGURATION, 1);
  check("enable-holds", get64(page + CONFIGURATION), 1);
  check("counter-runs", WAIT(counted() != 0, 10000), 1);
  u64 last = 0, back = 0;
  for (u32 i = 0; i < 500; i++) {
    u64 now = counted();
    back += now < last;
    last = now;
  }
  check("counter-never-goes-back", back, 0);
  put64(page + CONFIGURATION, 0);
  put64(page + COUNTER, 0xffffff00);
  put64(page + CONFIGURATION, 1);
  check("counter-carries-at-32-bits", WAIT(id >> 13 & 1 ? counted() >> 32 == 1 : counted() < 0xffffff00, 10000), 1);
  // 2.3.8, Timer N Configuration and Capabilities Register.
  for (u32 n = 0; n < 3; n++) {
    u64 t = page + TIMER + n * 0x20;
    put64(t, 0);
    u64 capability = get64(t);
    put64(t, INT_ENABLE | LEVEL);
    check(numbered("timer-#-configuration-holds", n), get64(t), capability | INT_ENABLE | LEVEL);
    put64(t, 0);
    check(numbered("timer-#-has-a-route", n), capability >> 32 != 0, 1);
    put64(t + 8, 0x1234567);
    check(numbered("timer-#-comparator-holds", n), get64(t + 8), 0x1234567);
  }
  check("timer-0-is-periodic", get64(page + TIMER) >> 4 & 1, 1);
}

/* Microseconds in which the counter goes on by 10 ms. */
static u64 rate(void) {
  u64 begin = tsc(), from = counted(), want = clocks(10000);
  while (counted() - from < want) pause();
  return microseconds(tsc() - begin);
}

/* A free input of the I/O APIC that the timer may have, or 0. */
static u32 route(u32 n) {
  u32 routes = get64(page + TIMER + n * 0x20) >> 32;
  for (u32 i = 23; i > 1; i--)
    if (routes >> i & 1) return i;
  return 0;
}

static void arm(u32 n, u64 configuration, u64 time) {
  put64(page + TIMER + n * 0x20, configuration);
  put64(page + COMPARATOR + n * 0x20, counted() + clocks(time));
}

static void disarm(void) {
  for (u32 n = 0; n < 3; n++) put64(page + TIMER + n * 0x20, 0);
  put64(page + STATUS, 7);
}

static u64 one_shot(u32 n, u64 configuration, u32 vector) {
  forget_interrupts();
  u64 begin = tsc();
  arm(n, configuration, 3000);
  bool came = comes(vector, 200000);
  u64 took = microseconds(tsc() - begin);
  put64(page + TIMER + n * 0x20, 0);
  return came ? took : 0;
}

static u64 periods(u32 vector, u32 n) {
  forget_interrupts();
  sti();
  WAIT(counts[vector] != 0, 100000);
  u64 begin = tsc();
  u32 from = counts[vector];
  WAIT(counts[vector] - from >= n, 200000);
  cli();
  return microseconds(tsc() - begin);
}

/* 2.3.5: with LEG_RT_CNF timer 0 is interrupt 0 and timer 1 is interrupt 8 of the 8259s. */
static void legacy(void) {
  reset_pics();
  put64(page + CONFIGURATION, 3);
  check("legacy-replacement-holds", get64(page + CONFIGURATION), 3);
  pic_mask(0xfefa);
  MEASURE("one-shot-as-interrupt-0", one_shot(0, INT_ENABLE, 0x20), 2900, 3500);
  MEASURE("one-shot-as-interrupt-8", one_shot(1, INT_ENABLE, 0x28), 2900, 3500);
  check("not-again", comes(0x28, 5000), 0);
  // "The timers will ... the 8254 will not cause any interrupts".
  forget_interrupts();
  raise_irq0();
  check("the-8254-does-not-interrupt", comes(0x20, 1000), 0);
  // Periodic: the period goes to the comparator by VAL_SET (2.3.8, Tn_VAL_SET_CNF).
  put64(page + CONFIGURATION, 2);
  put64(page + COUNTER, 0);
  put64(page + TIMER, 0);
  put64(page + COMPARATOR, 0xffffffffffff);
  put64(page + TIMER, INT_ENABLE | PERIODIC_MODE | VALUE_SET);
  put64(page + COMPARATOR, clocks(1000));
  check("value-is-set-in-64-bits", get64(page + COMPARATOR), clocks(1000));
  // The emulators cut that in halves; what follows is without the upper one.
  put64(page + TIMER, 0);
  put64(page + COMPARATOR, 0);
  put64(page + TIMER, INT_ENABLE | PERIODIC_MODE | VALUE_SET);
  put32(page + COMPARATOR, clocks(1000));
  put32(page + COMPARATOR, clocks(1000));
  check("value-set-reads-0", get64(page + TIMER) & VALUE_SET, 0);
  put64(page + CONFIGURATION, 3);
  MEASURE("periodic-as-interrupt-0", periods(0x20, 10), 9500, 10500);
  // The comparator goes on by itself (2.3.9.2.2, Periodic Mode).
  check("comparator-is-ahead", get64(page + COMPARATOR) + clocks(20000) > counted(), 1);
  disarm();
  // A disabled timer does not interrupt, nor one whose interrupt is not enabled.
  forget_interrupts();
  arm(0, 0, 500);
  check("not-without-its-enable", comes(0x20, 3000), 0);
  put64(page + CONFIGURATION, 2);
  arm(0, INT_ENABLE, 500);
  check("not-while-the-counter-stands", comes(0x20, 3000), 0);
  put64(page + CONFIGURATION, 3);
  check("but-when-it-runs", comes(0x20, 50000), 1);
  disarm();
  reset_pics();
  put64(page + CONFIGURATION, 1);
}

/* By the I/O APIC, edges and levels. */
static void routed(void) {
  u8 *madt = acpi_table("APIC");
  u64 io = 0;
  for (u8 *e = madt ? madt + 44 : 0; madt && e < madt + load32(madt + 4) && e[1]; e += e[1])
    if (e[0] == 1) io = load32(e + 4);
  if (!io || !has_apic()) {
    skip("one-shot-by-the-io-apic", "there is no I/O APIC");
    return;
  }
  u32 input = route(2);
  u32 own = apic_get(APIC_ID) >> 24;
  put32(io, 0x11 + 2 * input);
  put32(io + 16, own << 24);
  put32(io, 0x10 + 2 * input);
  put32(io + 16, 0x57);
  MEASURE("one-shot-by-the-io-apic", one_shot(2, INT_ENABLE | (u64)input << 9, 0x57), 2900, 3500);
  check("route-holds", (put64(page + TIMER + 0x40, (u64)input << 9), get64(page + TIMER + 0x40) >> 9 & 31), input);
  // 2.3.6, General Interrupt Status Register: of levels, until a 1 is written. PCI's inputs, which it shares, are active low.
  put32(io, 0x10 + 2 * input);
  put32(io + 16, 0xa057);
  forget_interrupts();
  auto_eoi = 0;
  arm(2, INT_ENABLE | LEVEL | (u64)input << 9, 500);
  check("level", comes(0x57, 50000), 1);
  check("level-shows-in-status", get64(page + STATUS) >> 2 & 1, 1);
  put64(page + STATUS, 0);
  check("writing-0-leaves-status", get64(page + STATUS) >> 2 & 1, 1);
  put64(page + STATUS, 4);
  check("writing-1-clears-status", get64(page + STATUS) >> 2 & 1, 0);
  apic_set(APIC_EOI, 0);
  check("level-is-low-then", take(), NOTHING);
  auto_eoi = 1;
  disarm();
  put32(io, 0x10 + 2 * input);
  put32(io + 16, MASKED);
}

SUBJECT(hpet) {
  u8 *t = acpi_table("HPET");
  if (!t) {
    skip("registers", "there is no HPET table");
    return;
  }
  page = load64(t + 44);
  registers();
  MEASURE("rate", rate(), 9900, 10200);
  disarm();
  legacy();
  routed();
  disarm();
  put64(page + CONFIGURATION, 0);
}
