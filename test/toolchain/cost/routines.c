/* The calls that are counted, of TypeScript's dispatcher and of C's. */
#include "count.h"
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

u64 vmcs_fields[0x8000];

u32 monitor_dispatch(u32 vcpu);
u32 hand_dispatch(void *vcpu);

enum { VCPU = 0x1000, FLAGS = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE };

static u32 result;

static void prepare(u32 reason, u64 qualification) {
  void *memory = mmap((void *)WASM_BASE, 0x10000, PROT_READ | PROT_WRITE, FLAGS, -1, 0);
  if (memory != (void *)WASM_BASE) perror("count: mmap"), exit(2);
  memset(memory, 0, 0x10000);
  *(u64 *)(WASM_BASE + VCPU) = 1;
  vmcs_fields[0x4402] = reason;
  vmcs_fields[0x440c] = 2;
  vmcs_fields[0x6400] = qualification;
}

static void prepare_cpuid(void) { prepare(10, 0); }
static void prepare_in(void) { prepare(30, 0x3fd0008); }
static void prepare_out(void) { prepare(30, 0x3f80000); }
static void prepare_halt(void) { prepare(12, 0); }
static void call_monitor(void) { result = monitor_dispatch(VCPU); }
static void call_hand(void) { result = hand_dispatch((void *)(WASM_BASE + VCPU)); }

const struct routine routines[] = {
    {"typescript-cpuid", prepare_cpuid, call_monitor},
    {"c-cpuid", prepare_cpuid, call_hand},
    {"typescript-in", prepare_in, call_monitor},
    {"c-in", prepare_in, call_hand},
    {"typescript-out", prepare_out, call_monitor},
    {"c-out", prepare_out, call_hand},
    {"typescript-halt", prepare_halt, call_monitor},
    {"c-halt", prepare_halt, call_hand},
    {0, 0, 0},
};
