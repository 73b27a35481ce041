/**
 * What the debugger wants of a VM, before it runs and after. Watched memory is memory that the nested tables do not let the
 * guest access: the access exits, is made with the page open for one instruction, and is then told of.
 */
import { VCPU_AREA } from "../abi/address";
import { Stop, WATCHES, WatchKind, WatchRange } from "../abi/debug";
import { Debugging, RunArea } from "../abi/run";
import * as phys from "../machine/phys";
import { Rflags } from "../x86/cr";
import { DR6_BREAKPOINTS, DR6_BS, DR6_CAUSES, DR6_RESET, DR7_RESET } from "../x86/dr";
import { Vector } from "../x86/vector";
import * as backend from "./backend";
import { GuestSummary } from "../vcpu/summary";
import { NOWHERE, control, debugging, stop, watch } from "./debugger";
import { mappedSize, translate } from "./tables";
import { MAX_VMS, Vm } from "./vm";

const PAGE_MASK: u64 = 4095;
/** Rights of a page: read, write, execute. */
const ALL: u32 = 7;
const READ_ONLY: u32 = 5;
const NONE: u32 = 0;
/** Bytes that a write may start before the watched ones, and change these. */
const AHEAD: u64 = 63;

/** What has been done for a VM. */
@unmanaged
class Guest {
  /** Nonzero: the guest makes the access that exited, with its page open; what it was. */
  passing: u32;
  access: u32;
  gpa: u64;
  /** Of a write that starts before what is watched: 1 + the watch, and the first bytes there. */
  ahead: u32;
  /** Nonzero: the guest stops behind one instruction; what RFLAGS.TF was before that. */
  stepping: u32;
  bytes: u64;
  flag: u64;
}

const guests = memory.data(2560, 8);
const summary = changetype<GuestSummary>(memory.data(64, 8));
/** The watches that the nested tables are set up for: WATCHES a VM. */
const applied = memory.data(8192, 8);

if (offsetof<Guest>() * MAX_VMS > 2560) ERROR("the guests do not fit");
if (offsetof<WatchRange>() * WATCHES * MAX_VMS > 8192) ERROR("the watches do not fit");

function guest(v: Vm): Guest {
  return changetype<Guest>(guests + <usize>v.id * offsetof<Guest>());
}

function appliedTo(v: Vm, i: u32): WatchRange {
  return changetype<WatchRange>(applied + <usize>(v.id * WATCHES + i) * offsetof<WatchRange>());
}

/** A new vCPU: nothing has been done for it. */
export function resetDebug(v: Vm): void {
  if (!debugging()) return;
  memory.fill(changetype<usize>(guest(v)), 0, offsetof<Guest>());
  memory.fill(changetype<usize>(appliedTo(v, 0)), 0, offsetof<WatchRange>() * WATCHES);
  const area = v.linear(VCPU_AREA);
  phys.store32(area + offsetof<RunArea>("debug"), Debugging.On);
  phys.store64(area + offsetof<RunArea>("dr6"), DR6_RESET);
  phys.store64(area + offsetof<RunArea>("dr7"), DR7_RESET);
}

/** Opens or closes the page of `gpa` as the applied watches say. False when memory ran out. */
function setRights(v: Vm, gpa: u64): bool {
  const page = gpa & ~PAGE_MASK;
  let rights = ALL;
  for (let i: u32 = 0; i < WATCHES; i++) {
    const w = appliedTo(v, i);
    if (w.length == 0 || (w.gpa & ~PAGE_MASK) != page) continue;
    rights = w.kind == WatchKind.Write ? rights & READ_ONLY : NONE;
  }
  return backend.protect(v.context, v.nestedTop, page, rights);
}

/** Whether the VM has memory at [gpa, gpa + length), within a page. */
function hasMemory(v: Vm, w: WatchRange): bool {
  const end = w.gpa + w.length;
  if (w.length == 0 || w.gpa > end || (w.gpa & ~PAGE_MASK) != ((end - 1) & ~PAGE_MASK)) return false;
  return end <= v.ramLow || (w.gpa >= 0x100000000 && end <= v.ramHigh);
}

/** Makes the nested tables fit the watches that are wanted; what cannot be watched is taken off the list. */
function applyWatches(v: Vm): void {
  for (let i: u32 = 0; i < WATCHES; i++) {
    const wanted = watch(v.id, i);
    const now = appliedTo(v, i);
    if (now.gpa == wanted.gpa && now.length == wanted.length && now.kind == wanted.kind) continue;
    const before = now.gpa;
    const had = now.length != 0;
    now.length = 0;
    if (had) setRights(v, before);
    if (wanted.length == 0) continue;
    now.gpa = wanted.gpa;
    now.length = wanted.length;
    now.kind = wanted.kind;
    if (hasMemory(v, wanted) && setRights(v, now.gpa)) continue;
    now.length = 0;
    wanted.length = 0;
  }
}

function setStep(v: Vm, on: bool): void {
  const g = guest(v);
  if ((g.stepping != 0) == on) return;
  if (on) {
    backend.readGuest(v.context, summary);
    g.flag = summary.rflags & Rflags.TF;
  }
  g.stepping = on ? 1 : 0;
  backend.setStep(v.context, on, g.flag);
}

