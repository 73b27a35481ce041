/**
 * String instructions (SDM Vol. 1 7.3.9, String Operations). An exit does a limited number of iterations: the registers
 * always say how far it has come, and the guest goes on where they are.
 */
import { Rflags } from "../x86/cr";
import { alu } from "./arithmetic";
import { Instruction, Prefix } from "./code";
import { loadOpened, open, storeOpened } from "./memory";
import { Op } from "./opcodes";
import { RAX, RCX, RDI, RSI, finish, mask, readRegister, writeRegister } from "./operand";
import { Seg } from "./system";
import { Access, Vcpu } from "./vcpu";

/** Iterations of an exit: interrupts wait no longer. */
export const LIMIT: u32 = 256;

/** Bits 3:1 of their opcodes. */
namespace Kind {
  export const MOVS: u32 = 2;
  export const CMPS: u32 = 3;
  export const STOS: u32 = 5;
  export const LODS: u32 = 6;
  export const SCAS: u32 = 7;
}

function repeats(i: Instruction): bool {
  return (i.prefixes & (Prefix.Rep | Prefix.Repne)) != 0;
}

/** What comes after some iterations. */
export namespace Progress {
  export const Iterate: u32 = 0;
  /** This exit has done its part. */
  export const Pause: u32 = 1;
  export const Complete: u32 = 2;
}

/** One of Progress, after `done` iterations of this exit. */
export function progress(v: Vcpu, done: u32): u32 {
  const i = v.code;
  if (repeats(i) ? readRegister(v, RCX, i.addressSize) == 0 : done > 0) return Progress.Complete;
  // A single step is one iteration.
  return done < (v.rflags & Rflags.TF ? 1 : LIMIT) ? Progress.Iterate : Progress.Pause;
}

/** Counts an iteration. */
export function countDown(v: Vcpu): void {
  const i = v.code;
  if (repeats(i)) writeRegister(v, RCX, i.addressSize, v.rcx - 1);
}

/** Opens the element at an index register. */
export function openElement(v: Vcpu, segment: u32, index: u32, access: u32): bool {
  return open(v, segment, v.gpr(index) & mask(v.code.addressSize), v.code.size, access);
}

/** Moves an index register to the next element. */
export function advance(v: Vcpu, index: u32): void {
  const i = v.code;
  const step = v.rflags & Rflags.DF ? 0 - <u64>i.size : i.size;
  writeRegister(v, index, i.addressSize, v.gpr(index) + step);
}

function iterate(v: Vcpu, kind: u32): bool {
  const i = v.code;
  const size = i.size;
  const reads = kind == Kind.MOVS || kind == Kind.CMPS || kind == Kind.LODS;
  let value = readRegister(v, RAX, size);
  if (reads) {
    if (!openElement(v, i.segment, RSI, 0)) return false;
    value = loadOpened(v, size);
  }
  if (kind == Kind.LODS) {
    writeRegister(v, RAX, size, value);
  } else {
    const compares = kind == Kind.CMPS || kind == Kind.SCAS;
    if (!openElement(v, Seg.ES, RDI, compares ? 0 : Access.Write)) return false;
    if (compares) alu(v, Op.Cmp, value, loadOpened(v, size), size);
    else storeOpened(v, size, value);
    advance(v, RDI);
  }
  if (reads) advance(v, RSI);
  countDown(v);
  return true;
}

/** MOVS, CMPS, STOS, LODS and SCAS: everything, to their end. */
export function string(v: Vcpu): void {
  const i = v.code;
  const kind = (i.opcode >> 1) & 7;
  const compares = repeats(i) && (kind == Kind.CMPS || kind == Kind.SCAS);
  let what = progress(v, 0);
  for (let done: u32 = 1; what == Progress.Iterate; done++) {
    if (!iterate(v, kind)) return;
    what = progress(v, done);
    // REPE ends at a difference, REPNE at a match.
    const equal = (v.rflags & Rflags.ZF) != 0;
    if (compares && equal == ((i.prefixes & Prefix.Repne) != 0)) what = Progress.Complete;
  }
  finish(v, what == Progress.Complete);
}
