/* dispatcher.ts as one would write it in C. */
#include "machine.h"

struct vcpu {
  u64 rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi;
  u64 exits, last;
  u64 counts[80];
  struct {
    u32 reason, length;
    u64 rip;
  } recent[16];
  u32 leaves[16][4];
  u8 port[16];
};

enum { REASON = 0x4402, LENGTH = 0x440c, QUALIFICATION = 0x6400, RIP = 0x681e, INTERRUPTIBILITY = 0x4824 };
enum { RESUME, YIELD, STOP };

static inline u64 bits(u64 value, u32 high, u32 low) { return value >> low & ((1ul << (high - low + 1)) - 1); }

static inline void skip(void) {
  vmcs_vmwrite(RIP, vmcs_vmread(RIP) + (u32)vmcs_vmread(LENGTH));
  u32 interruptibility = (u32)vmcs_vmread(INTERRUPTIBILITY);
  if (interruptibility & 3) vmcs_vmwrite(INTERRUPTIBILITY, interruptibility & ~3u);
}

static inline u32 on_cpuid(struct vcpu *vcpu) {
  u32 leaf = (u32)vcpu->rax;
  const u32 *values = vcpu->leaves[leaf < 16 ? leaf : 0];
  vcpu->rax = values[0];
  vcpu->rbx = values[1];
  vcpu->rcx = values[2];
  vcpu->rdx = values[3];
  skip();
  return RESUME;
}

static inline u32 on_port_io(struct vcpu *vcpu) {
  u64 qualification = vmcs_vmread(QUALIFICATION);
  u32 port = (u32)bits(qualification, 31, 16);
  if (bits(qualification, 2, 0) != 0 || bits(qualification, 5, 4) != 0) return STOP;
  if (port - 0x3f8u < 8) {
    u32 offset = port - 0x3f8;
    if (bits(qualification, 3, 3)) vcpu->rax = (vcpu->rax & ~0xfful) | vcpu->port[offset];
    else vcpu->port[offset] = (u8)vcpu->rax;
  } else if (bits(qualification, 3, 3)) {
    vcpu->rax |= 0xff;
  }
  skip();
  return RESUME;
}

u32 hand_dispatch(struct vcpu *vcpu) {
  u32 reason = (u32)bits(vmcs_vmread(REASON), 15, 0);
  vcpu->counts[reason < 80 ? reason : 79]++;
  u64 at = vcpu->exits++ & 15;
  vcpu->recent[at].reason = reason;
  vcpu->recent[at].length = (u32)vmcs_vmread(LENGTH);
  vcpu->recent[at].rip = vmcs_vmread(RIP);
  switch (reason) {
  case 10: return on_cpuid(vcpu);
  case 12: skip(); return YIELD;
  case 30: return on_port_io(vcpu);
  case 1:
  case 7:
  case 52: return RESUME;
  default: return STOP;
  }
}
