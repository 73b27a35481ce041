#include "types.h"

/* Called and not inlined: these are off the quick exits, and many. */
#define ROUTINE static __attribute__((noinline, unused))

#define GUEST(type, gpa) ((volatile type *)(GUEST_WINDOW + (gpa)))

INTRINSIC int guest_contains(u64 gpa, u64 length) {
  u64 low = PERCPU(u64, RUNNING_RAM_LOW);
  if (gpa < low) return length <= low - gpa;
  u64 high = PERCPU(u64, RUNNING_RAM_HIGH);
  return gpa >= 1ul << 32 && gpa < high && length <= high - gpa;
}

#define GUEST_ACCESS(bits, result)                                                                             \
  ROUTINE result guest_load##bits(u64 gpa) {                                                                 \
    return guest_contains(gpa, bits / 8) ? *GUEST(u##bits, gpa) : (result)(u##bits)-1;                         \
  }                                                                                                            \
  ROUTINE void guest_store##bits(u64 gpa, result value) {                                                    \
    if (guest_contains(gpa, bits / 8)) *GUEST(u##bits, gpa) = (u##bits)value;                                  \
  }
GUEST_ACCESS(8, u32)
GUEST_ACCESS(16, u32)
GUEST_ACCESS(32, u32)
GUEST_ACCESS(64, u64)

ROUTINE int guest_replace32(u64 gpa, u32 from, u32 to) {
  return guest_contains(gpa, 4) && __sync_bool_compare_and_swap(GUEST(u32, gpa), from, to);
}

INTRINSIC void guest_bytes(void *to, const void *from, u64 length) {
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(length) : : "memory");
}

ROUTINE int guest_read(u64 gpa, u32 to, u32 length) {
  if (!guest_contains(gpa, length)) return 0;
  guest_bytes(LINEAR(u8, to), (const void *)GUEST(u8, gpa), length);
  return 1;
}

ROUTINE int guest_write(u64 gpa, u32 from, u32 length) {
  if (!guest_contains(gpa, length)) return 0;
  guest_bytes((void *)GUEST(u8, gpa), LINEAR(u8, from), length);
  return 1;
}

/* Backwards where the target overlaps the source from above (SDM Vol. 1 7.3.9, String Operations). */
ROUTINE int guest_move(u64 to, u64 from, u64 length) {
  if (!guest_contains(to, length) || !guest_contains(from, length)) return 0;
  void *target = (void *)GUEST(u8, to), *source = (void *)GUEST(u8, from);
  if (to > from && to - from < length) {
    target += length - 1, source += length - 1;
    __asm__ volatile("std; rep movsb; cld" : "+D"(target), "+S"(source), "+c"(length) : : "memory");
  } else {
    u64 words = length / 8, rest = length % 8;
    __asm__ volatile("rep movsq; mov %3, %2; rep movsb"
                     : "+D"(target), "+S"(source), "+c"(words)
                     : "r"(rest)
                     : "memory");
  }
  return 1;
}

ROUTINE int guest_fill(u64 gpa, u32 value, u64 length) {
  if (!guest_contains(gpa, length)) return 0;
  void *target = (void *)GUEST(u8, gpa);
  __asm__ volatile("rep stosb" : "+D"(target), "+c"(length) : "a"(value) : "memory");
  return 1;
}
