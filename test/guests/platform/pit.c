/* The 8254 (its data sheet), and its wires on a PC (82371AB 4.2.6, NMI Status and Control: port 61h). */
#include "runtime.h"

enum { CONTROL = 0x43, SPEAKER = 0x61, LOW = 0x10, HIGH = 0x20, BOTH = 0x30 };

static void control(u32 n, u32 format, u32 mode, u32 bcd) { out8(CONTROL, n << 6 | format | mode << 1 | bcd); }
static void load_count(u32 n, u32 count) {
  out8(0x40 + n, count);
  out8(0x40 + n, count >> 8);
}
static u32 read_both(u32 n) {
  u32 low = in8(0x40 + n);
  return low | in8(0x40 + n) << 8;
}
/* "Counter Latch Command" */
static u32 latched(u32 n) {
  out8(CONTROL, n << 6);
  return read_both(n);
}
/* "Read-Back Command": status only. */
static u8 status(u32 n) {
  out8(CONTROL, 0xe0 | 2 << n);
  return in8(0x40 + n);
}
static void gate(u32 up) { out8(SPEAKER, (in8(SPEAKER) & 0xc) | up); }
static bool output(void) { return in8(SPEAKER) >> 5 & 1; }

static void modes(void) {
  gate(0);
  u32 outputs = 0, nulls = 0;
  for (u32 mode = 0; mode < 6; mode++) {
    control(2, BOTH, mode, 0);
    u8 now = status(2);
    check(numbered("mode-#-in-status", mode), now & 0x3f, BOTH | mode << 1);
    outputs |= (now >> 7) << mode;
    nulls |= (now >> 6 & 1) << mode;
  }
  // "Mode Definitions": OUT is low initially in mode 0, high in the others. "Null Count": set by the control word.
  check("status-before-a-count", outputs << 8 | nulls, 0x3e3f);
  control(2, LOW, 0, 1);
  check("status-shows-low-format-and-bcd", status(2) & 0x3f, LOW | 1);
  control(2, HIGH, 4, 0);
  check("status-shows-high-format", status(2) & 0x3f, HIGH | 8);
  control(2, BOTH, 2, 0);
  load_count(2, 1000);
  gate(1);
  check("null-count-clears-when-loaded", WAIT(!(status(2) & 0x40), 1000), 1);
}

static void formats(void) {
  gate(1);
  control(2, BOTH, 0, 0);
  load_count(2, 0x1234);
  sleep_us(50);
  check_range("two-byte-count", read_both(2), 0xc00, 0x1233);
  check_range("two-byte-count-again", read_both(2), 0xc00, 0x1233);
  control(2, LOW, 0, 0);
  out8(0x42, 0xf6);
  sleep_us(20);
  check_range("low-byte-count", in8(0x42), 0x80, 0xf5);
  control(2, HIGH, 0, 0);
  out8(0x42, 0x12);
  sleep_us(50);
  check("high-byte-count", in8(0x42), 0x11);
  // In mode 0 the count is loaded whatever the gate is, and not counted while it is low. Not in mode 2 either.
  gate(0);
  control(2, BOTH, 0, 0);
  load_count(2, 0x9876);
  sleep_us(100);
  u32 still = read_both(2) == 0x9876;
  gate(1);
  check("gate-starts-mode-0", WAIT(latched(2) < 0x9870, 1000), 1);
  control(2, BOTH, 2, 0);
  load_count(2, 0x8000);
  sleep_us(50);
  gate(0);
  sleep_us(10);
  u32 stopped = latched(2);
  sleep_us(50);
  check("gate-stops-modes-0-and-2", still && latched(2) == stopped, 1);
  gate(1);
  control(2, BOTH, 0, 1);
  load_count(2, 0);
  sleep_us(60);
  // "0 is equivalent to 2^16 for binary counting and 10^4 for BCD counting".
  u32 v = latched(2);
  bool decimal = v >= 0x9000 && v <= 0x9999;
  for (u32 i = 0; i < 200; i++) {
    v = latched(2);
    for (u32 d = 0; d < 16; d += 4) decimal &= (v >> d & 15) < 10;
  }
  check("bcd-counts-in-decimal", decimal, 1);
  control(2, BOTH, 0, 0);
  load_count(2, 0);
  sleep_us(60);
  check_range("zero-is-65536", latched(2), 0xc000, 0xffff);
}

