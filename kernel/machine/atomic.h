#include "types.h"

#define ATOMIC(name, builtin)                                                                                  \
  INTRINSIC u32 atomic_##name##32(u32 address, u32 value) {                                                  \
    return builtin(LINEAR(u32, address), value, __ATOMIC_SEQ_CST);                                             \
  }
ATOMIC(swap, __atomic_exchange_n)
ATOMIC(or, __atomic_fetch_or)
ATOMIC(add, __atomic_fetch_add)
INTRINSIC int atomic_replace32(u32 address, u32 from, u32 to) {
  return __sync_bool_compare_and_swap(LINEAR(u32, address), from, to);
}
INTRINSIC void atomic_pause(void) { __asm__ volatile("pause"); }
