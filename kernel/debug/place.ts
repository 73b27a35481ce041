/** The packets Z and z, and letting go of all that a process has. */
import { DebugControl, WATCHES, WatchRange } from "../abi/debug";
import { Placed, placeBreakpoint, removeBreakpoint, removeBreakpoints } from "./breakpoint";
import { Kind, placeRegister, removeRegister, removeRegisters } from "./debugreg";
import { Input } from "./input";
import { FAULT, FULL, INVALID, answer, error, ok } from "./packet";
import { put32, put64 } from "./physical";
import { FIRST_VM, HYPERVISOR, chosen, processOf } from "./session";
import { control, exists, letRun, vmCount, wantAttention } from "./vm";

const COMMA: u32 = 44;
const ZERO: u32 = 48;
/** More than four registers watch. */
const LONGEST: u64 = 32;

/** Z TYPE,ADDRESS,KIND sets, z removes; conditions and commands for the stub are not offered. */
export function placePacket(packet: Input, remove: bool): void {
  const type = packet.take() - ZERO;
  packet.want(COMMA);
  const address = packet.hex();
  packet.want(COMMA);
  const length = packet.hex();
  packet.close();
  const thread = chosen();
  const process = processOf(thread);
  // 3: the CPU cannot watch for reads alone.
  if (type > 4 || type == 3) {
    answer();
    return;
  }
  if (packet.bad || !exists(thread) || length == 0 || length > LONGEST) return error(INVALID);
  if (type < 2 && length != 1) return error(INVALID);
  if (type == 0 && process != HYPERVISOR) {
    if (remove) {
      removeBreakpoint(process, address);
      return ok();
    }
    return placed(placeBreakpoint(thread, address));
  }
  const kind: u32 = type < 2 ? Kind.Execute : type == 2 ? Kind.Write : Kind.Access;
  if (!remove) return placed(placeRegister(process, kind, address, <u32>length));
  removeRegister(process, kind, address, <u32>length);
  ok();
}

function placed(how: u32): void {
  if (how == Placed.Done) ok();
  else error(how == Placed.Full ? FULL : FAULT);
}

/** Physical address of watch n of a VM. */
export function watchAt(vm: u32, n: u32): u64 {
  return control(vm) + offsetof<DebugControl>() + n * offsetof<WatchRange>();
}

/** Nothing of the process stops the machine any more. */
export function removeAll(process: u32): void {
  removeBreakpoints(process, !exists(process));
  removeRegisters(process);
  if (process == HYPERVISOR || !exists(process)) return;
  const vm = process - FIRST_VM;
  for (let n: u32 = 0; n < WATCHES; n++) put32(watchAt(vm, n) + offsetof<WatchRange>("length"), 0);
  put64(control(vm) + offsetof<DebugControl>("catchFrom"), ~(<u64>0));
  letRun(vm);
  wantAttention();
}

export function removeAllOfAll(): void {
  for (let process = HYPERVISOR; process < FIRST_VM + vmCount(); process++) removeAll(process);
}

/** What VMs had that are no more: their memory belongs to others by now. */
export function forgetDead(): void {
  for (let process = FIRST_VM; process < FIRST_VM + vmCount(); process++) {
    if (exists(process)) continue;
    removeBreakpoints(process, true);
    removeRegisters(process);
  }
}
