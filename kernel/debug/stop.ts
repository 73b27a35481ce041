/** Why the machine stands, whether GDB is told, and what is put in order before it goes on. */
import { CrashRecord } from "../abi/crash";
import { DebugControl, DebugInfo, Stop, WATCHES, WatchKind, WatchRange } from "../abi/debug";
import { PERCPU_CRASH, PerCpu } from "../abi/percpu";
import { VECTOR_TIMER } from "../abi/vector";
import { Hpa } from "../lib/addr";
import * as image from "../machine/image";
import * as phys from "../machine/phys";
import { readDr, writeDr } from "../machine/state";
import { Efer, Rflags } from "../x86/cr";
import { DR6_BS, DR6_RESET } from "../x86/dr";
import { Vector } from "../x86/vector";
import { hasBreakpoint } from "./breakpoint";
import { DebugRegister, Kind, hitRegister } from "./debugreg";
import { note } from "./note";
import { CAPACITY, INTERRUPT, link, print } from "./packet";
import { ADDRESS, fetch, fetch32, own } from "./physical";
import { forgetDead, watchAt } from "./place";
import { SILENCE, get, line, openLine, pushBack } from "./serial";
import {
  FIRST_VM,
  HYPERVISOR,
  NONE,
  Signal,
  Why,
  client,
  info,
  isKnown,
  numberOf,
  session,
  setKnown,
  threadOf,
} from "./session";
import { announce } from "./stopreply";
import {
  CS,
  State,
  control,
  exists,
  forgetVms,
  getState,
  letRun,
  nextThread,
  select,
  unselect,
  vmCount,
} from "./vm";

const DOLLAR: i32 = 36;

/** Takes over. False when there is no line to talk on. */
export function begin(at: Hpa): bool {
  session.at = at;
  session.perCpu = image.perCpu();
  session.crash = session.perCpu + PERCPU_CRASH;
  session.leave = 0;
  link.interrupted = 0;
  session.faulted = 0;
  own.top = phys.load64(session.perCpu + offsetof<PerCpu>("debugCr3")) & ADDRESS;
  phys.read(at, changetype<usize>(info), offsetof<DebugInfo>());
  phys.store32(at + offsetof<DebugInfo>("cause"), 0);
  phys.store32(at + offsetof<DebugInfo>("answer"), 0);
  forgetVms();
  forgetDead();
  openLine(info.port, info.patience);
  return info.port != 0;
}

/** Puts in order what the stop has changed. A fault that would only come again is answered: root ends as it would. */
export function end(): void {
  unselect();
  if (session.faulted) disclaim();
}

function flags(): Hpa {
  return session.crash + offsetof<CrashRecord>("rflags");
}

/** Changes the RFLAGS that the hypervisor goes on with. */
export function changeFlags(clear: u64, set: u64): void {
  phys.store64(flags(), (phys.load64(flags()) & ~clear) | set);
}

/** Steps that were asked for and have not come to an end; and nobody is held any more. */
export function cancelSteps(): void {
  if (client.hostStep) changeFlags(Rflags.TF, 0);
  client.hostStep = 0;
  for (let vm: u32 = 0; vm < vmCount(); vm++) {
    if (exists(FIRST_VM + vm)) letRun(vm);
  }
}

/** Finds out why the machine stands, and tells GDB. False when it is none of GDB's business. */
export function tell(): bool {
  session.thread = HYPERVISOR;
  session.why = Why.Signal;
  session.signal = Signal.Trap;
  session.address = 0;
  let matters: bool;
  switch (info.cause) {
    case Stop.Host:
      if (phys.load32(session.crash + offsetof<CrashRecord>("vector")) == VECTOR_TIMER) return hear();
      matters = onHost();
      break;
    case Stop.Waiting:
      matters = true;
      break;
    case Stop.Finished:
      session.why = Why.Exited;
      matters = client.resumed != 0;
      break;
    default:
      matters = info.vm < vmCount() && onGuest();
      break;
  }
  if (!matters) return false;
  cancelSteps();
  announce();
  return true;
}

/** Ctrl-C: it is about the thread that was resumed last. */
export function blameInterrupt(): void {
  session.thread = HYPERVISOR;
  if (exists(client.last)) session.thread = client.last;
  else if (nextThread(HYPERVISOR) != NONE) session.thread = nextThread(HYPERVISOR);
  session.why = Why.Signal;
  session.signal = Signal.Int;
}

/**
 * Something came on the line while the machine ran: a Ctrl-C of the GDB that waits, a packet of a new one, or nothing of
 * interest.
 */
