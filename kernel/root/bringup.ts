/**
 * Brings the machine's other CPUs to root, one at a time (SDM Vol. 3A 9.4, Multiple-Processor Initialization): INIT, two
 * SIPIs, boot/start.asm, join(). A CPU that does not come, or is not like the boot CPU, is refused by name.
 */
import {
  MAX_CPUS,
  PANIC_STACK_END,
  PERCPU_AREA,
  PERCPU_SLOT,
  ROOT_STACK_AREA,
  ROOT_STACK_SLOT,
} from "../abi/address";
import { PERCPU_GDT, PERCPU_GDT_POINTER, PERCPU_TSS, PerCpu, TRAMPOLINE_BYTES } from "../abi/percpu";
import { Hpa } from "../lib/addr";
import { Text } from "../lib/text";
import { or32, pause, swap32 } from "../machine/atomic";
import * as cpu from "../machine/cpu";
import * as image from "../machine/image";
import { send } from "../machine/ipi";
import * as msr from "../machine/msr";
import * as phys from "../machine/phys";
import { tsc } from "../machine/time";
import * as Msr from "../x86/msr";
import { cpuApicId, madt } from "./acpi/madt";
import { apic, apicId, apicPage, enableApic } from "./apic";
import * as backend from "./backend";
import { isRam } from "./boot";
import { clock, ticks } from "./clock";
import { Cpu, Ipi, cpuAt, cpus, thisCpu } from "./cpus";
import { NO_FRAME } from "./frames";
import { hardenCpu } from "./harden";
import { NONE, info, say, warning } from "./log";
import { openMachineChecks } from "./machinecheck";
import { options } from "./options";
import { racesCpus } from "./quirk";
import { schedule } from "./scheduler";
import { mapCpu } from "./space";
import { enableExtendedStateHere } from "./switch";
import { startTimer } from "./timer";

/** Where the trampoline is put meanwhile; what is there is put back. */
const PAGE_AT: Hpa = 0x8000;
const PAGE: u32 = 4096;
const PAGE_VECTOR: u32 = 8;
/** Milliseconds: after INIT, and in which a CPU has to come, by the clock of an emulator's host if need be. */
const INIT_WAIT: u32 = 10;
const PATIENCE: u32 = 3000;
const TSS_SIZE: u64 = 104;
const TSS_SELECTOR: u64 = 0x18;
const TSS_AVAILABLE: u64 = 0x89;
const IST1: u64 = 36;
/** Looks at the other CPU's TSC. */
const ROUNDS: u32 = 16;

/** How far the CPU that comes is. */
namespace Step {
  export const Called: u32 = 0;
  /** It runs, and is like the boot CPU. */
  export const Came: u32 = 1;
  /** It is not: `why` says what is missing. */
  export const Differs: u32 = 2;
  /** It may take part. */
  export const Go: u32 = 3;
  export const Refused: u32 = 4;
}


@unmanaged
class Joining {
  /** What the CPUs that came before it may not do yet. */
  open: u32;
  step: u32;
  /** TSC: the boot CPU asks by an odd number, the other one answers by the next. */
  round: u32;
  deadline: u32;
  tsc: u64;
  pat: u64;
}
const joining = changetype<Joining>(memory.data(32, 8));
const saved = memory.data(4096);
const why = changetype<Text>(memory.data(16));
const whyBuffer = memory.data(160);

function at(offset: usize): usize {
  return changetype<usize>(joining) + offset;
}

/** Words that another CPU writes are read by an instruction that no compiler moves or leaves out. */
function look(offset: usize): u32 {
  return or32(at(offset), 0);
}

function set(offset: usize, value: u32): void {
  swap32(at(offset), value);
}

function wait(time: u64): void {
  const end = tsc() + time;
  while (tsc() < end) pause();
}

/** The GDT's two entries of a TSS (SDM Vol. 3A 8.2.3, TSS Descriptor in 64-bit Mode). */
function setTss(gdt: Hpa, tss: u64): void {
  const low =
    (TSS_SIZE - 1) | ((tss & 0xffffff) << 16) | (TSS_AVAILABLE << 40) | (((tss >> 24) & 0xff) << 56);
  phys.store64(gdt + TSS_SELECTOR, low);
  phys.store64(gdt + TSS_SELECTOR + 8, tss >> 32);
}

/** Makes the CPU's page from the boot CPU's, and its stacks. False when memory ran out. */
function prepare(c: Cpu): bool {
  c.block = mapCpu(c.number);
  if (c.block == NO_FRAME) return false;
  phys.copy(c.block, image.perCpu(), PAGE);
  const tss = c.block + PERCPU_TSS;
  setTss(c.block + PERCPU_GDT, c.tss);
  const slot = PERCPU_AREA + <u64>c.number * PERCPU_SLOT;
  for (let i: u64 = 0; i < 4; i++) phys.store64(tss + IST1 + 8 * i, slot + (i + 2) * PAGE);
  phys.store64(c.block + PERCPU_GDT_POINTER + 2, c.gdt);
  const stacks = ROOT_STACK_AREA + <u64>c.number * ROOT_STACK_SLOT;
  phys.fill(c.block, 0, offsetof<PerCpu>());
  phys.store64(c.block + offsetof<PerCpu>("rootStack"), stacks + ROOT_STACK_SLOT);
  phys.store64(
    c.block + offsetof<PerCpu>("rootCr3"),
    phys.load64(image.perCpu() + offsetof<PerCpu>("rootCr3")),
  );
  phys.store64(c.block + offsetof<PerCpu>("panicStack"), stacks + PANIC_STACK_END);
  phys.store32(c.block + offsetof<PerCpu>("number"), c.number);
  phys.store32(c.block + offsetof<PerCpu>("x2apic"), apic.x2 ? 1 : 0);
  return true;
}

