/**
 * The guest's general registers in the order of their numbers in ModR/M (SDM Vol. 2A 2.1.5,
 * Addressing-Mode Encoding of ModR/M and SIB Bytes). The exit stub pushes them in this order; RSP
 * is not among what it stores (the VMCS and the VMCB hold it) and is loaded on demand.
 */
@unmanaged
export class Gprs {
  rax: u64;
  rcx: u64;
  rdx: u64;
  rbx: u64;
  rsp: u64;
  rbp: u64;
  rsi: u64;
  rdi: u64;
  r8: u64;
  r9: u64;
  r10: u64;
  r11: u64;
  r12: u64;
  r13: u64;
  r14: u64;
  r15: u64;
}
