/* The intrinsics of kernel/machine/vmcb.h, as they ship, on a VMCB of this process: one line in is one call, and after each
 * the words are printed that it has changed, and CR2 of the CPU as if it were word CPU_CR2. */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include "vmcb.h"

enum { CPU_CR2 = 0x1000 };
static u64 vmcb[512], before[512];
static u8 percpu[4096];
static sigjmp_buf trapped;

static void on_trap(int signal) {
  (void)signal;
  siglongjmp(trapped, 1);
}

/* MOV to CR2 faults here: what it would have written. Its length is 3, or 4 with a REX prefix. */
static volatile u64 cr2;
static volatile int cr2_written;
static void on_fault(int signal, siginfo_t *info, void *context) {
  static const int registers[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  greg_t *at = ((ucontext_t *)context)->uc_mcontext.gregs;
  u8 *code = (u8 *)at[REG_RIP];
  int rex = (code[0] & 0xf0) == 0x40 ? code[0] : 0;
  if (rex) code++;
  if (code[0] != 0x0f || code[1] != 0x22 || (code[2] & 0xf8) != 0xd0) _exit(2);
  (void)signal, (void)info;
  cr2 = (u64)at[registers[(code[2] & 7) | (rex & 1) << 3]];
  cr2_written = 1;
  at[REG_RIP] = (greg_t)(code + 3);
}

int main(void) {
  struct sigaction privileged = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &privileged, 0);
  *(void **)(percpu + RUNNING_CONTROL) = vmcb;
  if (syscall(SYS_arch_prctl, ARCH_SET_GS, percpu)) return 1;
  signal(SIGILL, on_trap);
  char call[16];
  unsigned long a, b;
  while (scanf("%15s %lx %lx", call, &a, &b) == 3) {
    memcpy(before, vmcb, sizeof vmcb);
    cr2_written = 0;
    if (sigsetjmp(trapped, 1)) {
      printf("trap\n");
      continue;
    }
    if (!strcmp(call, "read")) printf("%lx\n", (unsigned long)vmcb_read((u32)a));
    else if (!strcmp(call, "poke")) vmcb[a / 8] = b, printf("ok\n");
    else {
      if (!strcmp(call, "write")) vmcb_write((u32)a, b);
      else if (!strcmp(call, "virtual")) vmcb_interceptVirtual((int)a);
      else if (!strcmp(call, "iret")) vmcb_interceptIret((int)a);
      else if (!strcmp(call, "flush")) *(u32 *)(percpu + PERCPU_FLUSH) = (u32)a, vmcb_flush();
      else return 1;
      for (int n = 0; n < 512; n++)
        if (vmcb[n] != before[n]) printf("%x:%lx ", n * 8, (unsigned long)vmcb[n]);
      if (cr2_written) printf("%x:%lx ", CPU_CR2, (unsigned long)cr2);
      printf("\n");
    }
  }
  return 0;
}
