/* The local APIC: registers by their offsets in the page; in x2APIC mode the same at MSR 800h + offset / 10h. */
#pragma once
#include "runtime.h"

enum {
  APIC_ID = 0x20, APIC_VERSION = 0x30, APIC_TPR = 0x80, APIC_APR = 0x90, APIC_PPR = 0xa0, APIC_EOI = 0xb0,
  APIC_LDR = 0xd0, APIC_DFR = 0xe0, APIC_SVR = 0xf0, APIC_ISR = 0x100, APIC_TMR = 0x180, APIC_IRR = 0x200,
  APIC_ESR = 0x280, APIC_ICR = 0x300, APIC_ICR_HIGH = 0x310, APIC_LVT_TIMER = 0x320, APIC_LVT_THERMAL = 0x330,
  APIC_LVT_PERFORMANCE = 0x340, APIC_LVT_LINT0 = 0x350, APIC_LVT_LINT1 = 0x360, APIC_LVT_ERROR = 0x370,
  APIC_TIMER_INITIAL = 0x380, APIC_TIMER_CURRENT = 0x390, APIC_TIMER_DIVIDE = 0x3e0, APIC_SELF_IPI = 0x3f0,
};
enum { MSR_APIC_BASE = 0x1b, MSR_TSC_DEADLINE = 0x6e0, BASE_BSP = 0x100, BASE_X2 = 0x400, BASE_ENABLE = 0x800 };
enum { MASKED = 0x10000, PERIODIC = 0x20000, DEADLINE = 0x40000, TO_SELF = 0x40000, TO_ALL = 0x80000, TO_OTHERS = 0xc0000 };

static inline u64 read_msr(u32 index) {
  u64 v = 0;
  safe_read_msr(index, &v);
  return v;
}
/* The page, while the APIC is in xAPIC mode. */
static inline u64 apic_page(void) { return read_msr(MSR_APIC_BASE) & 0xfffff000; }
static inline u32 apic_get(u32 offset) { return get32(apic_page() + offset); }
static inline void apic_set(u32 offset, u32 v) { put32(apic_page() + offset, v); }
static inline bool apic_bit(u32 registers, u32 vector) {
  return apic_get(registers + vector / 32 * 16) >> vector % 32 & 1;
}
static inline void apic_send(u32 destination, u32 command) {
  apic_set(APIC_ICR_HIGH, destination << 24);
  apic_set(APIC_ICR, command);
  WAIT(!(apic_get(APIC_ICR) & 0x1000), 10000);
}
/* Ends every interrupt in service, and takes what is requested. */
static inline void apic_drain(void) {
  apic_set(APIC_TPR, 0);
  for (u32 i = 0; i < 40; i++) apic_set(APIC_EOI, 0);
  window();
  window();
  for (u32 i = 0; i < 10; i++) apic_set(APIC_EOI, 0);
}
