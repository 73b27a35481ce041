/**
 * INS and OUTS. The CPU has checked what the guest may do with the port (SDM Vol. 1 19.5, Protected-Mode I/O) and exits
 * before it looks at the memory operand (Vol. 3C 26.1.1, Relative Priority of Faults and VM Exits): that is done here.
 */
import { loadOpened, storeOpened } from "../vcpu/memory";
import { decode } from "../vcpu/decode";
import { RDI, RSI, finish } from "../vcpu/operand";
import { LIMIT, Progress, advance, countDown, openElement, progress } from "../vcpu/string";
import { Seg } from "../vcpu/system";
import { Access, Attention, Vcpu } from "../vcpu/vcpu";
import { readPort, writePort } from "./port";

/** Opcodes 6C to 6F: bit 1 is the direction, bit 0 says that the element is no byte. */
const INSB: u32 = 0x6c;
const OUT: u32 = 2;

/** Whether the instruction in v.code is the one that exited: the guest may have changed it since. */
function isSame(v: Vcpu): bool {
  const i = v.code;
  // There are no elements of 8 bytes.
  i.size = min<u32>(i.size, 4);
  return (i.opcode & ~3) == INSB && ((i.opcode & OUT) == 0) == (v.portIn != 0) && i.size == v.portSize;
}

/** The memory operand of INS is opened before the port is read: a fault loses nothing that the device gave. */
function transfer(v: Vcpu): bool {
  const i = v.code;
  const index = v.portIn ? RDI : RSI;
  if (!openElement(v, v.portIn ? Seg.ES : i.segment, index, v.portIn ? Access.Write : 0)) return false;
  if (v.portIn) storeOpened(v, i.size, readPort(v, v.port, i.size));
  else writePort(v, v.port, i.size, <u32>loadOpened(v, i.size));
  advance(v, index);
  countDown(v);
  return true;
}

/** INS or OUTS. Needs v.system, v.rsp, v.rflags and v.blocking. */
export function onStringPort(v: Vcpu): void {
  // Another instruction by now: the guest executes that one.
  if (!decode(v) || !isSame(v)) return;
  let what = progress(v, 0);
  for (let done: u32 = 1; what == Progress.Iterate; done++) {
    if (!transfer(v)) return;
    what = progress(v, v.attention & Attention.Leave ? LIMIT : done);
  }
  finish(v, what == Progress.Complete);
}
