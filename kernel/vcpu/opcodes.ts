/**
 * The opcode maps (SDM Vol. 2D Appendix A, Opcode Map), in 16 bits an opcode: what follows it, which is enough for its
 * length, and what the emulator makes of it, for the instructions that may meet memory that is no RAM.
 */

/** What an instruction does. The first eight are numbered as in the opcodes and in ModR/M of 80h to 83h. */
export namespace Op {
  export const Add: u32 = 0;
  export const Or: u32 = 1;
  export const Adc: u32 = 2;
  export const Sbb: u32 = 3;
  export const And: u32 = 4;
  export const Sub: u32 = 5;
  export const Xor: u32 = 6;
  export const Cmp: u32 = 7;
  export const Test: u32 = 8;
  export const Xchg: u32 = 9;
  export const Xadd: u32 = 10;
  export const CmpXchg: u32 = 11;
  export const Inc: u32 = 12;
  export const Dec: u32 = 13;
  export const Not: u32 = 14;
  export const Neg: u32 = 15;
  export const Bt: u32 = 16;
  export const Bts: u32 = 17;
  export const Btr: u32 = 18;
  export const Btc: u32 = 19;
  export const Imul: u32 = 20;
  /** Not emulated. */
  export const None: u32 = 21;
  export const Undefined: u32 = 22;
  export const Nop: u32 = 23;
  export const Mov: u32 = 24;
  export const MovZx: u32 = 25;
  export const MovSx: u32 = 26;
  export const MovSxd: u32 = 27;
  export const MovSegment: u32 = 28;
  export const MovBe: u32 = 29;
  export const CMov: u32 = 30;
  export const SetCc: u32 = 31;
  export const Push: u32 = 32;
  export const Pop: u32 = 33;
  export const Call: u32 = 34;
  export const Jmp: u32 = 35;
  export const Ret: u32 = 36;
  export const CmpXchg8B: u32 = 37;
  export const String: u32 = 38;
  // From here on ModR/M's reg says which
  export const Group1: u32 = 40;
  export const Group3: u32 = 41;
  export const Group4: u32 = 42;
  export const Group5: u32 = 43;
  export const Group8: u32 = 44;
  export const Group9: u32 = 45;
  export const Group11: u32 = 46;
  export const Group1A: u32 = 47;
}

/** The operands: which is read and written, and which is only read. */
export namespace Form {
  export const RmReg: u32 = 0;
  export const RegRm: u32 = 1;
  export const RmImmediate: u32 = 2;
}

/** What follows an opcode, beside ModR/M: immediates, in the low four bits. */
export namespace Follows {
  export const Nothing: u32 = 0;
  export const Byte: u32 = 1;
  export const Word: u32 = 2;
  /** As wide as the operand, but 4 bytes for one of 8. */
  export const Z: u32 = 3;
  /** As wide as the operand. */
  export const Full: u32 = 4;
  /** An address. */
  export const Offset: u32 = 5;
  export const FarPointer: u32 = 6;
  /** ENTER's two. */
  export const Frame: u32 = 7;
  /** Byte or Z, and only where ModR/M's reg is 0 or 1. */
  export const Group3: u32 = 8;
}

export const FOLLOWS_MASK: u32 = 15;
export const MODRM: u32 = 1 << 4;
/** Operands are bytes. */
export const BYTES: u32 = 1 << 5;
/** The opcode's low three bits are a register. */
export const REGISTER: u32 = 1 << 6;

/** Bits of an opcode's word: Op from bit 8 on, Form from bit 14 on. */
export function operation(word: u32): u32 {
  return (word >> 8) & 63;
}
export function form(word: u32): u32 {
  return word >> 14;
}

// Abbreviations: what follows; ModR/M, bytes, register; forms; and operations, some with what comes with them
const I: u16 = 1;
const W: u16 = 2;
const Z: u16 = 3;
const M: u16 = 0x10;
const MB: u16 = 0x30;
const R: u16 = 0x40;
const LOAD: u16 = 0x4000;
const IMM: u16 = 0x8000;
const X: u16 = 0x1500;
const XM: u16 = 0x1510;
const XI: u16 = 0x1501;
const XMI: u16 = 0x1511;
const UD: u16 = 0x1600;
const NOP: u16 = 0x1710;
const TEST: u16 = 0x0800;
const XCHG: u16 = 0x0910;
const XADD: u16 = 0x0a10;
const CMPXCHG: u16 = 0x0b10;
const BT: u16 = 0x1010;
const BTS: u16 = 0x1110;
const BTR: u16 = 0x1210;
const BTC: u16 = 0x1310;
const IMUL: u16 = 0x1410;
const MOV: u16 = 0x1800;
const MOVZX: u16 = 0x5910;
const MOVSX: u16 = 0x5a10;
const MOVSXD: u16 = 0x5b10;
const MOVSEG: u16 = 0x1c10;
const CMOV: u16 = 0x5e10;
const SETCC: u16 = 0x1f30;
const PUSH: u16 = 0x2000;
const POP: u16 = 0x2100;
const CALL: u16 = 0x2200;
const RET: u16 = 0x2400;
const STRING: u16 = 0x2600;
const GROUP1: u16 = 0xa810;
const GROUP3: u16 = 0xa918;
const GROUP4: u16 = 0x2a30;
const GROUP5: u16 = 0x2b10;
const GROUP8: u16 = 0xac11;
const GROUP9: u16 = 0x2d10;
const GROUP11: u16 = 0xae10;
const GROUP1A: u16 = 0x2f10;