function hear(): bool {
  line.hasty = 1;
  for (let i: u32 = 0; i < CAPACITY; i++) {
    const c = get();
    if (c == SILENCE) return false;
    if (c == DOLLAR || (c == INTERRUPT && client.resumed)) {
      blameInterrupt();
      if (c == DOLLAR) {
        // serve() goes on from here if it is a packet.
        pushBack(c);
        return true;
      }
      line.hasty = 0;
      cancelSteps();
      announce();
      return true;
    }
  }
  return false;
}

function found(r: DebugRegister): bool {
  session.address = r.address;
  session.why = r.kind == Kind.Execute ? Why.Hardware : r.kind == Kind.Write ? Why.Watch : Why.AccessWatch;
  return true;
}

/** An exception in root or in a monitor. */
function onHost(): bool {
  const vector = phys.load32(session.crash + offsetof<CrashRecord>("vector"));
  switch (vector) {
    case Vector.DB: {
      const dr6 = readDr(6);
      writeDr(6, DR6_RESET);
      const hit = hitRegister(HYPERVISOR, dr6);
      if (hit) return found(hit);
      if (dr6 & DR6_BS && client.hostStep) return true;
      // Nobody has asked for it.
      changeFlags(dr6 & DR6_BS ? Rflags.TF : 0, Rflags.RF);
      return false;
    }
    case Vector.BP:
      return client.resumed != 0 || onFault(vector);
    default:
      return onFault(vector);
  }
}

/** Without a GDB that waits, it is as if there were no debugger. */
function onFault(vector: u32): bool {
  session.faulted = 1;
  switch (vector) {
    case Vector.UD:
      session.signal = Signal.Ill;
      break;
    case Vector.DE:
    case Vector.MF:
    case Vector.XM:
      session.signal = Signal.Fpe;
      break;
    default:
      session.signal = Signal.Segv;
      break;
  }
  return client.resumed != 0;
}

/** An answer: it is not the debugger's, and takes its course. */
function disclaim(): void {
  phys.store32(session.at + offsetof<DebugInfo>("answer"), 1);
}

/** A guest's own exception: it is delivered to it. */
function isForeign(): bool {
  disclaim();
  return false;
}

/** The linear address of the selected vCPU's next instruction. */
export function linearRip(): u64 {
  const rip = getState(State.Rip);
  return getState(State.Efer) & Efer.LMA ? rip : (rip + getState(State.Base + CS)) & 0xffffffff;
}

function onGuest(): bool {
  const process = FIRST_VM + info.vm;
  const thread = threadOf(process, info.vcpu);
  session.thread = thread;
  switch (info.cause) {
    case Stop.Breakpoint:
      session.why = Why.Software;
      return (select(thread) && hasBreakpoint(thread, linearRip())) || isForeign();
    case Stop.Debug: {
      const hit = hitRegister(process, info.detail);
      if (hit) return found(hit);
      const steps = fetch32(control(info.vm) + offsetof<DebugControl>("steps"));
      return (info.detail & DR6_BS && (steps >> numberOf(thread)) & 1) || isForeign();
    }
    case Stop.Step:
    case Stop.Caught:
      return true;
    case Stop.Watch:
      if (client.resumed) printWatch();
      return true;
    case Stop.Ended:
      return onEnd(process);
    default:
      return false;
  }
}

function onEnd(process: u32): bool {
  const matters = client.resumed != 0 && isKnown(process);
  setKnown(process, 0);
  if (!matters || client.multiprocess) {
    session.why = Why.Exited;
    return matters;
  }
  // Whoever knows no processes would take it for the end of all.
  print(note().str("vm").dec(info.vm).str(" has ended"));
  session.thread = HYPERVISOR;
  return true;
}

const watch = changetype<WatchRange>(memory.data(16, 8));

function printWatch(): void {
  const out = note().str("vm").dec(info.vm).str(": ");
  out.str(
    info.access == WatchKind.Write ? "write to" : info.access == WatchKind.Read ? "read of" : "access to",
  );
  out.str(" guest-physical ").hex(info.detail);
  for (let n: u32 = 0; n < WATCHES; n++) {
    if (!fetch(watchAt(info.vm, n), changetype<usize>(watch), offsetof<WatchRange>())) break;
    // An access may begin before what is watched.
    if (watch.length == 0 || info.detail + 8 <= watch.gpa || info.detail >= watch.gpa + watch.length)
      continue;
    out.str(" (watch ").hex(watch.gpa).str("+").dec(watch.length).str(")");
    break;
  }
  print(out);
}
