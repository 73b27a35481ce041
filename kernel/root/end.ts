/** Why VMs come to life and to an end. A VM ends when every CPU has let go of its vCPUs: then its memory is given back. */
import { Stop } from "../abi/debug";
import { LoadError, StopReason } from "../abi/stop";
import { Text } from "../lib/text";
import { pause } from "../machine/atomic";
import * as cpu from "../machine/cpu";
import * as backend from "./backend";
import { drain } from "./console";
import { printCost } from "./cost";
import { kick } from "./cpus";
import { debugging, stop } from "./debugger";
import { resetDebug } from "./guestdebug";
import { acquire, release } from "./lock";
import { error, info, say } from "./log";
import { options } from "./options";
import { cause, reportTrap, reportVcpu, takeRecord } from "./report";
import { disown, resetState } from "./switch";
import { State, Vcpu, vcpu } from "./vcpus";
import { Failure, Vm, create, destroy, table, vm } from "./vm";

/** Starts, or starts again, a VM that is set up. False when it cannot be made. */
export function start(v: Vm): bool {
  const failure = create(v);
  if (failure == Failure.None) {
    for (let n: u32 = 0; n < v.vcpus; n++) resetState(v.vcpu(n));
    for (let n: u32 = 0; n < v.vcpus; n++) if (v.vcpu(n).cpu != cpu.number()) kick(v.vcpu(n).cpu);
    resetDebug(v);
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
    case StopReason.Debugger:
      return "ended by the debugger";
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
    case LoadError.UnknownFormat:
      return "it is no bzImage, no PVH ELF file and no multiboot kernel";
    case LoadError.WrongMachine:
      return "it is an ELF file, but not for x86";
    case LoadError.NotExecutable:
      return "it is an ELF file, but no executable";
    case LoadError.BadHeaders:
      return "its program headers have an unknown size";
    case LoadError.NoPvhEntry:
      return "it is a 64-bit ELF file without a PVH entry point";
    case LoadError.NoEntry32:
      return "it is a 32-bit ELF file without a PVH entry point or a multiboot header";
    case LoadError.TooManyParts:
      return "it has too many parts";
    case LoadError.PartTooLarge:
      return "one of its parts is larger in the file than in memory";
    case LoadError.OutsideMemory:
      return "it wants to be where the guest has no memory";
    case LoadError.MeetsTables:
      return "it wants to be where the guest's tables are";
    case LoadError.MeetsInitrd:
      return "it wants to be where its initrd is";
    case LoadError.PartsOverlap:
      return "its parts overlap";
    case LoadError.EntryOutside:
      return "its entry point is outside of it";
    case LoadError.MultibootVideo:
      return "its multiboot header demands a video mode";
    case LoadError.MultibootDemands:
      return "its multiboot header demands what is unknown";
    case LoadError.MultibootAddresses:
      return "its multiboot header's addresses make no sense";
    default:
      return "no reason known";
  }
}

function detail(out: Text, p: Vcpu, reason: u32, value: u64): Text {
  if (reason == StopReason.LoadFailed) return out.str(": ").str(loadErrorName(value));
  if (reason == StopReason.EntryRefused) {
    out.str(": ");
    backend.explainEntry(p.context, out);
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
  if (reason == StopReason.Debugger) return out;
  if (reason == StopReason.Trap || reason == StopReason.Killed) return out;
  return out.str(" (").hex(value).str(")");
}

/** This CPU lets go of a vCPU that does not run. */
function letGo(p: Vcpu): void {
  disown(p);
  if (p.context.vmcb != 0) backend.destroyVcpu(p.context);
  p.loaded = 0;
}

/** Lets go of all vCPUs that live here and whose VM is ending: what endings wait for. */
export function acknowledgeEndings(): void {
  const here = cpu.number();
  for (let i: u32 = 0; i < table.vcpus; i++) {
    const p = vcpu(i);
    if (p.loaded && p.cpu == here && vm(p.vm).state == State.Ending) letGo(p);
  }
}

/** Waits until no other CPU has any of the VM's vCPUs. Another CPU that ends a VM may wait for this one meanwhile. */
function gather(v: Vm): void {
  const here = cpu.number();
  v.state = State.Ending;
  for (let n: u32 = 0; n < v.vcpus; n++) {
    const p = v.vcpu(n);
    if (p.cpu == here) continue;
    if (p.loaded) kick(p.cpu);
    while (p.loaded) {
      release();
      pause();
      acquire();
      acknowledgeEndings();
    }
  }
}

/** Ends the VM for a reason that its vCPU `p` has, with what there is to say about it, and starts it again if it was a reset. */
export function end(p: Vcpu, reason: u32, value: u64): void {
  const v = vm(p.vm);
  // Another CPU has found a reason of its own.
  if (!v.alive) return;
  gather(v);
  drain(v);
  const orderly =
    reason == StopReason.PoweredOff || reason == StopReason.Reset || reason == StopReason.Debugger;
  const reset = reason == StopReason.Reset || reason == StopReason.TripleFault;
  const again = reset && options.reboot != 0;
  const out = orderly ? info() : error();
  out
    .str("vm")
    .dec(v.id)
    .str(again ? ": restarts: " : ": ended: ")
    .str(stopName(reason));
  if (reason == StopReason.Trap) cause(out.str(": "), takeRecord());
  else detail(out, p, reason, value);
  say(out);
  if (reason == StopReason.Trap || reason == StopReason.Killed) reportTrap(v, p, takeRecord());
  if (!orderly) reportVcpu(v, p);
  printCost(v);
  v.state = State.Ended;
  if (debugging() && !again) stop(Stop.Ended, v.id, p.number, reason, 0);
  for (let n: u32 = 0; n < v.vcpus; n++) letGo(v.vcpu(n));
  const spent = v.vcpu(0).spent;
  destroy(v);
  if (again) {
    v.spentBefore += spent;
    start(v);
  } else {
    // It may be the last one: the boot CPU says so.
    kick(0);
  }
}
