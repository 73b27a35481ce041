#include "time.h"
#include "types.h"

#define CPU_REGISTER(name, reg)                                                                                \
  INTRINSIC u64 cpu_read##name(void) {                                                                         \
    u64 value;                                                                                                 \
    __asm__ volatile("mov %%" reg ", %0" : "=r"(value));                                                       \
    return value;                                                                                              \
  }                                                                                                            \
  INTRINSIC void cpu_write##name(u64 value) { __asm__ volatile("mov %0, %%" reg : : "r"(value) : "memory"); }
CPU_REGISTER(Cr0, "cr0")
CPU_REGISTER(Cr4, "cr4")

INTRINSIC void cpu_writeCr3(u64 value) {
  __asm__ volatile("mov %0, %%cr3" : : "r"(value) : "memory");
  PERCPU(u64, PERCPU_ROOT_CR3) = value;
}

INTRINSIC void cpu_openInterrupts(void) { __asm__ volatile("sti; nop; cli" : : : "memory"); }
INTRINSIC void cpu_waitForInterrupt(void) { time_wait(); }
INTRINSIC u64 cpu_takePending(u32 group) {
  u64 offset = PERCPU_PENDING0 + 8 * (group & 3), value = PERCPU(u64, offset);
  PERCPU(u64, offset) = 0;
  return value;
}
INTRINSIC void cpu_clearAttention(void) { PERCPU(u32, PERCPU_ATTENTION) = 0; }
INTRINSIC void cpu_stop(void) { __asm__ volatile("int3" : : : "memory"); }
INTRINSIC u32 cpu_number(void) { return PERCPU(u32, PERCPU_NUMBER); }
INTRINSIC u32 cpu_nmis(void) { return PERCPU(u32, PERCPU_NMIS); }
INTRINSIC void cpu_halt(void) {
  for (;;) __asm__ volatile("cli; hlt");
}
INTRINSIC void cpu_crash(u32 out) {
  u32 *to = LINEAR(u32, out);
  for (u64 i = 0; i < CRASHRECORD_BYTES / 4; i++) to[i] = PERCPU(u32, PERCPU_CRASH + 4 * i);
}
INTRINSIC void cpu_armTimer(u64 at) { time_arm(at); }
