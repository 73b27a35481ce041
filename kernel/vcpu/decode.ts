/**
 * The instruction decoder (SDM Vol. 2A 2, Instruction Format), for code of every size. It knows the length of all
 * instructions up to AVX-512, and the operands of those that the emulator executes.
 */
import { Instruction, NO_BASE, Prefix } from "./code";
import { nextByte, nextNumber } from "./fetch";
import {
  BYTES,
  FOLLOWS_MASK,
  Follows,
  MODRM,
  Op,
  REGISTER,
  form,
  groupMember,
  opcodeWord,
  operation,
} from "./opcodes";
import { RSP } from "./operand";
import { Seg } from "./system";
import { Vcpu } from "./vcpu";

/** No segment override. */
const NONE: u32 = 8;
/** Base registers of 16-bit addresses, by r/m: BX, BX, BP, BP, SI, DI, BP, BX. */
const BASES16: u32 = 0x35765533;
/** REX, and ModR/M's r/m or a base that says "a SIB byte follows" or "there is no base". */
const REX_W: u32 = 8;
const SIB: u32 = 4;
const NO_REGISTER: u32 = 5;
const RBP: u32 = 5;
const RSI: u32 = 6;
/** Instruction.modrm has been read. */
const READ: u32 = 0x100;

/** Takes the prefixes off. Returns the first byte of the opcode; an override is in i.segment, or NONE. */
function nextPrefixes(v: Vcpu, i: Instruction): u32 {
  i.segment = NONE;
  let b = nextByte(v);
  for (;;) {
    if (i.mode == 8 && (b & 0xf0) == 0x40) {
      i.rex = b;
      b = nextByte(v);
      continue;
    }
    if (b == 0xf0) i.prefixes |= Prefix.Lock;
    else if (b == 0xf2) i.prefixes = (i.prefixes & ~Prefix.Rep) | Prefix.Repne;
    else if (b == 0xf3) i.prefixes = (i.prefixes & ~Prefix.Repne) | Prefix.Rep;
    else if (b == 0x66) i.prefixes |= Prefix.Operand;
    else if (b == 0x67) i.prefixes |= Prefix.Address;
    else if ((b & 0xfe) == 0x64) i.segment = b - 0x60;
    else if ((b & 0xe7) != 0x26) break;
    else if (i.mode != 8) i.segment = (b >> 3) & 3;
    // REX counts only directly before the opcode.
    i.rex = 0;
    b = nextByte(v);
  }
  return b;
}

function setSizes(i: Instruction): void {
  const other = (i.prefixes & Prefix.Operand) != 0;
  i.size = i.rex & REX_W ? 8 : (i.mode == 2) != other ? 2 : 4;
  i.addressSize = !(i.prefixes & Prefix.Address) ? i.mode : i.mode == 4 ? 2 : 4;
}

/** Reads the rest of the opcode and returns its word (opcodes.ts). */
function nextOpcode(v: Vcpu, i: Instruction, first: u32): u32 {
  i.opcode = first;
  if (first == 0x0f) {
    i.opcode = 0x100 | nextByte(v);
    if (i.opcode == 0x138) i.opcode = 0x200 | nextByte(v);
    else if (i.opcode == 0x13a) i.opcode = 0x300 | nextByte(v);
  } else if (first == 0xc4 || first == 0xc5 || first == 0x62) {
    const payload = nextByte(v);
    if (i.mode == 8 || payload >= 0xc0) return nextVexOpcode(v, i, first, payload);
    // LES, LDS, BOUND: their operand is always memory.
    i.modrm = payload | READ;
  }
  return opcodeWord(i.opcode);
}

/** After C4, C5 (VEX) or 62 (EVEX): the map is in the payload, and the same opcodes have the same things follow them. */
function nextVexOpcode(v: Vcpu, i: Instruction, first: u32, payload: u32): u32 {
  let map: u32 = 1;
  if (first != 0xc5) {
    map = payload & (first == 0x62 ? 7 : 31);
    nextByte(v);
    if (first == 0x62) nextByte(v);
  }
  i.opcode = (map << 8) | nextByte(v);
  return (opcodeWord(i.opcode) & (MODRM | FOLLOWS_MASK)) | (Op.None << 8);
}

