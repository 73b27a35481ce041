/* What modules under test may import, the same for each engine; see host.ts for the same in JavaScript. */
#ifndef HOST_H
#define HOST_H

#include "wasm3-runtime.h"

extern u32 host_notes; /* zero after a reset */

static inline u64 host_mix(u32 a, u64 b) { return b * 0x9e3779b97f4a7c15 + a; }
static inline void host_note(u32 a) { host_notes = host_notes * 31 + a; }
static inline u32 host_noted(void) { return host_notes; }

#endif
