/* Between the runner, which reads calls and writes results, and the engine it is linked with. */
#ifndef RUNNER_H
#define RUNNER_H

#include "host.h"

#include <stddef.h>

/* 0 is a result; the rest are those of enum wasm3_trap_kind. */
typedef u32 status;

void engine_open(char **arguments, char **modules, u32 count); /* main's, and the paths of the wasm files */
void engine_reset(u32 module);                                 /* memory and imports as after instantiation */
status engine_call(u32 module, u32 function, const u64 *arguments, u64 *result);
u8 *engine_memory(u32 module, size_t *size);

#endif
