/* Another processor, which runs a program's ap_main() (SDM Vol. 3A 9.4.4, MP Initialization Example). */
#pragma once
#include "apic.h"

extern u8 trampoline[], trampoline_end[];
extern volatile u32 trampoline_cr3;
extern volatile u64 ap_stack_pointer;
extern volatile u32 ap_first_cs, ap_first_cr0;
/* Called by runtime.c for interrupts of a processor that is not the first. */
extern void (*volatile other_processor)(struct frame *);

enum { PAGE = 0x8000, NOBODY = 0xff };
static u8 ap_stack[16384] __attribute__((aligned(16)));
/* Counted up by ap_main(). */
static volatile u32 started;

static void place(u32 page) {
  u64 cr3;
  asm volatile("movq %%cr3, %0" : "=r"(cr3));
  trampoline_cr3 = cr3;
  ap_stack_pointer = (u64)ap_stack + sizeof ap_stack;
  for (u32 i = 0; trampoline + i < trampoline_end; i++) ((volatile u8 *)(u64)page)[i] = trampoline[i];
}

static void init(u32 id) {
  apic_send(id, 0xc500);
  sleep_us(200);
  apic_send(id, 0x8500); // level deassert: ignored by newer processors
  sleep_us(10000);
}

static void start(u32 id, u32 page) {
  for (u32 i = 0; i < 2; i++) {
    u32 before = started;
    apic_send(id, 0x600 | page >> 12);
    if (WAIT(started != before, i ? 200000 : 20000)) return;
  }
}

static u32 other_id(void) {
  u8 *madt = acpi_table("APIC");
  u32 own = apic_get(APIC_ID) >> 24;
  for (u8 *e = madt ? madt + 44 : 0; madt && e < madt + load32(madt + 4) && e[1]; e += e[1])
    if (e[0] == 0 && load32(e + 4) & 1 && e[3] != own) return e[3];
  return NOBODY;
}

/* The other processor waits for its start, and is to have this handler; its id. NOBODY, and said, where there is none. */
static u32 prepare(void (*handler)(struct frame *)) {
  u32 id = has_apic() ? other_id() : NOBODY;
  if (id == NOBODY) {
    skip("processors", "there is one processor");
    return id;
  }
  reset_pics();
  apic_drain();
  other_processor = handler;
  place(PAGE);
  init(id);
  return id;
}
