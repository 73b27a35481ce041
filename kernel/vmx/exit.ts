/**
 * The monitor's side of VT-x: what an exit was about, in neutral words, and what the CPU is told before the guest goes
 * on. SDM Vol. 3C 28.2, Recording VM-Exit Information; Vol. 3D Appendix C, VMX Basic Exit Reasons.
 */
import { Exit } from "../abi/exit";
import { bit, bits } from "../lib/bits";
import { dr6, setCr2, setDr6 } from "../machine/registers";
import { EventType } from "../vcpu/event";
import { clockOf } from "../vcpu/clock";
import { Seg } from "../vcpu/system";
import { Access, Attention, Blocking, Dirty, Vcpu } from "../vcpu/vcpu";
import { Efer, Rflags } from "../x86/cr";
import { DR6_BREAKPOINTS, DR6_CAUSES, DR7_GD } from "../x86/dr";
import { Vector } from "../x86/vector";
import * as F from "./field";
import { PENDING_BS } from "./event";
import { loadControls, loadPdptes, loadRights, loadSystem } from "./system";

/** Basic exit reasons. */
export namespace Reason {
  export const EXCEPTION: u32 = 0;
  export const EXTERNAL_INTERRUPT: u32 = 1;
  export const TRIPLE_FAULT: u32 = 2;
  export const INIT: u32 = 3;
  export const SIPI: u32 = 4;
  export const INTERRUPT_WINDOW: u32 = 7;
  export const NMI_WINDOW: u32 = 8;
  export const TASK_SWITCH: u32 = 9;
  export const CPUID: u32 = 10;
  export const GETSEC: u32 = 11;
  export const HLT: u32 = 12;
  export const INVD: u32 = 13;
  export const RDPMC: u32 = 15;
  export const VMCALL: u32 = 18;
  export const VMXON: u32 = 27;
  export const CR_ACCESS: u32 = 28;
  export const DR_ACCESS: u32 = 29;
  export const IO: u32 = 30;
  export const RDMSR: u32 = 31;
  export const WRMSR: u32 = 32;
  export const INVALID_GUEST_STATE: u32 = 33;
  export const MSR_LOADING: u32 = 34;
  export const MWAIT: u32 = 36;
  export const MONITOR: u32 = 39;
  export const TPR_BELOW_THRESHOLD: u32 = 43;
  export const VIRTUALIZED_EOI: u32 = 45;
  export const EPT_VIOLATION: u32 = 48;
  export const INVEPT: u32 = 50;
  export const PREEMPTION_TIMER: u32 = 52;
  export const INVVPID: u32 = 53;
  export const WBINVD: u32 = 54;
  export const XSETBV: u32 = 55;
  export const APIC_WRITE: u32 = 56;
  export const INVPCID: u32 = 58;
  export const VMFUNC: u32 = 59;
  export const ENCLS: u32 = 60;
  export const ENCLV: u32 = 70;
  export const SEAMCALL: u32 = 76;
  export const TDCALL: u32 = 77;
}

const ENTRY_FAILURE: u32 = 0x80000000;
const VALID: u32 = 0x80000000;
const HAS_ERROR: u32 = 1 << 11;

/** What completing an instruction needs: its length, and the flags and blocking that its completion changes. */
function loadInstruction(v: Vcpu): void {
  v.length = F.EXIT_LENGTH.read();
  v.rflags = F.GUEST_RFLAGS.read();
  v.blocking = F.GUEST_INTERRUPTIBILITY.read();
}

/** The event whose delivery this exit interrupted: it is to be injected again (28.2.4). */
function saveInterrupted(v: Vcpu): void {
  const event = F.VECTORING.read();
  if (!(event & VALID)) return;
  v.interrupted = event & ~(1 << 12);
  v.interruptedError = event & HAS_ERROR ? F.VECTORING_ERROR_CODE.read() : 0;
  v.interruptedLength = bits(event, 10, 8) >= 4 ? F.EXIT_LENGTH.read() : 0;
  v.attention |= Attention.Interrupted;
}

/** An I/O instruction's qualification (28.2.1, table 28-5). */
export namespace Io {
  /** Bytes of a transfer, less 1. */
  export const SIZE: u32 = 7;
  export const IN: u32 = 1 << 3;
  /** INS or OUTS. */
  export const STRING: u32 = 1 << 4;
  export const REP: u32 = 1 << 5;
  /** The port's place. */
  export const PORT: u32 = 16;
}

/** INS and OUTS. */
export function loadStringPort(v: Vcpu, q: u32): void {
  loadInstruction(v);
  v.portSize = (q & Io.SIZE) + 1;
  v.portIn = q & Io.IN;
  v.portRepeat = q & Io.REP;
  v.port = q >> Io.PORT;
  loadSystem(v);
}

