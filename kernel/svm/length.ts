/**
 * Where an intercepted instruction ends. The CPU says it, if it saves the next RIP; if not, the instruction is looked at
 * again: first the common case, an instruction without prefixes on one page of 64-bit code, and then all of them.
 */
import * as guest from "../machine/guest";
import { decode } from "../vcpu/decode";
import { Vcpu } from "../vcpu/vcpu";
import { Efer } from "../x86/cr";
import { Code } from "./code";
import * as F from "./field";
import { loadSystem } from "./system";

const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;
const FRAME: u64 = 0x000ffffffffff000;
/** L among a segment's attributes, in its word. */
const LONG: u64 = 1 << 25;
const LENGTH: u32 = 24;

/** The instruction that exits with the code, first byte lowest, and its length from bit 24 on; 0 for one of several. */
function expected(code: u32): u32 {
  switch (code) {
    case Code.CPUID:
      return 0xa20f | (2 << LENGTH);
    case Code.HLT:
      return 0xf4 | (1 << LENGTH);
    case Code.WRITE_MSR:
      return 0x300f | (2 << LENGTH);
    case Code.MSR:
      return 0x320f | (2 << LENGTH);
    default:
      return 0;
  }
}

/**
 * Four bytes at RIP in 64-bit mode with 4-level paging, if they are on one page. The CPU has checked what it read; an entry
 * that the guest has changed since leads to other bytes, which are not those that are looked for.
 */
function fetch(rip: u64): u32 {
  if ((rip & 4095) > 4092) return 0;
  let entry = F.CR3.read();
  let shift: u32 = 39;
  for (;;) {
    entry = guest.load64((entry & FRAME) + ((rip >> shift) & 511) * 8);
    if (!(entry & PRESENT)) return 0;
    if (shift == 12 || (shift <= 30 && entry & LARGE)) break;
    shift -= 9;
  }
  const offsets = ((<u64>1) << shift) - 1;
  return guest.load32((entry & FRAME & ~offsets) | (rip & offsets));
}

/** Address of the next instruction; 0 when it takes a whole decoding to tell. For what has one opcode. */
export function nextRip(v: Vcpu, code: u32): u64 {
  const next = F.NEXT_RIP.read();
  return next ? next : quickNext(v, code);
}

/** @noinline */
function quickNext(v: Vcpu, code: u32): u64 {
  const wanted = expected(code);
  const long = F.EFER.read() & Efer.LMA && F.CS.read() & LONG;
  if (!wanted || !long) return 0;
  const length = wanted >> LENGTH;
  const bytes = fetch(v.rip) & ((1 << (length * 8)) - 1);
  return bytes == (wanted & 0xffffff) ? v.rip + length : 0;
}

/** Decodes the instruction at RIP, with what that needs. False: a fault is queued, or the guest is to try again. */
export function decodeInstruction(v: Vcpu): bool {
  v.prefetched = 0;
  v.rflags = F.RFLAGS.read();
  loadSystem(v);
  return decode(v);
}

/** Puts the instruction's length into v.length. False as decodeInstruction(). */
export function findLength(v: Vcpu, code: u32): bool {
  const next = nextRip(v, code);
  if (!next) return decodeInstruction(v);
  v.length = <u32>(next - v.rip);
  return true;
}
