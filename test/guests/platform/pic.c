/* The 8259s (8259A data sheet; 82371AB 4.2.4, Interrupt Controller Registers). */
#include "runtime.h"

static u8 read_irr(u16 port) { out8(port, 0x0a); return in8(port); }
static u8 read_isr(u16 port) { out8(port, 0x0b); return in8(port); }
/* OCW3's poll: the read that follows acknowledges. */
static u8 poll(u16 port) { out8(port, 0x0c); return in8(port); }

static u8 isr_seen[2];
static void look_at_isr(struct frame *f) {
  (void)f;
  isr_seen[0] = read_isr(PIC_MASTER);
  isr_seen[1] = read_isr(PIC_SLAVE);
}

/* Both inputs low, then a fresh start with only them unmasked. */
static void fresh(u8 icw4) {
  drop_irq4();
  out8(0x43, 0x30);
  pic_init(0x11, PIC_VECTOR, icw4);
  pic_mask(0xffee);
}

static void registers(void) {
  // "Operation Command Word 1": reads give the interrupt mask register.
  for (u32 i = 0; i < 2; i++) {
    u16 port = i ? PIC_SLAVE : PIC_MASTER;
    out8(port + 1, 0x55);
    check(numbered("#-mask-holds-55", i), in8(port + 1), 0x55);
    out8(port + 1, 0xaa);
    check(numbered("#-mask-holds-aa", i), in8(port + 1), 0xaa);
  }
  // "Initialization Command Words 1 and 2": the mask register is cleared.
  pic_init(0x11, PIC_VECTOR, 1);
  check("initialization-clears-master-mask", in8(PIC_MASTER + 1), 0);
  check("initialization-clears-slave-mask", in8(PIC_SLAVE + 1), 0);
  reset_pics();
  // 82371AB 4.2.4, ELCR1 and ELCR2: inputs 0, 1, 2, 8 and 13 are edge-triggered for good.
  u8 levels[2] = {in8(0x4d0), in8(0x4d1)};
  out8(0x4d0, 0xff);
  out8(0x4d1, 0xff);
  check("master-levels", in8(0x4d0), 0xf8);
  check("slave-levels", in8(0x4d1), 0xde);
  out8(0x4d0, 0);
  out8(0x4d1, 0);
  check("master-edges", in8(0x4d0), 0);
  check("slave-edges", in8(0x4d1), 0);
  out8(0x4d0, levels[0] & ~0x10);
  out8(0x4d1, levels[1]);
}

static void requests(void) {
  fresh(1);
  pic_mask(0xffff);
  check("no-request-at-first", read_irr(PIC_MASTER) & 0x11, 0);
  // "Interrupt Mask Register": it has no effect on the request register.
  raise_irq0();
  check("request-though-masked", read_irr(PIC_MASTER) & 1, 1);
  check("request-is-not-in-service", read_isr(PIC_MASTER), 0);
  check("masked-does-not-interrupt", comes(0x20, 200), 0);
  // "Edge and Level Triggered Modes", ICW1: the edge sense circuit is reset.
  pic_init(0x11, PIC_VECTOR, 1);
  pic_mask(0xffff);
  check("initialization-forgets-edges", read_irr(PIC_MASTER) & 1, 0);
  check("poll-without-request", poll(PIC_MASTER) & 0x80, 0);
}

static void delivery(void) {
  fresh(1);
  handlers[0x20] = look_at_isr;
  raise_irq0();
  check("delivered", comes(0x20, 1000), 1);
  check("in-service-in-its-handler", isr_seen[0], 1);
  check("not-in-service-after-eoi", read_isr(PIC_MASTER), 0);
  check("acknowledged-request-is-gone", read_irr(PIC_MASTER) & 1, 0);
  check("one-edge-one-interrupt", comes(0x20, 200), 0);
  // ICW2: the vector's five high bits.
  handlers[0x20] = 0;
  out8(0x43, 0x30);
  pic_init(0x11, 0x48, 1);
  pic_mask(0xffee);
  auto_eoi = 0;
  raise_irq0();
  check("vector-by-icw2", comes(0x48, 1000), 1);
  out8(PIC_MASTER, 0x20);
  raise_irq4();
  check("vector-by-icw2-and-input", comes(0x4c, 1000), 1);
  out8(PIC_MASTER, 0x20);
  auto_eoi = 1;
  // "Fully Nested Mode": the lower input goes first.
  fresh(1);
  forget_interrupts();
  raise_irq4();
  raise_irq0();
  window();
  WAIT(0, 50);
  window();
  check("both-are-delivered", ordered, 2);
  check("lower-input-first", order[0] << 8 | order[1], 0x2024);
}

static void cascade(void) {
  fresh(1);
  pic_mask(0xfeea);
  handlers[0x28] = look_at_isr;
  forget_interrupts();
  // The clock's periodic interrupt at 8 kHz.
  out8(0x70, 0x0a);
  out8(0x71, 0x23);
  out8(0x70, 0x0c);
  in8(0x71);
  out8(0x70, 0x0b);
  out8(0x71, 0x42);
  check("slave-request-shows", WAIT(read_irr(PIC_SLAVE) & 1, 5000), 1);
  check("slave-request-shows-at-master", read_irr(PIC_MASTER) & 4, 4);
  raise_irq4();
  WAIT(0, 50);
  window();
  WAIT(0, 50);
  window();
  check("slave-delivered", counts[0x28] != 0, 1);
  check("slave-in-service", isr_seen[1], 1);
  check("cascade-in-service", isr_seen[0], 4);
  check("slave-before-input-4", order[0], 0x28);
  check("input-4-after-slave", counts[0x24] == 1 && order[ordered - 1] == 0x24, 1);
  out8(0x70, 0x0b);
  out8(0x71, 2);
  out8(0x70, 0x0a);
  out8(0x71, 0x26);
  out8(0x70, 0x0c);
  in8(0x71);
}

