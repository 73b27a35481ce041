/* The local APIC in xAPIC mode (SDM Vol. 3A 11, APIC). */
#include "apic.h"

static void registers(void) {
  u64 base = read_msr(MSR_APIC_BASE);
  // 11.4.4, Local APIC Status and Location.
  check("base-says-boot-processor", base >> 8 & 1, 1);
  check("base-says-enabled", base >> 11 & 1, 1);
  check("base-address", base & 0xffffff000, 0xfee00000);
  check("id-agrees-with-cpuid", apic_get(APIC_ID) >> 24, cpuid(1, 0).b >> 24);
  // 11.4.8, Local APIC Version Register: 10h to 15h are integrated ones.
  u32 version = apic_get(APIC_VERSION);
  check_range("version", version & 0xff, 0x10, 0x15);
  check_range("highest-lvt-entry", version >> 16 & 0xff, 3, 6);
  u32 before = apic_get(APIC_VERSION);
  apic_set(APIC_VERSION, 0);
  check("version-is-read-only", apic_get(APIC_VERSION), before);
  // 11.8.3.1, Task and Processor Priorities.
  apic_set(APIC_TPR, 0x35);
  check("tpr-holds", apic_get(APIC_TPR), 0x35);
  check("tpr-is-ppr", apic_get(APIC_PPR), 0x35);
  u64 cr8;
  asm volatile("mov %%cr8, %0" : "=r"(cr8));
  // 11.8.6, Task Priority in IA-32e Mode: CR8 is TPR's bits 7:4.
  check("cr8-reads-tpr", cr8, 3);
  check("cr8-takes", safe_write_cr8(0xa), 0);
  check("cr8-writes-tpr", apic_get(APIC_TPR), 0xa0);
  u32 fault = safe_write_cr8(0x1a);
  check("cr8-reserved-bits", fault << 8 | apic_get(APIC_TPR), 0xda0);
  apic_set(APIC_TPR, 0);
  apic_set(APIC_PPR, 0xf0);
  check("ppr-is-read-only", apic_get(APIC_PPR), 0);
  // 11.6.2.2, Logical Destination Mode: LDR's bits 23:0 are reserved, of DFR bits 27:0 are ones.
  apic_set(APIC_LDR, 0xffffffff);
  check("ldr-holds-8-bits", apic_get(APIC_LDR), 0xff000000);
  apic_set(APIC_LDR, 0x01000000);
  check("ldr-holds", apic_get(APIC_LDR), 0x01000000);
  apic_set(APIC_DFR, 0);
  check("dfr-cluster", apic_get(APIC_DFR), 0x0fffffff);
  apic_set(APIC_DFR, 0xffffffff);
  check("dfr-flat", apic_get(APIC_DFR), 0xffffffff);
  // 11.9, Spurious Interrupt.
  apic_set(APIC_SVR, 0x1ef);
  check("svr-holds", apic_get(APIC_SVR) & 0x1ff, 0x1ef);
  apic_set(APIC_SVR, 0x1ff);
  apic_set(APIC_ICR_HIGH, 0xff000000);
  check("icr-high-holds", apic_get(APIC_ICR_HIGH) >> 24, 0xff);
  apic_set(APIC_ICR_HIGH, 0);
}

static void tables(void) {
  // 11.5.1, Local Vector Table.
  static const struct { u32 offset, bits; const char *name; } entries[] = {
    {APIC_LVT_TIMER, 0x300ff, "lvt-timer-holds"}, {APIC_LVT_LINT0, 0x1a7ff, "lvt-lint0-holds"},
    {APIC_LVT_LINT1, 0x1a7ff, "lvt-lint1-holds"}, {APIC_LVT_ERROR, 0x100ff, "lvt-error-holds"},
    {APIC_LVT_PERFORMANCE, 0x107ff, "lvt-performance-holds"}, {APIC_LVT_THERMAL, 0x107ff, "lvt-thermal-holds"},
  };
  u32 highest = apic_get(APIC_VERSION) >> 16 & 0xff, reserved = 0;
  for (u32 i = 0; i < 6; i++) {
    // The thermal sensor's needs six entries, the performance counters' five.
    if (i == 4 && highest < 4) continue;
    if (i == 5 && highest < 5) continue;
    u32 old = apic_get(entries[i].offset);
    // Delivery modes other than fixed are not tried here, nor the timer's modes; bits 12 and 14 are read-only.
    apic_set(entries[i].offset, entries[i].bits & ~0x700 & ~0x20000);
    check(entries[i].name, apic_get(entries[i].offset) & 0x3a7ff, entries[i].bits & ~0x20700);
    apic_set(entries[i].offset, 0xfffbf8ff);
    reserved |= apic_get(entries[i].offset) & ~(entries[i].bits | 0x5000);
    apic_set(entries[i].offset, old);
  }
  check("lvt-reserved-bits-read-0", reserved, 0);
}