static void latches(void) {
  gate(1);
  control(2, BOTH, 2, 0);
  load_count(2, 0xf000);
  sleep_us(100);
  out8(CONTROL, 0x80);
  sleep_us(200);
  // "Counter Latch Command": held until it is read; a second command before that is ignored.
  u32 first = in8(0x42);
  out8(CONTROL, 0x80);
  first |= in8(0x42) << 8;
  u32 second = latched(2);
  check_range("latch-holds", first - second, 200, 0x2000 * slack);
  out8(CONTROL, 0x80);
  sleep_us(200);
  out8(CONTROL, 0x80);
  u32 third = read_both(2), fourth = latched(2);
  check_range("second-latch-is-ignored", third - fourth, 200, 0x2000 * slack);
  // "Read-Back Command": status comes first when both are latched; several counters at once.
  control(0, BOTH, 2, 0);
  load_count(0, 0xf000);
  sleep_us(100);
  out8(CONTROL, 0xc0 | 2 | 8);
  check("read-back-status-first", in8(0x42) & 0x3f, BOTH | 4);
  u32 two = read_both(2);
  check("read-back-status-of-another", in8(0x40) & 0x3f, BOTH | 4);
  u32 zero = read_both(0);
  check_range("read-back-count", two, 1, 0xf000);
  check_range("read-back-count-of-another", zero, 1, 0xf000);
  u8 frozen;
  out8(CONTROL, 0xe8);
  frozen = in8(0x42);
  out8(CONTROL, 0xd8); // count only
  check_range("read-back-count-only", read_both(2), 1, 0xf000);
  check("read-back-status-only", frozen & 0x3f, BOTH | 4);
}

/* Microseconds of a half period that begins with the output's fall or rise. */
static u64 half(bool low) {
  WAIT(output() == low, 20000);
  WAIT(output() != low, 20000);
  u64 begin = tsc();
  WAIT(output() == low, 20000);
  return microseconds(tsc() - begin);
}

static void shapes(void) {
  // Mode 0, "Interrupt on Terminal Count": low until the count has gone by, then high until a new count or word.
  gate(1);
  control(2, BOTH, 0, 0);
  check("mode-0-output-before-count", output(), 0);
  load_count(2, 5966); // 5 ms
  u64 begin = tsc();
  check("mode-0-output-while-counting", output(), 0);
  check("mode-0-output-rises", WAIT(output(), 50000), 1);
  check_time("mode-0-length", microseconds(tsc() - begin), 4900, 20000);
  sleep_us(100);
  check("mode-0-output-stays", output(), 1);
  check_range("mode-0-counts-on", latched(2), 0x8000, 0xffff);
  load_count(2, 0x8000);
  sleep_us(20);
  check("mode-0-new-count-takes-output-down", output(), 0);
  // Mode 1, "Hardware Retriggerable One-Shot".
  gate(0);
  control(2, BOTH, 1, 0);
  load_count(2, 2387); // 2 ms
  sleep_us(100);
  bool right = output();
  gate(1);
  right &= WAIT(!output(), 1000);
  right &= WAIT(output(), 50000);
  gate(0);
  right &= output();
  gate(1);
  check("mode-1-one-shot-at-each-trigger", right && WAIT(!output(), 1000), 1);
  // Mode 2, "Rate Generator": gate low forces the output high and stops it; the trigger reloads.
  gate(1);
  control(2, BOTH, 2, 0);
  load_count(2, 0x8000);
  sleep_us(300);
  u32 before = latched(2);
  check_range("mode-2-counts-down", before, 0x4000, 0x7ff0);
  gate(0);
  sleep_us(10);
  bool high = output();
  sleep_us(50);
  gate(1);
  sleep_us(8000);
  u32 low = latched(2);
  gate(0);
  gate(1);
  sleep_us(20);
  check_range("mode-2-gate-reloads", latched(2), low + 0x400, 0x8000);
  load_count(2, 100);
  check_range("mode-2-new-count-waits", latched(2), 101, 0x8000);
  // Mode 3, "Square Wave Mode": decremented by two.
  gate(1);
  control(2, BOTH, 3, 0);
  load_count(2, 11932); // 10 ms
  u32 odd = 0;
  for (u32 i = 0; i < 50; i++) odd |= latched(2) & 1;
  check("mode-3-counts-by-two", odd, 0);
  check("mode-3-falls", WAIT(!output(), 20000), 1);
  MEASURE("mode-3-low-half", half(1), 3500, 6500);
  MEASURE("mode-3-high-half", half(0), 3500, 6500);
  gate(0);
  sleep_us(10);
  check("gate-low-is-high-output-in-modes-2-and-3", high && output(), 1);
  // Mode 5, "Hardware Triggered Strobe".
  control(2, BOTH, 5, 0);
  load_count(2, 0xf000);
  sleep_us(50);
  check("mode-5-output-is-high", output(), 1);
  gate(1);
  sleep_us(5000);
  check_range("mode-5-counts-after-trigger", latched(2), 1, 0xeff8);
  gate(0);
  u32 counting = latched(2);
  sleep_us(100);
  check_range("mode-5-gate-low-goes-on-counting", latched(2), 1, counting - 1);
  gate(1);
  sleep_us(20);
  check_range("mode-5-triggers-again", latched(2), counting, 0xf000);
}

