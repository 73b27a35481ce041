/* The clock (Motorola MC146818A), with the century at 32h. What it said is put back. */
#include "runtime.h"

enum { SECONDS, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM, WEEKDAY, DAY, MONTH, YEAR, A, B, C, D };
enum { CENTURY = 0x32, SET = 0x80, PIE = 0x40, AIE = 0x20, UIE = 0x10, BINARY = 4, H24 = 2 };

static u8 get(u8 n) { out8(0x70, n); return in8(0x71); }
static void put(u8 n, u8 v) { out8(0x70, n); out8(0x71, v); }

static void registers(void) {
  check("valid-ram-and-time", get(D), 0x80);
  // "Register A": UIP is read-only, the rest is not.
  put(A, 0xaf);
  check("register-a-holds", get(A) & 0x7f, 0x2f);
  put(A, 0x26);
  check("register-a-holds-26", get(A) & 0x7f, 0x26);
  for (u32 i = 0; i < 2; i++) {
    u8 byte = i ? 0xaa : 0x55;
    u8 before = get(0x3f);
    put(0x3f, byte);
    check(numbered("ram-holds-#", i), get(0x3f), byte);
    put(0x3f, before);
  }
  put(B, H24 | BINARY);
  check("register-b-holds", get(B), H24 | BINARY);
  put(B, H24 | 8);
  check("square-wave-enable-holds", get(B), H24 | 8);
  put(B, H24);
  // "Register C": cleared by reading; bits 3:0 are 0.
  get(C);
  check("flags-clear-by-reading", get(C) & 0x3f, 0);
  put(C, 0xff);
  check("register-c-is-read-only", get(C) & 0x3f, 0);
  // "SET": clears UIE.
  put(B, H24 | UIE);
  put(B, H24 | UIE | SET);
  check("set-clears-update-enable", get(B), H24 | SET);
  put(B, H24);
}

/* Stops the clock and sets it. */
static void set_time(u8 formats, u8 century, u8 year, u8 month, u8 day, u8 weekday, u8 hour, u8 minute, u8 second) {
  put(B, SET | formats);
  put(SECONDS, second);
  put(MINUTES, minute);
  put(HOURS, hour);
  put(WEEKDAY, weekday);
  put(DAY, day);
  put(MONTH, month);
  put(YEAR, year);
  put(CENTURY, century);
}

static u64 date(void) {
  return (u64)get(CENTURY) << 32 | (u64)get(YEAR) << 24 | get(MONTH) << 16 | get(DAY) << 8 | get(WEEKDAY);
}
static u64 time(void) { return get(HOURS) << 16 | get(MINUTES) << 8 | get(SECONDS); }

/* For an update. Port accesses are slow where they exit: not more of them than it takes to see UIP, for its 244 us. */
#define AWAIT(condition) WAIT((sleep_us(50), condition), 1600000)

/* Until the update-ended flag, its interrupt enabled; what the flags were. */
static u8 update(void) {
  u8 flags = 0;
  put(B, get(B) | UIE);
  AWAIT((flags |= get(C)) & 0x10);
  return flags;
}

static void rollovers(void) {
  // "Time, Calendar, and Alarm Locations": BCD, 24 hours. While SET is there nothing counts.
  set_time(H24, 0x19, 0x99, 0x12, 0x31, 6, 0x23, 0x59, 0x59);
  check("set-time-holds", time(), 0x235959);
  check("set-date-holds", date(), 0x1999123106);
  put(SECONDS_ALARM, 0);
  put(MINUTES_ALARM, 0);
  put(HOURS_ALARM, 0);
  get(C);
  sleep_us(1100);
  check("no-update-while-set", get(C) & 0x10, 0);
  check("uip-is-clear-while-set", get(A) & 0x80, 0);
  put(B, H24);
  u8 flags = update();
  check("year-rolls-over", time() == 0 ? date() : time(), 0x2000010107);
  check("alarm-flag-with-its-update", flags & 0x30, 0x30);
  // Binary, 12 hours: bit 7 of the hours is PM. A leap day.
  set_time(BINARY, 20, 24, 2, 28, 4, 0x80 | 11, 59, 59);
  put(SECONDS_ALARM, 30);
  get(C);
  put(B, BINARY);
  flags = update();
  check("leap-day-at-midnight-in-12-hours", time() == 12 << 16 ? date() : time(), 20UL << 32 | 24 << 24 | 2 << 16 | 29 << 8 | 5);
  check("no-alarm-without-match", flags & 0x20, 0);
  // BCD, 12 hours, with the update's interrupt, and an alarm that any time matches (C0h to FFh).
  set_time(0, 0x20, 0x23, 0x02, 0x28, 3, 0x11, 0x59, 0x59);
  put(SECONDS_ALARM, 0xc0);
  put(MINUTES_ALARM, 0xff);
  put(HOURS_ALARM, 0xff);
  get(C);
  reset_pics();
  forget_interrupts();
  pic_mask(0xfefb);
  put(B, UIE | AIE);
  check("update-interrupts", comes(0x28, 1600000), 1);
  check("flags-of-the-interrupt", get(C) & 0xb0, 0xb0);
  check("noon-in-12-hours", time(), 0x920000);
  pic_mask(0xffff);
}