/* Fixed interrupts to oneself: what is requested, in service, and held up. */
static void service(void) {
  auto_eoi = 0;
  apic_drain();
  forget_interrupts();
  apic_send(0, TO_SELF | 0x61);
  // 11.8.4, Interrupt Acceptance for Fixed Interrupts.
  check("request-in-irr", WAIT(apic_bit(APIC_IRR, 0x61), 1000), 1);
  check("request-not-in-isr", apic_bit(APIC_ISR, 0x61), 0);
  check("request-does-not-raise-ppr", apic_get(APIC_PPR), 0);
  check("taken", take(), 0x61);
  check("in-service-in-isr", apic_bit(APIC_ISR, 0x61), 1);
  check("in-service-not-in-irr", apic_bit(APIC_IRR, 0x61), 0);
  check("edge-is-not-in-tmr", apic_bit(APIC_TMR, 0x61), 0);
  check("in-service-raises-ppr", apic_get(APIC_PPR), 0x60);
  // Within a class nobody interrupts ("Interrupt, Task, and Processor Priority", 11.8.3).
  apic_send(0, TO_SELF | 0x6f);
  check("same-class-waits", take(), NOTHING);
  apic_send(0, TO_SELF | 0x71);
  check("higher-class-interrupts", take(), 0x71);
  check("ppr-is-the-highest", apic_get(APIC_PPR), 0x70);
  apic_set(APIC_EOI, 0);
  check("eoi-ends-the-highest", apic_bit(APIC_ISR, 0x71), 0);
  check("eoi-leaves-the-lower", apic_bit(APIC_ISR, 0x61), 1);
  check("ppr-falls-with-eoi", apic_get(APIC_PPR), 0x60);
  apic_set(APIC_EOI, 0);
  check("same-class-after-eoi", take(), 0x6f);
  apic_set(APIC_EOI, 0);
  check("ppr-at-last", apic_get(APIC_PPR), 0);
  // Higher vectors first.
  apic_send(0, TO_SELF | 0x50);
  apic_send(0, TO_SELF | 0x90);
  apic_send(0, TO_SELF | 0x70);
  check("highest-vector-first", take(), 0x90);
  check("the-others-wait", take(), NOTHING);
  apic_set(APIC_EOI, 0);
  check("second-vector", take(), 0x70);
  apic_set(APIC_EOI, 0);
  check("third-vector", take(), 0x50);
  apic_set(APIC_EOI, 0);
  // TPR holds up its class and those below.
  apic_set(APIC_TPR, 0x70);
  apic_send(0, TO_SELF | 0x7f);
  check("tpr-holds-up-its-class", take(), NOTHING);
  apic_send(0, TO_SELF | 0x80);
  check("tpr-lets-higher-pass", take(), 0x80);
  apic_set(APIC_EOI, 0);
  apic_set(APIC_TPR, 0x6f);
  check("lower-tpr-lets-it-pass", take(), 0x7f);
  apic_set(APIC_EOI, 0);
  apic_send(0, TO_SELF | 0x41);
  safe_write_cr8(4);
  check("cr8-holds-up", take(), NOTHING);
  safe_write_cr8(3);
  check("lower-cr8-lets-it-pass", take(), 0x41);
  apic_set(APIC_EOI, 0);
  safe_write_cr8(0);
  // PPR is the task's priority, subclass and all, when that is at least as high.
  apic_set(APIC_TPR, 0x37);
  check("ppr-has-tpr-subclass", apic_get(APIC_PPR), 0x37);
  apic_set(APIC_TPR, 0);
  // One is in service, one more of the same vector may wait, no third.
  apic_send(0, TO_SELF | 0x62);
  check("one-of-a-vector", take(), 0x62);
  apic_send(0, TO_SELF | 0x62);
  apic_send(0, TO_SELF | 0x62);
  apic_set(APIC_EOI, 0);
  check("another-of-the-vector", take(), 0x62);
  apic_set(APIC_EOI, 0);
  check("no-third-of-the-vector", take(), NOTHING);
  apic_set(APIC_EOI, 0);
  check("eoi-with-nothing-in-service", apic_get(APIC_PPR), 0);
}

static void nothing(struct frame *f) { (void)f; }

