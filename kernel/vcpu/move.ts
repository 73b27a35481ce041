/** Instructions that move data between memory and registers without computing. */
import { raiseUd } from "./event";
import { Form, Op } from "./opcodes";
import { condition, loadRm, openRm, readRegister, signExtend, storeRm, writeRegister } from "./operand";
import { Seg } from "./system";
import { Access, Vcpu } from "./vcpu";

function reverseBytes(value: u64, size: u32): u64 {
  let result: u64 = 0;
  for (; size; size--, value >>= 8) result = (result << 8) | (value & 0xff);
  return result;
}

/** From r/m to a register. */
function fromRm(v: Vcpu, op: u32): bool {
  const i = v.code;
  let size = i.size;
  if (op == Op.MovZx || op == Op.MovSx) size = (i.opcode & 1) + 1;
  if (op == Op.MovSxd) size = min<u32>(size, 4);
  if (!openRm(v, size, 0)) return false;
  let value = loadRm(v, size);
  if (op == Op.MovSx || op == Op.MovSxd) value = signExtend(value, size);
  if (op == Op.MovBe) value = reverseBytes(value, size);
  if (op == Op.CMov && !condition(v)) value = readRegister(v, i.reg, size);
  writeRegister(v, i.reg, i.size, value);
  return true;
}

/** Op.Mov to Op.SetCc. False: the instruction is not to go on. */
export function move(v: Vcpu, op: u32): bool {
  const i = v.code;
  if ((op == Op.MovBe && !i.memory) || (op == Op.MovSegment && i.reg > Seg.GS)) {
    raiseUd(v);
    return false;
  }
  if (i.form == Form.RegRm) return fromRm(v, op);
  const size = op == Op.MovSegment && i.memory ? 2 : i.size;
  if (!openRm(v, size, Access.Write)) return false;
  let value = i.form == Form.RmImmediate ? i.immediate : readRegister(v, i.reg, size);
  if (op == Op.MovBe) value = reverseBytes(value, size);
  if (op == Op.SetCc) value = condition(v) ? 1 : 0;
  if (op == Op.MovSegment) value = v.system.segment(i.reg).selector;
  storeRm(v, size, value);
  return true;
}
