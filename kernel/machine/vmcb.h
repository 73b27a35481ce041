#include "types.h"

/* Where the VMCB is does not change while a monitor runs: the compiler may keep it. */
INTRINSIC u64 vmcb_place(void) {
  u64 place;
  __asm__("mov %%gs:%c1, %0" : "=r"(place) : "i"(RUNNING_CONTROL));
  return place;
}
#define VMCB(type, offset) (*(volatile type *)(vmcb_place() + (offset)))

/* Offsets: APM Vol. 2 Appendix B, VMCB Layout. From 0x400 on it is the guest's state. */
INTRINSIC int vmcb_readable(u32 offset) {
  if (offset & 7) return 0;
  return offset == 0x50 || (offset >= 0x60 && offset <= 0x88) || offset == 0xa8 || (offset >= 0xc8 && offset <= 0xd8) ||
         (offset >= 0x400 && offset <= 0x668);
}

/* The bits of a word that a monitor may set; 0 for a word that it may not write at all. */
INTRINSIC u64 vmcb_writable(u32 offset) {
  if (offset & 7) return 0;
  if (offset >= 0x400 && offset < 0x4a0) return ~0ul; /* segments and descriptor tables */
  if (offset >= 0x548 && offset <= 0x578) return ~0ul; /* CRs, DRs, RFLAGS, RIP */
  if (offset >= 0x600 && offset <= 0x640) return ~0ul; /* SYSCALL's and SYSENTER's MSRs, CR2 */
  /* TSC offset, the event that the exit interrupted; EFER, RSP, PAT */
  if (offset == 0x50 || offset == 0x88 || offset == 0x4d0 || offset == 0x5d8 || offset == 0x668) return ~0ul;
  if (offset == 0x60) return 0xff011f0100; /* the virtual interrupt, but for V_TPR */
  if (offset == 0x68) return 1; /* interrupt shadow */
  if (offset == 0xa8) return 0xffffffff80000fff; /* event injection */
  return 0;
}

/* The clean bits to take back (APM Vol. 2 15.15, VMCB State Caching). */
INTRINSIC u32 vmcb_group(u32 offset) {
  if (offset == 0x50) return 1 << 0; /* TSC offset, with the intercepts */
  if (offset == 0x60) return 1 << 3; /* virtual interrupts */
  if (offset == 0x668) return 1 << 4; /* PAT, with nested paging */
  if (offset == 0x4d0 || (offset >= 0x548 && offset <= 0x558)) return 1 << 5; /* CRs, EFER */
  if (offset == 0x560 || offset == 0x568) return 1 << 6; /* DR6, DR7 */
  if ((offset & ~8) == 0x460 || (offset & ~8) == 0x480) return 1 << 7; /* GDTR, IDTR */
  if (offset >= 0x400 && offset < 0x440) return 1 << 8; /* CS, DS, ES, SS */
  return offset == 0x640 ? 1 << 9 : 0; /* CR2 */
}

extern void vmcb_word_not_readable(void) __attribute__((error("the monitor may not read this word of the VMCB")));
extern void vmcb_word_not_writable(void) __attribute__((error("the monitor may not write this word of the VMCB")));

INTRINSIC u64 vmcb_read(u32 offset) {
  if (!vmcb_readable(offset)) {
    if (__builtin_constant_p(offset)) vmcb_word_not_readable();
    WASM3_TRAP(TRAP_FIELD_READ);
  }
  return VMCB(u64, offset);
}

INTRINSIC void vmcb_change(u32 offset, u64 value) {
  VMCB(u64, offset) = value;
  if (vmcb_group(offset)) VMCB(u32, 0xc0) &= ~vmcb_group(offset);
}

INTRINSIC void vmcb_write(u32 offset, u64 value) {
  u64 mask = vmcb_writable(offset);
  if (!mask && __builtin_constant_p(offset)) vmcb_word_not_writable();
  if (!mask || value & ~mask) WASM3_TRAP(TRAP_FIELD_WRITE);
  /* Bochs 2.7's VMRUN does not load CR2 (docs/machines.md). */
  if (offset == 0x640) __asm__ volatile("mov %0, %%cr2" : : "r"(value));
  vmcb_change(offset, offset == 0x60 ? value | 1 << 24 : value); /* V_INTR_MASKING: the host's interrupts are its own */
}

INTRINSIC void vmcb_intercept(u32 bit, int on) {
  VMCB(u32, 0x0c) = on ? VMCB(u32, 0x0c) | bit : VMCB(u32, 0x0c) & ~bit;
  VMCB(u32, 0xc0) &= ~1;
}
INTRINSIC void vmcb_interceptVirtual(int on) { vmcb_intercept(1 << 4, on); }
INTRINSIC void vmcb_interceptIret(int on) { vmcb_intercept(1 << 20, on); }

INTRINSIC void vmcb_flush(void) {
  if (!VMCB(u8, 0x5c)) VMCB(u8, 0x5c) = PERCPU(u32, PERCPU_FLUSH);
}