static void destinations(void) {
  u32 own = apic_get(APIC_ID) >> 24;
  apic_send(own, 0x51);
  check("physical-destination", take(), 0x51);
  apic_set(APIC_EOI, 0);
  apic_send(0xff, 0x52);
  check("physical-broadcast", take(), 0x52);
  apic_set(APIC_EOI, 0);
  apic_send(0, TO_ALL | 0x53);
  check("all-including-self", take(), 0x53);
  apic_set(APIC_EOI, 0);
  apic_send(0, TO_OTHERS | 0x54);
  check("all-but-self", take(), NOTHING);
  apic_send(own ^ 0x0e, 0x55);
  check("another-physical-destination", take(), NOTHING);
  // 11.6.2.2, flat: a bit of the message and of LDR in common.
  apic_set(APIC_DFR, 0xffffffff);
  apic_set(APIC_LDR, 0x04000000);
  apic_send(0x06, 0x800 | 0x56);
  check("flat-logical-destination", take(), 0x56);
  apic_set(APIC_EOI, 0);
  apic_send(0x03, 0x800 | 0x57);
  check("flat-logical-no-bit-in-common", take(), NOTHING);
  apic_send(0xff, 0x800 | 0x58);
  check("logical-broadcast", take(), 0x58);
  apic_set(APIC_EOI, 0);
  // Cluster: the same cluster, and a bit in common.
  apic_set(APIC_DFR, 0x0fffffff);
  apic_set(APIC_LDR, 0x24000000);
  apic_send(0x2c, 0x800 | 0x59);
  check("cluster-logical-destination", take(), 0x59);
  apic_set(APIC_EOI, 0);
  apic_send(0x34, 0x800 | 0x5a);
  check("another-cluster", take(), NOTHING);
  apic_send(0x2b, 0x800 | 0x5b);
  check("cluster-no-bit-in-common", take(), NOTHING);
  apic_set(APIC_DFR, 0xffffffff);
  apic_set(APIC_LDR, 0x01000000);
  apic_send(1, 0x900 | 0x5c);
  check("lowest-priority", take(), 0x5c);
  apic_set(APIC_EOI, 0);
  check("delivery-is-idle", apic_get(APIC_ICR) & 0x1000, 0);
  // NMI by ICR: 11.6.1.
  handlers[2] = nothing;
  u32 before = counts[2];
  apic_send(own, 0x400);
  check("nmi-to-oneself", WAIT(counts[2] != before, 10000), 1);
  handlers[2] = 0;
}

static void errors(void) {
  // 11.5.3, Error Handling: a write arms the register, and the next one brings in what happened.
  apic_set(APIC_ESR, 0);
  apic_set(APIC_ESR, 0);
  check("no-errors-yet", apic_get(APIC_ESR), 0);
  u32 entry = apic_get(APIC_LVT_ERROR);
  apic_set(APIC_LVT_ERROR, 0x47);
  handlers[15] = nothing;
  apic_send(0, TO_SELF | 0x0f);
  sleep_us(20);
  u32 shown = apic_get(APIC_ESR);
  apic_set(APIC_ESR, 0);
  // Bit 5, send illegal vector; bit 6 for the receiver.
  u32 requested = apic_bit(APIC_IRR, 15);
  check("send-illegal-vector", requested << 16 | shown << 8 | (apic_get(APIC_ESR) & ~0x40), 0x20);
  check("error-interrupts", take(), 0x47);
  apic_set(APIC_EOI, 0);
  apic_set(APIC_ESR, 0);
  check("errors-clear", apic_get(APIC_ESR), 0);
  apic_set(APIC_LVT_ERROR, entry);
  take();
  apic_drain();
}

static void disabling(void) {
  // 11.4.7.2, Local APIC State After It Has Been Software Disabled: LVTs are masked and stay so.
  u32 lint0 = apic_get(APIC_LVT_LINT0), lint1 = apic_get(APIC_LVT_LINT1);
  apic_set(APIC_LVT_TIMER, 0x45);
  apic_set(APIC_SVR, 0xff);
  bool masked = apic_get(APIC_LVT_TIMER) == (MASKED | 0x45);
  apic_set(APIC_LVT_TIMER, 0x45);
  masked &= apic_get(APIC_LVT_TIMER) == (MASKED | 0x45);
  apic_set(APIC_SVR, 0x1ff);
  check("software-disabled-masks-for-good", masked && apic_get(APIC_LVT_TIMER) == (MASKED | 0x45), 1);
  apic_set(APIC_LVT_LINT0, lint0);
  apic_set(APIC_LVT_LINT1, lint1);
  take();
  apic_drain();
}

/* 11.5.1: LINT0 in ExtINT mode is the 8259s' output. */
static void wires(void) {
  auto_eoi = 1;
  apic_set(APIC_LVT_LINT0, 0x700);
  reset_pics();
  pic_mask(0xfffe);
  raise_irq0();
  check("extint-delivers-the-8259s-vector", comes(0x20, 2000), 1);
  apic_set(APIC_LVT_LINT0, MASKED | 0x700);
  raise_irq0();
  bool held = !comes(0x20, 500);
  apic_set(APIC_LVT_LINT0, 0x700);
  check("masked-extint-waits", held && comes(0x20, 2000), 1);
  // Fixed: the entry's own vector, and the 8259 is not acknowledged.
  reset_pics();
  apic_set(APIC_LVT_LINT0, 0x48);
  pic_mask(0xfffe);
  raise_irq0();
  bool own = comes(0x48, 2000);
  out8(PIC_MASTER, 0x0a);
  check("fixed-lint0-has-its-own-vector", own && (in8(PIC_MASTER) & 1), 1);
  apic_set(APIC_LVT_LINT0, 0x700);
  reset_pics();
  // ExtINT has no priority: TPR does not hold it up (11.8.1 to 11.8.3).
  apic_set(APIC_TPR, 0xf0);
  pic_mask(0xfffe);
  raise_irq0();
  check("extint-passes-tpr", comes(0x20, 2000), 1);
  apic_set(APIC_TPR, 0);
  reset_pics();
}

SUBJECT(lapic) {
  if (!has_apic()) {
    skip("registers", "there is no local APIC");
    return;
  }
  registers();
  tables();
  service();
  destinations();
  errors();
  disabling();
  wires();
}
