/**
 * A vCPU as its monitor sees it, in one page of linear memory. The vendor's exit code fills in what the exit was about;
 * handlers read it, act on it and on the registers, and leave their results here for the vendor's code to write back.
 */
import { VCPU_AREA, VCPU_AREA_SIZE } from "../abi/address";
import { INSTRUCTION_OFFSET } from "../abi/code";
import { EXIT_COUNTERS, LAST_EXITS, LAST_EXITS_OFFSET, LastExit, REFUSAL_COUNTERS } from "../abi/exit";
import { Gprs } from "../abi/gprs";
import { RunArea } from "../abi/run";
import { Instruction } from "./code";
import { Seg, Segment, System } from "./system";

/** What a handler says is next: values of Leave. */
export namespace Next {
  export const Resume: u32 = 0;
  export const Yield: u32 = 1;
  export const Stop: u32 = 2;
}

/** Reasons to look at events before the guest goes on, in Vcpu.attention. */
export namespace Attention {
  /** An event whose delivery was interrupted by the exit. */
  export const Interrupted: u32 = 1 << 0;
  export const Exception: u32 = 1 << 1;
  export const Nmi: u32 = 1 << 2;
  /** The interrupt controller's output is asserted. */
  export const Interrupt: u32 = 1 << 3;
  /** A window was asked for and may not be needed any more. */
  export const Window: u32 = 1 << 4;
  /** A device wants the exit to end otherwise than with Next.Resume: Vcpu.leave says how. */
  export const Leave: u32 = 1 << 5;
  /** The debugger wants to see exits (vcpu/debug.ts). */
  export const Debug: u32 = 1 << 6;
  /** The local APIC has an INIT or a SIPI for the vCPU. */
  export const Init: u32 = 1 << 7;
  /** An interrupt waits for TPR to fall, or did so at the last entry: Vcpu.tprThreshold. */
  export const Tpr: u32 = 1 << 8;
  /** The CPU delivers the local APIC's interrupts, and is to be told what has changed. */
  export const Virtual: u32 = 1 << 9;
  /** Root is to be told of RunArea.apicMode before the guest goes on. */
  export const ApicMode: u32 = 1 << 10;
}

/** What the vCPU waits for, in Vcpu.halted. */
export namespace Halted {
  export const Running: u32 = 0;
  /** It executed HLT and nothing has woken it. */
  export const Hlt: u32 = 1;
  /** Nothing but a SIPI starts it. */
  export const WaitForSipi: u32 = 2;
}

/** Blocking by instruction or event, in Vcpu.blocking: the VMCS's interruptibility bits (SDM Vol. 3C 25.4.2). */
export namespace Blocking {
  export const Sti: u32 = 1 << 0;
  export const MovSs: u32 = 1 << 1;
  export const Nmi: u32 = 1 << 3;
}

/** Whether an NMI's handler keeps others away, in Vcpu.nmiMask, where the CPU does not keep that. */
export namespace NmiMask {
  export const None: u32 = 0;
  export const Handling: u32 = 1;
  /** The handler's IRET is next. */
  export const Returning: u32 = 2;
}

/** What a handler changed of what the CPU holds, in Vcpu.dirty. */
export namespace Dirty {
  export const Efer: u32 = 1 << 0;
  export const TscOffset: u32 = 1 << 1;
  /** RSP and RFLAGS. */
  export const Registers: u32 = 1 << 2;
  export const Cr2: u32 = 1 << 3;
  /** IRET has unblocked NMIs: unless it faults, it is executed again. */
  export const Unblocked: u32 = 1 << 4;
}

