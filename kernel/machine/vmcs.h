#include "vmread.h"

#define PROCESSOR_CONTROLS 0x4002
#define INTERRUPT_WINDOW (1u << 2)
#define NMI_WINDOW (1u << 22)
#define ENTRY_CONTROLS 0x4012
#define IA32E_GUEST (1u << 9)

/* Field encodings: SDM Vol. 3D Appendix B, Field Encoding in VMCS. Bits 11:10 are the type: 1 is read-only data and
 * 2 is guest state. */
INTRINSIC int vmcs_readable(u32 field) {
  u32 type = field >> 10 & 3;
  return type == 1 || type == 2 || field == 0x4016 || field == 0x2010 || field == 0x6004 || field == 0x6006;
}

/* The bits of a field that a monitor may set; 0 for a field that it may not write at all. */
INTRINSIC u64 vmcs_writable(u32 field) {
  if (field >= 0x0800 && field <= 0x0810) return 0xffff; /* selectors, virtual interrupts requested and in service */
  if (field >= 0x4800 && field <= 0x4822) return 0xffffffff; /* limits and access rights */
  if (field == 0x4824) return 0x1f; /* interruptibility */
  if (field == 0x4826) return 1; /* activity: active or HLT */
  if (field == 0x482a) return 0xffffffff; /* SYSENTER_CS */
  if (field >= 0x6800 && field <= 0x6826) return ~0ul; /* CRs, bases, DR7, RSP, RIP, RFLAGS, pending debug, SYSENTER */
  if (field >= 0x2804 && field <= 0x2806) return ~0ul; /* PAT, EFER */
  if (field >= 0x280a && field <= 0x2810) return ~0ul; /* PDPTEs */
  if (field == 0x4016) return 0x80000fff; /* event injection */
  if (field == 0x4018) return 0xffff; /* its error code */
  if (field == 0x401c) return 15; /* TPR threshold */
  if (field == 0x401a) return 15; /* its instruction length */
  if (field == 0x2010) return ~0ul; /* TSC offset */
  if (field >= 0x201c && field <= 0x2022) return ~0ul; /* vectors whose EOI exits */
  if (field == 0x6004 || field == 0x6006) return ~0ul; /* CR0 and CR4 read shadows */
  return 0;
}

extern void vmcs_field_not_readable(void) __attribute__((error("the monitor may not read this VMCS field")));
extern void vmcs_field_not_writable(void) __attribute__((error("the monitor may not write this VMCS field")));

INTRINSIC u64 vmcs_vmread(u32 field) {
  if (__builtin_constant_p(field)) {
    if (!vmcs_readable(field)) vmcs_field_not_readable();
  } else if (!vmcs_readable(field)) {
    WASM3_TRAP(TRAP_FIELD_READ);
  }
  return raw_vmread(field);
}

INTRINSIC void vmcs_vmwrite(u32 field, u64 value) {
  u64 mask = vmcs_writable(field);
  if (__builtin_constant_p(field)) {
    if (!mask) vmcs_field_not_writable();
  } else if (!mask) {
    WASM3_TRAP(TRAP_FIELD_WRITE);
  }
  if (mask != ~0ul && value & ~mask) WASM3_TRAP(TRAP_FIELD_WRITE);
  raw_vmwrite(field, value);
}

INTRINSIC void vmcs_control(u32 field, u32 bit, int on) {
  u64 controls = raw_vmread(field);
  raw_vmwrite(field, on ? controls | bit : controls & ~(u64)bit);
}

INTRINSIC void vmcs_interruptWindow(int on) { vmcs_control(PROCESSOR_CONTROLS, INTERRUPT_WINDOW, on); }
INTRINSIC void vmcs_nmiWindow(int on) { vmcs_control(PROCESSOR_CONTROLS, NMI_WINDOW, on); }
INTRINSIC void vmcs_longMode(int on) { vmcs_control(ENTRY_CONTROLS, IA32E_GUEST, on); }

/* INVVPID, single-context. Without VPID (0) every entry flushes. */
INTRINSIC void vmcs_flush(void) {
  struct { u64 vpid, address; } descriptor = {raw_vmread(0), 0};
  if (descriptor.vpid) __asm__ volatile("invvpid %0, %1" : : "m"(descriptor), "r"(1ul) : "memory");
}
