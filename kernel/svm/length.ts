/**
 * Where an intercepted instruction ends. The CPU says it, if it saves the next RIP; if not, the instruction is looked at
 * again: first the common case, an instruction of eight bytes at most on one page of 64-bit code, and then all of them.
 */
import * as guest from "../machine/guest";
import { flush } from "../machine/vmcb";
import { Instruction, Prefix } from "../vcpu/code";
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
/** The first byte of two, and opcodes, of which one is of several instructions. */
const ESCAPE: u32 = 0x0f;
const GROUP7: u32 = 0x101;
const INVD: u32 = 0x108;
const LMSW: u32 = 6;
const MOV_FROM_CR: u32 = 0x120;
export const MOV_TO_CR: u32 = 0x122;
const MOV_FROM_DR: u32 = 0x121;
const MOV_TO_DR: u32 = 0x123;

/** The instruction that exits with the code, first byte lowest, and its length from bit 24 on; 0 if it is not always the same. */
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
    case Code.INVD:
      return 0x080f | (2 << LENGTH);
    case Code.WBINVD:
      return 0x090f | (2 << LENGTH);
    case Code.ICEBP:
      return 0xf1 | (1 << LENGTH);
    case Code.XSETBV:
      return 0xd1010f | (3 << LENGTH);
    default:
      return 0;
  }
}

/**
 * Eight bytes at RIP in 64-bit mode with 4-level paging, if one page has them all; else 0. The CPU has checked what it read;
 * an entry that the guest has changed since leads to other bytes, which are not those that are looked for.
 */
function fetch(rip: u64): u64 {
  let entry = F.CR3.read();
  let shift: u32 = 39;
  for (;;) {
    entry = guest.load64((entry & FRAME) + ((rip >> shift) & 511) * 8);
    if (!(entry & PRESENT)) return 0;
    if (shift == 12 || (shift <= 30 && entry & LARGE)) break;
    shift -= 9;
  }
  const offsets = ((<u64>1) << shift) - 1;
  const offset = rip & offsets;
  return offset > offsets - 7 ? 0 : guest.load64((entry & FRAME & ~offsets) | offset);
}

/** Prefixes of 64-bit code (SDM Vol. 2A 2.1.1 and 2.2.1): LOCK, which makes every one of these undefined, is none. */
function isPrefix(byte: u32): bool {
  if ((byte & 0xf0) == 0x40 || (byte & 0xfe) == 0x66) return true; // REX; operand and address size
  return (byte & 0xe7) == 0x26 || (byte & 0xfe) == 0x64 || (byte & 0xfe) == 0xf2; // segments; REP
}

/** Address of the next instruction; 0 when it takes a whole decoding to tell. For what has one opcode. */
export function nextRip(v: Vcpu, code: u32): u64 {
  const next = F.NEXT_RIP.read();
  return next ? next : quickNext(v, expected(code));
}

/** @noinline */
function quickNext(v: Vcpu, wanted: u32): u64 {
  const long = F.EFER.read() & Efer.LMA && F.CS.read() & LONG;
  if (!wanted || !long) return 0;
  const length = wanted >> LENGTH;
  const mask = ((<u64>1) << (length * 8)) - 1;
  let rip = v.rip;
  for (let bytes = fetch(rip); (bytes & mask) != (wanted & mask); bytes >>= 8, rip++) {
    if (!isPrefix((<u32>bytes) & 0xff)) return 0;
  }
  return rip + length;
}

/** CR8, or CR0 with LOCK, which is CR8 too on AMD's CPUs (APM Vol. 3, MOV CRn). */
function isCr8(i: Instruction): bool {
  return i.reg == 8 || (i.reg == 0 && (i.prefixes & Prefix.Lock) != 0);
}

/** Whether v.code is an instruction that exits with the code. */
function isSame(v: Vcpu, code: u32): bool {
  const i = v.code;
  const wanted = expected(code) & 0xffff;
  const member = i.reg & 7;
  switch (code) {
    case Code.INVD:
    case Code.WBINVD:
      // QEMU says of either that it is the latter.
      return (i.opcode & ~1) == INVD;
    case Code.PAUSE:
      return i.opcode == 0x90 && (i.prefixes & Prefix.Rep) != 0;
    case Code.XSETBV:
      return i.opcode == GROUP7 && !i.memory && member == 2 && (i.rm & 7) == 1;
    case Code.READ_CR4:
      return i.opcode == MOV_FROM_CR && i.reg == 4;
    case Code.WRITE_CR4:
      return i.opcode == MOV_TO_CR && i.reg == 4;
    case Code.READ_CR8:
      return i.opcode == MOV_FROM_CR && isCr8(i);
    case Code.WRITE_CR8:
      return i.opcode == MOV_TO_CR && isCr8(i);
    case Code.WRITE_CR0:
      return i.opcode == MOV_TO_CR ? i.reg == 0 : i.opcode == GROUP7 && member == LMSW;
    default:
      if (code >= Code.READ_DR && code < Code.EXCEPTION) {
        return i.opcode == (code < Code.WRITE_DR ? MOV_FROM_DR : MOV_TO_DR) && i.reg == (code & 15);
      }
      return i.opcode == ((wanted & 0xff) == ESCAPE ? 0x100 | (wanted >> 8) : wanted);
  }
}

/**
 * Decodes the instruction at RIP that has exited, with what that needs. False: a fault is queued; or the guest is to try
 * again, for there is another instruction by now. The CPU may have found the old one by a translation that is stale.
 */
export function decodeInstruction(v: Vcpu, code: u32): bool {
  v.prefetched = 0;
  v.rflags = F.RFLAGS.read();
  loadSystem(v);
  if (!decode(v)) return false;
  if (isSame(v, code)) return true;
  flush();
  return false;
}

/** Puts the instruction's length into v.length. False as decodeInstruction(). */
export function findLength(v: Vcpu, code: u32): bool {
  const next = nextRip(v, code);
  if (!next) return decodeInstruction(v, code);
  v.length = <u32>(next - v.rip);
  return true;
}
