/* The main program: runs each subject that is linked in, and prints what its checks found. */
#include "runtime.h"

extern const struct subject subjects_begin[], subjects_end[];
extern u8 subject_stubs[];
bool call_subject(void (*run)(void));
void abandon_subject(void);

u64 tsc_khz = 1000000;
u32 slack = 1;
volatile u32 counts[256];
volatile u8 order[64];
volatile u32 ordered;
void (*volatile handlers[256])(struct frame *);
volatile bool auto_eoi;
static volatile bool one_interrupt;
volatile u32 fault_error;
volatile u64 fault_rip;

static const char *subject_name;
/* Printed at a subject's end: it may be about the UART, and printing takes time. */
static char text[16384];
static u32 text_length;

void *memset(void *to, int value, u64 n) {
  for (u64 i = 0; i < n; i++) ((volatile u8 *)to)[i] = value;
  return to;
}

void *memcpy(void *to, const void *from, u64 n) {
  for (u64 i = 0; i < n; i++) ((volatile u8 *)to)[i] = ((const u8 *)from)[i];
  return to;
}

void print(const char *s) {
  while (*s && text_length < sizeof text) text[text_length++] = *s++;
}

static void print_hex(u64 v) {
  char digits[17];
  u32 n = 16;
  digits[16] = 0;
  do digits[--n] = "0123456789ABCDEF"[v & 15];
  while (v >>= 4);
  print(digits + n);
}

void flush(void) {
  for (u32 i = 0; i < text_length; i++) {
    while (!(in8(UART + 5) & 0x20)) pause();
    out8(UART, text[i]);
  }
  text_length = 0;
}

static void print_name(const char *name) {
  print(subject_name);
  print(".");
  print(name);
}

static void print_result(const char *name, bool ok) {
  print_name(name);
  print(ok ? ": PASS" : ": FAIL");
}

void check(const char *name, u64 got, u64 want) {
  print_result(name, got == want);
  if (got != want) {
    print(" got ");
    print_hex(got);
    print(" want ");
    print_hex(want);
  }
  print("\r\n");
}

void check_range(const char *name, u64 got, u64 low, u64 high) {
  bool ok = got >= low && got <= high;
  print_result(name, ok);
  if (!ok) {
    print(" got ");
    print_hex(got);
    print(" want ");
    print_hex(low);
    print(" to ");
    print_hex(high);
  }
  print("\r\n");
}

void check_time(const char *name, u64 got, u64 low, u64 high) {
  check_range(name, got, at_least(low), high * slack);
}

void check_true(const char *name, bool ok) { check(name, ok, 1); }

void skip(const char *name, const char *why) {
  print_name(name);
  print(": SKIP ");
  print(why);
  print("\r\n");
}

/* Something to read, no check. */
void note(const char *name, u64 value) {
  print("# ");
  print_name(name);
  print(" ");
  print_hex(value);
  print("\r\n");
}

const char *numbered(const char *name, u32 n) {
  static char made[64];
  u32 length = 0;
  for (; *name && length < 60; name++) {
    if (*name != '#') {
      made[length++] = *name;
      continue;
    }
    if (n >= 10) made[length++] = '0' + n / 10 % 10;
    made[length++] = '0' + n % 10;
  }
  made[length] = 0;
  return made;
}

void sleep_us(u64 time) {
  u64 end = tsc() + TICKS(time);
  while (tsc() < end) pause();
}

/* Interrupts. */

struct gate { u16 low, selector; u16 kind, middle; u32 high, zero; };
static struct gate idt[256];

struct { u16 limit; struct gate *base; } __attribute__((packed)) idt_pointer = {sizeof idt - 1, 0};

static void load_idt(void) {
  for (u32 v = 0; v < 256; v++) {
    u64 at = (u64)subject_stubs + v * 16;
    idt[v] = (struct gate){at, 8, 0x8e00, at >> 16, at >> 32, 0};
  }
  idt_pointer.base = idt;
  asm volatile("lidt %0" : : "m"(idt_pointer));
}

bool has_apic(void) { return cpuid(1, 0).d >> 9 & 1; }

static u64 apic_base(void) {
  u64 base = 0;
  safe_read_msr(0x1b, &base);
  return base;
}

static void apic_eoi(void) {
  u64 base = has_apic() ? apic_base() : 0;
  if (base & 0x400) safe_write_msr(0x80b, 0);
  else if (base & 0x800) put32((base & ~0xfffUL) + 0xb0, 0);
}

/* Where programs have no other processors. */
__attribute__((weak)) void ap_main(void) {}
void (*volatile other_processor)(struct frame *);

