/** The guest's instruction bytes, each fetched once and with the CPU's checks. */
import { loadPhysical } from "./bus";
import { raiseGp } from "./event";
import { linearAddress } from "./segment";
import { Seg } from "./system";
import { Access, Vcpu } from "./vcpu";
import { FAULT, translate } from "./walk";

/** Longest instruction (SDM Vol. 2A 2.3.11, AVX Instruction Length). */
const LONGEST: u32 = 15;

/**
 * The next byte of the instruction at CS:RIP. When it cannot be fetched, the fault is queued, Instruction.failed is set,
 * and this byte and all that follow are 0. Code in memory that nobody claims is all ones.
 */
export function nextByte(v: Vcpu): u32 {
  const i = v.code;
  if (i.failed) return 0;
  i.failed = 1;
  const n = i.length;
  if (n == LONGEST) {
    raiseGp(v);
    return 0;
  }
  if (n < v.prefetched) {
    const given = <u32>load<u8>(changetype<usize>(v) + n, offsetof<Vcpu>("codeLow"));
    store<u8>(changetype<usize>(i) + n, given);
    i.length = n + 1;
    i.failed = 0;
    return given;
  }
  if (!linearAddress(v, Seg.CS, v.rip + n, 1, Access.Execute)) return 0;
  if (n == v.prefetched || ((<u32>i.linear) & 4095) == 0) i.gpa = translate(v, i.linear, Access.Execute);
  else i.gpa++;
  if (i.gpa == FAULT) return 0;
  const value = <u32>loadPhysical(v, i.gpa, 1);
  store<u8>(changetype<usize>(i) + n, value);
  i.length = n + 1;
  i.failed = 0;
  return value;
}

/** The next 1 to 8 bytes as a number, sign-extended. */
export function nextNumber(v: Vcpu, bytes: u32): u64 {
  let value: u64 = 0;
  for (let n: u32 = 0; n < bytes; n++) value |= (<u64>nextByte(v)) << (n * 8);
  const unused = 64 - bytes * 8;
  return <u64>(((<i64>value) << unused) >> unused);
}
