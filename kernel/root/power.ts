/** The machine's power: off by ACPI (6.4 7.4.2.5, System \_S5 State), and reset by whatever does it. */
import * as cpu from "../machine/cpu";
import { in8, out8 } from "../machine/port";
import { fadt, pm1a, pm1b, resetRegister, sleepControl } from "./acpi/fadt";
import { sleep } from "./acpi/sleep";
import { NO_FRAME, allocateZeroed } from "./frames";

/** 4.8.3.2.1, PM1 Control Registers. */
const SCI_EN: u32 = 1 << 0;
const SLP_TYP: u32 = 10;
const SLP_TYP_MASK: u32 = 7 << SLP_TYP;
const SLP_EN: u32 = 1 << 13;
/** 4.8.3.7, Sleep Control and Status Registers. */
const REDUCED_TYP: u32 = 2;
const REDUCED_EN: u32 = 1 << 5;
/** Reads of a port that nothing depends on, each about a microsecond: nothing else tells the time at every moment. */
const LONG: u32 = 1_000_000;
const SHORT: u32 = 100_000;
const POST_CODE: u32 = 0x80;

const RESET_CONTROL: u32 = 0xcf9;
const KEYBOARD: u32 = 0x64;

/** Waits; the machine may end at any time. */
function wait(reads: u32): void {
  for (let n: u32 = 0; n < reads; n++) in8(POST_CODE);
}

/** Whether the tables say how. */
export function canPowerOff(): bool {
  return sleep.found && (fadt.reduced ? sleepControl.exists : pm1a.exists);
}

/** Takes the PM1 registers over from the firmware's SMI handler, if it has them (4.7.2.5, Legacy/ACPI Select and the SCI Interrupt). */
function enableAcpi(): void {
  if (fadt.smiCommand == 0 || fadt.acpiEnable == 0 || pm1a.read() & SCI_EN) return;
  out8(fadt.smiCommand, fadt.acpiEnable);
  for (let n: u32 = 0; n < LONG && !(pm1a.read() & SCI_EN); n++) in8(POST_CODE);
}

/** Returns if the machine is still on a second later, or cannot be switched off. */
export function powerOff(): void {
  if (!canPowerOff()) return;
  if (fadt.reduced) {
    sleepControl.write((sleep.typeA << REDUCED_TYP) | REDUCED_EN);
    return wait(LONG);
  }
  enableAcpi();
  const kept = ~(SLP_TYP_MASK | SLP_EN);
  const a = (pm1a.read() & kept) | (sleep.typeA << SLP_TYP);
  const b = pm1b.exists ? (pm1b.read() & kept) | (sleep.typeB << SLP_TYP) : 0;
  pm1a.write(a);
  if (pm1b.exists) pm1b.write(b);
  pm1a.write(a | SLP_EN);
  if (pm1b.exists) pm1b.write(b | SLP_EN);
  wait(LONG);
}

/** Resets the machine: by the FADT's register, port CF9h, the keyboard controller, and a triple fault, in this order. */
export function restart(): void {
  if (resetRegister.exists) {
    resetRegister.write(fadt.resetValue);
    wait(SHORT);
  }
  out8(RESET_CONTROL, 2);
  out8(RESET_CONTROL, 6);
  wait(SHORT);
  out8(KEYBOARD, 0xfe);
  wait(SHORT);
  // A space in which nothing is mapped, not even a handler for that.
  const nothing = allocateZeroed();
  if (nothing != NO_FRAME) cpu.writeCr3(nothing);
}
