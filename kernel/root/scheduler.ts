/** Runs the VMs in turn on this CPU until none is left. */
import { VCPU_AREA } from "../abi/address";
import { Leave } from "../abi/context";
import { Request, RunArea } from "../abi/run";
import { LoadError, StopReason } from "../abi/stop";
import { VECTOR_DEVICE, VECTOR_TIMER } from "../abi/vector";
import * as cpu from "../machine/cpu";
import * as phys from "../machine/phys";
import { tsc } from "../machine/time";
import { Vector } from "../x86/vector";
import { endOfInterrupt } from "./apic";
import * as backend from "./backend";
import { ticks } from "./clock";
import { drain, serve } from "./console";
import { printCost } from "./cost";
import { error, info, say, warning } from "./log";
import { options } from "./options";
import { panic } from "./panic";
import { cause, reportTrap, reportVcpu, takeRecord } from "./report";
import { disown, own, ownerId, resetState } from "./switch";
import { Failure, State, Vm, create, destroy, table, vm } from "./vm";
import { Text } from "../lib/text";

/** A copy of what the monitor says, made once a return to root. */
const run = changetype<RunArea>(memory.data(256, 8));

/** Lets host interrupts in and serves what came. */
function serveInterrupts(): void {
  cpu.openInterrupts();
  cpu.clearAttention();
  let any = false;
  for (let group: u32 = 0; group < 4; group++) {
    const pending = cpu.takePending(group);
    if (pending == 0) continue;
    any = true;
    // All devices are of one priority class: one end of interrupt for each that is in service.
    for (let n: u32 = 0; n < 64; n++) {
      if (((pending >> n) & 1) == 0) continue;
      const vector = group * 64 + n;
      if (vector >= VECTOR_DEVICE && vector < VECTOR_TIMER) endOfInterrupt();
    }
  }
  // The timer serves the UARTs too: on machines whose UART has no interrupt line it is what moves the bytes.
  if (any) serve();
}

/** Starts, or starts again, a VM that is set up. False when it cannot be made. */
export function start(v: Vm): bool {
  const failure = create(v);
  if (failure == Failure.None) {
    resetState(v);
    return true;
  }
  destroy(v);
  v.state = State.Ended;
  const out = error().str("refused: vm").dec(v.id).str(": ");
  if (failure == Failure.ControlStructure) {
    say(out.str("the CPU refused its control structure"));
    return false;
  }
  out.str("memory: ").size(v.memory);
  if (failure == Failure.TooSmall) out.str(" is too small for the kernel and the initrd");
  else out.str(": the machine has not that much left");
  say(out);
  return false;
}

function stopName(reason: u32): string {
  switch (reason) {
    case StopReason.PoweredOff:
      return "powered off";
    case StopReason.Reset:
      return "reset";
    case StopReason.TripleFault:
      return "reset (triple fault)";
    case StopReason.HaltedForever:
      return "halted with interrupts off";
    case StopReason.EntryRefused:
      return "the CPU refused its state";
    case StopReason.UnexpectedExit:
      return "unexpected exit";
    case StopReason.NotEmulated:
      return "an instruction is not emulated that accesses unclaimed memory";
    case StopReason.LoadFailed:
      return "its kernel cannot be booted";
    case StopReason.TaskSwitch:
      return "task switch";
    case StopReason.DeliveryNotEmulated:
      return "an event's delivery met unclaimed memory";
    case StopReason.Trap:
      return "its monitor trapped";
    case StopReason.Killed:
      return "its monitor did not come back";
    case StopReason.EntryFailed:
      return "VM entry failed";
    case StopReason.TimeLimit:
      return "time limit";
    default:
      return "unknown reason";
  }
}

function loadErrorName(e: u64): string {
  switch (<u32>e) {
    case LoadError.Truncated:
      return "the file is truncated";
    case LoadError.NotBzImage:
      return "it is no bzImage";
    case LoadError.TooOld:
      return "its boot protocol is older than 2.12";
    case LoadError.No64BitEntry:
      return "it has no 64-bit entry point";
    case LoadError.MemoryTooSmall:
      return "the guest's memory is too small for it";
    case LoadError.InitrdTooHigh:
      return "its initrd cannot be where it wants it";
    case LoadError.CommandLineTooLong:
      return "its command line is too long";
    default:
      return "no reason known";
  }
}

function detail(out: Text, v: Vm, reason: u32, value: u64): Text {
  if (reason == StopReason.LoadFailed) return out.str(": ").str(loadErrorName(value));
  if (reason == StopReason.EntryRefused) {
    out.str(": ");
    backend.explainEntry(v.context, out);
    return out;
  }
  if (reason == StopReason.EntryFailed) {
    return out
      .str(", VM-instruction error ")
      .dec(value)
      .str(": ")
      .str(backend.entryErrorName(<u32>value));
  }
  if (reason == StopReason.PoweredOff || reason == StopReason.Reset || reason == StopReason.TimeLimit)
    return out;
  if (reason == StopReason.Trap || reason == StopReason.Killed) return out;
  return out.str(" (").hex(value).str(")");
}

