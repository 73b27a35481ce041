/**
 * The frequency of the TSC and of the LAPIC's timer. From CPUID where it says so (SDM Vol. 3B 19.7.3, Determining the
 * Processor Base Frequency), else measured against the PM timer or the PIT.
 */
import * as cpuid from "../machine/cpuid";
import { tsc } from "../machine/time";
import { in32, in8, out8 } from "../machine/port";
import { mulDiv } from "../lib/scale";
import { fadt } from "./acpi/fadt";
import { counted, startCounter } from "./apic";
import { processor, queryLeaf } from "./processor";

const PM_HZ: u64 = 3579545;
const PIT_HZ: u64 = 1193182;
/** Length of a measurement: 1/20 s. */
const PARTS: u64 = 20;
/** TSC ticks after which a clock counts as standing still: no TSC counts so far in 1/PARTS s. */
const PATIENCE: u64 = 1000000000;
/** No CPU with VT-x is slower: a figure below is none. */
const SLOWEST_HZ: u64 = 1000000;


@unmanaged
class Clock {
  tscHz: u64;
  /** LAPIC timer counts a second, at divide by 1. */
  apicHz: u64;
  /** Where the figure comes from: 0 CPUID 15h, 1 hypervisor leaf, 2 PM timer, 3 PIT. */
  source: u32;
  padding: u32;

  sourceName(): string {
    if (this.source == 0) return "CPUID";
    if (this.source == 1) return "the hypervisor below";
    return this.source == 2 ? "the PM timer" : "the PIT";
  }
}

export const clock = changetype<Clock>(memory.data(24, 8));
const regs = memory.data(16, 4);

function fromCpuid(): u64 {
  if (queryLeaf(0x15, 0, regs)) {
    const denominator = <u64>load<u32>(regs);
    const numerator = <u64>load<u32>(regs, 4);
    const crystal = <u64>load<u32>(regs, 8);
    if (denominator != 0 && numerator != 0 && crystal != 0) return mulDiv(crystal, numerator, denominator);
  }
  return 0;
}

function fromHypervisor(): u64 {
  if (!processor.virtual) return 0;
  cpuid.query(0x40000000, 0, regs);
  if (load<u32>(regs) < 0x40000010 || load<u32>(regs) > 0x400000ff) return 0;
  cpuid.query(0x40000010, 0, regs);
  return <u64>load<u32>(regs) * 1000;
}

/** Waits for 1/PARTS s on the PM timer (ACPI 6.4 4.8.3.3): 24 bits are enough. */
function waitPm(): bool {
  const end = tsc() + PATIENCE;
  const start = in32(fadt.pmTimer);
  while (((in32(fadt.pmTimer) - start) & 0xffffff) < <u32>(PM_HZ / PARTS)) if (tsc() > end) return false;
  return true;
}

/** Waits for 1/PARTS s on the PIT's channel 2 (8254): mode 0, its output is bit 5 of port 61h. */
function waitPit(): bool {
  const end = tsc() + PATIENCE;
  const count = <u32>(PIT_HZ / PARTS);
  out8(0x61, (in8(0x61) & ~2) | 1);
  out8(0x43, 0xb0);
  out8(0x42, count & 255);
  out8(0x42, count >> 8);
  while (!(in8(0x61) & 0x20)) if (tsc() > end) return false;
  return true;
}

/** TSC ticks of so many milliseconds. */
export function ticks(ms: u32): u64 {
  return (clock.tscHz / 1000) * ms;
}

/** False when nothing on this machine tells the time. */
export function calibrate(): bool {
  const known = fromCpuid();
  const hypervisor = known >= SLOWEST_HZ ? 0 : fromHypervisor();
  const pm = fadt.pmTimer != 0 && measure(true);
  if (!pm && !measure(false)) return false;
  clock.source = pm ? 2 : 3;
  if (known >= SLOWEST_HZ) {
    clock.tscHz = known;
    clock.source = 0;
  } else if (hypervisor >= SLOWEST_HZ) {
    clock.tscHz = hypervisor;
    clock.source = 1;
  }
  return clock.apicHz != 0 && clock.tscHz >= SLOWEST_HZ;
}

/** Counts both for 1/PARTS s of the PM timer or the PIT. False when that stands still. */
function measure(pm: bool): bool {
  startCounter();
  const start = tsc();
  if (!(pm ? waitPm() : waitPit())) return false;
  clock.tscHz = (tsc() - start) * PARTS;
  clock.apicHz = <u64>counted() * PARTS;
  return true;
}