/** Bit 12, "IRET has unblocked NMIs", is not looked at: it faults, and they stay unblocked (SDM Vol. 3A 6.7.1). */
function decodeException(v: Vcpu): u32 {
  const event = F.EXIT_INTERRUPTION.read();
  v.exitVector = event & 0xff;
  v.exitError = event & HAS_ERROR ? F.EXIT_ERROR_CODE.read() : 0;
  v.exitQualification = F.QUALIFICATION.read();
  saveInterrupted(v);
  // Of an INT3.
  if (v.debug) v.length = bits(event, 10, 8) == EventType.SoftwareException ? F.EXIT_LENGTH.read() : 0;
  if (v.exitVector == Vector.DB && !v.debug) noteDebug(v.exitQualification);
  // INT1 is a trap, but its exit comes before it is complete (28.3.3, Saving RIP, RSP, RFLAGS, and SSP).
  if (bits(event, 10, 8) == EventType.PrivilegedException) {
    loadInstruction(v);
    v.skip();
  }
  return Exit.Exception;
}

/**
 * A debug exception that exits has changed neither DR6 nor DR7 (28.1): what its delivery would have done. It clears no
 * bit of DR6 but B0 to B3 (SDM Vol. 3B 18.2.3, Debug Status Register).
 */
function noteDebug(qualification: u64): void {
  setDr6((dr6() & ~DR6_BREAKPOINTS) | (qualification & DR6_CAUSES));
  F.GUEST_DR7.write(F.GUEST_DR7.read() & ~DR7_GD);
}

/** 28.2.1, table 28-7: qualification for EPT violations. */
function decodeMemory(v: Vcpu): u32 {
  const q = F.QUALIFICATION.read();
  loadInstruction(v);
  loadSystem(v);
  v.gpa = F.GUEST_PHYSICAL.read();
  v.linear = F.GUEST_LINEAR.read();
  v.access = (bit(q, 1) ? Access.Write : 0) | (bit(q, 2) ? Access.Execute : 0);
  if (!bit(q, 7)) v.access |= Access.Pdptes;
  else v.access |= bit(q, 8) ? Access.Known | Access.Linear : Access.Known;
  saveInterrupted(v);
  if (bit(q, 12) && !(v.attention & Attention.Interrupted)) v.dirty |= Dirty.Unblocked;
  return Exit.Memory;
}

function setBlocking(value: u32): void {
  F.GUEST_INTERRUPTIBILITY.write(value);
}

/** 28.2.1, table 28-3: qualification for control-register accesses. CLTS and LMSW change no watched bit. */
function decodeControlRegister(v: Vcpu): u32 {
  loadInstruction(v);
  loadControls(v);
  loadPdptes(v);
  loadRights(v, Seg.CS);
  loadRights(v, Seg.TR);
  const q = <u32>F.QUALIFICATION.read();
  const type = (q >> 4) & 3;
  if (type > 1) return Exit.Unexpected;
  v.crNumber = q & 15;
  v.crRead = type;
  v.crGpr = (q >> 8) & 15;
  if (v.crGpr == 4) v.rsp = F.GUEST_RSP.read();
  // Outside of 64-bit mode the operand has 32 bits, whatever an earlier mode has left above them.
  v.crValue = v.system.is64 ? v.gpr(v.crGpr) : <u32>v.gpr(v.crGpr);
  return Exit.ControlRegister;
}

/** 28.2.1, table 28-4: qualification for MOV DR. */
function decodeDebugRegister(v: Vcpu): u32 {
  loadInstruction(v);
  loadControls(v);
  loadRights(v, Seg.CS);
  const q = <u32>F.QUALIFICATION.read();
  v.crNumber = q & 7;
  v.crRead = (q >> 4) & 1;
  v.crGpr = (q >> 8) & 15;
  v.rsp = F.GUEST_RSP.read();
  v.crValue = v.system.is64 ? v.gpr(v.crGpr) : <u32>v.gpr(v.crGpr);
  return Exit.DebugRegister;
}

