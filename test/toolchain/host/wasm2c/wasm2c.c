/* The engine of wasm2c's C. */
#include "wasm2c.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

static jmp_buf on_trap;
static u8 **initial; /* memories */

struct w2c_host;
u64 w2c_host_mix(struct w2c_host *host, u32 a, u64 b) { return (void)host, host_mix(a, b); }
void w2c_host_note(struct w2c_host *host, u32 a) { (void)host, host_note(a); }
u32 w2c_host_noted(struct w2c_host *host) { return (void)host, host_noted(); }

void wasm_rt_trap(wasm_rt_trap_t trap) { longjmp(on_trap, (int)trap); }
bool wasm_rt_is_initialized(void) { return true; }

static void *allocate(size_t count, size_t size) {
  void *memory = calloc(count ? count : 1, size);
  if (!memory) perror("runner"), exit(2);
  return memory;
}

void wasm_rt_allocate_memory(wasm_rt_memory_t *memory, uint64_t pages, uint64_t maximum, bool is64,
                             uint32_t page_size) {
  *memory = (wasm_rt_memory_t){allocate(pages, page_size), pages, maximum, pages * page_size, is64};
}

void wasm_rt_free_memory(wasm_rt_memory_t *memory) { free(memory->data); }

void wasm_rt_allocate_funcref_table(wasm_rt_funcref_table_t *table, uint64_t size, uint64_t maximum) {
  *table = (wasm_rt_funcref_table_t){allocate(size, sizeof *table->data), maximum, size};
}

void wasm_rt_free_funcref_table(wasm_rt_funcref_table_t *table) { free(table->data); }

u8 *engine_memory(u32 module, size_t *size) {
  wasm_rt_memory_t *memory = wasm2c_modules[module].memory ? wasm2c_modules[module].memory() : NULL;
  *size = memory ? memory->size : 0;
  return memory ? memory->data : NULL;
}

void engine_open(char **arguments, char **modules, u32 count) {
  (void)arguments, (void)modules;
  if (count != wasm2c_module_count) fprintf(stderr, "runner: expected %u modules\n", wasm2c_module_count), exit(2);
  initial = allocate(count, sizeof *initial);
  for (u32 i = 0; i < count; i++) {
    size_t size;
    wasm2c_modules[i].instantiate();
    const u8 *memory = engine_memory(i, &size);
    initial[i] = allocate(size, 1);
    if (size) memcpy(initial[i], memory, size);
  }
}

void engine_reset(u32 module) {
  size_t size;
  u8 *memory = engine_memory(module, &size);
  if (size) memcpy(memory, initial[module], size);
}

status engine_call(u32 module, u32 function, const u64 *arguments, u64 *result) {
  static const status statuses[] = {
      [WASM_RT_TRAP_OOB] = WASM3_OUT_OF_BOUNDS,
      [WASM_RT_TRAP_INT_OVERFLOW] = WASM3_INTEGER_OVERFLOW,
      [WASM_RT_TRAP_DIV_BY_ZERO] = WASM3_DIVIDE_BY_ZERO,
      [WASM_RT_TRAP_UNREACHABLE] = WASM3_UNREACHABLE,
      [WASM_RT_TRAP_CALL_INDIRECT] = WASM3_SIGNATURE_MISMATCH,
  };
  int trap = setjmp(on_trap);
  if (trap) return statuses[trap];
  *result = wasm2c_modules[module].functions[function](arguments);
  return 0;
}
