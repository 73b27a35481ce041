#include "vmread.h"

extern u32 vmx_run_vcpu(void *context);
extern char vmx_exit_stub[], vmx_debug_stub[];

#define VMX_OF_ADDRESS(name, instruction)                                                                      \
  INTRINSIC int name(u64 address) {                                                                            \
    int ok;                                                                                                    \
    __asm__ volatile(instruction " %1" : "=@cca"(ok) : "m"(address) : "memory");                                \
    return ok;                                                                                                 \
  }
VMX_OF_ADDRESS(vmx_on, "vmxon")
VMX_OF_ADDRESS(raw_vmclear, "vmclear")
VMX_OF_ADDRESS(raw_vmptrld, "vmptrld")

/* The CPU's block says which VMCS is current. */
INTRINSIC int vmx_clear(u64 address) {
  if (PERCPU(u64, RUNNING_VMCB) == address) PERCPU(u64, RUNNING_VMCB) = 0;
  return raw_vmclear(address);
}
INTRINSIC int vmx_load(u64 address) {
  PERCPU(u64, RUNNING_VMCB) = address;
  return raw_vmptrld(address);
}

INTRINSIC u64 vmx_read(u32 field) { return raw_vmread(field); }
INTRINSIC int vmx_write(u32 field, u64 value) {
  int ok;
  __asm__ volatile("vmwrite %2, %1" : "=@cca"(ok) : "r"((u64)field), "r"(value));
  return ok;
}

#define VMX_INVALIDATE(name, instruction)                                                                      \
  INTRINSIC int name(u64 context) {                                                                            \
    u64 descriptor[2] = {context, 0};                                                                          \
    int ok;                                                                                                    \
    __asm__ volatile(instruction " %1, %2" : "=@cca"(ok) : "m"(descriptor), "r"(1ul) : "memory");              \
    return ok;                                                                                                 \
  }
VMX_INVALIDATE(vmx_invalidateEpt, "invept")
VMX_INVALIDATE(vmx_invalidateVpid, "invvpid")

INTRINSIC u32 vmx_runVcpu(u32 context) {
  u32 left = vmx_run_vcpu(LINEAR(void, context));
  *LINEAR(u32, context + RUNNING_LAUNCHED) = PERCPU(u32, RUNNING_LAUNCHED);
  /* Its handler, and the IRET that lets the next one come (SDM Vol. 3C 28.3.3, Updating Non-Register State). */
  if (left == LEAVE_NMI) __asm__ volatile("int $2" : : : "memory");
  return left;
}
INTRINSIC u64 vmx_exitStub(int debug) { return (u64)(debug ? vmx_debug_stub : vmx_exit_stub); }
INTRINSIC u32 vmx_instructionError(void) { return PERCPU(u32, PERCPU_INSTRUCTION_ERROR); }
