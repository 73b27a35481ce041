/* ACPI's fixed hardware (ACPI 6.4, 4.8.3, Power Management Timer and PM1 registers), by the FADT. */
#include "runtime.h"

static u8 *fadt;
static u16 event, pm1_control;

static void enable_acpi(void) {
  u16 command = load32(fadt + 48);
  // 4.8.2.5, Legacy/ACPI Select: where there is no command port the machine is always in ACPI mode.
  if (command && fadt[52] && !(in16(pm1_control) & 1)) out8(command, fadt[52]);
  check("acpi-mode", WAIT(in16(pm1_control) & 1, 500000), 1);
}

static void timer(void) {
  // 4.8.3.3: 24 bits or, by a flag of the FADT, 32.
  bool wide = load32(fadt + 112) >> 8 & 1;
  check("timer-high-byte", wide || pm_now() >> 24 == 0, 1);
  check("timer-length", fadt[91], 4);
  u32 last = pm_now(), backwards = 0, steps = 0;
  for (u32 i = 0; i < 2000; i++) {
    u32 now = pm_now();
    backwards += ((now - last) & 0xffffff) >> 23;
    steps += now != last;
    last = now;
  }
  check("timer-never-goes-back", backwards, 0);
  check_range("timer-moves", steps, 100, 2000);
}

/* Clocks of the ACPI timer while the 8254 counts 59659: three times as many, both come of one crystal. */
static u64 clocks_of_pit(void) {
  out8(0x61, (in8(0x61) & 0xc) | 1);
  out8(0x43, 0xb0);
  out8(0x42, 59659 & 255);
  out8(0x42, 59659 >> 8);
  u32 begin = pm_now();
  WAIT(in8(0x61) & 0x20, 400000);
  return pm_since(begin);
}

static void registers(void) {
  u16 enables = event + fadt[88] / 2;
  u16 before = in16(enables);
  out16(enables, 0x0001);
  check("timer-enable-holds", in16(enables) & 0x0521, 0x0001);
  out16(enables, 0x0020);
  check("global-enable-holds", in16(enables) & 0x0121, 0x0020);
  out16(enables, 0);
  check("enables-clear", in16(enables) & 0x0521, 0);
  out16(enables, before & ~1);
  u16 c = in16(pm1_control);
  // 4.8.3.2.1: SLP_TYP holds, SLP_EN is write-only; SCI_EN stays.
  out16(pm1_control, (c & ~0x3c00) | 0x0400);
  check("sleep-type-holds", in16(pm1_control) >> 10 & 7, 1);
  check("sleep-enable-reads-0", in16(pm1_control) >> 13 & 1, 0);
  check("sci-enable-stays", in16(pm1_control) & 1, 1);
  out16(pm1_control, c & ~0x2000);
}

/* 4.8.3.1.1: of a 24-bit timer TMR_STS is set at each change of the highest bit, every 2.3 s; SCI if enabled. */
static void overflow(void) {
  u16 enables = event + fadt[88] / 2;
  u32 sci = load32(fadt + 46) & 0xffff;
  out16(event, 1);
  check("timer-status-clears", in16(event) & 1, 0);
  u32 before = pm_now();
  // In a period's last 50 ms there is no time to look.
  if ((before & 0x7fffff) > 0x7d0000) {
    WAIT((pm_now() ^ before) >> 23 & 1, 100000);
    before = pm_now();
    out16(event, 1);
  }
  reset_pics();
  forget_interrupts();
  pic_mask((u16)~(1 << sci | 4));
  auto_eoi = 0;
  out16(enables, 1);
  check("timer-status-waits", in16(event) & 1, 0);
  check("sci-at-overflow", comes(PIC_VECTOR + sci, 2400000), 1);
  out16(enables, 0);
  check("timer-status", in16(event) & 1, 1);
  check("at-the-highest-bit", (pm_now() ^ before) >> 23 & 1, 1);
  out16(event, 0);
  check("writing-0-leaves-status", in16(event) & 1, 1);
  out16(event, 1);
  check("writing-1-clears-status", in16(event) & 1, 0);
  auto_eoi = 1;
  reset_pics();
}

SUBJECT(pm) {
  fadt = acpi_table("FACP");
  check("there-is-a-fadt", fadt != 0, 1);
  if (!fadt) return;
  event = load32(fadt + 56);
  pm1_control = load32(fadt + 64);
  enable_acpi();
  timer();
  MEASURE("timer-is-three-times-the-8254", clocks_of_pit(), 178000, 181000);
  registers();
}

SUBJECT(pm24) {
  // With 32 bits it would take ten minutes.
  if (load32(fadt + 112) >> 8 & 1) skip("timer", "the timer has 32 bits");
  else overflow();
}
