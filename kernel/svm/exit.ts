/**
 * The monitor's side of AMD-V: what an exit was about, in neutral words, and what the CPU is told before the guest goes on
 * (APM Vol. 2 15.6, #VMEXIT; 15.7 to 15.14, the intercepts).
 */
import { Exit } from "../abi/exit";
import { bit } from "../lib/bits";
import { flush } from "../machine/vmcb";
import { clockOf } from "../vcpu/clock";
import { Seg } from "../vcpu/system";
import { Access, Attention, Dirty, Vcpu } from "../vcpu/vcpu";
import { Efer, Rflags } from "../x86/cr";
import { Vector } from "../x86/vector";
import { Code } from "./code";
import { clearGeneralDetect, endStep, loadInterruptibility, onIret, saveInterrupted } from "./event";
import * as F from "./field";
import { decodeInstruction, findLength } from "./length";
import { loadControls, loadSegment, loadSystem } from "./system";

/** An I/O instruction's EXITINFO1 (15.10.2, IN and OUT Behavior). */
export namespace Io {
  export const IN: u32 = 1 << 0;
  /** INS or OUTS. */
  export const STRING: u32 = 1 << 2;
  export const REP: u32 = 1 << 3;
  /** Three bits above: bytes of a transfer. */
  export const SIZE: u32 = 4;
  /** The port's place. */
  export const PORT: u32 = 16;
}

/** EXITINFO1 of an access to a control register: the general register's number is told (15.8.1). */
const MOV_TOLD: u32 = 63;
/** EXITINFO1 of a nested page fault (15.25.6): the guest's access itself, not the walk of its tables. */
const FINAL: u32 = 32;

/** What completing an instruction needs. False: it could not be fetched again, and a fault may be queued. */
function loadInstruction(v: Vcpu, code: u32): bool {
  if (!findLength(v, code)) return false;
  loadInterruptibility(v);
  return true;
}

/** `kind` if the instruction is known. */
function instruction(v: Vcpu, code: u32, kind: u32): u32 {
  return loadInstruction(v, code) ? kind : Exit.Refetched;
}

/** INS and OUTS. */
export function loadStringPort(v: Vcpu, info: u32): void {
  loadInterruptibility(v);
  v.prefetched = 0;
  v.portSize = (info >> Io.SIZE) & 7;
  v.portIn = info & Io.IN;
  v.portRepeat = info & Io.REP;
  v.port = info >> Io.PORT;
  loadSystem(v);
}

/** DR6 and DR7 are as the handler is to see them (15.12.2, #DB). */
function decodeException(v: Vcpu, vector: u32): u32 {
  v.exitVector = vector;
  v.exitQualification = F.DR6.read();
  v.length = 0;
  v.exitError = <u32>F.EXIT_INFO_1.read();
  saveInterrupted(v);
  return Exit.Exception;
}

/** INT1 is a trap, but its exit comes before it. The exception that it is takes the place of a single step. */
function decodeIcebp(v: Vcpu): u32 {
  if (!loadInstruction(v, Code.ICEBP)) return Exit.Refetched;
  v.exitVector = Vector.DB;
  // It may be the debugger's (kernel/debug/breakpoint.ts).
  if (v.debug) return Exit.Exception;
  clearGeneralDetect();
  v.skip();
  return Exit.Exception;
}

/** Where CR0.NE is 0 a PC's FERR# would raise interrupt 13; its guests get the exception that took its place. */
function decodeFerr(v: Vcpu): u32 {
  v.exitVector = Vector.MF;
  return Exit.Exception;
}

function decodeMsr(v: Vcpu): u32 {
  const write = F.EXIT_INFO_1.read() & 1;
  if (!loadInstruction(v, write ? Code.WRITE_MSR : Code.MSR)) return Exit.Refetched;
  loadControls(v);
  return write ? Exit.WriteMsr : Exit.ReadMsr;
}

/**
 * With decode assists the CPU says which register, and with the next RIP nothing else is left to find out of a MOV to CR4;
 * what writes CR0 is looked at, for it may be LMSW.
 */
function decodeControlRegister(v: Vcpu, code: u32): u32 {
  const info = F.EXIT_INFO_1.read();
  const next = F.NEXT_RIP.read();
  const told = code != Code.WRITE_CR0 && bit(info, MOV_TOLD) && next != 0;
  if (!told && !decodeInstruction(v, code)) return Exit.Refetched;
  if (told) {
    v.length = <u32>(next - v.rip);
    loadControls(v);
    loadSegment(v, Seg.CS);
    v.rsp = F.RSP.read();
    v.rflags = F.RFLAGS.read();
  }
  v.crNumber = code == Code.WRITE_CR0 ? 0 : code & 15;
  v.crRead = code < Code.WRITE_CR ? 1 : 0;
  v.crGpr = told ? (<u32>info) & 15 : v.code.rm;
  v.crValue = v.system.is64 ? v.gpr(v.crGpr) : <u32>v.gpr(v.crGpr);
  return Exit.ControlRegister;
}

/** MOV to or from a debug register (15.8.1): with decode assists too the instruction is looked at, for it is rare. */
function decodeDebugRegister(v: Vcpu, code: u32): u32 {
  if (!decodeInstruction(v, code)) return Exit.Refetched;
  v.crNumber = code & 15;
  v.crRead = code < Code.WRITE_DR ? 1 : 0;
  v.crGpr = v.code.rm;
  v.crValue = v.system.is64 ? v.gpr(v.crGpr) : <u32>v.gpr(v.crGpr);
  return Exit.DebugRegister;
}

