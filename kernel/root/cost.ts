/** What a VM cost since it was last started, printed when it ends or restarts: exits by reason, time, memory. */
import { EXIT_COUNTERS, Exit, REFUSAL_COUNTERS, Refusal } from "../abi/exit";
import { RunArea } from "../abi/run";
import { Text } from "../lib/text";
import * as phys from "../machine/phys";
import { tsc } from "../machine/time";
import { clock } from "./clock";
import { cpus } from "./cpus";
import { info, say } from "./log";
import { Vcpu } from "./vcpus";
import { Vm } from "./vm";

function exitName(kind: u32): string {
  switch (kind) {
    case Exit.Cpuid:
      return "cpuid";
    case Exit.Port:
      return "port";
    case Exit.ReadMsr:
      return "rdmsr";
    case Exit.WriteMsr:
      return "wrmsr";
    case Exit.ControlRegister:
      return "cr";
    case Exit.Halt:
      return "hlt";
    case Exit.Memory:
      return "memory";
    case Exit.Exception:
      return "exception";
    case Exit.InterruptWindow:
      return "interrupt-window";
    case Exit.NmiWindow:
      return "nmi-window";
    case Exit.SetXcr:
      return "xsetbv";
    case Exit.CacheControl:
      return "wbinvd";
    case Exit.ReadCounter:
      return "rdpmc";
    case Exit.Undefined:
      return "undefined";
    case Exit.TripleFault:
      return "triple-fault";
    case Exit.TaskSwitch:
      return "task-switch";
    case Exit.Refused:
      return "entry-refused";
    case Exit.Preempted:
      return "preempted";
    case Exit.Pause:
      return "pause";
    case Exit.DebugRegister:
      return "dr";
    case Exit.Refetched:
      return "refetched";
    case Exit.Wanted:
      return "wanted";
    case Exit.Apic:
      return "apic";
    default:
      return "other";
  }
}

function refusalName(kind: u32): string {
  switch (kind) {
    case Refusal.UnknownMsr:
      return "unknown-msr";
    case Refusal.UnclaimedPort:
      return "unclaimed-port";
    case Refusal.UnclaimedMemory:
      return "unclaimed-memory";
    default:
      return "undefined-instruction";
  }
}

function begin(v: Vm): Text {
  return info().str("vm").dec(v.id).str(": cost: ");
}

/** Milliseconds of a time in TSC ticks. */
function milliseconds(ticks: u64): u64 {
  return ticks / (clock.tscHz / 1000);
}

/** A counter of all vCPUs' areas: a monitor's words, so it is only printed. */
function counter(v: Vm, base: u32, n: u32): u64 {
  let sum: u64 = 0;
  for (let i: u32 = 0; i < v.vcpus; i++) sum += phys.load64(v.linear(v.vcpu(i).area + base + n * 8));
  return sum;
}

/** TSC ticks that it has run: without those for which, by its monitor's word, its CPU was halted. */
function ran(v: Vm, p: Vcpu): u64 {
  const rested = phys.load64(v.linear(p.area + offsetof<RunArea>("rested")));
  return p.spent - min(rested, p.spent);
}

/** Where the vCPUs have lived, and how long each has run. */
function printVcpus(v: Vm): void {
  const out = begin(v).str("vCPUs:");
  for (let i: u32 = 0; i < v.vcpus; i++) {
    const p = v.vcpu(i);
    out
      .str(i ? ", " : " ")
      .dec(i)
      .str(" on CPU ")
      .dec(p.cpu)
      .str(" ")
      .dec(milliseconds(ran(v, p)))
      .str(" ms");
  }
  say(out);
}

export function printCost(v: Vm): void {
  let spent: u64 = 0;
  let leaves: u32 = 0;
  let interrupts: u32 = 0;
  for (let i: u32 = 0; i < v.vcpus; i++) {
    spent += ran(v, v.vcpu(i));
    leaves += v.vcpu(i).leaves;
    interrupts += v.vcpu(i).interrupts;
  }
  let total: u64 = 0;
  for (let i: u32 = 0; i < Exit.Count; i++) total += counter(v, EXIT_COUNTERS, i);
  const out = begin(v).str("exits ").dec(total).str(":");
  for (let i: u32 = 0; i < Exit.Count; i++) {
    const n = counter(v, EXIT_COUNTERS, i);
    if (n > 0) out.str(" ").str(exitName(i)).str(" ").dec(n);
  }
  say(out);
  say(begin(v).str("times in root ").dec(leaves).str(", by host interrupts ").dec(interrupts));
  const refused = begin(v).str("refused:");
  for (let i: u32 = 0; i < Refusal.Count; i++) {
    refused
      .str(" ")
      .str(refusalName(i))
      .str(" ")
      .dec(counter(v, REFUSAL_COUNTERS, i));
  }
  say(refused);
  const elapsed = tsc() - v.started;
  say(
    begin(v)
      .str("ticks ")
      .dec(elapsed)
      .str(" (")
      .dec(milliseconds(elapsed))
      .str(" ms), running ")
      .dec(spent)
      .str(" (")
      .dec(milliseconds(spent))
      .str(" ms)"),
  );
  if (cpus.count > 1) printVcpus(v);
  say(
    begin(v).str("memory of the guest ").size(v.memory).str(", of the hypervisor for it ").size(v.overhead),
  );
}
