/* The modules that a runner was built with; engines.ts writes the table. */
#ifndef NATIVE_H
#define NATIVE_H

#include "runner.h"

struct native_module {
  const u32 *pages, *segment_count;
  const struct wasm3_segment *segments;
  u64 (*const *functions)(const u64 *arguments); /* exports, in the module's order */
};

extern const struct native_module native_modules[];
extern const u32 native_module_count;

#endif
