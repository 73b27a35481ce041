/* The processor around interrupts and exceptions (SDM Vol. 3A 6, Interrupt and Exception Handling). */
#include "apic.h"

static volatile u64 seen_rax, seen_rip, seen_end, seen_flags, seen_saved;
static void look(struct frame *f) {
  seen_rax = f->rax;
  seen_rip = f->rip;
  seen_end = (u64)(f + 1);
  seen_saved = f->rflags;
  u64 flags;
  asm volatile("pushfq; popq %0" : "=r"(flags));
  seen_flags = flags;
}

static void pending(void) {
  reset_pics();
  pic_mask(0xfffe);
  forget_interrupts();
  raise_irq0();
}

static void windows(void) {
  handlers[0x20] = look;
  pending();
  check("no-interrupt-without-if", counts[0x20], 0);
  // SDM Vol. 2B, STI: external interrupts are not recognized until after the next instruction.
  asm volatile("sti; cli; nop; nop" : : : "memory");
  check("sti-cli-has-no-window", counts[0x20], 0);
  asm volatile("xorl %%eax, %%eax; sti; incl %%eax; incl %%eax; incl %%eax; cli" : : : "rax", "memory");
  check("sti-has-a-window-after-one-instruction", counts[0x20], 1);
  check("exactly-one-instruction", seen_rax, 1);
  pending();
  asm volatile("pushfq; orq $0x200, (%%rsp); xorl %%eax, %%eax; popfq; incl %%eax; incl %%eax; cli" : : : "rax", "memory");
  check("popf-has-a-window", counts[0x20], 1);
  check("popf-has-it-at-once", seen_rax, 0);
  pending();
  u64 hlt;
  asm volatile("leaq 1f(%%rip), %0; sti; hlt; 1: cli" : "=r"(hlt) : : "memory");
  check("pending-wakes-sti-hlt", counts[0x20], 1);
  check("returns-after-hlt", seen_rip, hlt);
  // 6.12.1.2, Flag Usage By Exception- or Interrupt-Handler Procedure; 6.14.2, 64-Bit Mode Stack Frame.
  check("if-is-clear-in-the-handler", seen_flags & 0x200, 0);
  check("if-is-set-in-its-frame", seen_saved & 0x200, 0x200);
  pending();
  asm volatile("subq $8, %%rsp; sti; nop; nop; cli; addq $8, %%rsp" : : : "memory");
  u64 first = seen_end & 15;
  pending();
  asm volatile("sti; nop; nop; cli" : : : "memory");
  check("frames-are-aligned", first | (seen_end & 15), 0);
  // Halted for a while.
  reset_pics();
  pic_mask(0xfffe);
  forget_interrupts();
  out8(0x43, 0x30);
  u64 begin = tsc();
  out8(0x40, 5966 & 255); // 5 ms
  out8(0x40, 5966 >> 8);
  halt();
  check("interrupt-wakes-hlt", counts[0x20], 1);
  check_time("hlt-waits", microseconds(tsc() - begin), 4900, 8000);
  // Masked interrupts do not wake.
  forget_interrupts();
  out8(0x43, 0x34); // every ms
  out8(0x40, 1193 & 255);
  out8(0x40, 1193 >> 8);
  for (u32 i = 0; i < 20; i++) halt();
  check_range("each-tick-wakes", counts[0x20], 20, 40);
  // Nothing of the interrupted program changes.
  u64 a = 0x1111111111111111, wrong = 0;
  sti();
  for (u64 end = tsc() + TICKS(20000UL); tsc() < end;) {
    u64 b, c;
    asm volatile("movq %2, %%r8; movq %2, %%r9; movq %2, %%r15; stc; movl $200, %%ecx; 1: decl %%ecx; jnz 1b;"
                 "sbbq %1, %1; movq %%r8, %0; xorq %%r9, %0; xorq %%r15, %0"
                 : "=&r"(b), "=&r"(c) : "r"(a) : "r8", "r9", "r15", "rcx", "memory");
    wrong += b != a || c != ~0UL;
  }
  cli();
  check("registers-and-flags-come-back", wrong, 0);
  check_range("while-interrupts-came", counts[0x20], 21, 1000);
  out8(0x43, 0x30);
  handlers[0x20] = 0;
  asm volatile("int $0x80" : : : "memory");
  check("software-interrupt-without-if", counts[0x80], 1);
  reset_pics();
}