/** Before the VM runs. False: the debugger wants it ended. */
export function prepareDebug(v: Vm): bool {
  const c = control(v.id);
  if (c.kill) {
    c.kill = 0;
    return false;
  }
  applyWatches(v);
  const step = c.step != 0 || guest(v).passing != 0;
  setStep(v, step);
  backend.setDr7(v.context, c.dr7);
  let flags = Debugging.On;
  if (step) flags |= Debugging.Step;
  if (c.catchFrom != NOWHERE) flags |= Debugging.Catch;
  const area = v.linear(VCPU_AREA);
  phys.store32(area + offsetof<RunArea>("debug"), flags);
  phys.store64(area + offsetof<RunArea>("catchFrom"), c.catchFrom);
  return true;
}

/** The first bytes of a watch. */
function bytesAt(v: Vm, w: WatchRange): u64 {
  // Not past the page: what is behind it may be anybody's.
  const last = (w.gpa | PAGE_MASK) - 7;
  const at = translate(v.nestedTop, min(w.gpa, last));
  return phys.load64(at) >> (w.gpa > last ? (w.gpa - last) * 8 : 0);
}

/** An access to a page that is not open: lets the guest make it. */
function pass(v: Vm, gpa: u64, access: u32): void {
  const g = guest(v);
  g.passing = 1;
  g.access = access;
  g.gpa = gpa;
  g.ahead = 0;
  for (let i: u32 = 0; i < WATCHES; i++) {
    const w = appliedTo(v, i);
    if (w.length == 0 || !(w.kind & access & WatchKind.Write) || gpa >= w.gpa || w.gpa - gpa > AHEAD)
      continue;
    g.ahead = i + 1;
    g.bytes = bytesAt(v, w);
  }
  backend.protect(v.context, v.nestedTop, gpa & ~PAGE_MASK, ALL);
}

/** The access has been made: closes the page. Whether it was one to tell of. */
function passed(v: Vm): bool {
  const g = guest(v);
  g.passing = 0;
  let hit = g.ahead != 0 && bytesAt(v, appliedTo(v, g.ahead - 1)) != g.bytes;
  for (let i: u32 = 0; i < WATCHES; i++) {
    const w = appliedTo(v, i);
    if (w.kind & g.access && g.gpa >= w.gpa && g.gpa < w.gpa + w.length) hit = true;
  }
  setRights(v, g.gpa);
  return hit;
}

/** An instruction is done: the one that was asked for, the one that was let pass, or both. */
function stepped(v: Vm): void {
  const c = control(v.id);
  setStep(v, false);
  const hit = guest(v).passing != 0 && passed(v);
  if (!hit && !c.step) return;
  c.step = 0;
  if (hit) stop(Stop.Watch, v.id, guest(v).gpa, guest(v).access);
  else stop(Stop.Step, v.id, 0, 0);
}

/** A debug exception: the step's that is made by the trap flag, the debugger's, or the guest's own. */
function onDebugException(v: Vm, causes: u64): void {
  const c = control(v.id);
  if (guest(v).stepping != 0 && causes & DR6_BS) {
    if (!(causes & DR6_BREAKPOINTS)) return stepped(v);
    c.step = 0;
  }
  setStep(v, false);
  if (!stop(Stop.Debug, v.id, causes, 0)) return;
  const at = v.linear(VCPU_AREA) + offsetof<RunArea>("dr6");
  phys.store64(at, (phys.load64(at) & ~DR6_BREAKPOINTS) | (causes & DR6_CAUSES));
  backend.deliver(v.context, Vector.DB, 0);
}

/** A breakpoint instruction, the debugger's or the guest's own. Of what it is a monitor says what it likes. */
function onBreakpoint(v: Vm, vector: u32, length: u64): void {
  setStep(v, false);
  if (!stop(Stop.Breakpoint, v.id, 0, 0)) return;
  if (vector != Vector.DB && vector != Vector.BP) vector = Vector.UD;
  backend.deliver(v.context, vector, vector == Vector.UD ? 0 : <u32>min<u64>(length, 15));
}

/** The monitor wants the debugger to know. `run` is a copy. */
export function serveDebug(v: Vm, run: RunArea): void {
  const c = control(v.id);
  switch (run.debugCause) {
    case Stop.Step:
      stepped(v);
      break;
    case Stop.Caught:
      c.catchFrom = NOWHERE;
      setStep(v, false);
      stop(Stop.Caught, v.id, 0, 0);
      break;
    case Stop.Breakpoint:
      onBreakpoint(v, run.debugAccess, run.debugDetail);
      break;
    case Stop.Debug:
      onDebugException(v, run.debugDetail);
      break;
    case Stop.Watch:
      if (mappedSize(v.nestedTop, run.debugDetail) != 0) pass(v, run.debugDetail, run.debugAccess);
      break;
  }
}

/** A step ends too with an instruction that leaves to root for something else. */
export function stepLeft(v: Vm): void {
  if (debugging() && control(v.id).step) stepped(v);
}
