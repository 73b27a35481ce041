/** Integer instructions that read a memory operand, or read and write it. */
import { Rflags } from "../x86/cr";
import { Form, Op } from "./opcodes";
import { RAX, loadRm, mask, openRm, readRegister, signExtend, storeRm, writeRegister } from "./operand";
import { Access, Vcpu } from "./vcpu";

const STATUS: u64 = Rflags.CF | Rflags.PF | Rflags.AF | Rflags.ZF | Rflags.SF | Rflags.OF;

/** Sets the status flags for `result`; bit n of `carries` is the carry or borrow out of bit n. */
function setFlags(v: Vcpu, result: u64, carries: u64, size: u32): void {
  const top = size * 8 - 1;
  let flags = (carries >> top) & 1;
  flags |= (((carries >> top) ^ (carries >> (top - 1))) & 1) << 11; // OF
  flags |= ((carries >> 3) & 1) << 4; // AF
  flags |= ((result >> top) & 1) << 7; // SF
  if (result == 0) flags |= Rflags.ZF;
  // 9669h has a bit set for each number of 4 bits with an even number of ones.
  flags |= ((0x9669 >> ((result ^ (result >> 4)) & 15)) & 1) << 2; // PF
  v.rflags = (v.rflags & ~STATUS) | flags;
}

/** Op.Add to Op.Test: the result, with its flags set. What the manual calls undefined is as on most CPUs: AF is 0. */
export function alu(v: Vcpu, op: u32, a: u64, b: u64, size: u32): u64 {
  const carry = v.rflags & Rflags.CF;
  a &= mask(size);
  b &= mask(size);
  let result: u64;
  let carries: u64 = 0;
  switch (op) {
    case Op.Add:
    case Op.Adc:
      result = a + b + (op == Op.Adc ? carry : 0);
      carries = (a & b) | ((a | b) & ~result);
      break;
    case Op.Sub:
    case Op.Sbb:
    case Op.Cmp:
      result = a - b - (op == Op.Sbb ? carry : 0);
      carries = (~a & b) | ((~a | b) & result);
      break;
    case Op.Or:
      result = a | b;
      break;
    case Op.Xor:
      result = a ^ b;
      break;
    default:
      result = a & b;
  }
  result &= mask(size);
  setFlags(v, result, carries, size);
  return result;
}

/** IMUL with two or three operands: CF and OF say that the product does not fit; the other flags stay. */
function multiply(v: Vcpu, a: u64, b: u64, size: u32): u64 {
  const x = <i64>signExtend(a, size);
  const y = <i64>signExtend(b, size);
  const product = x * y;
  let fits = signExtend(<u64>product, size) == <u64>product;
  if (size == 8) {
    if (x == -1) fits = y != i64.MIN_VALUE;
    else if (x != 0) fits = product / x == y;
  }
  v.rflags = (v.rflags & ~(Rflags.CF | Rflags.OF)) | (fits ? 0 : Rflags.CF | Rflags.OF);
  return <u64>product;
}

/** BT and its kin: only CF changes. */
function testBit(v: Vcpu, op: u32, a: u64, n: u64): u64 {
  v.rflags = (v.rflags & ~Rflags.CF) | ((a >> n) & 1);
  const bit = (<u64>1) << n;
  if (op == Op.Bts) return a | bit;
  if (op == Op.Btr) return a & ~bit;
  return a ^ bit;
}

function compute(v: Vcpu, op: u32, a: u64, b: u64, size: u32): u64 {
  const carry = v.rflags & Rflags.CF;
  let result: u64;
  switch (op) {
    case Op.Xchg:
      return b;
    case Op.Xadd:
      return alu(v, Op.Add, a, b, size);
    case Op.CmpXchg: {
      const accumulator = readRegister(v, RAX, size);
      alu(v, Op.Cmp, accumulator, a, size);
      return accumulator == a ? b : a;
    }
    case Op.Inc:
    case Op.Dec:
      result = alu(v, op == Op.Inc ? Op.Add : Op.Sub, a, 1, size);
      v.rflags = (v.rflags & ~Rflags.CF) | carry;
      return result;
    case Op.Not:
      return ~a;
    case Op.Neg:
      return alu(v, Op.Sub, 0, a, size);
    case Op.Imul:
      return multiply(v, a, b, size);
    default:
      return op >= Op.Bt ? testBit(v, op, a, b & (size * 8 - 1)) : alu(v, op, a, b, size);
  }
}

/** Op.Add to Op.Imul. False: the instruction is not to go on. */
export function arithmetic(v: Vcpu, op: u32): bool {
  const i = v.code;
  const size = i.size;
  const toRegister = i.form == Form.RegRm || op == Op.Imul;
  const readOnly = op == Op.Cmp || op == Op.Test || op == Op.Bt;
  const other = i.form == Form.RmImmediate ? i.immediate : readRegister(v, i.reg, size);
  // A bit number in a register reaches beyond the operand in memory.
  if (op >= Op.Bt && op <= Op.Btc && i.form == Form.RmReg) {
    const bits: u64 = size * 8;
    i.address =
      (i.address + <u64>((<i64>(signExtend(other, size) & ~(bits - 1))) >> 3)) & mask(i.addressSize);
  }
  if (!openRm(v, size, toRegister || readOnly ? 0 : Access.Write)) return false;
  const rm = loadRm(v, size);
  const swap = i.form == Form.RegRm;
  const result = compute(v, op, swap ? other : rm, swap ? rm : other, size);
  if (toRegister && !readOnly) writeRegister(v, i.reg, size, result);
  if (toRegister || readOnly) return true;
  if (op == Op.Xchg || op == Op.Xadd) writeRegister(v, i.reg, size, rm);
  if (op == Op.CmpXchg && !(v.rflags & Rflags.ZF)) writeRegister(v, RAX, size, rm);
  storeRm(v, size, result);
  return true;
}