/** Kinds of memory access: the first three for the page walker too, the rest of an exit, in Vcpu.access. */
export namespace Access {
  export const Write: u32 = 1 << 0;
  export const Execute: u32 = 1 << 1;
  /** The CPU's own access to a system structure: with a supervisor's rights, whatever the CPL. */
  export const Implicit: u32 = 1 << 2;
  /** The access was to what a linear address maps to, not to a paging structure. */
  export const Linear: u32 = 1 << 3;
  /** Vcpu.linear says which linear address was accessed or translated. */
  export const Known: u32 = 1 << 4;
  /** MOV to a control register read the PDPTEs. */
  export const Pdptes: u32 = 1 << 5;
}


@unmanaged
export class Vcpu extends RunArea {
  /** The guest's RIP and RFLAGS at the exit, the exiting instruction's length, and what blocks events. */
  rip: u64;
  rflags: u64;
  length: u32;
  blocking: u32;
  /** The hardware's reason and its qualification. */
  reason: u32;
  /** Nonzero: the handler completed the instruction, and RIP is now past it. */
  skipped: u32;
  /** Dirty bits. */
  dirty: u32;

  // Exit.Port, of INS and OUTS only
  port: u32;
  /** Bytes a transfer: 1, 2 or 4. */
  portSize: u32;
  portIn: u32;
  /** INS or OUTS, with REP or without. */
  portRepeat: u32;

  // Exit.ControlRegister: the register, whether it is read, and the general register's number
  crNumber: u32;
  crRead: u32;
  crGpr: u32;
  crValue: u64;

  // Exit.Memory
  access: u32;
  gpa: u64;
  linear: u64;

  // Exit.Exception, and the exception that waits to be injected
  exitVector: u32;
  exitError: u32;
  /** Of #DB: what DR6 would say. */
  exitQualification: u64;
  exceptionVector: u32;
  exceptionError: u32;
  exceptionHasError: u32;
  /** With Dirty.Cr2: the linear address of a page fault. */
  cr2: u64;

  /** Attention bits. */
  attention: u32;
  /** With Attention.Leave: Next.Yield or Next.Stop. */
  leave: u32;
  /** The event that the exit interrupted: the VMCS's IDT-vectoring format, its error code and instruction length. */
  interrupted: u32;
  interruptedError: u32;
  interruptedLength: u32;
  /** An acknowledged interrupt that could not be delivered yet: HELD and its vector. */
  heldInterrupt: u32;
  /** Window exits that are on: Attention.Nmi, Attention.Interrupt. */
  windows: u32;
  /** Nonzero: a debug exception is due, which goes before NMIs and interrupts. */
  debugDue: u32;
  /** The priority class below which the guest's TPR must fall to exit; 0 for none. */
  tprThreshold: u32;
  /** One of Halted. */
  halted: u32;
  /** One of NmiMask, and where that IRET is. */
  nmiMask: u32;
  /** How often an NMI that waits has looked whether it can go (svm/event.ts). */
  nmiTries: u32;
  nmiReturn: u64;
  /** Bytes of the instruction that the CPU has handed over with the exit, at most 15, and how many: 0 for none. */
  codeLow: u64;
  codeHigh: u64;
  prefetched: u32;

  // Exit.DebugRegister uses Exit.ControlRegister's. DR0 to DR3 while the debugger has the CPU's.
  dr0: u64;
  dr1: u64;
  dr2: u64;
  dr3: u64;

  /** General register n, numbered as in ModR/M. */
  gpr(n: u32): u64 {
    return load<u64>(changetype<usize>(this) + ((<usize>n) << 3));
  }
  setGpr(n: u32, value: u64): void {
    store<u64>(changetype<usize>(this) + ((<usize>n) << 3), value);
  }

  /** AL. */
  get al(): u32 {
    return load<u8>(changetype<usize>(this), offsetof<Gprs>("rax"));
  }
  set al(value: u32) {
    store<u8>(changetype<usize>(this), <u8>value, offsetof<Gprs>("rax"));
  }

  /** DRn, 0 to 3, while the debugger has the CPU's. */
  breakpoint(n: u32): u64 {
    return load<u64>(changetype<usize>(this) + ((<usize>n) << 3), offsetof<Vcpu>("dr0"));
  }
  setBreakpoint(n: u32, value: u64): void {
    store<u64>(changetype<usize>(this) + ((<usize>n) << 3), value, offsetof<Vcpu>("dr0"));
  }

