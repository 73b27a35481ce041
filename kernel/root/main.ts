/** Root's entry points: the boot, and faults in root itself. */
import { banner } from "./version";
import { bit } from "../lib/bits";
import { Text } from "../lib/text";
import * as cpuid from "../machine/cpuid";
import * as image from "../machine/image";
import { tsc } from "../machine/time";
import { readAcpi } from "./acpi/list";
import { madt } from "./acpi/madt";
import { apicId, apicPage, disablePics, enableApic, resetIoapic } from "./apic";
import * as backend from "./backend";
import { Memory, TEXT_BYTES, boot, module, readBoot, region } from "./boot";
import { bringUp, joinCpu, open } from "./bringup";
import { calibrate, clock, ticks } from "./clock";
import { cpuAt, cpus } from "./cpus";
import { HUGE, LARGE, addMemory, frames, reserveMemory } from "./frames";
import { hardenCpu } from "./harden";
import { Level, NONE, debug, error, info, ring, say, settings, warning } from "./log";
import { Preflight, options, readOptions, setDefaults } from "./options";
import { finish, finishDone, panicByMachineCheck, quiesce } from "./panic";
import { EARLY_END, physicalEnd } from "./physical";
import { clearBusMasters } from "./busmaster";
import { describeCores } from "./preflight/processors";
import { Readable, report } from "./preflight/report";
import { printSummary, printSurvey, survey } from "./preflight/survey";
import { identify } from "./processor";
import { cause, reportTrap, takeRecord } from "./report";
import { readSettings } from "./settings";
import { start as startVm } from "./end";
import { hasLateDeadlines } from "./errata";
import { schedule } from "./scheduler";
import { screen } from "./screen/screen";
import { enterRootSpace } from "./space";
import { enableExtendedState } from "./switch";
import { completeConsoles, openConsoles } from "./opening";
import { wait } from "./uart";
import { startTimer, chooseTimer } from "./timer";
import { table, vm } from "./vm";
import { startWatchdog } from "./watchdog";
import { openMachineChecks } from "./machinecheck";
import { Vector } from "../x86/vector";
import { openDebugger, waitForDebugger } from "./debugger";
import { readModules } from "./modules";

const why = changetype<Text>(memory.data(16));
const WHY: u32 = 320;
/** Milliseconds. */
const UART_WAIT: u32 = 3000;
const whyBuffer = memory.data(320);
const regs = memory.data(16, 4);

/** Says what is missing and halts. */
function refuse(text: Text): void {
  say(error().str("refused: ").bytes(text.start, text.length));
  finish();
}

/** The same when it is the machine that cannot run guests: what it offers comes first. */
function refuseMachine(text: Text): void {
  survey(Readable.All, false, text);
  printSurvey(true);
  refuse(text);
}

/** What command line, table and summary say of the machine, when all is known that is needed for guests. */
function tellSurvey(): void {
  survey(Readable.All, true, reason());
  if (options.preflight == Preflight.Summary) return printSummary();
  printSurvey(false);
  if (options.preflight != Preflight.Only) return;
  say(info().str("preflight only"));
  finish();
}

function reason(): Text {
  return why.over(whyBuffer, WHY);
}

function findMemory(): void {
  frames.limit = EARLY_END;
  for (let i: u32 = 0; i < boot.regions; i++) {
    const r = region(i);
    if (r.kind == Memory.Ram) addMemory(r.base, r.end);
  }
  for (let i: u32 = 0; i < boot.regions; i++) {
    const r = region(i);
    if (r.kind != Memory.Ram) reserveMemory(r.base, r.end);
  }
  // Below 1 MiB is left to the firmware, and for other CPUs to start in.
  reserveMemory(0, 0x100000);
  reserveMemory(image.start(), image.end());
  reserveMemory(boot.infoStart, boot.infoEnd);
  for (let i: u32 = 0; i < boot.modules; i++) {
    const m = module(i);
    reserveMemory(m.start, m.end);
    // With Multiboot 1 the strings are anywhere; restarts read them again.
    reserveMemory(m.text, m.text + TEXT_BYTES);
  }
}

/** hwwatchdog=: what was asked for, or a line why not. */
function openWatchdog(): void {
  if (startWatchdog(options.hardwareWatchdog))
    say(info().str("watchdog: resets the machine after ").dec(options.hardwareWatchdog).str(" s"));
  else say(warning().str("hwwatchdog=: no watchdog of this machine's is known, or it may not reset it"));
}