/** Waits until the CPU has left `step`. False when it does not. */
function awaitStep(step: u32): bool {
  const end = tsc() + ticks(PATIENCE);
  while (look(offsetof<Joining>("step")) == step) {
    if (tsc() > end) return false;
    pause();
  }
  return true;
}

/**
 * How far the CPU's TSC is off at least: it must read between two of ours. Guests have one TSC for all of their vCPUs.
 * ~0 when it does not answer.
 */
function skew(): u64 {
  let most: u64 = 0;
  for (let i: u32 = 0; i < ROUNDS; i++) {
    const end = tsc() + ticks(PATIENCE);
    const before = tsc();
    set(offsetof<Joining>("round"), 2 * i + 1);
    while (look(offsetof<Joining>("round")) != 2 * i + 2) {
      if (tsc() > end) return ~(<u64>0);
      pause();
    }
    const after = tsc();
    const its = joining.tsc;
    if (its < before) most = max(most, before - its);
    if (its > after) most = max(most, its - after);
  }
  return most;
}

function answerSkew(): void {
  for (let i: u32 = 0; i < ROUNDS; i++) {
    while (look(offsetof<Joining>("round")) != 2 * i + 1) {
      if (look(offsetof<Joining>("step")) == Step.Refused) return;
      pause();
    }
    joining.tsc = tsc();
    set(offsetof<Joining>("round"), 2 * i + 2);
  }
}

/** Calls the CPU. Whether it is there and like this one. */
function call(c: Cpu): bool {
  why.over(whyBuffer, 160);
  if (!prepare(c)) {
    why.str("memory: too small");
    return false;
  }
  set(offsetof<Joining>("step"), Step.Called);
  set(offsetof<Joining>("round"), 0);
  phys.store64(image.perCpu() + offsetof<PerCpu>("joining"), c.perCpu);
  send(c.apicId, Ipi.INIT);
  wait(ticks(INIT_WAIT));
  send(c.apicId, Ipi.SIPI | PAGE_VECTOR);
  wait(clock.tscHz / 5000);
  if (look(offsetof<Joining>("step")) == Step.Called) send(c.apicId, Ipi.SIPI | PAGE_VECTOR);
  if (!awaitStep(Step.Called)) why.str("does not come");
  else if (look(offsetof<Joining>("step")) == Step.Came) {
    const off = skew();
    if (off == 0) {
      set(offsetof<Joining>("step"), Step.Go);
      return true;
    }
    why.str("its TSC is ").dec(off).str(" ticks off");
  }
  set(offsetof<Joining>("step"), Step.Refused);
  // If it still comes it finds itself waiting for a SIPI.
  send(c.apicId, Ipi.INIT);
  return false;
}

/** Called by main.ts on the boot CPU, when it is ready for guests. The others wait until open(). */
export function bringUp(): void {
  // The debugger has one CPU's registers.
  const most: u32 = options.debug != NONE ? 1 : options.cpus;
  const known = min(madt.cpus, MAX_CPUS);
  if (most == 1 || known < 2) return;
  if (!isRam(PAGE_AT)) {
    say(warning().str("CPUs: no memory at ").hex(PAGE_AT).str(" for others to start in"));
    return;
  }
  joining.pat = msr.read(Msr.IA32_PAT);
  phys.read(PAGE_AT, saved, PAGE);
  phys.copy(PAGE_AT, image.trampoline(), TRAMPOLINE_BYTES);
  for (let n: u32 = 0; n < known && cpus.count < most; n++) {
    const c = cpuAt(cpus.count);
    if (cpuApicId(n) == cpuAt(0).apicId) continue;
    c.number = cpus.count;
    c.apicId = cpuApicId(n);
    if (call(c)) cpus.count++;
    else
      say(
        warning()
          .str("CPU with APIC id ")
          .dec(c.apicId)
          .str(": ")
          .bytes(why.start, why.length)
          .str(", not used"),
      );
  }
  phys.write(PAGE_AT, saved, PAGE);
  if (!racesCpus()) return;
  cpus.first = 1;
  say(info().str("CPU 0 runs no VMs: in QEMU's emulator the other CPUs spoil its nested paging"));
}

/** Lets the other CPUs run vCPUs. */
export function open(): void {
  set(offsetof<Joining>("open"), 1);
}

/** Makes this CPU as the boot CPU is. */
function become(): bool {
  openMachineChecks();
  hardenCpu();
  enableExtendedStateHere();
  msr.write(Msr.IA32_PAT, joining.pat);
  // All have it at the same place: each space maps it once.
  if (apicPage() != apic.page) {
    why.str("its local APIC is at ").hex(apicPage());
    return false;
  }
  enableApic(apic.x2);
  startTimer();
  if (apicId() != thisCpu().apicId) {
    why.str("its APIC id is ").dec(apicId());
    return false;
  }
  return backend.join(why);
}

/** What boot/start.asm calls on every other CPU: never returns. The boot CPU does nothing but wait until it has come. */
export function joinCpu(): void {
  if (!become()) {
    set(offsetof<Joining>("step"), Step.Differs);
    cpu.halt();
  }
  set(offsetof<Joining>("step"), Step.Came);
  answerSkew();
  while (look(offsetof<Joining>("step")) == Step.Came) pause();
  if (look(offsetof<Joining>("step")) == Step.Refused) cpu.halt();
  while (!look(offsetof<Joining>("open"))) pause();
  schedule();
}
