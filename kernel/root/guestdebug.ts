/**
 * What the debugger wants of a VM, before a vCPU of it runs and after. With a debugger all live on one CPU. Watched memory is
 * memory that the nested tables do not let the guest access: the access exits, is made with the page open for one
 * instruction, and is then told of.
 */
import { Stop, WATCHES, WatchKind, WatchRange } from "../abi/debug";
import { Debugging, RunArea } from "../abi/run";
import { Hpa } from "../lib/addr";
import * as phys from "../machine/phys";
import { Rflags } from "../x86/cr";
import { DR6_BREAKPOINTS, DR6_BS, DR6_CAUSES, DR6_RESET, DR7_RESET } from "../x86/dr";
import { Vector } from "../x86/vector";
import * as backend from "./backend";
import { GuestSummary } from "../vcpu/summary";
import { NOWHERE, control, debugging, stop, watch } from "./debugger";
import { mappedSize, translate } from "./tables";
import { VCPUS, Vcpu } from "./vcpus";
import { MAX_VMS, Vm, vm } from "./vm";

const PAGE_MASK: u64 = 4095;
/** Rights of a page: read, write, execute. */
const ALL: u32 = 7;
const READ_ONLY: u32 = 5;
const NONE: u32 = 0;
/** Bytes that a write may start before the watched ones, and change these. */
const AHEAD: u64 = 63;

/** What has been done for a vCPU. */
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

const guests = memory.data(10240, 8);
const summary = changetype<GuestSummary>(memory.data(64, 8));
/** The watches that the nested tables are set up for: WATCHES a VM. */
const applied = memory.data(8192, 8);

if (offsetof<Guest>() * VCPUS > 10240) ERROR("the guests do not fit");
if (offsetof<WatchRange>() * WATCHES * MAX_VMS > 8192) ERROR("the watches do not fit");

function guest(p: Vcpu): Guest {
  return changetype<Guest>(guests + <usize>p.index * offsetof<Guest>());
}

function areaOf(p: Vcpu): Hpa {
  return p.home + p.area;
}

function appliedTo(v: Vm, i: u32): WatchRange {
  return changetype<WatchRange>(applied + <usize>(v.id * WATCHES + i) * offsetof<WatchRange>());
}

/** Whether the debugger wants the vCPU to step. */
function steps(p: Vcpu): bool {
  return ((control(p.vm).steps >> p.number) & 1) != 0;
}

function stepIsDone(p: Vcpu): void {
  control(p.vm).steps &= ~(1 << p.number);
}

/** Whether the debugger wants the vCPU not to run. */
export function isHeld(p: Vcpu): bool {
  return debugging() && (control(p.vm).held >> p.number) & 1;
}

/** A new VM: nothing has been done for it. Of one that has reset itself in a step the first vCPU makes that. */
export function resetDebug(v: Vm): void {
  if (!debugging()) return;
  const c = control(v.id);
  c.steps = c.steps ? 1 : 0;
  c.held = 0;
  memory.fill(changetype<usize>(appliedTo(v, 0)), 0, offsetof<WatchRange>() * WATCHES);
  for (let n: u32 = 0; n < v.vcpus; n++) {
    const p = v.vcpu(n);
    memory.fill(changetype<usize>(guest(p)), 0, offsetof<Guest>());
    phys.store32(areaOf(p) + offsetof<RunArea>("debug"), Debugging.On);
    phys.store64(areaOf(p) + offsetof<RunArea>("dr6"), DR6_RESET);
    phys.store64(areaOf(p) + offsetof<RunArea>("dr7"), DR7_RESET);
  }
}

