/** Operands of emulated instructions: registers and ModR/M's r/m, and the end of an instruction. */
import { Rflags } from "../x86/cr";
import { Instruction } from "./code";
import { loadOpened, open, storeOpened } from "./memory";
import { Dirty, Vcpu } from "./vcpu";

export const RAX: u32 = 0;
export const RCX: u32 = 1;
export const RDX: u32 = 2;
export const RBX: u32 = 3;
export const RSP: u32 = 4;
export const RSI: u32 = 6;
export const RDI: u32 = 7;

/** The low `size` bytes. */
export function mask(size: u32): u64 {
  return ~(<u64>0) >> (64 - size * 8);
}

export function signExtend(value: u64, size: u32): u64 {
  const unused = 64 - size * 8;
  return <u64>(((<i64>value) << unused) >> unused);
}

/** Without REX, byte registers 4 to 7 are AH, CH, DH and BH. */
function isHighByte(i: Instruction, n: u32, size: u32): bool {
  return size == 1 && i.rex == 0 && (n & 12) == 4;
}

export function readRegister(v: Vcpu, n: u32, size: u32): u64 {
  assert(n < 16);
  if (isHighByte(v.code, n, size)) return (v.gpr(n & 3) >> 8) & 0xff;
  return v.gpr(n) & mask(size);
}

/** A write of 4 bytes clears the upper half, a shorter one keeps the rest (SDM Vol. 1 3.4.1.1). */
export function writeRegister(v: Vcpu, n: u32, size: u32, value: u64): void {
  assert(n < 16);
  let shift: u64 = 0;
  if (isHighByte(v.code, n, size)) {
    n &= 3;
    shift = 8;
  }
  const kept = size < 4 ? v.gpr(n) & ~(mask(size) << shift) : 0;
  v.setGpr(n, kept | ((value & mask(size)) << shift));
}

/** Opens r/m if it is memory. False: the instruction is not to go on. */
export function openRm(v: Vcpu, size: u32, access: u32): bool {
  const i = v.code;
  return !i.memory || open(v, i.segment, i.address, size, access);
}

export function loadRm(v: Vcpu, size: u32): u64 {
  return v.code.memory ? loadOpened(v, size) : readRegister(v, v.code.rm, size);
}

export function storeRm(v: Vcpu, size: u32, value: u64): void {
  if (v.code.memory) storeOpened(v, size, value);
  else writeRegister(v, v.code.rm, size, value);
}

/** Whether the condition in the low four bits of an opcode holds (SDM Vol. 1 Appendix B, EFLAGS Condition Codes). */
export function condition(v: Vcpu): bool {
  const flags = v.rflags;
  const code = v.code.opcode;
  const less = ((flags >> 7) ^ (flags >> 11)) & 1; // SF and OF differ
  let holds: u64;
  switch ((code >> 1) & 7) {
    case 0:
      holds = flags & Rflags.OF;
      break;
    case 1:
      holds = flags & Rflags.CF;
      break;
    case 2:
      holds = flags & Rflags.ZF;
      break;
    case 3:
      holds = flags & (Rflags.CF | Rflags.ZF);
      break;
    case 4:
      holds = flags & Rflags.SF;
      break;
    case 5:
      holds = flags & Rflags.PF;
      break;
    case 6:
      holds = less;
      break;
    default:
      holds = less | (flags & Rflags.ZF);
  }
  return (holds != 0) != ((code & 1) != 0);
}

/**
 * Ends an emulated instruction: the guest goes on at Instruction.next, or, when it is a repeated one that is not complete,
 * with its next iteration. RF is the instruction's own: only the iterations of one are not hit again by its breakpoint.
 */
export function finish(v: Vcpu, complete: bool): void {
  const i = v.code;
  v.rflags = complete ? v.rflags & ~Rflags.RF : v.rflags | Rflags.RF;
  if (complete) v.rip = i.mode == 8 ? i.next : <u32>i.next;
  v.skipped = 1;
  v.dirty |= Dirty.Registers;
}
