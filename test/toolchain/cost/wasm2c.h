/* The declarations of wasm2c's C. */
#ifndef COST_WASM2C_H
#define COST_WASM2C_H

#include "wasm-rt.h"

#undef WASM_RT_MEMCHECK_GUARD_PAGES
#define WASM_RT_MEMCHECK_GUARD_PAGES 1
#undef wasm_rt_memcpy
#define wasm_rt_memcpy __builtin_memcpy /* a load or a store */
#define WASM_RT_CORE_TYPES_DEFINED /* wasm3-runtime.h has the integers */
typedef float f32;
typedef double f64;

#include "kernels.w2c.h"

#endif
