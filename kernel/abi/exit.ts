/**
 * What made the guest exit, in words that fit both vendors. The value is the index of the exit's counter. Root prints
 * the names (kernel/root/cost.ts).
 */
export namespace Exit {
  export const Cpuid: u32 = 0;
  export const Port: u32 = 1;
  export const ReadMsr: u32 = 2;
  export const WriteMsr: u32 = 3;
  export const ControlRegister: u32 = 4;
  export const Halt: u32 = 5;
  export const Memory: u32 = 6;
  export const Exception: u32 = 7;
  export const InterruptWindow: u32 = 8;
  export const NmiWindow: u32 = 9;
  export const SetXcr: u32 = 10;
  export const CacheControl: u32 = 11;
  /** RDPMC: #GP, for there are no counters. */
  export const ReadCounter: u32 = 12;
  /** MONITOR and MWAIT, the other vendor's hypercall, instructions of VT-x, AMD-V and SMX: #UD. */
  export const Undefined: u32 = 13;
  export const TripleFault: u32 = 14;
  export const TaskSwitch: u32 = 15;
  export const Refused: u32 = 16;
  export const Unexpected: u32 = 17;
  /** The guest has run for a whole slice without another exit. */
  export const Preempted: u32 = 18;
  /** The guest spins. */
  export const Pause: u32 = 19;
  /** The instruction could not be fetched again: the guest tries once more, or takes its fault. */
  export const Refetched: u32 = 20;
  /** MOV to or from a debug register, where the debugger has them. */
  export const DebugRegister: u32 = 21;
  /** The host's timer came for the guest, or another of its vCPUs has something for it. */
  export const Wanted: u32 = 22;
  /** The guest ended a level-triggered interrupt, or wrote to its local APIC what its CPU leaves to software. */
  export const Apic: u32 = 23;
  export const Count: u32 = 24;
}

/** What was refused, counted. */
export namespace Refusal {
  export const UnknownMsr: u32 = 0;
  export const UnclaimedPort: u32 = 1;
  export const UnclaimedMemory: u32 = 2;
  export const Undefined: u32 = 3;
  export const Count: u32 = 4;
}

/** In a vCPU's area: one u64 an exit, one u64 a refusal. */
export const EXIT_COUNTERS: u32 = 512;
export const REFUSAL_COUNTERS: u32 = 768;

/** The last exits of a vCPU, oldest overwritten: LAST_EXITS records; RunArea.nextExit is the next one's offset. */
export const LAST_EXITS_OFFSET: u32 = 1024;
export const LAST_EXITS: u32 = 64;


@unmanaged
export class LastExit {
  rip: u64;
  /** The hardware's exit reason. */
  reason: u32;
  kind: u32;
}