static void speaker(void) {
  // 82371AB 4.2.6: bits 3:0 read as written, bit 4 toggles with every refresh, bit 5 is counter 2's output.
  out8(SPEAKER, 0x0d);
  check("port-61-holds", in8(SPEAKER) & 0x0f, 0x0d);
  out8(SPEAKER, 0);
  check("port-61-clears", in8(SPEAKER) & 0x0f, 0);
  u32 toggles = 0;
  u8 last = in8(SPEAKER) & 0x10;
  for (u64 end = tsc() + TICKS(2000); tsc() < end;) {
    u8 now = in8(SPEAKER) & 0x10;
    toggles += now != last;
    last = now;
  }
  check_range("refresh-toggles", toggles, 4, 400);
  gate(0);
  control(2, BOTH, 0, 0);
  check("port-61-output-is-status-0", output(), status(2) >> 7);
  control(2, BOTH, 1, 0);
  check("port-61-output-is-status-1", output(), status(2) >> 7);
}

/* Microseconds of so many interrupts, from one to another. */
static u64 time_interrupts(u32 n) {
  forget_interrupts();
  sti();
  WAIT(counts[0x20] != 0, 100000);
  u64 begin = tsc();
  u32 from = counts[0x20];
  WAIT(counts[0x20] - from >= n, 200000);
  cli();
  return microseconds(tsc() - begin);
}

static void interrupts(void) {
  out8(PIC_MASTER + 1, 0xfe);
  control(0, BOTH, 2, 0);
  load_count(0, 1193); // 1 ms
  MEASURE("mode-2-interrupt-rate", time_interrupts(20), 19000, 21000);
  control(0, BOTH, 3, 0);
  load_count(0, 2387);
  MEASURE("mode-3-interrupt-rate", time_interrupts(10), 19000, 21000);
  control(0, LOW, 2, 0);
  out8(0x40, 239); // 200 us
  MEASURE("low-byte-interrupt-rate", time_interrupts(50), 9500, 10600);
  control(0, HIGH, 3, 0);
  out8(0x40, 0x08); // 1716 us
  MEASURE("high-byte-interrupt-rate", time_interrupts(10), 16300, 18000);
  control(0, BOTH, 2, 1);
  load_count(0, 0x1193);
  MEASURE("bcd-interrupt-rate", time_interrupts(20), 19000, 21000);
  // Mode 0 interrupts once, mode 4 ("Software Triggered Strobe") once a count.
  control(0, BOTH, 0, 0);
  comes(0x20, 100);
  forget_interrupts();
  load_count(0, 1193);
  u64 begin = tsc();
  check("mode-0-interrupts", comes(0x20, 50000), 1);
  check_time("mode-0-interrupts-in-time", microseconds(tsc() - begin), 950, 15000);
  check("mode-0-interrupts-once", comes(0x20, 3000), 0);
  control(0, BOTH, 4, 0);
  comes(0x20, 100);
  forget_interrupts();
  load_count(0, 1193);
  check("mode-4-interrupts", comes(0x20, 50000), 1);
  check("mode-4-interrupts-once", comes(0x20, 3000), 0);
  load_count(0, 1193);
  check("mode-4-interrupts-again", comes(0x20, 50000), 1);
}

SUBJECT(pit) {
  modes();
  formats();
  latches();
  shapes();
  speaker();
  interrupts();
}
