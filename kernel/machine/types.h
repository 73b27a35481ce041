/* Types and helpers of the intrinsics' C bodies. Each header here is the body of the TypeScript file beside it. */
#pragma once
#include "layout.h"
#include "wasm3-runtime.h"

_Static_assert(LINEAR_BASE == WASM_BASE, "kernel/abi/address.ts and wasm3-runtime.h disagree");

/* A place in the linear memory of the instance that runs. */
#define LINEAR(type, address) ((type *)(LINEAR_BASE + (u64)(u32)(address)))
/* A field of this CPU's block. */
#define PERCPU(type, offset) (*(volatile __seg_gs type *)(offset))

#define INTRINSIC static inline __attribute__((always_inline, unused))

/* Kinds of traps beside wasm3-runtime.h's. */
#define TRAP_FIELD_READ 101
#define TRAP_FIELD_WRITE 102

/* Ends the instance: the kind of trap is in RDI for the report (kernel/root/report.ts). A macro, so that the line table
 * has the TypeScript line. */
#define WASM3_TRAP(kind)                                                                                       \
  do {                                                                                                         \
    __asm__ volatile("ud2" : : "D"(kind));                                                                     \
    __builtin_unreachable();                                                                                   \
  } while (0)