static void faults(void) {
  // Table 6-1, Protected-Mode Exceptions and Interrupts; 6.13, Error Code; 6.15, Exception and Interrupt Reference.
  check("divide-error", FAULT("xorl %%edx, %%edx; xorl %%ecx, %%ecx; divl %%ecx", 0), 0);
  check("undefined-opcode", FAULT("ud2", 0), 6);
  check("undefined-opcode-is-a-fault", *(u16 *)fault_rip, 0x0b0f);
  check("general-protection", FAULT("movq (%%rcx), %%rdx", 0x8000000000000000), 13);
  check("general-protection-error-code", fault_error, 0);
  check("segment-error-code", FAULT("movw %%cx, %%ds", 0x4f0) << 16 | fault_error, 13 << 16 | 0x4f0);
  check("page-fault", FAULT("movq (%%rcx), %%rdx", 0x123456789a), 14);
  check("page-fault-address", read_cr2(), 0x123456789a);
  check("page-fault-error-code", fault_error, 0);
  FAULT("movq %%rdx, (%%rcx)", 0x123456789a);
  check("page-fault-error-code-of-a-write", fault_error, 2);
  check("unknown-msr", FAULT("movl $0x12345, %%ecx; rdmsr", 0), 13);
  check("noncanonical-msr-value", FAULT("movl $0xc0000100, %%ecx; xorl %%eax, %%eax; movl $0x80000000, %%edx; wrmsr", 0), 13);
  u64 efer = read_msr(0xc0000080), cr0;
  asm volatile("movq %%cr0, %0" : "=r"(cr0));
  check("cr0-pg-without-pe", FAULT("movq %%cr0, %%rdx; andq $-2, %%rdx; movq %%rdx, %%cr0", 0), 13);
  asm volatile("movq %0, %%cr0" : : "r"(cr0));
  u32 reserved = FAULT("movl $0xc0000080, %%ecx; rdmsr; orl $0x10, %%eax; wrmsr", 0);
  u32 enable = FAULT("movl $0xc0000080, %%ecx; rdmsr; andl $~0x100, %%eax; wrmsr", 0);
  check("efer-reserved-bit-and-lme-while-paging", reserved << 8 | enable, 0xd0d);
  safe_write_msr(0xc0000080, efer);
  // Traps: the next instruction's address.
  handlers[3] = look;
  u64 next;
  asm volatile("leaq 1f(%%rip), %0; int3; 1:" : "=r"(next) : : "memory");
  check("breakpoint-is-a-trap", seen_rip, next);
  handlers[3] = 0;
}

/* 17.3.1.4, Single-Step Exception Condition; 6.8.3, Masking Exceptions and Interrupts When Switching Stacks. */
static volatile u64 steps[16];
static volatile u32 stepped;
static void step(struct frame *f) {
  if (stepped < 16) steps[stepped++] = f->rip;
  f->rflags |= 0x10000;
}

static void single_steps(void) {
  handlers[1] = step;
  u64 start;
  asm volatile("leaq 1f(%%rip), %0; movl %%ss, %%ecx; pushfq; orq $0x100, (%%rsp); popfq; 1: nop; nop; movl %%ecx, %%ss;"
               "nop; nop; pushfq; andq $~0x100, (%%rsp); popfq; nop"
               : "=&r"(start) : : "rcx", "memory");
  handlers[1] = 0;
  check("single-step-after-one-instruction", steps[0] - start, 1);
  check("single-step-after-each", steps[1] - start, 2);
  // MOV SS of two bytes, and the NOP behind it.
  check("mov-ss-holds-up-the-trap", steps[2] - start, 5);
  check("then-after-each-again", steps[3] - start, 6);
}

SUBJECT(cpu) {
  windows();
  faults();
  single_steps();
}

static volatile u32 nesting, deepest, entered;
static void on_nmi(struct frame *f) {
  (void)f;
  nesting++;
  if (nesting > deepest) deepest = nesting;
  // 6.7.1, Handling Multiple NMIs: another one waits for IRET.
  if (entered++ == 0) {
    apic_send(apic_get(APIC_ID) >> 24, 0x400);
    sleep_us(200);
  }
  nesting--;
}

/* Non-maskable interrupts, which the local APIC sends. */
SUBJECT(nmi) {
  if (!has_apic()) {
    skip("comes", "there is no local APIC");
    return;
  }
  handlers[2] = on_nmi;
  apic_send(apic_get(APIC_ID) >> 24, 0x400);
  check("comes-without-if", WAIT(entered >= 1, 20000), 1);
  check("another-comes-after-iret", WAIT(entered == 2, 20000), 1);
  check("blocked-until-iret", deepest, 1);
  u32 before = entered;
  apic_send(apic_get(APIC_ID) >> 24, 0x400);
  check("comes-again", WAIT(entered == before + 1, 20000), 1);
}
