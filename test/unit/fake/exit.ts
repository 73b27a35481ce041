/** The neutral exits of kernel/abi/exit.ts, as a test says them. */

/** A general register's number in ModR/M. */
export enum Gpr {
  rax,
  rcx,
  rdx,
  rbx,
  rsp,
  rbp,
  rsi,
  rdi,
  r8,
  r9,
  r10,
  r11,
  r12,
  r13,
  r14,
  r15,
}

/** What entry or exit functions return: Leave of kernel/abi/context.ts. */
export enum Next {
  Resume,
  Yield,
  Stop,
}