/** Ends the VM for a reason, with what there is to say about it, and starts it again if it was a reset. */
function end(v: Vm, reason: u32, value: u64): void {
  drain(v);
  const orderly = reason == StopReason.PoweredOff || reason == StopReason.Reset;
  const reset = reason == StopReason.Reset || reason == StopReason.TripleFault;
  const again = reset && options.reboot != 0;
  const out = orderly ? info() : error();
  out
    .str("vm")
    .dec(v.id)
    .str(again ? ": restarts: " : ": ended: ")
    .str(stopName(reason));
  if (reason == StopReason.Trap) cause(out.str(": "), takeRecord());
  else detail(out, v, reason, value);
  say(out);
  if (reason == StopReason.Trap || reason == StopReason.Killed) reportTrap(v, takeRecord());
  if (!orderly) reportVcpu(v);
  if (!again) printCost(v);
  disown(v);
  destroy(v);
  v.state = State.Ended;
  if (again) {
    v.spentBefore += v.spent;
    start(v);
  }
}

/** What the monitor asks for. Its run area is copied first and not looked at again. */
function serveRequest(v: Vm, left: u32): void {
  phys.read(v.linear(VCPU_AREA), changetype<usize>(run), offsetof<RunArea>());
  if (left == Leave.Stop) {
    const known = run.stopReason >= StopReason.PoweredOff && run.stopReason < StopReason.Trap;
    end(v, known ? run.stopReason : StopReason.None, run.stopDetail);
  } else if (run.request == Request.Halt) {
    v.state = State.Halted;
    v.wake = run.wake;
  } else if (run.request == Request.Pass) {
    v.context.sliceEnd = 0;
  }
  if (v.alive) drain(v);
}

/** Runs the VM until it leaves to root for any reason. */
function runOnce(v: Vm): void {
  const id = ownerId();
  own(v, id < table.count ? vm(id) : v);
  const before = tsc();
  const c = v.context;
  cpu.armTimer(c.sliceEnd);
  const left = backend.run(c);
  v.spent += tsc() - before;
  v.leaves++;
  switch (left) {
    case Leave.Yield:
    case Leave.Stop:
      serveRequest(v, left);
      break;
    case Leave.Interrupt:
      v.interrupts++;
      break;
    case Leave.Trap:
      if (takeRecord().vector == Vector.MC) panic("machine check in a monitor");
      end(v, StopReason.Trap, 0);
      break;
    case Leave.Killed:
      end(v, StopReason.Killed, 0);
      break;
    case Leave.EntryFailed:
      end(v, StopReason.EntryFailed, backend.entryError());
      break;
    case Leave.Nmi:
      say(warning().str("NMI, number ").dec(cpu.nmis()));
      break;
    case Leave.MachineCheck:
      panic("machine check");
      break;
    default:
      end(v, StopReason.None, left);
  }
  limit(v);
}

/** Ends a VM whose time is up. */
function limit(v: Vm): void {
  if (v.alive && options.limit != 0 && v.spentBefore + v.spent + v.waited > ticks(options.limit))
    end(v, StopReason.TimeLimit, 0);
}

/** Halts until an interrupt, or until the first VM wants to run again. */
function idle(): void {
  const before = tsc();
  let wake = before + ticks(options.limit != 0 ? min<u32>(options.limit, 1000) : 1000);
  for (let i: u32 = 0; i < table.count; i++) if (vm(i).state == State.Halted) wake = min(wake, vm(i).wake);
  cpu.armTimer(wake);
  cpu.waitForInterrupt();
  const waited = tsc() - before;
  for (let i: u32 = 0; i < table.count; i++) {
    vm(i).waited += waited;
    limit(vm(i));
  }
}

/** Wakes who has waited long enough; whether any VM is alive, and whether one can run. */
function poll(): u32 {
  const now = tsc();
  let result: u32 = 0;
  for (let i: u32 = 0; i < table.count; i++) {
    const v = vm(i);
    if (v.state == State.Halted && v.wake <= now) v.state = State.Ready;
    if (v.alive) result |= 1;
    if (v.state == State.Ready) result |= 2;
  }
  return result;
}

/** The VM to run: the one that runs until its slice is over, then the next that is ready. */
function choose(current: Vm): Vm {
  const now = tsc();
  if (current.state == State.Ready && now < current.context.sliceEnd) return current;
  let n = current.id;
  do n = (n + 1) % table.count;
  while (vm(n).state != State.Ready);
  vm(n).context.sliceEnd = now + ticks(options.slice);
  return vm(n);
}

/** Returns when every VM has ended. */
export function schedule(): void {
  let current = vm(0);
  for (;;) {
    serveInterrupts();
    const what = poll();
    if (what == 0) return;
    if (what & 2) {
      current = choose(current);
      runOnce(current);
    } else {
      idle();
    }
  }
}
