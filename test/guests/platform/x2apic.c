/* The local APIC in x2APIC mode, and its other states (SDM Vol. 3A 11.12, Extended XAPIC (x2APIC), and 11.4). */
#include "apic.h"

static u32 msr_of(u32 offset) { return 0x800 + offset / 16; }
static u64 get(u32 offset) { return read_msr(msr_of(offset)); }
static u32 set(u32 offset, u64 v) { return safe_write_msr(msr_of(offset), v); }
static u32 try_get(u32 offset) {
  u64 ignored;
  return safe_read_msr(msr_of(offset), &ignored);
}
static u64 base;

/* Table "Local APIC Register Address Map Supported by x2APIC". */
static void registers(void) {
  check("read-only-id", set(APIC_ID, 0), 13);
  check("read-only-version", set(APIC_VERSION, 0), 13);
  check("read-only-ppr", set(APIC_PPR, 0), 13);
  check("read-only-ldr", set(APIC_LDR, 0), 13);
  check("read-only-isr", set(APIC_ISR, 0), 13);
  check("read-only-tmr", set(APIC_TMR, 0), 13);
  check("read-only-irr", set(APIC_IRR, 0), 13);
  check("read-only-current-count", set(APIC_TIMER_CURRENT, 0), 13);
  check("write-only-eoi", try_get(APIC_EOI), 13);
  check("write-only-self-ipi", try_get(APIC_SELF_IPI), 13);
  check("no-dfr", try_get(APIC_DFR), 13);
  check("no-dfr-to-write", set(APIC_DFR, 0), 13);
  check("no-icr-high", try_get(APIC_ICR_HIGH), 13);
  check("no-apr", try_get(APIC_APR), 13);
  check("no-reserved-register", try_get(0x10), 13);
  check("no-last-register", try_get(0xff0), 13);
  // 11.12.1.3, Reserved Bit Checking.
  u32 reserved = 0;
  check("tpr-reserved-bits", set(APIC_TPR, 0x100), 13);
  check("svr-reserved-bits", set(APIC_SVR, 0x101ff | 0x10000), 13);
  check("eoi-takes-0-only", set(APIC_EOI, 1), 13);
  check("esr-takes-0-only", set(APIC_ESR, 1), 13);
  reserved += set(APIC_LVT_ERROR, MASKED | 0x200000) == 13;
  reserved += set(APIC_TIMER_DIVIDE, 0x10) == 13;
  check("initial-count-reserved-bits", set(APIC_TIMER_INITIAL, 0x100000000), 13);
  reserved += set(APIC_ICR, 0x1000000) == 13;
  reserved += set(APIC_SELF_IPI, 0x100) == 13;
  check("lvt-divide-icr-self-ipi-reserved-bits", reserved, 4);
  check("tpr-holds", (set(APIC_TPR, 0x35), get(APIC_TPR)), 0x35);
  u64 cr8;
  asm volatile("mov %%cr8, %0" : "=r"(cr8));
  check("cr8-reads-tpr", cr8, 3);
  set(APIC_TPR, 0);
  check("svr-holds", get(APIC_SVR) & 0x1ff, 0x1ff);
  // 11.12.5.1: the id is 32 bits, CPUID leaf Bh says it too; LDR by it (11.12.10.2, Deriving Logical x2APIC ID).
  u32 id = get(APIC_ID);
  check("id-agrees-with-cpuid", id, cpuid(0, 0).a >= 0xb ? cpuid(0xb, 0).d : cpuid(1, 0).b >> 24);
  check("logical-id", get(APIC_LDR), (id >> 4) << 16 | 1 << (id & 15));
}

static void interrupts(void) {
  auto_eoi = 0;
  u32 id = get(APIC_ID);
  for (u32 i = 0; i < 20; i++) set(APIC_EOI, 0);
  check("self-ipi", (set(APIC_SELF_IPI, 0x61), take()), 0x61);
  check("in-service", get(APIC_ISR + 0x30), 2);
  check("ppr", get(APIC_PPR), 0x60);
  set(APIC_SELF_IPI, 0x62);
  check("request", get(APIC_IRR + 0x30), 4);
  set(APIC_EOI, 0);
  check("eoi", get(APIC_ISR + 0x30), 0);
  check("waiting-one-comes", take(), 0x62);
  set(APIC_EOI, 0);
  // The destination is the ICR's high half, all in one write.
  set(APIC_ICR, (u64)id << 32 | 0x63);
  check("physical-destination", take(), 0x63);
  set(APIC_EOI, 0);
  check("icr-reads-back", get(APIC_ICR), (u64)id << 32 | 0x63);
  set(APIC_ICR, 0xffffffff00000064);
  check("broadcast", take(), 0x64);
  set(APIC_EOI, 0);
  set(APIC_ICR, ((u64)id + 5) << 32 | 0x65);
  check("another-destination", take(), NOTHING);
  set(APIC_ICR, (u64)get(APIC_LDR) << 32 | 0x866);
  check("logical-destination", take(), 0x66);
  set(APIC_EOI, 0);
  set(APIC_ICR, (get(APIC_LDR) ^ 3) << 32 | 0x867);
  check("another-logical-destination", take(), NOTHING);
  set(APIC_ICR, TO_SELF | 0x68);
  check("shorthand-self", take(), 0x68);
  set(APIC_EOI, 0);
  // Whatever the host's interrupts do meanwhile.
  set(APIC_SELF_IPI, 0x6a);
  check("waits-while-interrupts-are-off", WAIT(counts[0x6a] != 0, 40000), 0);
  check("comes-when-they-are-on", take(), 0x6a);
  set(APIC_EOI, 0);
  set(APIC_ICR, TO_ALL | 0x69);
  check("shorthand-all", take(), 0x69);
  set(APIC_EOI, 0);
  safe_write_cr8(7);
  set(APIC_SELF_IPI, 0x71);
  check("cr8-holds-up", take(), NOTHING);
  safe_write_cr8(0);
  check("then-it-comes", take(), 0x71);
  set(APIC_EOI, 0);
  auto_eoi = 1;
  set(APIC_TIMER_DIVIDE, 0xb);
  set(APIC_LVT_TIMER, 0x45);
  set(APIC_TIMER_INITIAL, 10000);
  check("timer", comes(0x45, 50000), 1);
  set(APIC_LVT_TIMER, MASKED | 0x45);
}

