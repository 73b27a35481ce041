/* Page faults of several processors at once (SDM Vol. 3A 2.5, Control Registers; 6.15, Interrupt 14). */
#include "processors.h"

/* A processor's page faults: where the next one is to be, how many there were, how many were told to be elsewhere. */
struct faults { volatile u64 at, count, elsewhere; };
static struct faults first, other;
static volatile bool enough;

/* Of a page that is not there: memory above 4 GiB is not mapped (boot.asm). */
static void read_byte(struct faults *which, u64 address) {
  which->at = address;
  asm volatile("movb (%0), %%al" : : "D"(address) : "rax", "memory");
}

/*
 * Goes on behind read_byte()'s instruction of two bytes. Before that it waits, so that the other processor faults meanwhile, or runs
 * in its place. Nothing interrupts a program here, so that IF may be set: where the hypervisor's interrupts need it (docs/machines.md).
 */
static void on_page_fault(struct faults *which, struct frame *f) {
  sti();
  sleep_us(300);
  cli();
  which->count++;
  which->elsewhere += read_cr2() != which->at;
  f->rip += 2;
}

static void on_first(struct frame *f) { on_page_fault(&first, f); }
static void on_other(struct frame *f) { on_page_fault(&other, f); }

void ap_main(void) {
  apic_set(APIC_SVR, 0x1ff);
  __atomic_add_fetch(&started, 1, __ATOMIC_SEQ_CST);
  while (!enough) read_byte(&other, 0x200000000 + (other.count << 12));
  for (;;) asm volatile("sti; hlt" : : : "memory");
}

SUBJECT(faults) {
  u32 id = prepare(on_other);
  if (id == NOBODY) return;
  sti();
  start(id, PAGE);
  check("started", started, 1);
  if (!started) return;
  handlers[14] = on_first;
  for (u32 i = 0; i < 200; i++) read_byte(&first, 0x100000000 + ((u64)i << 12));
  enough = 1;
  cli();
  handlers[14] = 0;
  check("of-the-first", first.count, 200);
  check("addresses-of-the-first", first.elsewhere, 0);
  check_range("of-the-other", other.count, slack > 1 ? 1 : 20, 1000000);
  check("addresses-of-the-other", other.elsewhere, 0);
}

/* From the APIC's version register to where RCX points. */
#define COPY "movq %%rcx, %%rdi; movl $0xfee00030, %%esi; movsl"

/* What an instruction does to memory beside a device: in a guest it is the hypervisor that says where it faults. */
SUBJECT(copy) {
  if (!has_apic()) {
    skip("faults", "there is no local APIC");
    return;
  }
  u64 version = apic_get(APIC_VERSION), to = 0x123456789c;
  u32 copied = 0;
  asm volatile("movq %0, %%cr2" : : "r"(0UL));
  check("to-what-is-not-there", FAULT(COPY, to), 14);
  check("page-fault-address", read_cr2(), to);
  check("page-fault-error-code", fault_error, 2);
  check("to-memory", FAULT(COPY, (u64)&copied), 99);
  check("what-is-copied", copied, version);
}