/* From one update to the next, and when the update in progress showed: "Update Cycle". */
static u64 second_length, uip_lead;
static void measure_second(void) {
  put(B, H24 | UIE);
  get(C);
  AWAIT(get(C) & 0x10);
  u64 begin = tsc(), uip = 0;
  AWAIT((uip || (get(A) & 0x80 ? (uip = tsc()) : 0), get(C) & 0x10));
  second_length = microseconds(tsc() - begin);
  uip_lead = uip ? microseconds(tsc() - uip) : 0;
}

/* Microseconds of so many periodic flags. */
static u64 periods(u32 rate, u32 n) {
  put(A, 0x20 | rate);
  get(C);
  WAIT(get(C) & 0x40, 100000);
  u64 begin = tsc();
  for (u32 i = 0; i < n; i++)
    if (!WAIT(get(C) & 0x40, 50000)) return 0;
  return microseconds(tsc() - begin);
}

static bool periodic(void) {
  // Table "Periodic Interrupt Rate and Square Wave Output Frequency". The flag needs no enable.
  put(A, 0x26);
  put(B, H24);
  get(C);
  bool flag = WAIT((get(C) & 0xc0) == 0x40, 10000);
  put(B, H24 | PIE);
  MEASURE("rate-6-is-1024-hz", periods(6, 16), 15100, 16200);
  MEASURE("rate-8-is-256-hz", periods(8, 6), 22900, 24200);
  MEASURE("rate-3-is-8192-hz", periods(3, 80), 9400, 10200);
  MEASURE("rate-1-is-256-hz", periods(1, 6), 22900, 24200);
  MEASURE("rate-2-is-128-hz", periods(2, 3), 22900, 24200);
  put(A, 0x20);
  get(C);
  check("rate-0-is-none", WAIT(get(C) & 0x40, 10000), 0);
  // Interrupts: the line stays active until C is read, so one edge.
  put(B, H24);
  put(A, 0x26);
  get(C);
  reset_pics();
  forget_interrupts();
  pic_mask(0xfefb);
  put(B, H24 | PIE);
  check("periodic-interrupts", comes(0x28, 10000), 1);
  check("no-other-until-c-is-read", comes(0x28, 5000), 0);
  check("periodic-flags", get(C) & 0xc0, 0xc0);
  check("again-after-c-is-read", comes(0x28, 10000), 1);
  put(B, H24);
  get(C);
  check("none-when-disabled", comes(0x28, 5000), 0);
  pic_mask(0xffff);
  return flag;
}

SUBJECT(rtc) {
  put(B, H24);
  u8 saved[5] = {get(CENTURY), get(YEAR), get(MONTH), get(DAY), get(HOURS)};
  registers();
  bool flag = periodic();
  rollovers();
  put(B, H24);
  get(C);
  check("flags-without-enables", flag && AWAIT((get(C) & 0x90) == 0x10), 1);
  for (u32 i = 0; i < 6 && !uip_lead; i++) measure_second();
  check_time("second-is-a-second", second_length, 990000, 1010000);
  check_time("uip-shows-before-the-update", uip_lead, 150, 2600);
  set_time(H24, saved[0], saved[1], saved[2], saved[3], 1, saved[4], 0, 0);
  put(B, H24);
}
