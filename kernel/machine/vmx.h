#pragma once
#include "vmread.h"

extern u32 vmx_run_vcpu(void *context);
extern char vmx_exit_stub[];

#define VMX_OF_ADDRESS(name, instruction)                                                                      \
  INTRINSIC int name(u64 address) {                                                                            \
    int ok;                                                                                                    \
    __asm__ volatile(instruction " %1" : "=@cca"(ok) : "m"(address) : "memory");                                \
    return ok;                                                                                                 \
  }
VMX_OF_ADDRESS(vmx_on, "vmxon")
VMX_OF_ADDRESS(vmx_clear, "vmclear")
VMX_OF_ADDRESS(vmx_load, "vmptrld")

INTRINSIC u64 vmx_read(u32 field) { return raw_vmread(field); }
INTRINSIC int vmx_write(u32 field, u64 value) {
  int ok;
  __asm__ volatile("vmwrite %2, %1" : "=@cca"(ok) : "r"((u64)field), "r"(value));
  return ok;
}

INTRINSIC int vmx_invalidateEpt(u64 eptp) {
  struct { u64 eptp, zero; } descriptor = {eptp, 0};
  int ok;
  __asm__ volatile("invept %1, %2" : "=@cca"(ok) : "m"(descriptor), "r"(1ul) : "memory");
  return ok;
}

INTRINSIC int vmx_invalidateVpid(u32 vpid) {
  struct { u64 vpid, address; } descriptor = {vpid, 0};
  int ok;
  __asm__ volatile("invvpid %1, %2" : "=@cca"(ok) : "m"(descriptor), "r"(1ul) : "memory");
  return ok;
}

INTRINSIC u32 vmx_runVcpu(u32 context) {
  u32 left = vmx_run_vcpu(LINEAR(void, context));
  *LINEAR(u32, context + VCPUCONTEXT_LAUNCHED) = PERCPU(u32, PERCPU_LAUNCHED);
  return left;
}
INTRINSIC u64 vmx_exitStub(void) { return (u64)vmx_exit_stub; }
INTRINSIC u32 vmx_instructionError(void) { return PERCPU(u32, PERCPU_INSTRUCTION_ERROR); }