function protect(v: Vm, gpa: u64, rights: u32): bool {
  return backend.protect(v.first, v.vcpus, v.nestedTop, gpa & ~PAGE_MASK, rights);
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
  return protect(v, page, rights);
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

/** Opens the page that the vCPU accesses, and closes those that others of its VM do: their turn is yet to come. */
function openPage(v: Vm, p: Vcpu): void {
  for (let n: u32 = 0; n < v.vcpus; n++) {
    const other = v.vcpu(n);
    if (other != p && guest(other).passing) setRights(v, guest(other).gpa);
  }
  if (guest(p).passing) protect(v, guest(p).gpa, ALL);
}

function setStep(p: Vcpu, on: bool): void {
  const g = guest(p);
  if ((g.stepping != 0) == on) return;
  if (on) {
    backend.readGuest(p.context, summary);
    g.flag = summary.rflags & Rflags.TF;
  }
  g.stepping = on ? 1 : 0;
  backend.setStep(p.context, on, g.flag);
}

/** Whether the debugger wants the VM ended; it is asked once. */
export function takeKill(v: Vm): bool {
  const c = control(v.id);
  const kill = c.kill != 0;
  c.kill = 0;
  return kill;
}

/** Before the vCPU runs. */
export function prepareDebug(p: Vcpu): void {
  if (!debugging()) return;
  const v = vm(p.vm);
  const c = control(v.id);
  applyWatches(v);
  openPage(v, p);
  const step = steps(p) || guest(p).passing != 0;
  setStep(p, step);
  backend.setDr7(p.context, c.dr7);
  let flags = Debugging.On;
  if (step) flags |= Debugging.Step;
  if (c.catchFrom != NOWHERE) flags |= Debugging.Catch;
  phys.store32(areaOf(p) + offsetof<RunArea>("debug"), flags);
  phys.store64(areaOf(p) + offsetof<RunArea>("catchFrom"), c.catchFrom);
}

/** The first bytes of a watch. */
function bytesAt(v: Vm, w: WatchRange): u64 {
  // Not past the page: what is behind it may be anybody's.
  const last = (w.gpa | PAGE_MASK) - 7;
  const at = translate(v.nestedTop, min(w.gpa, last));
  return phys.load64(at) >> (w.gpa > last ? (w.gpa - last) * 8 : 0);
}

/** An access to a page that is not open: lets the guest make it when it runs next. */
function pass(p: Vcpu, gpa: u64, access: u32): void {
  const v = vm(p.vm);
  const g = guest(p);
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
}

/** The access has been made: closes the page. Whether it was one to tell of. */
function passed(p: Vcpu): bool {
  const v = vm(p.vm);
  const g = guest(p);
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
function stepped(p: Vcpu): void {
  setStep(p, false);
  const hit = guest(p).passing != 0 && passed(p);
  if (!hit && !steps(p)) return;
  stepIsDone(p);
  if (hit) stop(Stop.Watch, p.vm, p.number, guest(p).gpa, guest(p).access);
  else stop(Stop.Step, p.vm, p.number, 0, 0);
}

/** A debug exception: the step's that is made by the trap flag, the debugger's, or the guest's own. */
function onDebugException(p: Vcpu, causes: u64): void {
  if (guest(p).stepping != 0 && causes & DR6_BS) {
    if (!(causes & DR6_BREAKPOINTS)) return stepped(p);
    stepIsDone(p);
  }
  setStep(p, false);
  if (!stop(Stop.Debug, p.vm, p.number, causes, 0)) return;
  const at = areaOf(p) + offsetof<RunArea>("dr6");
  phys.store64(at, (phys.load64(at) & ~DR6_BREAKPOINTS) | (causes & DR6_CAUSES));
  backend.deliver(p.context, Vector.DB, 0);
}

/** A breakpoint instruction, the debugger's or the guest's own. Of what it is a monitor says what it likes. */
function onBreakpoint(p: Vcpu, vector: u32, length: u64): void {
  setStep(p, false);
  if (!stop(Stop.Breakpoint, p.vm, p.number, 0, 0)) return;
  if (vector != Vector.DB && vector != Vector.BP) vector = Vector.UD;
  backend.deliver(p.context, vector, vector == Vector.UD ? 0 : <u32>min<u64>(length, 15));
}

/** The monitor wants the debugger to know. `run` is a copy. */
export function serveDebug(p: Vcpu, run: RunArea): void {
  switch (run.debugCause) {
    case Stop.Step:
      stepped(p);
      break;
    case Stop.Caught:
      control(p.vm).catchFrom = NOWHERE;
      setStep(p, false);
      stop(Stop.Caught, p.vm, p.number, 0, 0);
      break;
    case Stop.Breakpoint:
      onBreakpoint(p, run.debugAccess, run.debugDetail);
      break;
    case Stop.Debug:
      onDebugException(p, run.debugDetail);
      break;
    case Stop.Watch:
      if (mappedSize(vm(p.vm).nestedTop, run.debugDetail) != 0) pass(p, run.debugDetail, run.debugAccess);
      break;
  }
}

/** A step ends too with an instruction that leaves to root for something else. */
export function stepLeft(p: Vcpu): void {
  if (debugging() && steps(p)) stepped(p);
}
