/**
 * Breakpoints in guests' code: an INT3, or on AMD-V an INT1, in the place of the instruction's first byte. Who looks at the memory through the
 * debugger sees the instruction.
 */
import { Hpa } from "../lib/addr";
import * as phys from "../machine/phys";
import { isWritable, NOWHERE } from "./physical";
import { processOf, threadOf, vmOf } from "./session";
import { isSvm, select, vcpusOf } from "./vm";
import { fromGuest } from "./walk";

const INT3: u32 = 0xcc;
const INT1: u32 = 0xf1;
export const BREAKPOINTS: u32 = 64;


@unmanaged
export class Breakpoint {
  linear: u64;
  hpa: Hpa;
  /** The process; 0 for a free entry. */
  process: u32;
  /** The byte that belongs there. */
  saved: u32;
}

const table = memory.data(1536, 8);

export function breakpoint(n: u32): Breakpoint {
  return changetype<Breakpoint>(table + <usize>n * offsetof<Breakpoint>());
}

/** What exits. On AMD-V INT1 has an intercept of its own, and INT3 one that emulators do not make (docs/machines.md). */
function trap(): u32 {
  return isSvm() ? INT1 : INT3;
}

/** The entry of a place, or a free one; null when there is none. */
function find(process: u32, linear: u64): Breakpoint | null {
  for (let i: u32 = 0; i < BREAKPOINTS; i++) {
    const b = breakpoint(i);
    if (b.process == process && (process == 0 || b.linear == linear)) return b;
  }
  return null;
}

/** Another name of the same byte. */
function aliasOf(b: Breakpoint): Breakpoint | null {
  for (let i: u32 = 0; i < BREAKPOINTS; i++) {
    const other = breakpoint(i);
    if (other.process != 0 && other.hpa == b.hpa && other != b) return other;
  }
  return null;
}

/** Frees the entry and puts the byte back, if it still is ours. */
function release(b: Breakpoint): void {
  const last = aliasOf(b) == null;
  b.process = 0;
  if (last && phys.load8(b.hpa) == trap()) phys.store8(b.hpa, b.saved);
}

export namespace Placed {
  export const Done: u32 = 0;
  export const NoMemory: u32 = 1;
  export const Full: u32 = 2;
}

/** Where a thread's address is, or that of another vCPU of its VM, if it has none there: one may not run yet. */
function placeOf(thread: u32, linear: u64): Hpa {
  let hpa = select(thread) ? fromGuest(linear) : NOWHERE;
  for (let n: u32 = 0; n < vcpusOf(vmOf(thread)) && hpa == NOWHERE; n++) {
    if (select(threadOf(processOf(thread), n))) hpa = fromGuest(linear);
  }
  return hpa;
}

/** Sets a breakpoint for all vCPUs of the thread's VM; one that is there already stays. */
export function placeBreakpoint(thread: u32, linear: u64): u32 {
  const process = processOf(thread);
  const hpa = placeOf(thread, linear);
  if (hpa == NOWHERE || !isWritable(hpa)) return Placed.NoMemory;
  const old = find(process, linear);
  if (old) {
    if (old.hpa == hpa) {
      phys.store8(hpa, trap());
      return Placed.Done;
    }
    // The address leads elsewhere by now.
    release(old);
  }
  const b = find(0, 0);
  if (!b) return Placed.Full;
  b.hpa = hpa;
  const alias = aliasOf(b);
  b.saved = alias ? alias.saved : phys.load8(hpa);
  b.linear = linear;
  b.process = process;
  phys.store8(hpa, trap());
  return Placed.Done;
}

export function removeBreakpoint(process: u32, linear: u64): void {
  const b = find(process, linear);
  if (b) release(b);
}

/** All of a process. `gone`: its memory is no longer its own. */
export function removeBreakpoints(process: u32, gone: bool): void {
  for (let i: u32 = 0; i < BREAKPOINTS; i++) {
    const b = breakpoint(i);
    if (b.process != process) continue;
    if (gone) b.process = 0;
    else release(b);
  }
}

/** Whether an INT3 that the thread has executed at the linear address is one of ours. */
export function hasBreakpoint(thread: u32, linear: u64): bool {
  if (find(processOf(thread), linear)) return true;
  if (!select(thread)) return false;
  const hpa = fromGuest(linear);
  for (let i: u32 = 0; i < BREAKPOINTS; i++) {
    if (breakpoint(i).process != 0 && breakpoint(i).hpa == hpa) return true;
  }
  return false;
}

/** In a copy of memory: the instructions' own bytes. */
export function hideBreakpoints(hpa: Hpa, copy: usize, length: u32): void {
  for (let i: u32 = 0; i < BREAKPOINTS; i++) {
    const b = breakpoint(i);
    if (b.process != 0 && b.hpa - hpa < length) store<u8>(copy + <usize>(b.hpa - hpa), <u8>b.saved);
  }
}

/** After memory has been written: what was written belongs there, and the breakpoints stay. */
export function keepBreakpoints(hpa: Hpa, copy: usize, length: u32): void {
  for (let i: u32 = 0; i < BREAKPOINTS; i++) {
    const b = breakpoint(i);
    if (b.process == 0 || b.hpa - hpa >= length) continue;
    b.saved = load<u8>(copy + <usize>(b.hpa - hpa));
    phys.store8(b.hpa, trap());
  }
}
