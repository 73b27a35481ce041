/**
 * The chipset's watchdog, where there is one that is known: Intel's TCO timer, of ICH6 to the 9 series' PCHs (Intel I/O Controller Hub 9
 * datasheet, 316972, 13.9, System Management TCO Registers). It counts down twice before it resets the machine, unless root comes by.
 */
import { loadDevice32, storeDevice32 } from "../machine/phys";
import { in16, out16 } from "../machine/port";
import { NO_DEVICE, read } from "./pci";
import { ensureDevice } from "./space";

/** Device 31, function 0 of bus 0: the LPC bridge (13.1), and its registers. */
const LPC: u32 = 31 << 3;
const PMBASE: u32 = 0x40;
const ACPI_CNTL: u32 = 0x44;
const ACPI_EN: u32 = 1 << 7;
const RCBA: u32 = 0xf0;
/** 10.1.75, GCS: General Control and Status Register, by memory; its bit No Reboot. */
const GCS: u32 = 0x3410;
const NO_REBOOT: u32 = 1 << 5;
const TCO: u32 = 0x60;

/** Ports from the TCO's base on. */
namespace Port {
  export const RELOAD: u32 = 0x00;
  export const STATUS1: u32 = 0x04;
  export const STATUS2: u32 = 0x06;
  export const CONTROL1: u32 = 0x08;
  export const TIMER: u32 = 0x12;
}
const TIMEOUT: u32 = 1 << 3;
const SECOND_TIMEOUT: u32 = 1 << 1;
const HALT: u32 = 1 << 11;
const TIMER_MASK: u32 = 0x3ff;

export namespace WatchdogKind {
  export const None: u32 = 0;
  export const Tco: u32 = 1;
  /** Intel's, of a chipset that keeps it elsewhere. */
  export const LaterTco: u32 = 2;
}


@unmanaged
class Watchdog {
  /** One of WatchdogKind. */
  kind: u32;
  /** Ports; 0 while it does not run. */
  base: u32;
}

export const watchdog = changetype<Watchdog>(memory.data(8, 4));

/** Device ids of LPC bridges: ICH6, 7, 8, 9, 10, and PCHs of the 5 to 9 series. */
function isKnown(id: u32): bool {
  const group = id & 0xffe0;
  return (
    (id >= 0x2640 && id <= 0x2642) ||
    (id >= 0x27b0 && id <= 0x27bd) ||
    (id >= 0x2810 && id <= 0x2815) ||
    (id >= 0x2910 && id <= 0x2919) ||
    (id >= 0x3a10 && id <= 0x3a1a) ||
    group == 0x3b00 ||
    group == 0x1c40 ||
    group == 0x1e40 ||
    group == 0x8c40 ||
    group == 0x8cc0 ||
    group == 0x9c40
  );
}

/** Looks for one. */
export function findWatchdog(): void {
  const id = read(LPC, 0);
  watchdog.kind = WatchdogKind.None;
  if (id == NO_DEVICE || (id & 0xffff) != 0x8086 || read(LPC, 8) >> 16 != 0x0601) return;
  watchdog.kind = isKnown(id >> 16) ? WatchdogKind.Tco : WatchdogKind.LaterTco;
}

/** Whether a No Reboot strap or bit, which firmware may lock, lets it reset the machine. */
function allowReboot(): bool {
  const root = read(LPC, RCBA);
  const at = <u64>(root & 0xffffc000) + GCS;
  if (!(root & 1) || !ensureDevice(at)) return false;
  storeDevice32(at, loadDevice32(at) & ~NO_REBOOT);
  return !(loadDevice32(at) & NO_REBOOT);
}

/** Starts it: the machine is reset `seconds` after root was last here, at most. False when there is none, or it may not reset. */
export function startWatchdog(seconds: u32): bool {
  const base = read(LPC, PMBASE) & 0xff80;
  if (watchdog.kind != WatchdogKind.Tco || base == 0 || !(read(LPC, ACPI_CNTL) & ACPI_EN) || !allowReboot())
    return false;
  watchdog.base = base + TCO;
  // A tick is 0.6 s.
  const ticks = (seconds * 5) / 6;
  out16(watchdog.base + Port.TIMER, (in16(watchdog.base + Port.TIMER) & ~TIMER_MASK) | ticks);
  feedWatchdog();
  out16(watchdog.base + Port.STATUS1, TIMEOUT);
  out16(watchdog.base + Port.STATUS2, SECOND_TIMEOUT);
  out16(watchdog.base + Port.CONTROL1, in16(watchdog.base + Port.CONTROL1) & ~HALT);
  return true;
}

/** Makes it count from the start. */
export function feedWatchdog(): void {
  if (watchdog.base != 0) out16(watchdog.base + Port.RELOAD, 1);
}

export function stopWatchdog(): void {
  if (watchdog.base == 0) return;
  out16(watchdog.base + Port.CONTROL1, in16(watchdog.base + Port.CONTROL1) | HALT);
  watchdog.base = 0;
}
