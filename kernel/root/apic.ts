/** The local APIC of this CPU (SDM Vol. 3A 11) and the I/O APIC (82093AA), as far as root's own interrupts need them. */
import { VECTOR_SPURIOUS, VECTOR_TIMER } from "../abi/vector";
import { Hpa } from "../lib/addr";
import { bits } from "../lib/bits";
import * as Msr from "../x86/msr";
import * as cpuid from "../machine/cpuid";
import * as msr from "../machine/msr";
import { loadDevice32, storeDevice32 } from "../machine/phys";
import { out8 } from "../machine/port";
import { madt, overrideOf } from "./acpi/madt";
import { ensureDevice } from "./space";

namespace Reg {
  export const TPR: u32 = 0x08;
  export const EOI: u32 = 0x0b;
  export const SVR: u32 = 0x0f;
  export const LVT_TIMER: u32 = 0x32;
  export const LVT_LINT0: u32 = 0x35;
  export const LVT_LINT1: u32 = 0x36;
  export const TIMER_INITIAL: u32 = 0x38;
  export const TIMER_CURRENT: u32 = 0x39;
  export const TIMER_DIVIDE: u32 = 0x3e;
}

const APIC_ENABLE: u64 = 1 << 11;
const APIC_X2: u64 = 1 << 10;
const MASKED: u32 = 1 << 16;
const TSC_DEADLINE: u32 = 2 << 17;
const NMI: u32 = 4 << 8;
const DIVIDE_BY_1: u32 = 11;


@unmanaged
class Apic {
  page: Hpa;
  x2: bool;
  /** Inputs of the I/O APIC, 0 when there is none. */
  inputs: u32;
}

export const apic = changetype<Apic>(memory.data(16, 8));
const regs = memory.data(16, 4);
/** What the numbers of its registers have room for, two an input from 10h on. */
const INPUTS_MAX: u64 = 120;

function read(register: u32): u32 {
  return apic.x2 ? <u32>msr.read(Msr.X2APIC_BASE + register) : loadDevice32(apic.page + register * 16);
}

function write(register: u32, value: u32): void {
  if (apic.x2) msr.write(Msr.X2APIC_BASE + register, value);
  else storeDevice32(apic.page + register * 16, value);
}

/** Physical address of the local APIC's page. */
export function apicPage(): Hpa {
  return bits(msr.read(Msr.IA32_APIC_BASE), 51, 12) << 12;
}

/** Enables the APIC with all of its own sources masked but the timer. `x2` when the CPU has x2APIC. */
export function enableApic(x2: bool): bool {
  apic.page = apicPage();
  apic.x2 = x2;
  msr.write(Msr.IA32_APIC_BASE, msr.read(Msr.IA32_APIC_BASE) | APIC_ENABLE | (x2 ? APIC_X2 : 0));
  if (!x2 && !ensureDevice(apic.page)) return false;
  write(Reg.SVR, 0x100 | VECTOR_SPURIOUS);
  write(Reg.TPR, 0);
  write(Reg.LVT_LINT0, MASKED);
  write(Reg.LVT_LINT1, NMI);
  write(Reg.TIMER_DIVIDE, DIVIDE_BY_1);
  write(Reg.LVT_TIMER, MASKED);
  return true;
}

/**
 * The 8259s are not used: every interrupt comes through the I/O APIC. They come before LINT0: QEMU 7.2 does not take back
 * what they have asked for, a key pressed while the boot loader hands over, once LINT0 is masked, and then has no vector
 * for it.
 */
export function disablePics(): void {
  out8(0x21, 0xff);
  out8(0xa1, 0xff);
}

export function endOfInterrupt(): void {
  write(Reg.EOI, 0);
}

/** Starts the one-shot counter at its maximum, for calibration. */
export function startCounter(): void {
  write(Reg.TIMER_INITIAL, 0xffffffff);
}

/** How far the counter has come. */
export function counted(): u32 {
  return 0xffffffff - read(Reg.TIMER_CURRENT);
}

export function enableTimer(tscDeadline: bool): void {
  write(Reg.TIMER_INITIAL, 0);
  write(Reg.LVT_TIMER, VECTOR_TIMER | (tscDeadline ? TSC_DEADLINE : 0));
  // The first WRMSR of a deadline must not overtake this store to the APIC's page (SDM Vol. 3A 11.5.4.1): CPUID waits.
  cpuid.query(0, 0, regs);
}

function ioapicRead(register: u32): u32 {
  storeDevice32(madt.ioapic, register);
  return loadDevice32(madt.ioapic + 16);
}

function ioapicWrite(register: u32, value: u32): void {
  storeDevice32(madt.ioapic, register);
  storeDevice32(madt.ioapic + 16, value);
}

/** Masks every input of the I/O APIC, if there is one. */
export function resetIoapic(): void {
  if (madt.ioapic == 0 || !ensureDevice(madt.ioapic)) return;
  const version = ioapicRead(1);
  if (version == 0xffffffff) return; // nothing answers
  apic.inputs = <u32>min(bits(version, 23, 16) + 1, INPUTS_MAX);
  for (let i: u32 = 0; i < apic.inputs; i++) ioapicWrite(0x10 + i * 2, MASKED);
}

/**
 * Sends an ISA interrupt to this CPU as `vector`, with the polarity and trigger mode that the MADT gives. False when it
 * has no input.
 */
export function routeIrq(irq: u32, vector: u32): bool {
  const to = overrideOf(irq);
  const input = to.gsi - madt.ioapicBase;
  if (to.gsi < madt.ioapicBase || input >= apic.inputs) return false;
  const low: u32 = (to.flags & 3) == 3 ? 1 << 13 : 0;
  const level: u32 = ((to.flags >> 2) & 3) == 3 ? 1 << 15 : 0;
  ioapicWrite(0x11 + input * 2, apicId() << 24);
  ioapicWrite(0x10 + input * 2, vector | low | level);
  return true;
}

/** This CPU's. */
export function apicId(): u32 {
  return apic.x2 ? read(2) : read(2) >> 24;
}
