/** From a segment and an offset in it to a linear address, with the checks of protected and 64-bit mode. */
import { Cr0, Rflags } from "../x86/cr";
import { Vector } from "../x86/vector";
import { queueException } from "./event";
import { ACCESSIBLE, CODE, EXPAND_DOWN, Seg, Segment, System } from "./system";
import { Access, Vcpu } from "./vcpu";

function isCanonical(linear: u64): bool {
  return <u64>(((<i64>linear) << 16) >> 16) == linear;
}

/** Type and limit (SDM Vol. 3A 5.3, Limit Checking; 5.5, Type Checking). Real mode does not check for writes to code. */
function allows(s: System, segment: Segment, offset: u64, size: u32, access: u32): bool {
  const rights = segment.rights;
  const code = (rights & CODE) != 0;
  if (segment.unusable) return false;
  if (access & Access.Write) {
    if (!(rights & ACCESSIBLE) || (code && (s.cr0 & Cr0.PE) != 0)) return false;
  } else if (code && !(access & Access.Execute) && !(rights & ACCESSIBLE)) {
    return false;
  }
  const last = offset + size - 1;
  if (code || !(rights & EXPAND_DOWN)) return last <= segment.limit;
  return offset > segment.limit && last <= (segment.big ? 0xffffffff : 0xffff);
}

/**
 * Puts the linear address of `size` bytes at an offset in a segment (Seg) into v.code.linear. False: #GP, #SS or #AC is
 * queued. Needs v.system and v.rflags.
 */
export function linearAddress(v: Vcpu, n: u32, offset: u64, size: u32, access: u32): bool {
  const s = v.system;
  const segment = s.segment(n);
  let linear = offset;
  let good: bool;
  if (s.is64) {
    if (n >= Seg.FS) linear += segment.base;
    good = isCanonical(linear) && isCanonical(linear + size - 1);
  } else {
    linear = <u32>(segment.base + offset);
    good = allows(s, segment, <u32>offset, size, access);
  }
  v.code.linear = linear;
  if (!good) {
    queueException(v, n == Seg.SS ? Vector.SS : Vector.GP, true, 0);
    return false;
  }
  // #AC (SDM Vol. 3A 6.15, Interrupt 17)
  const checked = (s.cr0 & Cr0.AM) != 0 && (v.rflags & Rflags.AC) != 0 && s.cpl == 3;
  if (checked && (<u32>linear) & (size - 1)) {
    queueException(v, Vector.AC, true, 0);
    return false;
  }
  return true;
}
