/* Runs a script of calls on one engine: runner SCRIPT RESULTS MODULE.wasm...
 *
 * A script is an array of `struct step`, the results an array of `struct outcome`, one for each step. A call that
 * traps resets the module, for memory after a trap is unspecified. */
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>

u32 host_notes;

struct step {
  u16 module;
  enum __attribute__((packed)) { CALL, RESET, HASH } kind;
  u8 padding;
  u32 function;
  u64 arguments[8];
};

struct outcome {
  u64 status, value;
};

static u64 hash_memory(u32 module) {
  size_t size;
  const u8 *memory = engine_memory(module, &size);
  u32 hash = 0x811c9dc5;
  for (size_t i = 0; i < size; i += 4) hash = (hash ^ *(const wasm3_u32 *)(memory + i)) * 0x01000193;
  return hash;
}

static void reset(u32 module) {
  host_notes = 0;
  engine_reset(module);
}

static struct outcome run(const struct step *step) {
  struct outcome outcome = {0, 0};
  switch (step->kind) {
  case CALL:
    outcome.status = engine_call(step->module, step->function, step->arguments, &outcome.value);
    if (outcome.status) outcome.value = 0, reset(step->module);
    break;
  case RESET: reset(step->module); break;
  case HASH: outcome.value = hash_memory(step->module); break;
  }
  return outcome;
}

int main(int count, char **arguments) {
  if (count < 4) return fputs("usage: runner SCRIPT RESULTS MODULE.wasm...\n", stderr), 2;
  FILE *script = fopen(arguments[1], "rb"), *results = fopen(arguments[2], "wb");
  if (!script || !results) return perror("runner"), 2;
  engine_open(arguments, arguments + 3, (u32)count - 3);
  struct step step;
  while (fread(&step, sizeof step, 1, script) == 1) {
    struct outcome outcome = run(&step);
    fwrite(&outcome, sizeof outcome, 1, results);
  }
  return fclose(results) ? (perror("runner"), 2) : 0;
}
