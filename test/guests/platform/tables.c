/* ACPI's tables (ACPI 6.4, 5.2), and whether the hardware agrees. */
#include "runtime.h"

static u8 *fadt, *madt;

static void roots(void) {
  u8 *root = acpi_root();
  check("root-pointer", root != 0, 1);
  // 5.2.5.3: the first 20 bytes sum to 0, from revision 2 on all of them too.
  check("root-checksum", byte_sum(root, 20), 0);
  check("root-extended-checksum", root[15] < 2 ? 0 : byte_sum(root, load32(root + 20)), 0);
  check("root-revision", root[15] == 0 || root[15] == 2, 1);
  u32 count = acpi_count(), bad = 0, short_ones = 0;
  check_range("number-of-tables", count, 1, 64);
  for (u32 n = 0; n < count; n++) {
    u8 *t = acpi_nth(n);
    u32 length = load32(t + 4);
    if (length < 36 || length > 0x100000) short_ones++;
    else bad += byte_sum(t, length) != 0;
  }
  // 5.2.6: the whole table sums to 0.
  check("table-checksums", bad, 0);
  check("table-lengths", short_ones, 0);
  // 5.2.8: where there is an XSDT, a 64-bit pointer and the 32-bit one, if any, name the same tables.
  u8 *old = (u8 *)(u64)load32(root + 16);
  check("old-directory", old == 0 || (same(old, "RSDT", 4) && byte_sum(old, load32(old + 4)) == 0), 1);
  bool extended = root[15] >= 2 && load64(root + 24);
  u8 *wide = extended ? (u8 *)load64(root + 24) : 0;
  check("new-directory", !extended || (same(wide, "XSDT", 4) && byte_sum(wide, load32(wide + 4)) == 0), 1);
}

static void fixed(void) {
  fadt = acpi_table("FACP");
  check("fadt", fadt != 0, 1);
  if (!fadt) return;
  u32 length = load32(fadt + 4);
  check_range("fadt-length", length, 116, 276);
  bool extended = length >= 244;
  u8 *dsdt = (u8 *)(u64)load32(fadt + 40);
  if (extended && load64(fadt + 140)) dsdt = (u8 *)load64(fadt + 140);
  check("dsdt-signature", same(dsdt, "DSDT", 4), 1);
  check("dsdt-checksum", byte_sum(dsdt, load32(dsdt + 4)), 0);
  u8 *facs = (u8 *)(u64)load32(fadt + 36);
  if (!facs && extended) facs = (u8 *)load64(fadt + 132);
  check("facs-signature", same(facs, "FACS", 4), 1);
  check("facs-alignment", (u64)facs & 63, 0);
  check_range("facs-length", load32(facs + 4), 64, 4096);
  check_range("sci-is-an-interrupt", load32(fadt + 46) & 0xffff, 1, 23);
  // 5.2.9: the 32-bit and the 64-bit block addresses are the same where both are there.
  bool agree = 1;
  static const struct { u8 old, wide; } blocks[] = {{56, 148}, {64, 172}, {76, 208}};
  for (u32 i = 0; i < 3; i++) {
    if (!extended || !load64(fadt + blocks[i].wide + 4)) continue;
    agree &= load64(fadt + blocks[i].wide + 4) == load32(fadt + blocks[i].old) && fadt[blocks[i].wide] == 1;
  }
  check("extended-addresses-agree", agree, 1);
  check("pm1-event-length", fadt[88] >= 4, 1);
  check("pm1-control-length", fadt[89] >= 2, 1);
  // 5.2.9.3, IA-PC Boot Architecture Flags: 8042 is where it says so, and only there.
  u32 boot = extended && fadt[8] >= 2 ? fadt[109] | fadt[110] << 8 : 0;
  // Between commands a controller has bit 1 clear, no bus answers like that.
  if (boot) check("keyboard-controller-by-flag", (in8(0x64) != 0xff) == (boot >> 1 & 1), 1);
  else check("keyboard-controller-by-flag", 1, 1);
  // _S5_ is a name in the DSDT (7.4.2).
  bool sleeps = 0;
  for (u32 i = 36; i + 5 < load32(dsdt + 4); i++) sleeps |= dsdt[i] == 8 && same(dsdt + i + 1, "_S5_", 4);
  check("soft-off-is-named", sleeps, 1);
}

