/** Instructions that push and pop, and near jumps through memory. */
import { Prefix } from "./code";
import { loadOpened, open, storeOpened } from "./memory";
import { Form, Op } from "./opcodes";
import { RSP, loadRm, mask, openRm, storeRm } from "./operand";
import { linearAddress } from "./segment";
import { Seg } from "./system";
import { Access, Vcpu } from "./vcpu";

/** Bytes of the stack pointer. */
function stackSize(v: Vcpu): u32 {
  if (v.code.mode == 8) return 8;
  return v.system.segment(Seg.SS).big ? 4 : 2;
}

function moveStack(v: Vcpu, by: u64): void {
  const m = mask(stackSize(v));
  v.rsp = (v.rsp & ~m) | ((v.rsp + by) & m);
}

function pushValue(v: Vcpu, size: u32, value: u64): bool {
  if (!open(v, Seg.SS, (v.rsp - size) & mask(stackSize(v)), size, Access.Write)) return false;
  storeOpened(v, size, value);
  moveStack(v, -(<u64>size));
  return true;
}

/** Opens the stack's top for loadOpened(); moveStack() takes it off. */
function openTop(v: Vcpu, size: u32): bool {
  return open(v, Seg.SS, v.rsp & mask(stackSize(v)), size, 0);
}

/** A jump's target is checked before anything changes. */
function isGoodTarget(v: Vcpu, target: u64): bool {
  return linearAddress(v, Seg.CS, target, 1, Access.Execute);
}

function pop(v: Vcpu, size: u32): bool {
  const i = v.code;
  if (!openTop(v, size)) return false;
  const value = loadOpened(v, size);
  const before = v.rsp;
  moveStack(v, size);
  // An address on the stack counts from the stack pointer after the pop (SDM Vol. 2B, POP).
  if (i.base == RSP) i.address = (i.address + size) & mask(i.addressSize);
  if (!openRm(v, size, Access.Write)) {
    v.rsp = before;
    return false;
  }
  storeRm(v, size, value);
  return true;
}

function ret(v: Vcpu, size: u32): bool {
  if (!openTop(v, size)) return false;
  const target = loadOpened(v, size);
  if (!isGoodTarget(v, target)) return false;
  moveStack(v, size + (v.code.immediate & 0xffff));
  v.code.next = target;
  return true;
}

/** Op.Push to Op.Ret. False: the instruction is not to go on. */
export function stack(v: Vcpu, op: u32): bool {
  const i = v.code;
  // Their operands are of 64 bits in 64-bit mode (SDM Vol. 1 6.2.5, Stack Behavior in 64-Bit Mode).
  const size = i.mode != 8 ? i.size : i.prefixes & Prefix.Operand ? 2 : 8;
  if (op == Op.Pop) return pop(v, size);
  if (op == Op.Ret) return ret(v, size);
  let value = i.immediate;
  if (i.form != Form.RmImmediate) {
    if (!openRm(v, size, 0)) return false;
    value = loadRm(v, size);
  } else if (op == Op.Call) {
    value += i.next;
  }
  if (op == Op.Push) return pushValue(v, size, value);
  value &= mask(size);
  if (!isGoodTarget(v, value)) return false;
  if (op == Op.Call && !pushValue(v, size, i.next)) return false;
  i.next = value;
  return true;
}
