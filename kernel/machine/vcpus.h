#include "ipi.h"

INTRINSIC void vcpus_interrupt(u32 n) {
  if (n < PERCPU(u32, RUNNING_SIBLINGS)) ipi_send(PERCPU(u32, RUNNING_APIC_IDS01 + 4 * n), 1 << 14 | VECTOR_LOOK);
}
