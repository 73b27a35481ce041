/* SMBIOS (System Management BIOS Reference Specification 3.5, 5.2, SMBIOS Structure Table Entry Point). */
#include "runtime.h"

SUBJECT(smbios) {
  u8 *old = 0, *new = 0;
  for (u64 at = 0xf0000; at < 0x100000; at += 16) {
    if (!new && same((void *)at, "_SM3_", 5)) new = (u8 *)at;
    else if (!old && same((void *)at, "_SM_", 4)) old = (u8 *)at;
  }
  check("entry-point", old || new, 1);
  if (!old && !new) return;
  // 5.2.1 and 5.2.2: each entry point sums to 0 over its length; so does the 2.1 one's second half.
  check("checksum", byte_sum(new ? new : old, new ? new[6] : old[5]), 0);
  check("intermediate-checksum", old ? same(old + 16, "_DMI_", 5) && byte_sum(old + 16, 15) == 0 : 1, 1);
  u8 *table = (u8 *)(new ? load64(new + 16) : load32(old + 24));
  u32 length = new ? load32(new + 12) : (u32)(old[22] | old[23] << 8);
  check_range("version", new ? new[7] : old[6], 2, 3);
  // 6.1.2, Structure Header Format; 6.1.3, Text Strings: two zeros end a structure.
  u64 kinds[2] = {0, 0};
  u32 structures = 0, twice = 0, bad = 0, handles[128];
  bool ended = 0;
  u8 *s = table;
  while (s + 4 <= table + length && !ended && structures < 128) {
    if (s[1] < 4) {
      bad++;
      break;
    }
    u32 handle = s[2] | s[3] << 8;
    for (u32 i = 0; i < structures; i++) twice += handles[i] == handle;
    handles[structures++] = handle;
    if (s[0] < 128) kinds[s[0] / 64] |= 1UL << s[0] % 64;
    ended = s[0] == 127;
    s += s[1];
    while (s + 2 <= table + length && (s[0] || s[1])) s++;
    s += 2;
  }
  check("structures-are-whole", bad, 0);
  check("end-of-table", ended, 1);
  check("inside-the-table", s <= table + length, 1);
  check("handles-are-unique", twice, 0);
  // 6.2, Required Structures and Data.
  check("firmware-information", kinds[0] & 1, 1);
  check("system-information", kinds[0] >> 1 & 1, 1);
  check("enclosure", kinds[0] >> 3 & 1, 1);
  check("processor", kinds[0] >> 4 & 1, 1);
  check("memory-array-and-device", (kinds[0] >> 16 & 3), 3);
  check("memory-address", kinds[0] >> 19 & 1, 1);
  check("boot-information", kinds[0] >> 32 & 1, 1);
}
