/* VMREAD and VMWRITE themselves. They fail only for a field that the CPU lacks or without a current VMCS: which fields
 * exist is settled at preflight, so the flags are not looked at on the exit path. */
#pragma once
#include "types.h"

INTRINSIC u64 raw_vmread(u64 field) {
  u64 value;
  __asm__ volatile("vmread %1, %0" : "=r"(value) : "r"(field) : "cc");
  return value;
}

INTRINSIC void raw_vmwrite(u64 field, u64 value) {
  __asm__ volatile("vmwrite %1, %0" : : "r"(field), "r"(value) : "cc");
}