  /** The vCPU's number in its VM, from 0 on. */
  get number(): u32 {
    return (<u32>changetype<usize>(this) - VCPU_AREA) / VCPU_AREA_SIZE;
  }

  get system(): System {
    return changetype<System>(changetype<usize>(this) + SYSTEM_OFFSET);
  }

  /** The instruction that decode() looked at. */
  get code(): Instruction {
    return changetype<Instruction>(changetype<usize>(this) + INSTRUCTION_OFFSET);
  }

  /** Completes the exiting instruction: the guest goes on behind it. */
  skip(): void {
    this.rip += this.length;
    this.skipped = 1;
  }

  /** Counts an exit and notes it among the last ones. */
  count(kind: u32, reason: u32): void {
    const counter = changetype<usize>(this) + ((<usize>kind) << 3);
    store<u64>(counter, load<u64>(counter, EXIT_COUNTERS) + 1, EXIT_COUNTERS);
    const next = this.nextExit;
    this.nextExit = (next + offsetof<LastExit>()) & (LAST_EXITS * offsetof<LastExit>() - 1);
    const last = changetype<usize>(this) + next;
    store<u64>(last, this.rip, LAST_EXITS_OFFSET + offsetof<LastExit>("rip"));
    store<u32>(last, reason, LAST_EXITS_OFFSET + offsetof<LastExit>("reason"));
    store<u32>(last, kind, LAST_EXITS_OFFSET + offsetof<LastExit>("kind"));
  }

  /** Counts a refusal (Refusal). */
  refuse(what: u32): void {
    const counter = changetype<usize>(this) + REFUSAL_COUNTERS + ((<usize>what) << 3);
    store<u64>(counter, load<u64>(counter) + 1);
  }

  /** Once the instruction is complete the exit is to end with Next.Yield or Next.Stop. */
  leaveWith(next: u32): void {
    this.leave = max(this.leave, next);
    this.attention |= Attention.Leave;
  }

  /** Ends the VM. */
  stop(reason: u32, detail: u64): u32 {
    this.stopReason = reason;
    this.stopDetail = detail;
    return Next.Stop;
  }
}

const SYSTEM_OFFSET: usize = 2048;
/** What CPUID's basic leaves say to this vCPU: 32 answers of 16 bytes (cpuid.ts). */
export const CPUID_OFFSET: usize = 3072;
const CPUID_SIZE: usize = 512;
/** The event to inject (event.ts), the vCPU's TSC (clock.ts), an answer of CPUID that is put together (cpuid.ts). */
export const INJECTION_OFFSET: usize = 3584;
export const CLOCK_OFFSET: usize = 3600;
export const ANSWER_OFFSET: usize = 3632;

if (offsetof<Vcpu>() > EXIT_COUNTERS) ERROR("the vCPU's fields run into its exit counters");
if (LAST_EXITS_OFFSET + LAST_EXITS * offsetof<LastExit>() > SYSTEM_OFFSET) {
  ERROR("the last exits run into the system registers");
}
if (SYSTEM_OFFSET + offsetof<System>() + Seg.Count * offsetof<Segment>() > INSTRUCTION_OFFSET) {
  ERROR("the system registers run into the instruction");
}
if (INSTRUCTION_OFFSET + offsetof<Instruction>() > CPUID_OFFSET)
  ERROR("the instruction runs into CPUID's answers");
if (CPUID_OFFSET + CPUID_SIZE > INJECTION_OFFSET) ERROR("CPUID's answers run into the vCPU's event");

/** vCPU n of this VM. */
export function vcpuAt(n: u32): Vcpu {
  return changetype<Vcpu>(<usize>(VCPU_AREA + n * VCPU_AREA_SIZE));
}
