/**
 * Runs the vCPUs that live on this CPU in turn. Every CPU is here, under root's lock but for the time in which a vCPU runs or
 * there is nothing to do; the boot CPU returns, with the lock, when every VM has ended.
 */
import { Leave } from "../abi/context";
import { Request, RunArea } from "../abi/run";
import { StopReason } from "../abi/stop";
import { VECTOR_DEVICE, VECTOR_TIMER } from "../abi/vector";
import * as cpu from "../machine/cpu";
import * as phys from "../machine/phys";
import { tsc } from "../machine/time";
import { Vector } from "../x86/vector";
import { endOfInterrupt } from "./apic";
import * as backend from "./backend";
import { ticks } from "./clock";
import { drain, pollTime, serve } from "./console";
import { cpuAt, cpus, kick, thisCpu } from "./cpus";
import { debugging } from "./debugger";
import { acknowledgeEndings, end } from "./end";
import { isHeld, prepareDebug, serveDebug, stepLeft, takeKill } from "./guestdebug";
import { acquire, release } from "./lock";
import { say, warning } from "./log";
import { options } from "./options";
import { panicByMachineCheck } from "./panic";
import { takeRecord } from "./report";
import { own } from "./switch";
import { screen } from "./screen/screen";
import { keepUp } from "./upkeep";
import { State, Vcpu, vcpu } from "./vcpus";
import { Vm, table, vm } from "./vm";

/** Milliseconds. */
const DEBUG_TICK: u32 = 10;
const REMINDER: u32 = 10;
/** In place of a vCPU's index. */
const NONE: u32 = 0xffffffff;

/** A copy of what a monitor says, made once a return to root, under the lock. */
const run = changetype<RunArea>(memory.data(256, 8));

if (VECTOR_DEVICE % 64 != 0) ERROR("the devices' vectors begin within a group");

/** The vectors of a group that wait for their end of interrupt: the timer's and what other monitors send have had theirs. */
function unended(group: u32, pending: u64): u64 {
  if (group < VECTOR_DEVICE / 64) return 0;
  return group < VECTOR_TIMER / 64 ? pending : pending & (((<u64>1) << (VECTOR_TIMER % 64)) - 1);
}

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
    for (let left = unended(group, pending); left; left &= left - 1) endOfInterrupt();
  }
  // The timer serves the UARTs too: on machines whose UART has no interrupt line it is what moves the bytes.
  if (any) serve();
}

/** Tells of the NMIs that have come, wherever the CPU was. */
function tellNmis(): void {
  const here = thisCpu();
  const count = cpu.nmis();
  if (count == here.nmisTold) return;
  here.nmisTold = count;
  say(warning().str("NMI, number ").dec(count).str(", on CPU ").dec(here.number));
}

/** What the monitor asks for. Its run area is copied first and not looked at again. */
function serveRequest(v: Vm, p: Vcpu, left: u32): void {
  phys.read(v.linear(p.area), changetype<usize>(run), offsetof<RunArea>());
  if (run.apicMode != p.apicMode) {
    p.apicMode = run.apicMode;
    backend.setApicMode(p.context, run.apicMode);
  }
  if (left == Leave.Stop) {
    const known = run.stopReason >= StopReason.PoweredOff && run.stopReason < StopReason.Trap;
    end(p, known ? run.stopReason : StopReason.None, run.stopDetail);
  } else if (run.request == Request.Halt) {
    p.state = State.Halted;
    p.wake = run.wake;
  } else if (run.request == Request.Pass) {
    p.context.sliceEnd = 0;
  } else if (run.request == Request.Debug) {
    serveDebug(p, run);
  }
  if (v.alive) drain(v);
  if (left == Leave.Yield && run.request != Request.Debug && run.request != Request.Continue) stepLeft(p);
}

/** Runs the vCPU until it leaves to root for any reason. */
function runOnce(p: Vcpu): void {
  const v = vm(p.vm);
  prepareDebug(p);
  const c = p.context;
  p.loaded = 1;
  if (p.fresh) backend.forgetTranslations(c, v.nestedTop);
  p.fresh = 0;
  own(p);
  // Then interrupts that say that a vCPU is kicked are this one's.
  c.alone = cpuAt(p.cpu).load == 1 ? 1 : 0;
  const before = tsc();
  cpu.armTimer(c.sliceEnd);
  const left = backend.run(c);
  p.spent += tsc() - before;
  p.leaves++;
  switch (left) {
    case Leave.Yield:
    case Leave.Stop:
      serveRequest(v, p, left);
      break;
    case Leave.Interrupt:
      p.interrupts++;
      break;
    case Leave.Nmi:
      break;
    case Leave.Trap:
      if (takeRecord().vector == Vector.MC) panicByMachineCheck("machine check in a monitor");
      end(p, StopReason.Trap, 0);
      break;
    case Leave.Killed:
      end(p, StopReason.Killed, 0);
      break;
    case Leave.EntryFailed:
      end(p, StopReason.EntryFailed, backend.entryError());
      break;
    case Leave.MachineCheck:
      panicByMachineCheck("machine check");
      break;
    default:
      end(p, StopReason.None, left);
  }
  limit(v);
}