/* 11.4.5, Relocating the Local APIC Registers. In xAPIC mode. */
SUBJECT(relocation) {
  if (!has_apic()) {
    skip("relocating", "there is no local APIC");
    return;
  }
  base = read_msr(MSR_APIC_BASE);
  u64 elsewhere = 0xfef00000;
  apic_set(APIC_TPR, 0x20);
  check("relocating", safe_write_msr(MSR_APIC_BASE, (base & 0xfff) | elsewhere), 0);
  check("base-shows", read_msr(MSR_APIC_BASE), (base & 0xfff) | elsewhere);
  u32 moved = get32(elsewhere + APIC_TPR);
  put32(elsewhere + APIC_TPR, 0);
  check("registers-leave", get32(0xfee00000 + APIC_VERSION) != get32(elsewhere + APIC_VERSION), 1);
  safe_write_msr(MSR_APIC_BASE, base);
  check("registers-move", moved << 8 | apic_get(APIC_TPR), 0x2000);
}

SUBJECT(x2apic) {
  if (!has_apic() || !(cpuid(1, 0).c >> 21 & 1)) {
    skip("offered", "CPUID does not offer it");
    return;
  }
  base = read_msr(MSR_APIC_BASE);
  u32 xapic_id = apic_get(APIC_ID) >> 24;
  apic_drain();
  // 11.12.5, x2APIC State Transitions: the wrong ones are #GP.
  check("x2apic-without-enable", safe_write_msr(MSR_APIC_BASE, (base & ~0xc00UL) | BASE_X2), 13);
  check("base-reserved-low-bit", safe_write_msr(MSR_APIC_BASE, base | 1), 13);
  check("base-reserved-bit-9", safe_write_msr(MSR_APIC_BASE, base | 0x200), 13);
  check("base-above-the-physical-address", safe_write_msr(MSR_APIC_BASE, base | 1UL << 60), 13);
  check("base-is-unchanged", read_msr(MSR_APIC_BASE), base);
  u64 ignored;
  check("no-x2apic-registers-in-xapic-mode", safe_read_msr(0x802, &ignored), 13);
  check("nor-to-write", safe_write_msr(0x808, 0), 13);
  check("into-x2apic-mode", safe_write_msr(MSR_APIC_BASE, base | BASE_X2), 0);
  check("mode-shows", read_msr(MSR_APIC_BASE), base | BASE_X2);
  check("id-stays", get(APIC_ID), xapic_id);
  check("back-to-xapic-at-once", safe_write_msr(MSR_APIC_BASE, base), 13);
  check("entering-again", safe_write_msr(MSR_APIC_BASE, base | BASE_X2), 0);
  registers();
  interrupts();
}

/* 11.4.3, Enabling or Disabling the Local APIC. From x2APIC mode the way is through the disabled state. */
SUBJECT(apicreset) {
  if (!has_apic()) {
    skip("disabling", "there is no local APIC");
    return;
  }
  base = read_msr(MSR_APIC_BASE);
  u64 plain = base & ~(u64)BASE_X2;
  check("disabling", safe_write_msr(MSR_APIC_BASE, plain & ~(u64)BASE_ENABLE), 0);
  check("disabled-shows", read_msr(MSR_APIC_BASE), plain & ~(u64)BASE_ENABLE);
  check("cpuid-loses-the-apic", cpuid(1, 0).d >> 9 & 1, 0);
  check("x2apic-from-disabled", safe_write_msr(MSR_APIC_BASE, plain | BASE_X2 | BASE_ENABLE), 13);
  check("enabling", safe_write_msr(MSR_APIC_BASE, plain | BASE_ENABLE), 0);
  check("cpuid-has-the-apic-again", cpuid(1, 0).d >> 9 & 1, 1);
  // 11.4.7.1, Local APIC State After Power-Up or Reset.
  check("reset-svr", apic_get(APIC_SVR) & 0x1ff, 0xff);
  check("reset-lvt-timer", apic_get(APIC_LVT_TIMER), MASKED);
  check("reset-lvt-lint0", apic_get(APIC_LVT_LINT0), MASKED);
  check("reset-lvt-lint1", apic_get(APIC_LVT_LINT1), MASKED);
  check("reset-lvt-error", apic_get(APIC_LVT_ERROR), MASKED);
  check("reset-tpr", apic_get(APIC_TPR), 0);
  check("reset-dfr", apic_get(APIC_DFR), 0xffffffff);
  check("reset-ldr", apic_get(APIC_LDR), 0);
  check("reset-icr", apic_get(APIC_ICR), 0);
  check("reset-divide", apic_get(APIC_TIMER_DIVIDE), 0);
  check("reset-initial-count", apic_get(APIC_TIMER_INITIAL), 0);
  check("reset-current-count", apic_get(APIC_TIMER_CURRENT), 0);
}
