/* The intrinsics of kernel/machine/vmcb.h, as they ship, on a VMCB of this process: one line in is one call, and after each
 * the words are printed that it has changed. */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "vmcb.h"

static u64 vmcb[512], before[512];
static u8 percpu[4096];
static sigjmp_buf trapped;

static void on_trap(int signal) {
  (void)signal;
  siglongjmp(trapped, 1);
}

int main(void) {
  *(void **)(percpu + RUNNING_CONTROL) = vmcb;
  if (syscall(SYS_arch_prctl, ARCH_SET_GS, percpu)) return 1;
  signal(SIGILL, on_trap);
  char call[16];
  unsigned long a, b;
  while (scanf("%15s %lx %lx", call, &a, &b) == 3) {
    memcpy(before, vmcb, sizeof vmcb);
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
      printf("\n");
    }
  }
  return 0;
}
