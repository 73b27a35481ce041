/**
 * Root's side of the debugger (kernel/debug/): its memory and address space, what it is told when the machine stops, and what
 * it wants of VMs. Without debug= on the command line there is none of it.
 */
import { STACK_SIZE } from "../abi/address";
import { DebugControl, DebugInfo, Stop, VmRecord, WATCHES, WatchRange } from "../abi/debug";
import { PerCpu } from "../abi/percpu";
import { Hpa } from "../lib/addr";
import { Text } from "../lib/text";
import * as cpu from "../machine/cpu";
import * as image from "../machine/image";
import * as phys from "../machine/phys";
import { DR7_RESET } from "../x86/dr";
import * as backend from "./backend";
import { ticks } from "./clock";
import { LARGE, NO_FRAME, allocateCleared } from "./frames";
import { info as information, ring, say } from "./log";
import { options } from "./options";
import { newDebuggerSpace } from "./space";
import { Stride, UARTS, comIrq, comPort, uart } from "./uart";
import { MAX_VMS, Vm, table, vm, vmTable } from "./vm";

/** Milliseconds: an emulator's UART has the next byte when the emulator's other threads have had their turn. */
const LINE_PATIENCE: u32 = 100;
/** The debugger's number among the modules (machine/image.ts). */
const MODULE: u32 = 2;
export const NOWHERE: u64 = ~(<u64>0);
const CONTROL: usize = offsetof<DebugControl>() + WATCHES * offsetof<WatchRange>();

export const info = changetype<DebugInfo>(memory.data(128, 8));
const controls = memory.data(10240, 8);


@unmanaged
class State {
  on: bool;
}
const state = changetype<State>(memory.data(4));

if (CONTROL * MAX_VMS > 10240) ERROR("the debugger's wishes do not fit");
if (offsetof<Vm>("id") != offsetof<VmRecord>("id") || offsetof<Vm>("state") != offsetof<VmRecord>("state"))
  ERROR("a VM does not start with a VmRecord");
if (offsetof<Vm>("home") != offsetof<VmRecord>("home")) ERROR("a VM does not start with a VmRecord");
if (offsetof<Vm>("nestedTop") != offsetof<VmRecord>("nestedTop"))
  ERROR("a VM does not start with a VmRecord");

/** Whether there is a debugger. */
export function debugging(): bool {
  return state.on;
}

export function control(n: u32): DebugControl {
  return changetype<DebugControl>(controls + <usize>n * CONTROL);
}

export function watch(n: u32, i: u32): WatchRange {
  const at = changetype<usize>(control(n)) + offsetof<DebugControl>();
  return changetype<WatchRange>(at + <usize>i * offsetof<WatchRange>());
}

function physical(linear: usize): Hpa {
  return image.rootMemory() + linear;
}

function setPerCpu(offset: usize, value: u64): void {
  phys.store64(image.perCpu() + offset, value);
}

/** Sets the debugger up if the command line wants one. False, with the reason in `why`, if that cannot be. */
export function openDebugger(none: u32, why: Text): bool {
  if (options.debug == none) return true;
  if (!backend.enableDebug()) {
    why.str("debug=: MOV-DR exiting: not offered by this CPU");
    return false;
  }
  const line = uart(options.debug);
  if (!line.open(comPort(options.debug), Stride.Port, comIrq(options.debug), options.debugBaud)) {
    why.str("debug=: no UART there");
    return false;
  }
  line.enabled = false; // for root: the debugger has it
  const size = (<u64>image.memoryPages(MODULE)) << 16;
  const home = allocateCleared(LARGE);
  if (home == NO_FRAME) return noMemory(why);
  phys.fill(home, 0, size + STACK_SIZE);
  for (let i: u32 = 0; i < image.segments(MODULE); i++) {
    const to = home + image.segmentOffset(MODULE, i);
    phys.copy(to, image.segmentAddress(MODULE, i), image.segmentLength(MODULE, i));
  }
  const space = newDebuggerSpace(home, size, home + size);
  if (space == NO_FRAME) return noMemory(why);
  for (let n: u32 = 0; n < MAX_VMS; n++) {
    control(n).dr7 = DR7_RESET;
    control(n).catchFrom = NOWHERE;
  }
  info.port = comPort(options.debug);
  info.patience = ticks(LINE_PATIENCE);
  info.extension = backend.extension();
  info.vms = physical(vmTable());
  info.vmStride = offsetof<Vm>();
  info.contexts = physical(changetype<usize>(vm(0).context));
  info.controls = physical(controls);
  info.log = physical(ring.start);
  info.logSize = ring.size;
  info.logHead = physical(changetype<usize>(ring));
  state.on = true;
  setPerCpu(offsetof<PerCpu>("debugInfo"), physical(changetype<usize>(info)));
  phys.store32(image.perCpu() + offsetof<PerCpu>("debugPort"), info.port);
  setPerCpu(offsetof<PerCpu>("hostDr7"), DR7_RESET);
  setPerCpu(offsetof<PerCpu>("debugCr3"), space);
  return true;
}

function noMemory(why: Text): bool {
  why.str("debug=: memory: too small");
  return false;
}

/** Stops the machine for the debugger, because of a VM's vCPU; returns its answer. */
export function stop(cause: u32, id: u32, number: u32, detail: u64, access: u32): u32 {
  info.cause = cause;
  info.vm = id;
  info.vcpu = number;
  info.detail = detail;
  info.access = access;
  info.answer = 0;
  info.vmCount = table.count;
  // While the machine is stopped nobody serves the lines: what was said is to be seen.
  for (let n: u32 = 0; n < UARTS; n++) uart(n).flush();
  cpu.stop();
  return info.answer;
}

/** Before any VM has run: waits for a debugger if the command line says so. */
export function waitForDebugger(): void {
  info.vmCount = table.count;
  if (!state.on) return;
  say(
    information()
      .str("debugger: on COM")
      .dec(options.debug + 1)
      .str(options.debugWait ? ", waits for GDB" : ""),
  );
  if (options.debugWait) stop(Stop.Waiting, 0, 0, 0, 0);
}

/** The hypervisor ends. */
export function tellEnd(): void {
  if (state.on) stop(Stop.Finished, 0, 0, 0, 0);
}
