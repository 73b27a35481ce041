/** Root's entry points: the boot, and faults in root itself. */
import { banner } from "./version";
import { STRIKES } from "../abi/percpu";
import { VECTOR_DEVICE } from "../abi/vector";
import { bit } from "../lib/bits";
import { Text } from "../lib/text";
import * as cpu from "../machine/cpu";
import * as cpuid from "../machine/cpuid";
import * as image from "../machine/image";
import { tsc } from "../machine/time";
import { Cr4 } from "../x86/cr";
import { readAcpi } from "./acpi";
import { apicPage, enableApic, enableTimer, resetIoapic, routeIrq } from "./apic";
import * as backend from "./backend";
import { Memory, TEXT_BYTES, boot, module, readBoot, region } from "./boot";
import { calibrate, clock, ticks } from "./clock";
import { HUGE, LARGE, addMemory, frames, reserveMemory } from "./frames";
import { NONE, debug, error, info, say, settings, warning } from "./log";
import { options, readOptions } from "./options";
import { finish, quiesce } from "./panic";
import { EARLY_END, physicalEnd } from "./physical";
import { clearBusMasters } from "./pci";
import { cause, reportTrap, takeRecord } from "./report";
import { schedule, start as startVm } from "./scheduler";
import { screen } from "./screen";
import { enterRootSpace } from "./space";
import { enableExtendedState } from "./switch";
import { comIrq, comPort, uart, wait } from "./uart";
import { table, vm } from "./vm";
import { readModules } from "./modules";

const why = changetype<Text>(memory.data(16));
const WHY: u32 = 240;
/** Milliseconds. */
const UART_WAIT: u32 = 3000;
const whyBuffer = memory.data(240);
const regs = memory.data(16, 4);

/** Says what is missing and halts: this machine cannot run guests. */
function refuse(text: Text): void {
  say(error().str("refused: ").bytes(text.start, text.length));
  finish();
}

function reason(): Text {
  return why.over(whyBuffer, WHY);
}

function openConsole(): void {
  settings.level = options.level;
  settings.uart = options.console;
  if (
    options.console != NONE &&
    !uart(options.console).open(comPort(options.console), comIrq(options.console), options.baud)
  ) {
    settings.uart = NONE;
  }
  if (options.guestConsole != NONE && options.guestConsole != options.console) {
    const u = uart(options.guestConsole);
    u.open(comPort(options.guestConsole), comIrq(options.guestConsole), options.baud);
  }
  screen.open(options.vga);
}

/** Uses a UART's interrupt if the machine routes it; else the timer's tick serves it. */
function interruptsOf(n: u32): void {
  const irq = comIrq(n);
  if (n == NONE || !uart(n).enabled) return;
  if (routeIrq(irq, VECTOR_DEVICE + irq)) uart(n).useInterrupts();
  else
    say(
      warning()
        .str("COM")
        .dec(n + 1)
        .str(": no interrupt line, it is served by the timer"),
    );
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

/** CPU features that the hypervisor uses for itself where they are there. */
function hardenCpu(): void {
  let cr4 = cpu.readCr4() | Cr4.PGE | Cr4.MCE;
  cpuid.query(0, 0, regs);
  if (load<u32>(regs) >= 7) {
    cpuid.query(7, 0, regs);
    const features = load<u32>(regs, 4);
    if (bit(features, 7)) cr4 |= Cr4.SMEP;
    if (bit(features, 20)) cr4 |= Cr4.SMAP;
  }
  cpu.writeCr4(cr4);
}

/** Called once by boot/start.asm, with what the boot loader left in EAX and EBX. */
export function start(magic: u32, bootInfo: u32): void {
  const entered = tsc();
  readBoot(magic, bootInfo, reason());
  readOptions(why);
  openConsole();
  say(banner(info()));
  if (why.length > 0) refuse(why);
  if (!backend.preflight(reason())) refuse(why);

  cpuid.query(1, 0, regs);
  const x2apic = bit(load<u32>(regs, 8), 21);
  const tscDeadline = bit(load<u32>(regs, 8), 24);
  if (!bit(load<u32>(regs, 12), 9)) refuse(reason().str("local APIC: not offered by this CPU"));
  cpuid.query(0x80000001, 0, regs);
  const hugePages = bit(load<u32>(regs, 12), 26);

  findMemory();
  if (!enterRootSpace(hugePages ? HUGE : LARGE, x2apic, apicPage()))
    refuse(reason().str("memory: too small"));
  frames.limit = physicalEnd();
  hardenCpu();
  if (!enableExtendedState()) refuse(reason().str("XSAVE: its state is larger than 16 KiB"));
  readAcpi();
  if (!enableApic(x2apic)) refuse(reason().str("memory: too small"));
  resetIoapic();
  if (!calibrate()) refuse(reason().str("time: neither the PM timer nor the PIT counts"));
  enableTimer(tscDeadline);
  wait.ticks = ticks(UART_WAIT);
  cpu.configureTimer(
    tscDeadline ? 0 : (clock.apicHz << 32) / clock.tscHz,
    x2apic,
    ticks(options.watchdog) / STRIKES,
  );
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
  interruptsOf(options.console);
  if (options.guestConsole != options.console) interruptsOf(options.guestConsole);
  say(backend.describe(info()));
  say(info().str("PCI: bus mastering turned off in ").dec(clearBusMasters()).str(" functions"));
  if (!backend.enable()) refuse(reason().str(backend.name()).str(": cannot be turned on"));
  if (!readModules(reason())) refuse(why);
  say(debug().str("memory in use: ").size(frames.used));
  for (let i: u32 = 0; i < table.count; i++) {
    const v = vm(i);
    if (!startVm(v)) continue;
    say(info().str("vm").dec(i).str(": started, memory ").size(v.memory).str(", at tick ").dec(v.started));
  }
  schedule();
  say(debug().str("memory in use: ").size(frames.used));
  say(info().str("done"));
  finish();
}

/** Called by boot/percpu.asm, on a stack of its own, after a fault in root. */
export function trap(): void {
  const record = takeRecord();
  quiesce();
  say(cause(error().str("panic: root: "), record));
  reportTrap(null, record);
  finish();
}
