/* What the subjects share: checks that print, interrupts that are counted, time. */
#pragma once
#include "machine.h"

/* A subject: SUBJECT(pic) { ...checks... }. Its name comes before the names of its checks. */
struct subject { const char *name; void (*run)(void); };
#define SUBJECT(n)                                                                                                     \
  static void n##_run(void);                                                                                           \
  __attribute__((section("subjects"), used, aligned(16))) static const struct subject n##_subject = {#n, n##_run};                  \
  static void n##_run(void)

void check(const char *name, u64 got, u64 want);
void check_range(const char *name, u64 got, u64 low, u64 high);
void check_true(const char *name, bool ok);
void skip(const char *name, const char *why);
void note(const char *name, u64 value);
/* A name with a number in the place of its '#'; good until the next one. */
const char *numbered(const char *name, u32 n);

/*
 * Of a time. By the word slack=N of the command line, where the emulator's own host delays what it likes, things may take N
 * times as long, and, because a beginning may be seen late, half as long.
 */
void check_time(const char *name, u64 got, u64 low, u64 high);
extern u32 slack;
static inline u64 at_least(u64 low) { return slack > 1 ? low / 2 : low; }

/* A measurement that the emulator's own host may disturb: wrong is what stays wrong. */
#define MEASURE(name, expression, low, high)                                                                           \
  do {                                                                                                                 \
    u64 got_ = 0;                                                                                                      \
    for (u32 try_ = 0; try_ < 6; try_++) {                                                                             \
      got_ = (expression);                                                                                             \
      if (got_ >= at_least(low) && got_ <= (u64)(high) * slack) break;                                                            \
    }                                                                                                                  \
    check_time(name, got_, low, high);                                                                                \
  } while (0)

/* Ticks of the TSC a millisecond, by the ACPI timer. */
extern u64 tsc_khz;
#define TICKS(microseconds) ((microseconds) * tsc_khz / 1000)
static inline u64 microseconds(u64 ticks) { return ticks * 1000 / tsc_khz; }
/* Waits for a condition, so many microseconds at most; whether it came. */
#define WAIT(condition, microseconds)                                                                                  \
  ({                                                                                                                   \
    u64 end_ = tsc() + TICKS((u64)(microseconds));                                                                  \
    bool ok_;                                                                                                          \
    while (!(ok_ = (condition)) && tsc() < end_) pause();                                                              \
    ok_;                                                                                                               \
  })
void sleep_us(u64 time);

struct frame {
  u64 r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
  u64 vector, error, rip, cs, rflags, rsp, ss;
};
/* How often each vector came, and in which order they did. */
extern volatile u32 counts[256];
extern volatile u8 order[64];
extern volatile u32 ordered;
/* Called at the interrupt, before the end of interrupt. */
extern void (*volatile handlers[256])(struct frame *);
/* Whether the runtime ends interrupts by itself, at the 8259s for 20h to 2Fh, else at the local APIC. */
extern volatile bool auto_eoi;
/* An exception while this is not 0 goes on there (boot.asm, FAULT). */
extern u64 resume;
extern u32 fault_vector;
extern volatile u32 fault_error;
extern volatile u64 fault_rip;

/* Runs an instruction that may fault: the vector, or 99. RCX is the text's operand. */
#define FAULT(text, rcx)                                                                                               \
  ({                                                                                                                   \
    u64 rcx_ = rcx;                                                                                                    \
    fault_vector = 99;                                                                                                 \
    asm volatile("leaq 1f(%%rip), %%rax; movq %%rax, resume(%%rip); " text "; movq $0, resume(%%rip); 1:"              \
                 : "+c"(rcx_) : : "rax", "rdx", "rsi", "rdi", "memory");                                               \
    *(volatile u32 *)&fault_vector;                                                                                    \
  })

void forget_interrupts(void);
/* Whether the vector comes within so many microseconds, with interrupts on. */
bool comes(u32 vector, u64 time);
/* Takes one interrupt that is pending: its vector, or NOTHING. */
enum { NOTHING = 0x100 };
u32 take(void);

enum { PIC_MASTER = 0x20, PIC_SLAVE = 0xa0, PIC_VECTOR = 0x20, UART = 0x3f8 };
/* Both 8259s as a PC has them: edges, vectors from 20h, everything masked. */
void reset_pics(void);
void pic_init(u8 icw1, u8 base, u8 icw4);
void pic_mask(u16 mask);
/* Input 0 rises: the 8254's counter 0 in mode 0. It stays high. */
void raise_irq0(void);
/* Input 4 rises, or falls: the UART's transmitter is empty. */
void raise_irq4(void);
void drop_irq4(void);

/* ACPI. */
u8 *acpi_root(void);
u8 *acpi_table(const char *signature);
u32 acpi_count(void);
u8 *acpi_nth(u32 n);
u8 byte_sum(const u8 *at, u32 length);
bool same(const void *a, const char *b, u32 length);
u32 load32(const void *at);
u64 load64(const void *at);
/* The ACPI timer's port, and how many clocks are between two of its values. */
extern u16 pm_port;
u32 pm_since(u32 before);
u32 pm_now(void);

bool has_apic(void);
void flush(void);
void print(const char *text);
