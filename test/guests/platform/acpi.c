/* Finding ACPI's tables (ACPI 6.4, 5.2.5, Root System Description Pointer), and its timer. */
#include "runtime.h"

u16 pm_port;

u8 byte_sum(const u8 *at, u32 length) {
  u8 sum = 0;
  for (u32 i = 0; i < length; i++) sum += at[i];
  return sum;
}

bool same(const void *a, const char *b, u32 length) {
  for (u32 i = 0; i < length; i++)
    if (((const char *)a)[i] != b[i]) return 0;
  return 1;
}

u32 load32(const void *at) { return *(const volatile u32 *)at; }
u64 load64(const void *at) { return *(const volatile u64 *)at; }

static u8 *search(u64 from, u64 to) {
  for (u64 at = from; at < to; at += 16)
    if (same((void *)at, "RSD PTR ", 8) && byte_sum((u8 *)at, 20) == 0) return (u8 *)at;
  return 0;
}

u8 *acpi_root(void) {
  u64 ebda;
  // Not through a null pointer's page as C sees it.
  asm volatile("movzwq 0x40e, %0" : "=r"(ebda));
  ebda <<= 4;
  u8 *found = ebda >= 0x80000 && ebda < 0xa0000 ? search(ebda, ebda + 1024) : 0;
  return found ? found : search(0xe0000, 0x100000);
}

static u8 *directory(u32 *width) {
  u8 *root = acpi_root();
  if (!root) return 0;
  bool extended = root[15] >= 2 && load64(root + 24);
  *width = extended ? 8 : 4;
  return (u8 *)(extended ? load64(root + 24) : load32(root + 16));
}

u32 acpi_count(void) {
  u32 width;
  u8 *d = directory(&width);
  return d ? (load32(d + 4) - 36) / width : 0;
}

u8 *acpi_nth(u32 n) {
  u32 width;
  u8 *d = directory(&width);
  return (u8 *)(width == 8 ? load64(d + 36 + n * 8) : load32(d + 36 + n * 4));
}

u8 *acpi_table(const char *signature) {
  u32 count = acpi_count();
  for (u32 n = 0; n < count; n++)
    if (same(acpi_nth(n), signature, 4)) return acpi_nth(n);
  return 0;
}

u32 pm_now(void) {
  if (!pm_port) {
    u8 *fadt = acpi_table("FACP");
    pm_port = fadt ? load32(fadt + 76) : 0xb008;
  }
  return in32(pm_port);
}

/* At most half of 24 bits' worth: 2.3 s. */
u32 pm_since(u32 before) { return (pm_now() - before) & 0xffffff; }
