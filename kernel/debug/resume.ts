/**
 * Going on: continue, step, detach, kill. Whoever goes on, the whole machine does, but for vCPUs of its own VM that are told
 * to stay: GDB takes a breakpoint away while one of them steps from there, and no other is to pass it meanwhile.
 */
import { CrashRecord } from "../abi/crash";
import { DebugControl } from "../abi/debug";
import * as phys from "../machine/phys";
import { Rflags } from "../x86/cr";
import { executesAt } from "./debugreg";
import { Input } from "./input";
import { INVALID, error, link, ok } from "./packet";
import { fetch32, put32 } from "./physical";
import { removeAll, removeAllOfAll } from "./place";
import { Reg, writeRegister } from "./registers";
import {
  ANY,
  EVERY,
  FIRST_VM,
  HYPERVISOR,
  NONE,
  chosen,
  client,
  isKnown,
  numberOf,
  oneOf,
  processOf,
  session,
  setKnown,
  threadOf,
  vmOf,
} from "./session";
import { blameInterrupt, cancelSteps, changeFlags } from "./stop";
import { stopReply } from "./stopreply";
import { readProcess, readThread } from "./thread";
import { control, exists, nextProcess, nextThread, vcpusOf, vmCount, wantAttention } from "./vm";

const SEMICOLON: u32 = 59;
const COLON: u32 = 58;
/** c and s, which C and S are with another bit. */
const CONTINUE: u32 = 99;
const STEP: u32 = 115;
const LOWER: u32 = 32;

/** Whoever steps will stop behind its next instruction. */
function step(thread: u32): void {
  if (thread == HYPERVISOR) {
    client.hostStep = 1;
    changeFlags(0, Rflags.TF);
    return;
  }
  const at = control(vmOf(thread)) + offsetof<DebugControl>("steps");
  put32(at, fetch32(at) | (1 << numberOf(thread)));
  wantAttention();
}

/** Lets none of a VM's vCPUs run but these, of which bit N is vCPU N: or all of them, if it is none. */
function hold(vm: u32, running: u32): void {
  const all = (1 << vcpusOf(vm)) - 1;
  put32(control(vm) + offsetof<DebugControl>("held"), running ? all & ~running : 0);
  wantAttention();
}

/** The machine goes on, and GDB waits for its next stop: at once, if it has been interrupted already. */
function go(last: u32): void {
  client.last = last;
  if (link.interrupted) {
    link.interrupted = 0;
    cancelSteps();
    blameInterrupt();
    client.general = session.thread;
    return stopReply();
  }
  const rip = phys.load64(session.crash + offsetof<CrashRecord>("rip"));
  // The breakpoint that it stands at has had its turn.
  if (executesAt(HYPERVISOR, rip)) changeFlags(0, Rflags.RF);
  client.resumed = 1;
  session.leave = 1;
}

/** c, s, C, S with an address or without. */
export function resumePacket(packet: Input, kind: u32): void {
  const thread = client.control == ANY ? chosen() : oneOf(client.control);
  if (!(kind & LOWER)) {
    packet.hexByte();
    if (packet.left > 0) packet.want(SEMICOLON);
  }
  const moves = packet.left > 0;
  const address = moves ? packet.hex() : 0;
  packet.close();
  if (packet.bad || !exists(thread)) return error(INVALID);
  if (moves && !writeRegister(thread, Reg.Rip, address)) return error(INVALID);
  const alone = client.control != ANY && numberOf(client.control) != EVERY;
  if (alone && thread != HYPERVISOR) hold(vmOf(thread), 1 << numberOf(thread));
  if ((kind | LOWER) == STEP) step(thread);
  go(thread);
}

function means(target: u32, thread: u32): bool {
  return target == ANY || target == thread || target == threadOf(processOf(thread), EVERY);
}

/** What the actions of vCont say of a thread: the first that fits counts. 0 for nothing. */
function actionOf(packet: Input, start: usize, thread: u32): u32 {
  let result: u32 = 0;
  packet.at = start;
  while (packet.accept(SEMICOLON)) {
    const letter = packet.take();
    const kind = letter | LOWER;
    if (kind != CONTINUE && kind != STEP) packet.bad = 1;
    if (!(letter & LOWER)) packet.hexByte();
    let target = ANY;
    if (packet.accept(COLON)) target = readThread(packet);
    if (target == NONE) packet.bad = 1;
    if (result == 0 && means(target, thread)) result = kind;
  }
  packet.close();
  return result;
}

/** vCont;ACTION:THREAD;... */
export function resumeActions(packet: Input): void {
  const start = packet.at;
  if (packet.left == 0) packet.bad = 1;
  actionOf(packet, start, HYPERVISOR);
  if (packet.bad) return error(INVALID);
  let last = NONE;
  let continued = NONE;
  let running: u32 = 0;
  for (let thread = HYPERVISOR; thread != NONE;) {
    const action = actionOf(packet, start, thread);
    if (action == STEP) {
      step(thread);
      if (last == NONE) last = thread;
    } else if (action == CONTINUE && (continued == NONE || thread == chosen())) {
      continued = thread;
    }
    if (action) running |= 1 << numberOf(thread);
    const next = nextThread(thread);
    if (processOf(next) != processOf(thread)) {
      if (thread != HYPERVISOR) hold(vmOf(thread), running);
      running = 0;
    }
    thread = next;
  }
  if (last == NONE) last = continued;
  // All actions are about processes that are not there.
  if (last == NONE) return error(INVALID);
  go(last);
}

/** GDB lets the process go; with its last one the machine is free. Nothing will be told of it. */
function release(process: u32): void {
  removeAll(process);
  setKnown(process, 0);
  for (let other = HYPERVISOR; other != NONE; other = nextProcess(other)) if (isKnown(other)) return;
  leave();
}

function leave(): void {
  removeAllOfAll();
  client.last = ANY;
  session.leave = 1;
}

/** D or D;PROCESS */
export function detach(packet: Input): void {
  if (packet.left == 0) {
    ok();
    return leave();
  }
  packet.want(SEMICOLON);
  const process = readProcess(packet);
  packet.close();
  if (packet.bad || !exists(process)) return error(INVALID);
  ok();
  release(process);
}

function killVm(vm: u32): void {
  put32(control(vm) + offsetof<DebugControl>("kill"), 1);
  wantAttention();
}

/** k: ends all VMs. */
export function killAll(): void {
  for (let vm: u32 = 0; vm < vmCount(); vm++) if (exists(FIRST_VM + vm)) killVm(vm);
  leave();
}

/** vKill;PROCESS */
export function kill(packet: Input): void {
  const process = readProcess(packet);
  packet.close();
  if (packet.bad || process == HYPERVISOR || !exists(process)) return error(INVALID);
  killVm(process - FIRST_VM);
  ok();
  release(process);
}
