/**
 * ACPI fixed hardware (ACPI 6.4, 4.8.3): power-management event and control registers and the 32-bit timer. Time is the
 * caller's: a count of the timer's own clock, 3.579545 MHz.
 *
 *   0  rw1c PM1 status (16)   2  rw PM1 enable (16)   4  rw PM1 control (16)   8  r PM timer (32)
 */

const STATUS_TIMER: u32 = 1;
const STATUS_POWER_BUTTON: u32 = 1 << 8;
/** Defined bits: timer, global lock, power button, sleep button, clock. */
const ENABLE_MASK: u32 = 0x0721;
const CONTROL_SCI: u32 = 1;
/** BM_RLD and SLP_TYP; GBL_RLS and SLP_EN are write-only and read as 0. */
const CONTROL_MASK: u32 = 0x1c02;
const CONTROL_SLEEP: u32 = 1 << 13;
const TIMER_HALF: u64 = 0x80000000;
/** SLP_TYP of S5 in our _S5_ package (monitor/acpi.ts). */
export const SLEEP_OFF: u32 = 5;


@unmanaged
export class Pm {
  status: u32;
  enable: u32;
  control: u32;
  padding: u32;
  /** Timer value up to which overflows are noted. */
  seen: u64;
}

const pm = changetype<Pm>(memory.data(24, 8));

/** The SCI is enabled from the start: there is no SMI to switch it on. */
export function resetPm(): void {
  pm.control = CONTROL_SCI;
}

/** Notes that the timer's top bit has changed. */
export function updatePm(now: u64): void {
  if (now / TIMER_HALF != pm.seen / TIMER_HALF) pm.status |= STATUS_TIMER;
  pm.seen = now;
}

/** The power button of the fixed hardware (4.8.2.2.1.1) is pressed: the guest decides what that means. */
export function pressPowerButton(): void {
  pm.status |= STATUS_POWER_BUTTON;
}

/** When the status next changes by itself, if that interrupts; ~0 for never. */
export function nextPmInterrupt(): u64 {
  return pm.enable & ~pm.status & STATUS_TIMER ? (pm.seen / TIMER_HALF + 1) * TIMER_HALF : ~(<u64>0);
}

/** The SCI. */
export function pmLine(): bool {
  return (pm.status & pm.enable) != 0;
}

/** One byte of the register block. */
export function readPm(offset: u32, now: u64): u32 {
  updatePm(now);
  if (offset >= 8) return (<u32>(now >> ((offset - 8) * 8))) & 0xff;
  const register = offset < 2 ? pm.status : offset < 4 ? pm.enable : offset < 6 ? pm.control : 0;
  return (register >> ((offset & 1) * 8)) & 0xff;
}

/** Writes one byte; true when the guest has switched itself off. */
export function writePm(offset: u32, value: u32, now: u64): bool {
  updatePm(now);
  const shift = (offset & 1) * 8;
  const mask: u32 = 0xff << shift;
  const wide = value << shift;
  if (offset < 2) pm.status &= ~wide;
  else if (offset < 4) pm.enable = ((pm.enable & ~mask) | wide) & ENABLE_MASK;
  else if (offset < 6) {
    const control = (pm.control & ~mask) | wide;
    pm.control = (control & CONTROL_MASK) | CONTROL_SCI;
    return (control & CONTROL_SLEEP) != 0 && ((control >> 10) & 7) == SLEEP_OFF;
  }
  return false;
}

/** Where its state is, for the debugger. */
export function pmState(): usize {
  return changetype<usize>(pm);
}
