/**
 * Executes the instruction that accessed memory which is no RAM: integer instructions with an operand in memory, string
 * instructions, and what code that nobody claims reads as.
 */
import { StopReason } from "../abi/stop";
import { Cr0, Efer, Rflags } from "../x86/cr";
import { arithmetic } from "./arithmetic";
import { loadPhysical, storePhysical } from "./bus";
import { Instruction, Prefix } from "./code";
import { decode } from "./decode";
import { raiseGp, raiseUd } from "./event";
import { loadOpened, open, storeOpened } from "./memory";
import { move } from "./move";
import { Form, Op } from "./opcodes";
import { RAX, RBX, RCX, RDX, finish, mask, readRegister, writeRegister } from "./operand";
import { linearAddress } from "./segment";
import { stack } from "./stack";
import { string } from "./string";
import { Seg } from "./system";
import { Access, Attention, Next, Vcpu } from "./vcpu";
import { FAULT, translate } from "./walk";

/** What LOCK may stand before, with a destination in memory (SDM Vol. 2A, LOCK): all but these, up to Op.Btc. */
const NOT_LOCKABLE: u32 = (1 << Op.Cmp) | (1 << Op.Test) | (1 << Op.Bt);

function isLockable(i: Instruction): bool {
  const op = i.operation;
  if (!i.memory || i.form == Form.RegRm) return false;
  return op == Op.CmpXchg8B || (op <= Op.Btc && !((NOT_LOCKABLE >> op) & 1));
}

/** CMPXCHG8B and CMPXCHG16B. */
function compareExchange(v: Vcpu): bool {
  const i = v.code;
  const half: u32 = i.size == 8 ? 8 : 4;
  if (!i.memory) {
    raiseUd(v);
    return false;
  }
  if (!linearAddress(v, i.segment, i.address, half * 2, Access.Write)) return false;
  if (half == 8 && (<u32>i.linear) & 15) {
    raiseGp(v);
    return false;
  }
  if (!open(v, i.segment, i.address, half * 2, Access.Write)) return false;
  // Sixteen bytes are aligned, and so on one page.
  let low = half == 8 ? loadPhysical(v, i.gpa, 8) : loadOpened(v, 8);
  let high = half == 8 ? loadPhysical(v, i.gpa + 8, 8) : low >> 32;
  low &= mask(half);
  if (low == readRegister(v, RAX, half) && high == readRegister(v, RDX, half)) {
    v.rflags |= Rflags.ZF;
    low = readRegister(v, RBX, half);
    high = readRegister(v, RCX, half);
  } else {
    v.rflags &= ~Rflags.ZF;
    writeRegister(v, RAX, half, low);
    writeRegister(v, RDX, half, high);
  }
  if (half == 4) {
    storeOpened(v, 8, low | (high << 32));
  } else {
    storePhysical(v, i.gpa, 8, low);
    storePhysical(v, i.gpa + 8, 8, high);
  }
  return true;
}

/** Whether v.code is an instruction that is emulated; if it is, it has been executed, or has faulted. */
function execute(v: Vcpu): bool {
  const i = v.code;
  const op = i.operation;
  if (op == Op.Undefined || (i.prefixes & Prefix.Lock && !isLockable(i))) {
    raiseUd(v);
  } else if (op == Op.None) {
    return false;
  } else if (op == Op.String) {
    string(v);
  } else {
    let done: bool = true;
    if (op == Op.CmpXchg8B) done = compareExchange(v);
    else if (op <= Op.Imul) done = arithmetic(v, op);
    else if (op >= Op.Push) done = stack(v, op);
    else if (op != Op.Nop) done = move(v, op);
    if (done) finish(v, true);
  }
  return true;
}

function faults(v: Vcpu, linear: u64, access: u32): bool {
  return translate(v, v.system.is64 ? linear : <u32>linear, access) == FAULT;
}

/**
 * Whether the walk of the guest's tables that exited ends in a page fault, which is then queued. AMD-V does not tell for
 * which linear address it was: it was for the operand or the stack, or, of an event, for its gate or the stack.
 */
function walkFaults(v: Vcpu, delivering: bool): bool {
  if (v.access & Access.Known) return faults(v, v.linear, delivering ? Access.Implicit : 0);
  const s = v.system;
  const i = v.code;
  if (delivering) {
    const gate = (<u64>(v.interrupted & 0xff)) << (s.efer & Efer.LMA ? 4 : s.cr0 & Cr0.PE ? 3 : 2);
    if (faults(v, s.idtrBase + gate, Access.Implicit)) return true;
  } else if (i.memory) {
    const base = !s.is64 || i.segment >= Seg.FS ? s.segment(i.segment).base : 0;
    if (faults(v, base + i.address, 0)) return true;
  }
  const stack = s.is64 ? 0 : s.segment(Seg.SS).base;
  return faults(v, stack + v.rsp - 1, Access.Write | (delivering ? Access.Implicit : 0));
}

/**
 * Exit.Memory. The instruction decides what happens, not the access that the exit reports: it is executed from its
 * start. Needs v.system, v.rsp, v.rflags and v.blocking.
 */
export function onMemory(v: Vcpu): u32 {
  if (v.access & Access.Pdptes) {
    // PDPTEs of all ones have reserved bits set (SDM Vol. 3A 4.4.1).
    raiseGp(v);
    return Next.Resume;
  }
  const delivering = (v.attention & Attention.Interrupted) != 0;
  if (!delivering) {
    if (!decode(v) || execute(v)) return Next.Resume;
  }
  // What is left can be done only if it was a paging structure that nobody claims, and the CPU finds a reserved bit set.
  if (!(v.access & Access.Linear) && walkFaults(v, delivering)) return Next.Resume;
  if (delivering) return v.stop(StopReason.DeliveryNotEmulated, v.gpa);
  return v.stop(StopReason.NotEmulated, v.code.low);
}