static void interrupts(void) {
  madt = acpi_table("APIC");
  if (!madt) {
    skip("table", "there is no MADT");
    return;
  }
  u32 length = load32(madt + 4), covered = 44, cpus = 0, boot = 0, ioapics = 0, sane = 1, base_agrees = 1;
  u64 base = 0;
  safe_read_msr(0x1b, &base);
  u32 own = cpuid(1, 0).b >> 24;
  for (u8 *e = madt + 44; e < madt + length && e[1]; e += e[1]) {
    covered += e[1];
    if (e[0] == 0 && load32(e + 4) & 1) {
      cpus++;
      boot += e[3] == own;
    }
    if (e[0] == 1) {
      ioapics++;
      u64 at = load32(e + 4);
      put32(at, 1);
      u32 version = get32(at + 16);
      base_agrees &= (version & 0xff) >= 0x11 && (version & 0xff) <= 0x20 && (version >> 16 & 0xff) == 23;
    }
    // 5.2.12.5: bus 0, polarity and trigger not reserved values.
    if (e[0] == 2) sane &= e[2] == 0 && e[3] < 16 && (e[8] & 3) != 2 && (e[8] >> 2 & 3) != 2;
  }
  check("madt-structures-fill-it", covered, length);
  check("madt-local-apic-address", load32(madt + 36), base & 0xfffff000);
  check_range("madt-processors", cpus, 1, 64);
  check("madt-boot-processor-once", boot, 1);
  check("madt-io-apics", ioapics, 1);
  check("madt-io-apic-is-there", base_agrees, 1);
  check("madt-overrides", sane, 1);
  check("madt-says-8259s", load32(madt + 40) & 1, 1);
}

SUBJECT(tables) {
  roots();
  fixed();
}

SUBJECT(madt) { interrupts(); }

/* IA-PC HPET 1.0a 3.2.4, The ACPI 2.0 HPET Description Table. */
SUBJECT(hpettable) {
  u8 *t = acpi_table("HPET");
  if (!t) {
    skip("table", "there is no HPET table");
    return;
  }
  check("table", load32(t + 4), 56);
  check("in-memory", t[40], 0);
  u64 at = load64(t + 44);
  check("aligned", at & 1023, 0);
  check("identity-agrees", load32(t + 36), get32(at));
}

/* PCI Firmware Specification 3.2, 4.1.2, MCFG Table Description; ECAM by PCI Express Base 3.0, 7.2.2. */
SUBJECT(ecam) {
  u8 *t = acpi_table("MCFG");
  if (!t) {
    skip("table", "there is no MCFG");
    return;
  }
  check("table", load32(t + 4) >= 60, 1);
  u64 at = load64(t + 44);
  check("segment-0", t[52] | t[53] << 8, 0);
  check("from-bus-0", t[54], 0);
  check("aligned", at & 0xfffff, 0);
  u32 differing = 0, functions = 0;
  for (u32 device = 0; device < 32; device++) {
    out32(0xcf8, 0x80000000 | device << 11);
    u32 id = in32(0xcfc);
    functions += id != 0xffffffff;
    differing += get32(at + (device << 15)) != id;
    out32(0xcf8, 0x80000008 | device << 11);
    differing += get32(at + (device << 15) + 8) != in32(0xcfc);
  }
  check("agrees-with-mechanism-1", differing, 0);
  check_range("functions", functions, 1, 32);
  check("byte-access", *(volatile u8 *)(at + 1), get32(at) >> 8 & 0xff);
  check("word-access", *(volatile u16 *)(at + 2), get32(at) >> 16);
  check("absent-extended-register", get32(at + (31 << 15) + (7 << 12) + 0xffc), 0xffffffff);
}
