/**
 * An instruction's access to memory. First it is opened, which makes every check and translates every page, then loaded
 * from, stored to, or both: nothing is half done when it faults, and a read and a write of one operand are to the same
 * memory.
 */
import { loadPhysical, storePhysical } from "./bus";
import { linearAddress } from "./segment";
import { Vcpu } from "./vcpu";
import { FAULT, translate } from "./walk";

/** Opens `size` bytes, 1 to 16, at an offset in a segment (Seg). False: the instruction is not to go on (translate()). */
export function open(v: Vcpu, segment: u32, offset: u64, size: u32, access: u32): bool {
  if (!linearAddress(v, segment, offset, size, access)) return false;
  const i = v.code;
  i.first = min(size, 4096 - ((<u32>i.linear) & 4095));
  i.gpa = translate(v, i.linear, access);
  if (i.gpa == FAULT) return false;
  if (i.first == size) return true;
  const rest = i.linear + i.first;
  i.nextGpa = translate(v, v.system.is64 ? rest : <u32>rest, access);
  return i.nextGpa != FAULT;
}

/** Loads up to 8 opened bytes. */
export function loadOpened(v: Vcpu, size: u32): u64 {
  const i = v.code;
  if (i.first == size) return loadPhysical(v, i.gpa, size);
  const low = loadPhysical(v, i.gpa, i.first);
  return low | (loadPhysical(v, i.nextGpa, size - i.first) << (i.first * 8));
}

/** Stores up to 8 opened bytes. */
export function storeOpened(v: Vcpu, size: u32, value: u64): void {
  const i = v.code;
  storePhysical(v, i.gpa, i.first, value);
  if (i.first < size) storePhysical(v, i.nextGpa, size - i.first, value >> (i.first * 8));
}
