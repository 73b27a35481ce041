/* asc's abort: a failed assertion. Its arguments go to the crash record, the rest is an ordinary trap. */
#include "types.h"

#define TRAP_ABORT 100

static __attribute__((noreturn, cold, noinline, unused)) void env_abort(u32 message, u32 file, u32 line,
                                                                               u32 column) {
  PERCPU(u32, PERCPU_CRASH + CRASHRECORD_ABORT_MESSAGE) = message;
  PERCPU(u32, PERCPU_CRASH + CRASHRECORD_ABORT_FILE) = file;
  PERCPU(u32, PERCPU_CRASH + CRASHRECORD_ABORT_LINE) = line;
  PERCPU(u32, PERCPU_CRASH + CRASHRECORD_ABORT_COLUMN) = column;
  WASM3_TRAP(TRAP_ABORT);
}
