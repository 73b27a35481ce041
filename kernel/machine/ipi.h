#pragma once
#include "msr.h"

/* SDM Vol. 3A 11.6.1, Interrupt Command Register (ICR): in xAPIC mode the lower half sends. */
INTRINSIC void ipi_send(u32 apic, u32 command) {
  if (PERCPU(u32, PERCPU_X2APIC)) return msr_write(0x830, (u64)apic << 32 | command);
  volatile u32 *icr = (volatile u32 *)(APIC_PAGE + 0x300);
  while (*icr & 1 << 12) __asm__ volatile("pause");
  icr[4] = apic << 24, *icr = command;
}