/** Called once by boot/start.asm, with what the boot loader left in EAX and EBX. */
export function start(magic: u32, bootInfo: u32): void {
  const entered = tsc();
  readBoot(magic, bootInfo, reason());
  setDefaults();
  readSettings(why);
  readOptions(why);
  openConsoles();
  say(banner(info()));
  if (why.length > 0) refuse(why);
  identify();
  if (!backend.preflight(reason())) {
    readAcpi();
    refuseMachine(why);
  }

  cpuid.query(1, 0, regs);
  const x2apic = bit(load<u32>(regs, 8), 21);
  const tscDeadline = bit(load<u32>(regs, 8), 24) && !hasLateDeadlines();
  if (!bit(load<u32>(regs, 12), 9)) refuseMachine(reason().str("local APIC: not offered by this CPU"));
  cpuid.query(0x80000001, 0, regs);
  const hugePages = bit(load<u32>(regs, 12), 26);

  findMemory();
  if (!enterRootSpace(hugePages ? HUGE : LARGE, x2apic, apicPage()))
    refuse(reason().str("memory: too small"));
  frames.limit = physicalEnd();
  openMachineChecks();
  hardenCpu();
  if (!screen.openPixels()) refuse(reason().str("memory: too small"));
  if (!enableExtendedState()) refuseMachine(reason().str("XSAVE: its state is larger than 16 KiB"));
  readAcpi();
  disablePics();
  if (!enableApic(x2apic)) refuse(reason().str("memory: too small"));
  cpuAt(0).apicId = apicId();
  cpuAt(0).block = image.perCpu();
  cpus.count = 1;
  resetIoapic();
  if (!calibrate()) refuseMachine(reason().str("time: neither the PM timer nor the PIT counts"));
  chooseTimer(tscDeadline);
  startTimer();
  wait.ticks = ticks(UART_WAIT);
  say(
    info()
      .str("memory ")
      .size(frames.total)
      .str(", TSC ")
      .dec(clock.tscHz / 1000000)
      .str(" MHz from ")
      .str(clock.sourceName())
      .str(x2apic ? ", x2APIC" : ", xAPIC")
      .str(", entered at tick ")
      .dec(entered),
  );
  tellSurvey();
  completeConsoles();
  say(backend.describe(info()));
  const quiet = clearBusMasters();
  say(info().str("PCI: bus mastering turned off in ").dec(quiet).str(" functions"));
  if (!backend.enable()) refuse(reason().str(backend.name()).str(": cannot be turned on"));
  bringUp();
  say(
    describeCores(info().str("CPUs: ").dec(cpus.count).str(" of ").dec(max(madt.cpus, 1)).str(" (")).str(")"),
  );
  if (!openDebugger(NONE, reason())) refuse(why);
  if (!readModules(reason())) refuse(why);
  say(debug().str("memory in use: ").size(frames.used));
  for (let i: u32 = 0; i < table.count; i++) {
    const v = vm(i);
    if (!startVm(v)) continue;
    const text = info().str("vm").dec(i).str(": started, memory ").size(v.memory);
    if (v.tscKhz) text.str(", TSC ").dec(v.tscKhz).str(" kHz");
    say(text.str(", at tick ").dec(v.started));
  }
  waitForDebugger();
  if (options.hardwareWatchdog != 0) openWatchdog();
  open();
  screen.direct = false;
  schedule();
  say(debug().str("memory in use: ").size(frames.used));
  say(info().str("done"));
  finishDone();
}

/** Called by boot/start.asm on every CPU but the boot CPU, when bringUp() has called it. */
export function join(): void {
  joinCpu();
}

/** Called by boot/percpu.asm, on a stack of its own, after a fault in root. */
export function trap(): void {
  const record = takeRecord();
  if (record.vector == Vector.MC) panicByMachineCheck("machine check in root");
  quiesce();
  say(cause(error().str("panic: root: "), record));
  reportTrap(null, null, record);
  finish();
}

/**
 * Called by tools/doctor, never here: on a running system, with what that lets be read (Readable bits). Nothing is written but linear
 * memory, and MSRs that the caller keeps to itself. Returns where a Report is.
 */
export function doctor(magic: u32, bootInfo: u32, readable: u32): usize {
  settings.level = Level.Warning;
  settings.uart = NONE;
  setDefaults();
  readBoot(magic, bootInfo, reason());
  if (!(readable & Readable.Memory)) reason();
  readOptions(why);
  identify();
  readAcpi();
  let able: bool = why.length == 0;
  if (able && ((readable & Readable.Msr) != 0 || !backend.isOffered())) able = backend.preflight(why);
  survey(readable, able, why);
  report.log = ring.start;
  report.logLength = min(ring.head, ring.size);
  return changetype<usize>(report);
}