/** Opcodes 00 to 07, and with other operations 08 to 0F, up to 38 to 3F. */
// prettier-ignore
const ARITHMETIC = memory.data<u16>([
  MB, M, LOAD | MB, LOAD | M, IMM | 0x20 | I, IMM | Z, X, X,
]);

/** Opcodes 40 to FF. Prefixes have been taken off before. */
// prettier-ignore
const ONE_BYTE = memory.data<u16>([
  X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, // 40 INC, DEC
  PUSH | R, PUSH | R, PUSH | R, PUSH | R, PUSH | R, PUSH | R, PUSH | R, PUSH | R, // 50
  POP | R, POP | R, POP | R, POP | R, POP | R, POP | R, POP | R, POP | R, // 58
  X, X, XM, MOVSXD, X, X, X, X, // 60 PUSHA, POPA, BOUND, MOVSXD
  IMM | PUSH | Z, IMM | IMUL | Z, IMM | PUSH | I, IMM | IMUL | I, X | 0x20, X, X | 0x20, X, // 68 INS, OUTS
  XI, XI, XI, XI, XI, XI, XI, XI, XI, XI, XI, XI, XI, XI, XI, XI, // 70 Jcc
  GROUP1 | 0x20 | I, GROUP1 | Z, GROUP1 | 0x20 | I, GROUP1 | I, TEST | MB, TEST | M, XCHG | 0x20, XCHG, // 80
  MOV | MB, MOV | M, MOV | LOAD | MB, MOV | LOAD | M, MOVSEG, XM, XM, GROUP1A, // 88 MOV, LEA, POP
  X, X, X, X, X, X, X, X, X, X, X | 6, X, X, X, X, X, // 90 XCHG, CBW, CWD, CALL far, WAIT, PUSHF, POPF, SAHF, LAHF
  MOV | LOAD | 0x25, MOV | LOAD | 5, MOV | 0x25, MOV | 5, STRING | 0x20, STRING, STRING | 0x20, STRING, // A0
  IMM | TEST | 0x20 | I, IMM | TEST | Z, // A8
  STRING | 0x20, STRING, STRING | 0x20, STRING, STRING | 0x20, STRING, // AA
  IMM | MOV | 0x61, IMM | MOV | 0x61, IMM | MOV | 0x61, IMM | MOV | 0x61, // B0
  IMM | MOV | 0x61, IMM | MOV | 0x61, IMM | MOV | 0x61, IMM | MOV | 0x61, // B4
  IMM | MOV | 0x44, IMM | MOV | 0x44, IMM | MOV | 0x44, IMM | MOV | 0x44, // B8
  IMM | MOV | 0x44, IMM | MOV | 0x44, IMM | MOV | 0x44, IMM | MOV | 0x44, // BC
  XMI, XMI, RET | W, RET, XM, XM, GROUP11 | 0x20 | I, GROUP11 | Z, // C0 shifts, RET, LES, LDS, MOV
  X | 7, X, X | W, X, X, XI, X, X, // C8 ENTER, LEAVE, RET far, INT3, INT n, INTO, IRET
  XM, XM, XM, XM, XI, XI, X, X, XM, XM, XM, XM, XM, XM, XM, XM, // D0 shifts, AAM, AAD, XLAT, x87
  XI, XI, XI, XI, XI, XI, XI, XI, IMM | CALL | Z, X | Z, X | 6, XI, X, X, X, X, // E0 LOOP, IN, OUT, CALL, JMP
  X, X, X, X, X, X, GROUP3 | 0x20, GROUP3, X, X, X, X, X, X, GROUP4, GROUP5, // F0 ICEBP, HLT, CMC, CLC...
]);

