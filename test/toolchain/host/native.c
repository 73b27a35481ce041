/* The engine of wasm3-build's C: one instance at a time, at WASM_BASE, with the MMU as the bounds check. */
#include "native.h"

#include <asm/prctl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RESERVED ((9ul << 30) + 4096)

static sigjmp_buf on_trap;
static u32 mapped = ~0u; /* the module whose memory is mapped */

void wasm3_trap(int kind) { siglongjmp(on_trap, kind); }

static void on_fault(int signal, siginfo_t *info, void *context) {
  (void)context;
  if ((u64)info->si_addr - WASM_BASE < RESERVED) siglongjmp(on_trap, WASM3_OUT_OF_BOUNDS);
  fprintf(stderr, "runner: signal %d at %p, outside of the linear memory\n", signal, info->si_addr);
  _Exit(3);
}

static bool map(u64 address, u64 size, int protection, int flags) {
  void *wanted = (void *)address;
  return mmap(wanted, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0) == wanted;
}

/* Linux puts the heap anywhere in the gibibyte behind the program, and so now and then where the linear memory
 * belongs. A new process has a new place. */
static void reserve(char **arguments) {
  if (map(WASM_BASE, RESERVED, PROT_NONE, MAP_FIXED_NOREPLACE)) return;
  const char *tries = getenv("RUNNER_TRIES");
  char next[] = {tries ? *tries + 1 : '1', 0};
  setenv("RUNNER_TRIES", next, 1);
  if (*next <= '9') execv("/proc/self/exe", arguments);
  perror("runner: cannot reserve the linear memory");
  exit(2);
}

void engine_open(char **arguments, char **modules, u32 count) {
  (void)modules;
  if (count != native_module_count) fprintf(stderr, "runner: expected %u modules\n", native_module_count), exit(2);
  reserve(arguments);
  if (syscall(SYS_arch_prctl, ARCH_SET_GS, WASM_BASE)) perror("runner: GS"), exit(2);
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);
}

void engine_reset(u32 number) {
  const struct native_module *module = &native_modules[number];
  const u64 size = (u64)*module->pages << 16;
  if (mapped != number) {
    if (!map(WASM_BASE, RESERVED, PROT_NONE, MAP_FIXED) ||
        (size && !map(WASM_BASE, size, PROT_READ | PROT_WRITE, MAP_FIXED)))
      perror("runner: cannot map the linear memory"), exit(2);
    mapped = number;
  } else {
    memset((void *)WASM_BASE, 0, size);
  }
  for (u32 i = 0; i < *module->segment_count; i++)
    memcpy((void *)(WASM_BASE + module->segments[i].offset), module->segments[i].bytes, module->segments[i].length);
}

status engine_call(u32 module, u32 function, const u64 *arguments, u64 *result) {
  if (mapped != module) engine_reset(module);
  status status = (u32)sigsetjmp(on_trap, 1);
  if (!status) *result = native_modules[module].functions[function](arguments);
  return status;
}

u8 *engine_memory(u32 module, size_t *size) {
  *size = (size_t)*native_modules[module].pages << 16;
  return (u8 *)WASM_BASE;
}
