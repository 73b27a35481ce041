/* The 16550A (National Semiconductor PC16550D), at COM1. What is sent here loops back: nothing is printed. */
#include "runtime.h"

enum { DATA = UART, IER, IIR, LCR, MCR, LSR, MSR, SCR };

static void idle(void) {
  WAIT((in8(LSR) & 0x60) == 0x60, 100000);
  out8(IER, 0);
  out8(LCR, 3);
  out8(MCR, 0);
  out8(IIR, 7);
  in8(LSR);
  in8(MSR);
  in8(IIR);
}

static void registers(void) {
  out8(SCR, 0x55);
  check("scratch-55", in8(SCR), 0x55);
  out8(SCR, 0xaa);
  check("scratch-aa", in8(SCR), 0xaa);
  // "Summary of Registers": bits 7:4 of IER and 7:5 of MCR are always 0.
  out8(IER, 0xff);
  check("interrupt-enable-bits", in8(IER), 0x0f);
  out8(IER, 0);
  out8(MCR, 0xff);
  check("modem-control-bits", in8(MCR), 0x1f);
  out8(MCR, 0);
  check("modem-control-clears", in8(MCR), 0);
  out8(LCR, 0x1b);
  check("line-control-holds", in8(LCR), 0x1b);
  // "Programmable Baud Generator": DLAB opens the divisor latches in the place of data and IER.
  out8(LCR, 0x83);
  u8 low = in8(DATA), high = in8(IER);
  out8(DATA, 0x34);
  out8(IER, 0x12);
  check("divisor-low", in8(DATA), 0x34);
  check("divisor-high", in8(IER), 0x12);
  out8(LCR, 3);
  check("divisor-is-apart-from-enables", in8(IER), 0);
  out8(LCR, 0x83);
  check("divisor-stays", in8(DATA), 0x34);
  out8(DATA, low);
  out8(IER, high);
  out8(LCR, 3);
  check("idle-line-status", in8(LSR), 0x60);
  // "FIFO Control Register": IIR bits 7:6 are set while FIFOs are on.
  out8(IIR, 0);
  check("no-interrupt-without-fifos", in8(IIR), 0x01);
  out8(IIR, 1);
  check("no-interrupt-with-fifos", in8(IIR), 0xc1);
}

static void modem(void) {
  // "Modem Control Register", bit 4: DTR to DSR, RTS to CTS, OUT1 to RI, OUT2 to DCD.
  out8(MCR, 0x10);
  check("loop-none", in8(MSR) & 0xf0, 0);
  out8(MCR, 0x11);
  check("loop-dtr-is-dsr", in8(MSR) & 0xf0, 0x20);
  out8(MCR, 0x12);
  check("loop-rts-is-cts", in8(MSR) & 0xf0, 0x10);
  out8(MCR, 0x14);
  check("loop-out1-is-ri", in8(MSR) & 0xf0, 0x40);
  out8(MCR, 0x18);
  check("loop-out2-is-dcd", in8(MSR) & 0xf0, 0x80);
  // "Modem Status Register": changes since the last read, of RI the trailing edge only.
  out8(MCR, 0x10);
  in8(MSR);
  u64 changes = 0;
  static const u8 outputs[] = {0x11, 0x13, 0x17, 0x13, 0x1b};
  for (u32 i = 0; i < 5; i++) {
    out8(MCR, outputs[i]);
    changes = changes << 8 | in8(MSR);
  }
  check("modem-inputs-follow", changes & 0xf0f0f0f0f0, 0x20307030b0);
  check("changes-are-cleared-by-reading", in8(MSR) & 15, 0);
  // Its interrupt.
  in8(MSR);
  out8(IER, 8);
  check("no-modem-interrupt-yet", in8(IIR) & 15, 1);
  out8(MCR, 0x1a);
  // The changes, and that they interrupt.
  check("modem-changes", (changes & 0x0f0f0f0f0f) << 4 | (in8(IIR) & 15), 0x02010004080);
  in8(MSR);
  check("modem-interrupt-cleared-by-reading", in8(IIR) & 15, 1);
  idle();
}

static bool received(void) { return WAIT(in8(LSR) & 1, 20000); }
/* Sends when there is room, and waits until it is sent. */
static void send(u8 byte) {
  WAIT(in8(LSR) & 0x20, 20000);
  out8(DATA, byte);
  WAIT((in8(LSR) & 0x40) != 0, 20000);
}

