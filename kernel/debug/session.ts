/** What the debugger remembers: the machine as it stopped, and what GDB and it have agreed on. */
import { DebugInfo } from "../abi/debug";
import { Hpa } from "../lib/addr";

/** A process as GDB numbers it: the hypervisor, whose thread is its CPU; behind it the VMs, whose threads are their vCPUs. */
export const HYPERVISOR: u32 = 1;
export const FIRST_VM: u32 = 2;
/**
 * A thread: its process in bits 7:0, and above them which of that one's it is, from 0 on. So a process' number is that of
 * its first thread too.
 */
const NUMBER_SHIFT: u32 = 8;
/** In the place of a process or a thread: whichever. */
export const ANY: u32 = 0;
/** What names no process and no thread. */
export const NONE: u32 = 0xffffffff;
/** In the place of a thread's number: whichever of its process. */
export const EVERY: u32 = 0xff;
/** The VMs that get processes: as many as root has. */
export const MAX_VMS: u32 = 64;

export function threadOf(process: u32, number: u32): u32 {
  return process | (number << NUMBER_SHIFT);
}

export function processOf(thread: u32): u32 {
  return thread & ((1 << NUMBER_SHIFT) - 1);
}

export function numberOf(thread: u32): u32 {
  return thread >> NUMBER_SHIFT;
}

/** The VM of a thread that is a vCPU. */
export function vmOf(thread: u32): u32 {
  return processOf(thread) - FIRST_VM;
}

if (FIRST_VM + MAX_VMS > 1 << NUMBER_SHIFT) ERROR("a thread has no room for its process");

/** How a stop reply goes on behind the signal. */
export namespace Why {
  export const Signal: u32 = 0;
  export const Software: u32 = 1;
  export const Hardware: u32 = 2;
  export const Watch: u32 = 3;
  export const AccessWatch: u32 = 4;
  /** The process has ended. */
  export const Exited: u32 = 5;
}

/** Signals as GDB numbers them. */
export namespace Signal {
  export const Int: u32 = 2;
  export const Ill: u32 = 4;
  export const Trap: u32 = 5;
  export const Fpe: u32 = 8;
  export const Segv: u32 = 11;
}


@unmanaged
export class Session {
  /** Physical addresses: the DebugInfo, this CPU's block, and the crash record in it. */
  at: Hpa;
  perCpu: Hpa;
  crash: Hpa;
  /** What has stopped: a thread, a Signal, a Why, and an address that belongs to it. */
  address: u64;
  thread: u32;
  signal: u32;
  why: u32;
  /** Nonzero: the machine is to go on. */
  leave: u32;
  /** Nonzero: the hypervisor has faulted, and nobody has changed anything since. */
  faulted: u32;
  padding: u32;
}
export const session = changetype<Session>(memory.data(56, 8));
export const info = changetype<DebugInfo>(memory.data(128, 8));


@unmanaged
export class Client {
  /** Nonzero: a resume is outstanding, and the next stop is to be told. */
  resumed: u32;
  multiprocess: u32;
  /** Nonzero: it understands these reasons. */
  swbreak: u32;
  hwbreak: u32;
  /** Nonzero: addresses are physical ones. */
  physical: u32;
  /** What Hg and Hc have chosen: a thread, whichever of a process, or ANY. */
  general: u32;
  control: u32;
  /** The thread that was resumed last. */
  last: u32;
  /** Nonzero: the CPU steps through the hypervisor. */
  hostStep: u32;
  padding: u32;
}
export const client = changetype<Client>(memory.data(40, 8));

/** A byte a process: whether GDB has heard of it and has not let it go. */
const known = memory.data(66);

export function isKnown(process: u32): bool {
  return process < FIRST_VM + MAX_VMS && load<u8>(known + process) != 0;
}

export function setKnown(process: u32, value: u32): void {
  if (process < FIRST_VM + MAX_VMS) store<u8>(known + process, <u8>value);
}

/** A GDB says hello. */
export function greet(): void {
  memory.fill(changetype<usize>(client), 0, offsetof<Client>());
  memory.fill(known, 0, FIRST_VM + MAX_VMS);
}

/** One of those that are meant: the thread that has stopped, or else a process' first. */
export function oneOf(meant: u32): u32 {
  if (meant == ANY) return session.thread;
  if (numberOf(meant) != EVERY) return meant;
  return processOf(session.thread) == processOf(meant) ? session.thread : processOf(meant);
}

/** The thread that packets about registers and memory are about. */
export function chosen(): u32 {
  return oneOf(client.general);
}