void on_interrupt(struct frame *f) {
  if (other_processor && get32(0xfee00020) >> 24) {
    other_processor(f);
    return;
  }
  u32 v = f->vector;
  // An NMI is no instruction's fault: it comes to its handler also behind an instruction that might have faulted.
  if (v < 32 && v != 2 && resume) {
    fault_vector = v;
    fault_error = f->error;
    fault_rip = f->rip;
    f->rip = resume;
    resume = 0;
    return;
  }
  counts[v]++;
  if (ordered < sizeof order) order[ordered++] = v;
  if (one_interrupt && v >= 32) f->rflags &= ~0x200UL;
  if (handlers[v]) handlers[v](f);
  else if (v < 32) {
    print_name("exception");
    print(": FAIL got ");
    print_hex(v);
    print(" error ");
    print_hex(f->error);
    print(" at ");
    print_hex(f->rip);
    print("\r\n");
    abandon_subject();
  }
  if (v < 32 || !auto_eoi) return;
  if (v >= PIC_VECTOR + 16) {
    apic_eoi();
    return;
  }
  if (v >= PIC_VECTOR + 8) out8(PIC_SLAVE, 0x20);
  out8(PIC_MASTER, 0x20);
}

void forget_interrupts(void) {
  for (u32 i = 0; i < 256; i++) counts[i] = 0;
  ordered = 0;
}

bool comes(u32 vector, u64 time) {
  u32 before = counts[vector];
  sti();
  bool ok = WAIT(counts[vector] != before, time);
  cli();
  return ok;
}

u32 take(void) {
  ordered = 0;
  one_interrupt = 1;
  sti();
  WAIT(ordered != 0, slack > 1 ? 500 : 2);
  cli();
  one_interrupt = 0;
  return ordered ? order[0] : NOTHING;
}

/* 8259s (8259A, "Initialization Command Words"). */

void pic_init(u8 icw1, u8 base, u8 icw4) {
  out8(PIC_MASTER, icw1);
  out8(PIC_MASTER + 1, base);
  out8(PIC_MASTER + 1, 4);
  out8(PIC_MASTER + 1, icw4);
  out8(PIC_SLAVE, icw1);
  out8(PIC_SLAVE + 1, base + 8);
  out8(PIC_SLAVE + 1, 2);
  out8(PIC_SLAVE + 1, icw4 & ~2);
}

void pic_mask(u16 mask) {
  out8(PIC_MASTER + 1, mask);
  out8(PIC_SLAVE + 1, mask >> 8);
}

void reset_pics(void) {
  pic_init(0x11, PIC_VECTOR, 1);
  pic_mask(0xffff);
}

void raise_irq0(void) {
  out8(0x43, 0x30);
  out8(0x40, 100);
  out8(0x40, 0);
  // The output by the read-back command.
  WAIT((out8(0x43, 0xe2), in8(0x40) & 0x80), 20000);
  // QEMU's output shows before its thread for timers comes to raise the line.
  if (slack > 1) sleep_us(2000);
}

void raise_irq4(void) {
  out8(UART + 1, 0);
  out8(UART + 1, 2);
}

void drop_irq4(void) {
  out8(UART + 1, 0);
  in8(UART + 2);
}

/* Between subjects everything is quiet. */
static void settle(void) {
  cli();
  for (u32 v = 0; v < 256; v++) handlers[v] = 0;
  auto_eoi = 1;
  resume = 0;
  out8(0x43, 0x30); // mode 0 without a count: no edges
  out8(0x70, 0x0b);
  out8(0x71, 2);
  out8(0x70, 0x0c);
  in8(0x71);
  out8(UART + 1, 0);
  out8(UART + 3, 3);
  out8(UART + 4, 0x0b);
  reset_pics();
  forget_interrupts();
}

/* Virtual wire mode, should the firmware have left it otherwise (SDM Vol. 3A 11.5.1, Local Vector Table). */
static void wire_pics(void) {
  u64 base = has_apic() ? apic_base() : 0;
  if (!(base & 0x800) || base & 0x400) return;
  u64 page = base & 0xfffff000;
  put32(page + 0xf0, 0x1ff);
  put32(page + 0x80, 0);
  put32(page + 0x350, 0x700);
  put32(page + 0x360, 0x400);
}

static void calibrate(void) {
  u64 best = 0;
  // The shortest of some is the least disturbed.
  for (u32 i = 0; i < (slack > 1 ? 12 : 3); i++) {
    u32 pm = pm_now();
    u64 begin = tsc();
    while (pm_since(pm) < 35795) {
      // A machine without the timer.
      if (tsc() - begin > 1000000000) break;
    }
    u64 took = tsc() - begin;
    if (!best || took < best) best = took;
  }
  tsc_khz = (best * 357954 + 178977) / (35795 * 100UL);
}

/* Multiboot 0.6.96, 3.3, Boot information format: the command line is there if bit 2 is. */
static void read_command_line(const u8 *information) {
  if (!(load32(information) & 4)) return;
  for (const char *c = (const char *)(u64)load32(information + 16); *c; c++)
    if (same(c, "slack=", 6)) slack = c[6] - '0';
}

void main(const u8 *information) {
  read_command_line(information);
  load_idt();
  wire_pics();
  out8(UART + 2, 7);
  settle();
  subject_name = "runtime";
  calibrate();
  note("tsc-khz", tsc_khz);
  u32 n = 0;
  for (const struct subject *s = subjects_begin; s < subjects_end; s++, n++) {
    subject_name = s->name;
    u64 begin = tsc();
    call_subject(s->run);
    settle();
    note("microseconds", microseconds(tsc() - begin));
    flush();
  }
  print("done ");
  print_hex(n);
  print("\r\n");
  flush();
}
