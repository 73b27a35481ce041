/* PCI configuration mechanism 1 (PCI 3.0, 3.2.2.3.2, Software Generation of Configuration Transactions). */
#include "runtime.h"

enum { ADDRESS = 0xcf8, DATA = 0xcfc };
static u32 config(u32 device, u32 function, u32 offset) {
  out32(ADDRESS, 0x80000000 | device << 11 | function << 8 | offset);
  return in32(DATA);
}

SUBJECT(pci) {
  // Bits 30:24 and 1:0 of CONFIG_ADDRESS are reserved; bits 1:0 read 0.
  out32(ADDRESS, 0x80000000);
  check("address-holds", in32(ADDRESS), 0x80000000);
  out32(ADDRESS, 0x80ff0f0c);
  check("address-holds-all-fields", in32(ADDRESS) & 0x80ffffff, 0x80ff0f0c);
  // Only a dword access reaches it.
  out8(ADDRESS + 3, 0);
  check("byte-writes-do-not-reach-it", in32(ADDRESS) & 0x80ffffff, 0x80ff0f0c);
  out16(ADDRESS, 0);
  check("word-writes-do-not-reach-it", in32(ADDRESS) & 0x80ffffff, 0x80ff0f0c);
  out32(ADDRESS, 0);
  u32 ones = in32(DATA);
  check("no-cycle-without-enable", ones, 0xffffffff);
  // 6.1: who is not there answers all ones. Device 30 of bus 254 is not.
  out32(ADDRESS, 0x80fef000);
  check("absent-dword", in32(DATA), 0xffffffff);
  check("absent-word", in16(DATA), 0xffff);
  check("absent-byte", in8(DATA + 3), 0xff);
  out32(DATA, 0);
  check("absent-after-write", in32(DATA), 0xffffffff);
}

/* 6.2.1, Device Identification. */
SUBJECT(hostbridge) {
  u32 id = config(0, 0, 0);
  check("there", id != 0xffffffff, 1);
  if (id == 0xffffffff) return;
  check("class", config(0, 0, 8) >> 16, 0x0600);
  check("header-type", config(0, 0, 12) >> 16 & 0x7f, 0);
  config(0, 0, 0);
  check("word-access", in16(DATA + 2), id >> 16);
  check("byte-access", in8(DATA + 1), id >> 8 & 0xff);
  config(0, 0, 8);
  check("class-by-bytes", in8(DATA + 3), 0x06);
  out32(ADDRESS, 0x80000000);
  out32(DATA, 0);
  check("identification-is-read-only", in32(DATA), id);
  // Of a function that is there, registers without one read 0: the vendor FFFFh is of one that is not (6.2.1).
  u32 isa = 0, absent = 0;
  for (u32 device = 0; device < 32; device++) {
    if ((config(device, 0, 0) & 0xffff) == 0xffff) {
      absent += config(device, 0, 8) != 0xffffffff;
      continue;
    }
    u32 functions = config(device, 0, 12) >> 23 & 1 ? 8 : 1;
    for (u32 f = 0; f < functions; f++)
      if (config(device, f, 0) != 0xffffffff) isa += config(device, f, 8) >> 16 == 0x0601;
  }
  check("isa-bridge", isa, 1);
  check("absent-devices-are-absent", absent, 0);
  // 6.2.5.1: of each base address register that is there the size is a power of two, and the old value comes back.
  u32 odd = 0;
  for (u32 device = 0; device < 32; device++) {
    if ((config(device, 0, 0) & 0xffff) == 0xffff || config(device, 0, 12) >> 16 & 0x7f) continue;
    u32 command = config(device, 0, 4) & 0xffff;
    config(device, 0, 4);
    out16(DATA, command & ~3);
    for (u32 bar = 0x10; bar < 0x28; bar += 4) {
      u32 old = config(device, 0, bar);
      out32(DATA, 0xffffffff);
      u32 mask = in32(DATA), size = ~(mask & (mask & 1 ? ~3u : ~15u)) + 1;
      out32(DATA, old);
      if (mask & 1 && !(mask >> 16)) size &= 0xffff;
      if (mask && (mask & 6) != 4 && size & (size - 1)) odd++;
      odd += in32(DATA) != old;
    }
    config(device, 0, 4);
    out16(DATA, command);
  }
  check("base-address-registers", odd, 0);
}
