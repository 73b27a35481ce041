#pragma once
#include "time.h"
#include "types.h"

#define CPU_REGISTER_READ(name, reg)                                                                           \
  INTRINSIC u64 cpu_read##name(void) {                                                                         \
    u64 value;                                                                                                 \
    __asm__ volatile("mov %%" reg ", %0" : "=r"(value));                                                       \
    return value;                                                                                              \
  }
#define CPU_REGISTER_WRITE(name, reg)                                                                          \
  INTRINSIC void raw_write##name(u64 value) { __asm__ volatile("mov %0, %%" reg : : "r"(value) : "memory"); }
CPU_REGISTER_READ(Cr0, "cr0")
CPU_REGISTER_READ(Cr4, "cr4")
CPU_REGISTER_WRITE(Cr0, "cr0")
CPU_REGISTER_WRITE(Cr3, "cr3")
CPU_REGISTER_WRITE(Cr4, "cr4")

INTRINSIC void cpu_writeCr0(u64 value) { raw_writeCr0(value); }
INTRINSIC void cpu_writeCr4(u64 value) { raw_writeCr4(value); }
INTRINSIC void cpu_writeCr3(u64 value) {
  raw_writeCr3(value);
  PERCPU(u64, PERCPU_ROOT_CR3) = value;
}

INTRINSIC void cpu_openInterrupts(void) { __asm__ volatile("sti; nop; cli" : : : "memory"); }
INTRINSIC void cpu_waitForInterrupt(void) {
  if (PERCPU(u32, PERCPU_ATTENTION)) return;
  __asm__ volatile("sti; hlt; cli" : : : "memory");
}
INTRINSIC u64 cpu_takePending(u32 group) {
  u64 offset = PERCPU_PENDING0 + 8 * (group & 3), value = PERCPU(u64, offset);
  PERCPU(u64, offset) = 0;
  return value;
}
INTRINSIC void cpu_clearAttention(void) { PERCPU(u32, PERCPU_ATTENTION) = 0; }
INTRINSIC u32 cpu_nmis(void) { return PERCPU(u32, PERCPU_NMIS); }
INTRINSIC void cpu_halt(void) {
  for (;;) __asm__ volatile("cli; hlt");
}
INTRINSIC void cpu_crash(u32 out) {
  u32 *to = LINEAR(u32, out);
  for (u64 i = 0; i < CRASHRECORD_BYTES / 4; i++) to[i] = PERCPU(u32, PERCPU_CRASH + 4 * i);
}
INTRINSIC void cpu_configureTimer(u64 scale, int x2apic, u64 watchdog) {
  PERCPU(u64, PERCPU_TIMER_SCALE) = scale;
  PERCPU(u32, PERCPU_X2APIC) = x2apic;
  PERCPU(u64, PERCPU_WATCHDOG) = watchdog;
  PERCPU(u64, PERCPU_ARMED) = ~0ul;
}
INTRINSIC void cpu_armTimer(u64 at) { time_arm(at); }
