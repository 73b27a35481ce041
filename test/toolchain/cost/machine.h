/* VMREAD and VMWRITE in small: one instruction each, which gcc may neither drop nor merge. */
#ifndef MACHINE_H
#define MACHINE_H

#include "wasm3-runtime.h"

extern u64 vmcs_fields[0x8000];

static inline u64 vmcs_vmread(u32 field) {
  u64 value;
  __asm__ volatile("mov %1, %0" : "=r"(value) : "m"(vmcs_fields[field]));
  return value;
}

static inline void vmcs_vmwrite(u32 field, u64 value) {
  __asm__ volatile("mov %1, %0" : "=m"(vmcs_fields[field]) : "r"(value));
}

#define WASM3_TRAP(kind) (__builtin_trap(), __builtin_unreachable())

static inline void env_abort(u32 message, u32 file, u32 line, u32 column) {
  (void)message, (void)file, (void)line, (void)column;
}

#endif