/* The same without reading the line status, which would clear it: a character takes 87 us. */
static void fill(u32 bytes) {
  for (u32 i = 0; i < bytes; i++) {
    out8(DATA, i);
    sleep_us(120);
  }
}

static void loop(void) {
  out8(MCR, 0x10);
  send(0x5a);
  check("loops-a-byte", received(), 1);
  check("looped-byte", in8(DATA), 0x5a);
  check("byte-is-read-once", in8(LSR) & 1, 0);
  out8(IIR, 0x07);
  for (u32 i = 0; i < 16; i++) send(0xc0 + i);
  received();
  sleep_us(300);
  u32 good = 0;
  for (u32 i = 0; i < 16; i++) good += in8(DATA) == 0xc0 + i;
  check("fifo-holds-16-in-order", good, 16);
  check("fifo-is-empty-then", in8(LSR) & 1, 0);
  // "FIFO Control Register", bit 1: clears the receiver's FIFO.
  send(1);
  received();
  out8(IIR, 3);
  check("clearing-the-fifo", in8(LSR) & 1, 0);
  // "Line Status Register", bit 1: the 17th byte is lost, the FIFO keeps what it has; reading clears the bit.
  fill(16);
  check("no-overrun-yet", in8(LSR) & 2, 0);
  fill(1);
  check("overrun", in8(LSR) & 2, 2);
  check("overrun-is-cleared-by-reading", in8(LSR) & 2, 0);
  good = 0;
  for (u32 i = 0; i < 16; i++) good += in8(DATA) == i;
  check("overrun-keeps-the-fifo", good, 16);
  out8(IIR, 7);
}

static void causes(void) {
  out8(MCR, 0x10);
  out8(IIR, 0x87); // trigger level 8
  out8(IER, 1);
  fill(7);
  // "FIFO Interrupt Mode Operation": below the trigger level after four characters' time.
  check("timeout-interrupt", WAIT((in8(IIR) & 15) == 12, 20000), 1);
  // In time, or the timeout is there too.
  u8 cause = 0;
  for (u32 i = 0; i < 6 && cause != 4; i++) {
    out8(IIR, 0x87);
    in8(DATA);
    fill(8);
    cause = in8(IIR) & 15;
  }
  check("trigger-level-interrupt", cause, 4);
  in8(DATA);
  check("below-the-trigger-level", (in8(IIR) & 15) != 4, 1);
  while (in8(LSR) & 1) in8(DATA);
  check("no-interrupt-when-empty", in8(IIR) & 15, 1);
  // "Interrupt Identification Register": line status over data over transmitter.
  out8(IIR, 0x07);
  out8(IER, 7);
  in8(IIR);
  fill(17);
  check("line-status-first", in8(IIR) & 15, 6);
  in8(LSR);
  check("then-received-data", in8(IIR) & 7, 4); // or the timeout
  while (in8(LSR) & 1) in8(DATA);
  check("then-transmitter", in8(IIR) & 15, 2);
  check("transmitter-cleared-by-reading", in8(IIR) & 15, 1);
  out8(IER, 0);
  out8(IER, 2);
  check("enabling-with-empty-transmitter", in8(IIR) & 15, 2);
  send(1);
  check("empty-again", WAIT((in8(IIR) & 15) == 2, 20000), 1);
  idle();
}

static void interrupts(void) {
  // On a PC, OUT2 lets the interrupt to input 4.
  reset_pics();
  out8(PIC_MASTER + 1, 0xef);
  out8(MCR, 0x0b);
  raise_irq4();
  check("interrupts-input-4", comes(0x24, 2000), 1);
  drop_irq4();
  out8(MCR, 0x03);
  raise_irq4();
  check("not-without-out2", comes(0x24, 500), 0);
  drop_irq4();
  // Of one enable, each rise is an edge.
  out8(MCR, 0x0b);
  forget_interrupts();
  for (u32 i = 0; i < 3; i++) {
    raise_irq4();
    comes(0x24, 2000);
    drop_irq4();
  }
  check("each-rise-interrupts", counts[0x24], 3);
}

SUBJECT(uart) {
  flush();
  idle();
  registers();
  modem();
  loop();
  causes();
  interrupts();
}
