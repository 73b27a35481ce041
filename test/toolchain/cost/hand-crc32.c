/* crc32.ts as one would write it in C. */
#include "machine.h"

void hand_crc_table(u32 *table, u32 count) {
  for (u32 i = 0; i < count; i++) {
    u32 value = i;
    for (int bit = 0; bit < 8; bit++) value = value & 1 ? value >> 1 ^ 0xedb88320 : value >> 1;
    table[i] = value;
  }
}

u32 hand_crc(const u32 *table, const u8 *data, u32 length) {
  u32 value = ~0u;
  for (u32 i = 0; i < length; i++) value = table[(value ^ data[i]) & 255] ^ value >> 8;
  return ~value;
}