/* Each interrupt is taken alone, and none ended but by the test. */
static void service(void) {
  auto_eoi = 0;
  fresh(1);
  raise_irq0();
  raise_irq4();
  check("takes-lower-input", take(), 0x20);
  check("taking-sets-in-service", read_isr(PIC_MASTER), 1);
  check("in-service-holds-up-lower-priority", take(), NOTHING);
  // "End of Interrupt": non-specific.
  out8(PIC_MASTER, 0x20);
  check("non-specific-eoi", read_isr(PIC_MASTER), 0);
  check("lower-priority-after-eoi", take(), 0x24);
  raise_irq0();
  check("higher-priority-interrupts-service", take(), 0x20);
  check("two-in-service", read_isr(PIC_MASTER), 0x11);
  out8(PIC_MASTER, 0x20);
  check("non-specific-eoi-takes-highest", read_isr(PIC_MASTER), 0x10);
  out8(PIC_MASTER, 0x63);
  check("specific-eoi-of-another-level", read_isr(PIC_MASTER), 0x10);
  out8(PIC_MASTER, 0x64);
  check("specific-eoi", read_isr(PIC_MASTER), 0);
  // "Reading of the 8259A Status": the choice of the register stays.
  out8(PIC_MASTER, 0x0a);
  in8(PIC_MASTER);
  raise_irq0();
  check("register-choice-stays", in8(PIC_MASTER) & 1, 1);
  // "Poll Command": the read acknowledges.
  check("poll-finds-a-request", poll(PIC_MASTER), 0x80);
  check("poll-sets-in-service", read_isr(PIC_MASTER), 1);
  out8(PIC_MASTER, 0x20);
}

static void rotation(void) {
  // "Automatic Rotation (Equal Priority Devices)": rotate on non-specific EOI.
  fresh(1);
  raise_irq0();
  take();
  out8(PIC_MASTER, 0xa0);
  check("rotating-eoi-ends-service", read_isr(PIC_MASTER), 0);
  raise_irq4();
  raise_irq0();
  check("rotated-priority", take(), 0x24);
  out8(PIC_MASTER, 0x20);
  check("last-served-is-lowest", take(), 0x20);
  out8(PIC_MASTER, 0x20);
  // "Specific Rotation (Specific Priority)": the set priority command.
  fresh(1);
  out8(PIC_MASTER, 0xc3);
  raise_irq4();
  raise_irq0();
  check("set-priority", take(), 0x24);
  check("set-priority-holds-up-input-0", take(), NOTHING);
  out8(PIC_MASTER, 0xe7); // rotate on specific EOI of 7: not in service, but the order is the usual one again
  check("rotate-on-specific-eoi", take(), 0x20);
  out8(PIC_MASTER, 0x60);
  out8(PIC_MASTER, 0x64);
  // "Special Mask Mode": what is in service and masked holds up nobody.
  fresh(1);
  out8(PIC_MASTER, 0xc0);
  raise_irq4();
  check("special-mask-begins", take(), 0x24);
  raise_irq0();
  check("held-up-without-special-mask", take(), NOTHING);
  out8(PIC_MASTER, 0x68);
  out8(PIC_MASTER + 1, 0xfe);
  check("special-mask-lets-lower-pass", take(), 0x20);
  out8(PIC_MASTER, 0x48);
  out8(PIC_MASTER, 0x60);
  out8(PIC_MASTER, 0x64);
  check("in-service-is-empty-at-last", read_isr(PIC_MASTER), 0);
  auto_eoi = 1;
}

static void automatic(void) {
  // "Automatic End of Interrupt (AEOI) Mode", ICW4 bit 1.
  fresh(3);
  handlers[0x20] = look_at_isr;
  auto_eoi = 0;
  isr_seen[0] = 0xff;
  raise_irq0();
  check("automatic-eoi-delivers", comes(0x20, 1000), 1);
  check("automatic-eoi-is-not-in-service", isr_seen[0], 0);
  raise_irq0();
  check("automatic-eoi-delivers-again", comes(0x20, 1000), 1);
  auto_eoi = 1;
}

static void levels(void) {
  // An edge is one request however long the input is high.
  auto_eoi = 0;
  fresh(1);
  raise_irq4();
  check("edge-is-a-request", take(), 0x24);
  out8(PIC_MASTER, 0x20);
  check("edge-is-one-request", take(), NOTHING);
  u8 before = in8(0x4d0);
  out8(0x4d0, before | 0x10);
  fresh(1);
  raise_irq4();
  check("level-is-a-request", take(), 0x24);
  out8(PIC_MASTER, 0x20);
  check("level-is-a-request-while-high", take(), 0x24);
  out8(PIC_MASTER, 0x20);
  drop_irq4();
  check("no-request-when-low", read_irr(PIC_MASTER) & 0x10, 0);
  check("no-interrupt-when-low", take(), NOTHING);
  out8(0x4d0, before);
  auto_eoi = 1;
}

SUBJECT(pic) {
  registers();
  requests();
  delivery();
  handlers[0x20] = 0;
  cascade();
  service();
  rotation();
  automatic();
  levels();
}