/** Ends a VM whose time is up. */
function limit(v: Vm): void {
  if (v.alive && options.limit != 0 && v.spentBefore + v.vcpu(0).spent + v.waited > ticks(options.limit))
    end(v.vcpu(0), StopReason.TimeLimit, 0);
}

/** So many milliseconds, or less where the boot CPU has consoles to look at, or others to remind. */
function upToPoll(longest: u32): u32 {
  if (cpu.number() != 0) return longest;
  const polled = pollTime();
  if (polled) longest = min(polled, longest);
  return cpus.first != 0 ? min(REMINDER, longest) : longest;
}

/** Where CPUs lose interrupts they get another one from the boot CPU, which has no vCPUs then (quirk.ts). */
function remind(): void {
  if (cpu.number() >= cpus.first) return;
  for (let n = cpus.first; n < cpus.count; n++) kick(n);
}

/** Ends whom the debugger wants ended: a VM that hangs has no vCPU that runs. */
function endKilled(): void {
  for (let i: u32 = 0; i < table.count; i++)
    if (vm(i).alive && takeKill(vm(i))) end(vm(i).vcpu(0), StopReason.Debugger, 0);
}

/** Halts until an interrupt, or until the first vCPU wants to run again. */
function idle(): void {
  const here = cpu.number();
  const before = tsc();
  // The debugger's line is looked at when the timer ticks, and so is what has no interrupt.
  const longest: u32 = debugging() ? DEBUG_TICK : upToPoll(1000);
  let wake = before + ticks(options.limit != 0 ? min<u32>(options.limit, longest) : longest);
  for (let i: u32 = 0; i < table.vcpus; i++) {
    const p = vcpu(i);
    if (p.cpu == here && p.state == State.Halted) wake = min(wake, p.wake);
  }
  wake = min(wake, screen.next);
  cpu.armTimer(wake);
  release();
  cpu.waitForInterrupt();
  acquire();
  remind();
  const waited = tsc() - before;
  for (let i: u32 = 0; i < table.count; i++) {
    if (vm(i).vcpu(0).cpu != here) continue;
    vm(i).waited += waited;
    limit(vm(i));
  }
}

/** Wakes who has waited long enough, or has been kicked. Bit 0: some VM is alive, bit 1: a vCPU can run here. */
function poll(): u32 {
  const here = cpu.number();
  const now = tsc();
  let result: u32 = 0;
  for (let i: u32 = 0; i < table.count; i++) if (vm(i).state != State.Ended) result |= 1;
  for (let i: u32 = 0; i < table.vcpus; i++) {
    const p = vcpu(i);
    if (p.cpu != here || !vm(p.vm).alive) continue;
    if (p.state == State.Halted && (p.wake <= now || p.isKicked)) p.state = State.Ready;
    if (p.state == State.Ready && !isHeld(p)) result |= 2;
  }
  return result;
}

function isReady(p: Vcpu): bool {
  return p.cpu == cpu.number() && p.state == State.Ready && vm(p.vm).alive && !isHeld(p);
}

/** The vCPU to run, of which there is one: the one that runs until its slice is over, then the next that is ready. */
function choose(current: u32): u32 {
  const now = tsc();
  if (current != NONE && isReady(vcpu(current)) && now < vcpu(current).context.sliceEnd) return current;
  let n = current == NONE ? 0 : current;
  do n = (n + 1) % table.vcpus;
  while (!isReady(vcpu(n)));
  vcpu(n).context.sliceEnd = now + ticks(upToPoll(options.slice));
  return n;
}

/**
 * Returns when every VM has ended, on the boot CPU; never on another. The lock stays taken: from then on nobody else runs root,
 * or the two would send to the same UARTs.
 */
export function schedule(): void {
  let current: u32 = cpu.number() == 0 ? 0 : NONE;
  acquire();
  for (;;) {
    serveInterrupts();
    tellNmis();
    acknowledgeEndings();
    keepUp();
    if (debugging()) endKilled();
    const what = poll();
    if (what == 0 && cpu.number() == 0) return;
    if (what & 2) {
      current = choose(current);
      runOnce(vcpu(current));
    } else {
      idle();
    }
  }
}