/** The memory operand of ModR/M with 16-bit addresses (SDM Vol. 2A table 2-1). Returns its displacement's bytes. */
function base16(v: Vcpu, i: Instruction, mod: u32, rm: u32): u32 {
  if (mod == 0 && rm == 6) return 2;
  i.base = (BASES16 >> (rm * 4)) & 15;
  i.address = v.gpr(i.base);
  if (rm < 4) i.address += v.gpr(RSI + (rm & 1));
  return mod;
}

/** The same with 32-bit and 64-bit addresses (tables 2-2 and 2-3). */
function base32(v: Vcpu, i: Instruction, mod: u32, rm: u32): u32 {
  let base = rm;
  if (rm == SIB) {
    const sib = nextByte(v);
    const index = ((sib >> 3) & 7) | ((i.rex & 2) << 2);
    if (index != RSP) i.address = v.gpr(index) << (sib >> 6);
    base = sib & 7;
  }
  if (base == NO_REGISTER && mod == 0) {
    i.relative = rm != SIB && i.mode == 8 ? 1 : 0;
    return 4;
  }
  i.base = base | ((i.rex & 1) << 3);
  i.address += v.gpr(i.base);
  return mod == 2 ? 4 : mod;
}

/** Reads what ModR/M says, but for the segment and what needs the whole instruction's length. */
function nextOperand(v: Vcpu, i: Instruction): void {
  const modrm = i.modrm ? i.modrm & 0xff : nextByte(v);
  const mod = modrm >> 6;
  const rm = modrm & 7;
  i.reg = ((modrm >> 3) & 7) | ((i.rex & 4) << 1);
  // MOV to and from CR and DR take any mod for 3.
  if (mod == 3 || (i.opcode & ~3) == 0x120) {
    i.rm = rm | ((i.rex & 1) << 3);
    return;
  }
  i.memory = 1;
  const displacement = i.addressSize == 2 ? base16(v, i, mod, rm) : base32(v, i, mod, rm);
  if (displacement) i.address += nextNumber(v, displacement);
}

function nextImmediate(v: Vcpu, i: Instruction, kind: u32): void {
  const z: u32 = i.size == 8 ? 4 : i.size;
  let bytes: u32 = 0;
  if (kind <= Follows.Word) bytes = kind;
  else if (kind == Follows.Z) bytes = z;
  else if (kind == Follows.Full) bytes = i.size;
  else if (kind == Follows.Offset) bytes = i.addressSize;
  else if (kind == Follows.FarPointer) bytes = z + 2;
  else if (kind == Follows.Frame) bytes = 3;
  else if ((i.reg & 7) < 2) bytes = z;
  if (bytes) i.immediate = nextNumber(v, bytes);
  if (kind == Follows.Offset) {
    i.memory = 1;
    i.address = i.immediate;
  }
}

/** What an opcode's word leaves open. */
function settle(i: Instruction): void {
  if (i.operation >= Op.Group1) i.operation = groupMember(i.operation, i.reg);
  // ARPL, and CRC32 by its prefix
  if (i.operation == Op.MovSxd && i.mode != 8) i.operation = Op.None;
  if (i.operation == Op.MovBe && i.prefixes & Prefix.Repne) i.operation = Op.None;
}

/**
 * Decodes the instruction at CS:RIP into v.code, and sets v.length for v.skip(). False: a fault is queued, or the guest
 * is to try again (translate()). Needs v.system, v.rip, v.rsp and v.rflags. An instruction that the CPU refuses as
 * undefined may decode all the same.
 */
export function decode(v: Vcpu): bool {
  const i = v.code;
  const s = v.system;
  memory.fill(changetype<usize>(i), 0, offsetof<Instruction>());
  i.mode = s.is64 ? 8 : s.segment(Seg.CS).big ? 4 : 2;
  i.base = NO_BASE;
  const first = nextPrefixes(v, i);
  setSizes(i);
  const word = nextOpcode(v, i, first);
  if (word & BYTES) i.size = 1;
  if (word & REGISTER) i.rm = (i.opcode & 7) | ((i.rex & 1) << 3);
  if (word & MODRM) nextOperand(v, i);
  nextImmediate(v, i, word & FOLLOWS_MASK);
  i.form = form(word);
  i.operation = operation(word);
  settle(i);
  i.next = v.rip + i.length;
  if (i.relative) i.address += i.next;
  i.address &= ~(<u64>0) >> (64 - i.addressSize * 8);
  if (i.segment == NONE) i.segment = i.base == RSP || i.base == RBP ? Seg.SS : Seg.DS;
  v.length = i.length;
  return !i.failed;
}
