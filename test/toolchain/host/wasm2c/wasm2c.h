/* The modules that a wasm2c runner was built with; engines.ts writes the table. */
#ifndef WASM2C_H
#define WASM2C_H

#include "runner.h"
#include "wasm-rt.h"

struct wasm2c_module {
  void (*instantiate)(void);
  wasm_rt_memory_t *(*memory)(void); /* null if it has none */
  u64 (*const *functions)(const u64 *arguments);
};

extern const struct wasm2c_module wasm2c_modules[];
extern const u32 wasm2c_module_count;

#endif
