/* The I/O APIC (82093AA), where the MADT says it is. */
#include "apic.h"

static u64 page;
static u32 get(u32 n) { put32(page, n); return get32(page + 16); }
static void set(u32 n, u32 v) { put32(page, n); put32(page + 16, v); }
static void entry(u32 input, u32 low, u32 destination) {
  set(0x10 + input * 2, low | MASKED);
  set(0x11 + input * 2, destination << 24);
  set(0x10 + input * 2, low);
}
static u32 entry_low(u32 input) { return get(0x10 + input * 2); }

/* Input of an ISA interrupt, by the MADT's overrides (ACPI 6.4, 5.2.12.5). */
static u32 input_of(u8 irq) {
  u8 *madt = acpi_table("APIC");
  for (u8 *e = madt + 44; e < madt + load32(madt + 4) && e[1]; e += e[1])
    if (e[0] == 2 && e[3] == irq) return load32(e + 4);
  return irq;
}

static bool find(void) {
  u8 *madt = has_apic() ? acpi_table("APIC") : 0;
  if (!madt) return 0;
  for (u8 *e = madt + 44; e < madt + load32(madt + 4) && e[1]; e += e[1])
    if (e[0] == 1) page = load32(e + 4);
  return page != 0;
}

static void registers(void) {
  // 3.2, I/O APIC Registers.
  put32(page, 0x10);
  check("select-holds", get32(page) & 0xff, 0x10);
  u32 version = get(1);
  check_range("version", version & 0xff, 0x11, 0x20);
  check("inputs", version >> 16 & 0xff, 23);
  set(1, 0);
  check("version-is-read-only", get(1), version);
  u32 id = get(0);
  set(0, 0x05000000);
  check("id-holds-four-bits", get(0) >> 24 & 15, 5);
  set(0, id);
  // 3.2.4, I/O Redirection Table: delivery status and remote IRR are read-only, 31:17 reserved.
  set(0x10 + 2 * 20, MASKED | 0xa0ff);
  check("entry-low-holds", entry_low(20), MASKED | 0xa0ff);
  set(0x11 + 2 * 20, 0xa5000000);
  check("entry-high-holds", get(0x11 + 2 * 20) >> 24, 0xa5);
  set(0x10 + 2 * 20, MASKED | 0x50fe);
  check("read-only-bits", entry_low(20) & 0x5000, 0);
  set(0x10 + 2 * 20, 0xfffe0000 | MASKED | 0xfe);
  check("reserved-bits-read-0", entry_low(20) >> 17, 0);
  set(0x10 + 2 * 20, MASKED | 0x2f30);
  check("delivery-mode-and-polarity-hold", entry_low(20), MASKED | 0x2f30);
  set(0x10 + 2 * 20, MASKED);
  set(0x11 + 2 * 20, 0);
}

static void edges(void) {
  u32 own = apic_get(APIC_ID) >> 24, timer = input_of(0), serial = input_of(4);
  check("timer-input-is-2-or-0", timer == 2 || timer == 0, 1);
  auto_eoi = 0;
  entry(timer, 0x51, own);
  raise_irq0();
  check("edge", take(), 0x51);
  check("edge-has-no-remote-irr", entry_low(timer) >> 14 & 1, 0);
  check("edge-is-not-in-tmr", apic_bit(APIC_TMR, 0x51), 0);
  apic_set(APIC_EOI, 0);
  check("edge-is-once", take(), NOTHING);
  raise_irq0();
  check("each-edge-interrupts", take(), 0x51);
  apic_set(APIC_EOI, 0);
  // Masked, an edge is lost (3.2.4, Interrupt Mask: "edge-sensitive interrupts ... are ignored").
  entry(timer, MASKED | 0x51, own);
  raise_irq0();
  check("masked-does-not-interrupt", take(), NOTHING);
  entry(timer, 0x51, own);
  check("masked-edge-is-lost", take(), NOTHING);
  // Delivery: logical, lowest priority, another vector, nobody.
  apic_set(APIC_DFR, 0xffffffff);
  apic_set(APIC_LDR, 0x02000000);
  entry(timer, 0x800 | 0x52, 2);
  raise_irq0();
  check("logical-destination", take(), 0x52);
  apic_set(APIC_EOI, 0);
  entry(timer, 0x800 | 0x53, 4);
  raise_irq0();
  check("logical-destination-of-nobody", take(), NOTHING);
  entry(timer, 0x900 | 0x54, 0xff);
  raise_irq0();
  check("lowest-priority", take(), 0x54);
  apic_set(APIC_EOI, 0);
  entry(timer, 0x55, own ^ 6);
  raise_irq0();
  check("physical-destination-of-nobody", take(), NOTHING);
  entry(timer, 0x56, 0xff);
  raise_irq0();
  check("physical-broadcast", take(), 0x56);
  apic_set(APIC_EOI, 0);
  // The mode NMI has no vector.
  u32 before = counts[2];
  entry(timer, 0x400, own);
  raise_irq0();
  check("nmi", WAIT(counts[2] != before, 5000), 1);
  entry(timer, MASKED, 0);
  // Its priority is the vector's, not the input's.
  entry(serial, 0x61, own);
  entry(timer, 0x71, own);
  raise_irq4();
  raise_irq0();
  check("higher-vector-first", take(), 0x71);
  apic_set(APIC_EOI, 0);
  check("lower-vector-second", take(), 0x61);
  apic_set(APIC_EOI, 0);
  entry(timer, MASKED, 0);
  entry(serial, MASKED, 0);
  drop_irq4();
}