/** Fills in what the exit was about and says which kind it is. Not for I/O (monitor/vmx.ts). */
export function decode(v: Vcpu): u32 {
  switch (v.reason) {
    case Reason.CPUID:
      loadInstruction(v);
      return Exit.Cpuid;
    case Reason.HLT:
      loadInstruction(v);
      return Exit.Halt;
    case Reason.INTERRUPT_WINDOW:
      v.attention |= Attention.Window;
      return Exit.InterruptWindow;
    case Reason.NMI_WINDOW:
      v.attention |= Attention.Window;
      return Exit.NmiWindow;
    case Reason.TPR_BELOW_THRESHOLD:
      return Exit.Wanted;
    case Reason.VIRTUALIZED_EOI:
    case Reason.APIC_WRITE:
      // Behind the instruction: there is nothing to complete.
      v.exitQualification = F.QUALIFICATION.read();
      return Exit.Apic;
    case Reason.RDMSR:
      loadInstruction(v);
      loadControls(v);
      return Exit.ReadMsr;
    case Reason.WRMSR:
      loadInstruction(v);
      loadControls(v);
      return Exit.WriteMsr;
    case Reason.CR_ACCESS:
      return decodeControlRegister(v);
    case Reason.DR_ACCESS:
      return v.debug ? decodeDebugRegister(v) : Exit.Unexpected;
    case Reason.EPT_VIOLATION:
      return decodeMemory(v);
    case Reason.EXCEPTION:
      return decodeException(v);
    case Reason.XSETBV:
      loadInstruction(v);
      loadRights(v, Seg.SS);
      return Exit.SetXcr;
    case Reason.INVD:
    case Reason.WBINVD:
      loadInstruction(v);
      return Exit.CacheControl;
    case Reason.PREEMPTION_TIMER:
      return Exit.Preempted;
    case Reason.RDPMC:
      return Exit.ReadCounter;
    case Reason.TRIPLE_FAULT:
      return Exit.TripleFault;
    case Reason.TASK_SWITCH:
      v.exitQualification = F.QUALIFICATION.read();
      return Exit.TaskSwitch;
    case Reason.GETSEC:
    case Reason.MWAIT:
    case Reason.MONITOR:
    case Reason.INVEPT:
    case Reason.INVVPID:
    case Reason.INVPCID:
    case Reason.VMFUNC:
    case Reason.ENCLS:
    case Reason.ENCLV:
    case Reason.SEAMCALL:
    case Reason.TDCALL:
      return Exit.Undefined;
    default:
      if (v.reason >= Reason.VMCALL && v.reason <= Reason.VMXON) return Exit.Undefined;
      return v.reason & ENTRY_FAILURE ? Exit.Refused : Exit.Unexpected;
  }
}

/** A single step is due, with the breakpoints that MOV SS has held back. @noinline */
function noteStep(): void {
  F.GUEST_PENDING_DEBUG.write(F.GUEST_PENDING_DEBUG.read() | PENDING_BS);
}

/** The instruction is complete: the guest goes on at `rip`. */
function step(rip: u64, rflags: u64, blocking: u32): void {
  const shadow = Blocking.Sti | Blocking.MovSs;
  F.GUEST_RIP.write(rip);
  if (blocking & shadow) setBlocking(blocking & ~shadow);
  if (rflags & Rflags.TF) noteStep();
}

/**
 * EIP wraps behind an instruction that ends at 4 GiB. No exit pays for that: only when an entry fails for it (27.3.1.4) RIP
 * is made what it should have been, and the entry is made again, for which nothing else has changed (27.8). False: it
 * failed for another reason.
 */
export function wrapEip(v: Vcpu): bool {
  const long = F.GUEST_EFER.read() & Efer.LMA && bit(F.GUEST_CS_RIGHTS.read(), 13);
  if (v.reason != (ENTRY_FAILURE | Reason.INVALID_GUEST_STATE) || v.rip >> 32 == 0 || long) return false;
  F.GUEST_RIP.write(<u32>v.rip);
  return true;
}

/** The exiting instruction at `rip` is complete, and nothing but its end has been looked at. */
export function skip(rip: u64): void {
  step(rip + F.EXIT_LENGTH.readWide(), F.GUEST_RFLAGS.read(), F.GUEST_INTERRUPTIBILITY.read());
}

/** Writes back what the handler did: the guest goes on behind a completed instruction. */
export function complete(v: Vcpu): void {
  if (v.skipped) {
    v.skipped = 0;
    step(v.rip, v.rflags, v.blocking);
  }
  if (v.dirty) {
    if (v.dirty & Dirty.Efer) F.GUEST_EFER.write(v.system.efer);
    if (v.dirty & Dirty.TscOffset) F.TSC_OFFSET.write(clockOf(v).offset);
    if (v.dirty & Dirty.Cr2) setCr2(v.cr2);
    // NMIs stay unblocked if IRET faults (SDM Vol. 3A 6.7.1, Handling Multiple NMIs).
    if (v.dirty & Dirty.Unblocked && !(v.attention & Attention.Exception)) {
      setBlocking(F.GUEST_INTERRUPTIBILITY.read() | Blocking.Nmi);
    }
    if (v.dirty & Dirty.Registers) {
      F.GUEST_RSP.write(v.rsp);
      F.GUEST_RFLAGS.write(v.rflags);
    }
    v.dirty = 0;
  }
}