/** Opcodes 0F 00 to 0F FF. */
// prettier-ignore
const TWO_BYTE = memory.data<u16>([
  XM, XM, XM, XM, X, X, X, X, X, X, X, UD, X, NOP, X, XMI, // 00 SLDT, SGDT, LAR, LSL, SYSCALL, UD2, PREFETCHW, 3DNow!
  XM, XM, XM, XM, XM, XM, XM, XM, NOP, NOP, NOP, NOP, NOP, NOP, NOP, NOP, // 10 SSE, prefetches and hints
  XM, XM, XM, XM, X, X, X, X, XM, XM, XM, XM, XM, XM, XM, XM, // 20 MOV CR, MOV DR, SSE
  X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, // 30 WRMSR, RDTSC, RDMSR, RDPMC, SYSENTER, SYSEXIT, GETSEC
  CMOV, CMOV, CMOV, CMOV, CMOV, CMOV, CMOV, CMOV, CMOV, CMOV, CMOV, CMOV, CMOV, CMOV, CMOV, CMOV, // 40
  XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, // 50 SSE
  XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, // 60 MMX, SSE
  XMI, XMI, XMI, XMI, XM, XM, XM, X, XM, XM, XM, XM, XM, XM, XM, XM, // 70 MMX, SSE
  X | Z, X | Z, X | Z, X | Z, X | Z, X | Z, X | Z, X | Z, // 80 Jcc
  X | Z, X | Z, X | Z, X | Z, X | Z, X | Z, X | Z, X | Z, // 88
  SETCC, SETCC, SETCC, SETCC, SETCC, SETCC, SETCC, SETCC, // 90
  SETCC, SETCC, SETCC, SETCC, SETCC, SETCC, SETCC, SETCC, // 98
  X, X, X, BT, XMI, XM, X, X, X, X, X, BTS, XMI, XM, XM, LOAD | IMUL, // A0 CPUID, BT, SHLD, RSM, BTS, SHRD, FXSAVE
  CMPXCHG | 0x20, CMPXCHG, XM, BTR, XM, XM, MOVZX, MOVZX, XM, UD | M, GROUP8, BTC, XM, XM, MOVSX, MOVSX, // B0
  XADD | 0x20, XADD, XMI, MOV | M, XMI, XMI, XMI, GROUP9, X, X, X, X, X, X, X, X, // C0 XADD, SSE, MOVNTI, BSWAP
  XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, // D0 MMX, SSE
  XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, // E0 MMX, SSE
  XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, XM, UD | M, // F0 MMX, SSE
]);

/** MOVBE from and to memory. */
const MOVBE_LOAD: u32 = 0x5d10;
const MOVBE_STORE: u32 = 0x1d10;

/** Op by ModR/M's reg, from Op.Group3 on. */
// prettier-ignore
const GROUPS = memory.data<u8>([
  8, 8, 14, 15, 21, 21, 21, 21, // F6, F7: TEST, TEST, NOT, NEG, then multiplications and divisions
  12, 13, 22, 22, 22, 22, 22, 22, // FE: INC, DEC
  12, 13, 34, 21, 35, 21, 32, 22, // FF: INC, DEC, CALL, CALL far, JMP, JMP far, PUSH
  22, 22, 22, 22, 16, 17, 18, 19, // 0F BA: BT, BTS, BTR, BTC
  22, 37, 21, 21, 21, 21, 21, 21, // 0F C7: CMPXCHG8B
  24, 22, 22, 22, 22, 22, 22, 22, // C6, C7: MOV
  33, 22, 22, 22, 22, 22, 22, 22, // 8F: POP
]);

/** An opcode's word. Opcodes have their map's number (0, 0F, 0F38, 0F3A: 0 to 3) from bit 8 on. */
export function opcodeWord(opcode: u32): u32 {
  const low = opcode & 0xff;
  if (opcode < 0x40) return load<u16>(ARITHMETIC + ((low & 7) << 1)) | ((low & 0x38) << 5);
  if (opcode < 0x100) return load<u16>(ONE_BYTE + ((low - 0x40) << 1));
  if (opcode < 0x200) return load<u16>(TWO_BYTE + (low << 1));
  if (opcode == 0x2f0) return MOVBE_LOAD;
  if (opcode == 0x2f1) return MOVBE_STORE;
  return opcode >= 0x300 && opcode < 0x400 ? XMI : XM;
}

/** The Op of a word with a group, of which `reg` says the member. */
export function groupMember(operation: u32, reg: u32): u32 {
  if (operation == Op.Group1) return reg & 7;
  return load<u8>(GROUPS + ((operation - Op.Group3) << 3) + (reg & 7));
}