static void levels(void) {
  // The UART's line as a level, active high: 3.2.4, Trigger Mode and Remote IRR.
  u32 own = apic_get(APIC_ID) >> 24, serial = input_of(4);
  drop_irq4();
  entry(serial, 0x8000 | 0x62, own);
  check("no-remote-irr-yet", entry_low(serial) >> 14 & 1, 0);
  raise_irq4();
  u32 remote = entry_low(serial) >> 14 & 1;
  check("level", take(), 0x62);
  check("level-is-in-tmr", apic_bit(APIC_TMR, 0x62), 1);
  check("remote-irr-from-request-to-eoi", remote && (entry_low(serial) >> 14 & 1), 1);
  check("level-waits-for-eoi", take(), NOTHING);
  apic_set(APIC_EOI, 0);
  check("level-interrupts-again", take(), 0x62);
  drop_irq4();
  apic_set(APIC_EOI, 0);
  check("low-level-does-not", take(), NOTHING);
  check("eoi-clears-remote-irr", entry_low(serial) >> 14 & 1, 0);
  // A level that is there when it is unmasked interrupts.
  entry(serial, MASKED | 0x8000 | 0x63, own);
  raise_irq4();
  check("masked-level-does-not-interrupt", take(), NOTHING);
  entry(serial, 0x8000 | 0x63, own);
  check("unmasked-level-interrupts", take(), 0x63);
  drop_irq4();
  apic_set(APIC_EOI, 0);
  entry(serial, MASKED, 0);
}

static void nothing(struct frame *f) { (void)f; }

SUBJECT(ioapic) {
  if (!find()) {
    skip("registers", "there is no I/O APIC");
    return;
  }
  handlers[2] = nothing;
  reset_pics();
  apic_drain();
  for (u32 i = 0; i < 24; i++) set(0x10 + 2 * i, MASKED);
  registers();
  edges();
  levels();
  for (u32 i = 0; i < 24; i++) set(0x10 + 2 * i, MASKED);
  apic_drain();
}

/* Version 20h has an EOI register (82801 data sheets, EOIR): it ends levels by their vector. */
SUBJECT(eoiregister) {
  if (!find() || (get(1) & 0xff) < 0x20) {
    skip("there", "the version of the I/O APIC has none");
    return;
  }
  u32 own = apic_get(APIC_ID) >> 24, serial = input_of(4);
  reset_pics();
  apic_drain();
  auto_eoi = 0;
  entry(serial, 0x8000 | 0x64, own);
  raise_irq4();
  check("level", take(), 0x64);
  put32(page + 0x40, 0x63);
  check("another-vector", entry_low(serial) >> 14 & 1, 1);
  drop_irq4();
  put32(page + 0x40, 0x64);
  check("its-vector", entry_low(serial) >> 14 & 1, 0);
  apic_set(APIC_EOI, 0);
  entry(serial, MASKED, 0);
}

/* The clock, at its input of the I/O APIC. */
SUBJECT(rtcinput) {
  if (!find()) {
    skip("clock", "there is no I/O APIC");
    return;
  }
  auto_eoi = 0;
  u32 own = apic_get(APIC_ID) >> 24, clock = input_of(8);
  check("clock-input-is-8", clock, 8);
  entry(clock, 0x68, own);
  out8(0x70, 0x0a);
  out8(0x71, 0x26);
  out8(0x70, 0x0c);
  in8(0x71);
  out8(0x70, 0x0b);
  out8(0x71, 0x42);
  check("clock-interrupts", comes(0x68, 20000), 1);
  apic_set(APIC_EOI, 0);
  check("not-again-until-its-flags-are-read", comes(0x68, 5000), 0);
  apic_drain();
  out8(0x70, 0x0c);
  in8(0x71);
  check("again-then", comes(0x68, 20000), 1);
  apic_set(APIC_EOI, 0);
  out8(0x70, 0x0b);
  out8(0x71, 2);
  out8(0x70, 0x0c);
  in8(0x71);
  entry(clock, MASKED, 0);
}