/** 15.25.6, Nested versus Guest Page Faults, Fault Ordering. The linear address is not told. */
function decodeMemory(v: Vcpu): u32 {
  const info = F.EXIT_INFO_1.read();
  loadInterruptibility(v);
  loadSystem(v);
  v.gpa = F.EXIT_INFO_2.read();
  v.access = (bit(info, 1) ? Access.Write : 0) | (bit(info, 4) ? Access.Execute : 0);
  if (bit(info, FINAL)) v.access |= Access.Linear;
  // With decode assists: the bytes at RIP, as the CPU fetched them.
  const code = F.CODE_LOW.read();
  v.prefetched = (<u32>code) & 15;
  v.codeLow = (code >> 8) | (F.CODE_HIGH.read() << 56);
  v.codeHigh = F.CODE_HIGH.read() >> 8;
  saveInterrupted(v);
  return Exit.Memory;
}

function decodeXsetbv(v: Vcpu): u32 {
  if (!loadInstruction(v, Code.XSETBV)) return Exit.Refetched;
  loadSegment(v, Seg.SS);
  return Exit.SetXcr;
}

/** Fills in what the exit was about and says which kind it is. Not for I/O (monitor/svm.ts). */
export function decode(v: Vcpu): u32 {
  const code = v.reason;
  switch (code) {
    case Code.CPUID:
      return instruction(v, code, Exit.Cpuid);
    case Code.HLT:
      return instruction(v, code, Exit.Halt);
    case Code.VINTR:
      v.attention |= Attention.Window;
      return Exit.InterruptWindow;
    case Code.IRET:
      onIret(v);
      return Exit.NmiWindow;
    case Code.MSR:
      return decodeMsr(v);
    case Code.WRITE_CR0:
    case Code.READ_CR4:
    case Code.WRITE_CR4:
    case Code.READ_CR8:
    case Code.WRITE_CR8:
      return decodeControlRegister(v, code);
    case Code.NPF:
      return decodeMemory(v);
    case Code.XSETBV:
      return decodeXsetbv(v);
    case Code.INVD:
    case Code.WBINVD:
      return instruction(v, code, Exit.CacheControl);
    case Code.PAUSE:
      return instruction(v, code, Exit.Pause);
    case Code.ICEBP:
      return decodeIcebp(v);
    case Code.FERR_FREEZE:
      return decodeFerr(v);
    case Code.RDPMC:
      return Exit.ReadCounter;
    case Code.SHUTDOWN:
      return Exit.TripleFault;
    case Code.INVALID:
      return Exit.Refused;
    case Code.INVLPGA:
    case Code.MONITOR:
    case Code.MWAIT:
    case Code.MWAIT_ARMED:
    case Code.RDPRU:
    case Code.INVLPGB:
    case Code.INVLPGB_ILLEGAL:
    case Code.MCOMMIT:
    case Code.TLBSYNC:
      return Exit.Undefined;
    case Code.EXCEPTION + Vector.UD:
      return v.debug ? decodeException(v, Vector.UD) : Exit.Unexpected;
    case Code.EXCEPTION + Vector.DB:
    case Code.EXCEPTION + Vector.AC:
      return decodeException(v, code - Code.EXCEPTION);
    default:
      if (v.debug && code >= Code.READ_DR && code < Code.EXCEPTION) return decodeDebugRegister(v, code);
      return code >= Code.VMRUN && code <= Code.SKINIT ? Exit.Undefined : Exit.Unexpected;
  }
}

/** The exiting instruction is complete, and nothing but its end has been looked at: the guest goes on at `next`. */
export function step(v: Vcpu, next: u64): void {
  F.RIP.write(next);
  if (F.INTERRUPT_SHADOW.read() & 1) F.INTERRUPT_SHADOW.write(0);
  const rflags = F.RFLAGS.read();
  if (rflags & (Rflags.TF | Rflags.RF)) endStep(v, rflags & ~Rflags.RF);
}

/** EIP wraps behind an instruction that ends at 4 GiB. */
function cut(v: Vcpu): u64 {
  if (v.rip >> 32 == 0) return v.rip;
  loadControls(v);
  loadSegment(v, Seg.CS);
  return v.system.is64 ? v.rip : <u32>v.rip;
}

/** Writes back what the handler did: the guest goes on behind a completed instruction. */
export function complete(v: Vcpu): void {
  const rf = v.dirty & Dirty.Registers ? v.rflags & Rflags.RF : 0;
  if (v.dirty) {
    if (v.dirty & Dirty.Efer) {
      F.EFER.write(v.system.efer | Efer.SVME);
      flush();
    }
    if (v.dirty & Dirty.TscOffset) F.TSC_OFFSET.write(clockOf(v).offset);
    if (v.dirty & Dirty.Cr2) F.CR2.write(v.cr2);
    if (v.dirty & Dirty.Registers) {
      F.RSP.write(v.rsp);
      F.RFLAGS.write(v.rflags);
    }
    v.dirty = 0;
  }
  if (v.skipped) {
    v.skipped = 0;
    step(v, cut(v));
    // Between the iterations of an emulated instruction.
    if (rf) F.RFLAGS.write(v.rflags);
  }
}
