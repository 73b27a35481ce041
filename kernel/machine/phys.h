#include "types.h"

#define PHYSICAL(type, hpa) (*(volatile type *)(PHYSICAL_WINDOW + (hpa)))

#define PHYS_ACCESS(bits, result)                                                                              \
  INTRINSIC result phys_load##bits(u64 hpa) { return PHYSICAL(u##bits, hpa); }                                 \
  INTRINSIC void phys_store##bits(u64 hpa, result value) { PHYSICAL(u##bits, hpa) = (u##bits)value; }
PHYS_ACCESS(8, u32)
PHYS_ACCESS(16, u32)
PHYS_ACCESS(32, u32)
PHYS_ACCESS(64, u64)

INTRINSIC void phys_bytes(u64 to, u64 from, u64 length) {
  u64 words = length / 8, rest = length % 8;
  __asm__ volatile("rep movsq; mov %3, %2; rep movsb" : "+D"(to), "+S"(from), "+c"(words) : "r"(rest) : "memory");
}
INTRINSIC void phys_copy(u64 to, u64 from, u64 length) {
  phys_bytes(PHYSICAL_WINDOW + to, PHYSICAL_WINDOW + from, length);
}
INTRINSIC void phys_read(u64 hpa, u32 to, u32 length) {
  phys_bytes((u64)LINEAR(u8, to), PHYSICAL_WINDOW + hpa, length);
}
INTRINSIC void phys_write(u64 hpa, u32 from, u32 length) {
  phys_bytes(PHYSICAL_WINDOW + hpa, (u64)LINEAR(u8, from), length);
}
INTRINSIC void phys_fill(u64 hpa, u32 value, u64 length) {
  u64 to = PHYSICAL_WINDOW + hpa, words = length / 8, rest = length % 8, pattern = 0x0101010101010101ul * (u8)value;
  __asm__ volatile("rep stosq; mov %3, %1; rep stosb" : "+D"(to), "+c"(words) : "a"(pattern), "r"(rest) : "memory");
}
INTRINSIC u32 phys_loadDevice32(u64 hpa) { return *(volatile u32 *)(UNCACHED_WINDOW + hpa); }
INTRINSIC void phys_storeDevice32(u64 hpa, u32 value) { *(volatile u32 *)(UNCACHED_WINDOW + hpa) = value; }
