/* Clocks that agree with each other: the TSC, CPUID's leaves about it, the ACPI timer. */
#include "apic.h"

static u64 pm_of_tsc(void) {
  u32 pm = pm_now();
  u64 begin = tsc();
  while (tsc() - begin < TICKS(20000UL)) pause();
  return (u64)pm_since(pm) * 1000000 / 3579545;
}

static u64 between(void) {
  u64 msr = read_msr(0x10);
  return microseconds(tsc() - msr);
}

/* SDM Vol. 3B 18.17, Time-Stamp Counter. */
SUBJECT(timestamp) {
  u64 last = 0, back = 0, stuck = 0;
  for (u32 i = 0; i < 20000; i++) {
    u64 now = tsc();
    back += now < last;
    stuck += now == last;
    last = now;
  }
  check("never-goes-back", back, 0);
  check("goes-on", stuck, 0);
  MEASURE("agrees-with-the-acpi-timer", pm_of_tsc(), 19700, 20300);
  MEASURE("msr-is-the-counter", between(), 0, 100);
  u64 after = tsc();
  check("instruction-is-there", cpuid(1, 0).d >> 4 & 1, 1);
  if (cpuid(0x80000001, 0).d >> 27 & 1) {
    u32 a, d, c;
    check("aux-takes", safe_write_msr(0xc0000103, 0x1234567), 0);
    asm volatile("rdtscp" : "=a"(a), "=d"(d), "=c"(c));
    check("rdtscp-gives-aux", c, 0x1234567);
    check_range("rdtscp-is-the-counter", (a | (u64)d << 32) - after, 0, TICKS(50000UL * slack));
    check("aux-reserved-bits", safe_write_msr(0xc0000103, 1UL << 32), 13);
    safe_write_msr(0xc0000103, 0);
  }
  // A write moves it: 18.17.3, Time-Stamp Counter Adjustment.
  u64 old = tsc();
  check("counter-takes", safe_write_msr(0x10, old + 1000000000000), 0);
  check_range("counter-jumps", tsc() - old, 1000000000000, 1000000000000 + TICKS(100000UL * slack));
  bool adjusts = cpuid(7, 0).b >> 1 & 1;
  if (adjusts) {
    u64 adjust = read_msr(0x3b);
    check_range("write-moves-the-adjustment", adjust, 1000000000000 - TICKS(10000UL * slack), 1000000000000);
    u64 before = tsc();
    check("adjustment-takes", safe_write_msr(0x3b, adjust - 1000000000000), 0);
    check_range("adjustment-moves-the-counter", before - tsc(), 1000000000000 - TICKS(100000UL * slack), 1000000000000);
  } else {
    safe_write_msr(0x10, tsc() - 1000000000000);
  }
}

/* SDM Vol. 2A, CPUID, leaves 15h and 16h. */
static u64 percent(s64 n) { return tsc_khz * (100 + (slack > 1 ? n * 25 : n)) / 100; }
SUBJECT(tscleaf) {
  struct answer crystal = cpuid(0x15, 0);
  if (cpuid(0, 0).a < 0x15 || !crystal.a || !crystal.b || !crystal.c) {
    skip("frequency", "CPUID does not tell it");
    return;
  }
  u64 khz = (u64)crystal.c * crystal.b / crystal.a / 1000;
  check_range("frequency", khz, percent(-2), percent(2));
  if (cpuid(0, 0).a >= 0x16) check_range("base-frequency", cpuid(0x16, 0).a, khz / 1000 - 1, khz / 1000 + 1);
  else skip("base-frequency", "CPUID does not tell it");
}

/* The leaves from 40000000h on, where the processor says that there is a hypervisor (SDM Vol. 2A, CPUID, leaf 1). */
SUBJECT(hypervisor) {
  struct answer first = cpuid(0x40000000, 0);
  if (!(cpuid(1, 0).c >> 31) || first.a < 0x40000010) {
    skip("frequency", "there is no such leaf");
    return;
  }
  check_range("leaves", first.a, 0x40000010, 0x400000ff);
  check_range("frequency", cpuid(0x40000010, 0).a, percent(-2), percent(2));
}
