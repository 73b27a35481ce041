/**
 * Host address spaces. Root's maps everything it may touch; a monitor's maps kernel text, what is per CPU, and what
 * belongs to its VM, and nothing else: it is the proof that a monitor cannot reach another VM.
 */
import {
  APIC_PAGE,
  CONTROL_AREA,
  GUEST_WINDOW,
  LINEAR_BASE,
  PAGE,
  PANIC_STACK_END,
  PANIC_STACK_SIZE,
  PERCPU_AREA,
  PERCPU_SLOT,
  PERCPU_STACKS,
  PHYSICAL_WINDOW,
  ROOT_MEMORY,
  ROOT_STACK_AREA,
  ROOT_STACK_SIZE,
  ROOT_STACK_SLOT,
  STACK_AREA,
  STACK_SIZE,
  STACK_SLOT,
  UNCACHED_WINDOW,
} from "../abi/address";
import * as cpu from "../machine/cpu";
import * as image from "../machine/image";
import { Gpa, Hpa, Hva } from "../lib/addr";
import { alignDown, alignUp } from "../lib/bits";
import { Memory, TEXT_BYTES, boot, module, region } from "./boot";
import { HUGE, LARGE, NO_FRAME, SMALL, allocateZeroed } from "./frames";
import { hasPat } from "./harden";
import { EARLY_END, WINDOW_SIZE, physicalEnd } from "./physical";
import { serialPort } from "./serialport";
import { Format, link, map, mappedSize, releaseTables, tableAt, unlink } from "./tables";
import { Stride } from "./uart";

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const UNCACHED: u64 = (1 << 4) | (1 << 3);
/** Write combining, where the CPU has a page attribute table: kernel/root/harden.ts has put it into entry 1. */
const COMBINED: u64 = 1 << 3;
const USED: u64 = (1 << 6) | (1 << 5); // accessed and dirty from the start: the CPU need not write them
const GLOBAL: u64 = 1 << 8;
const NO_EXECUTE: u64 = (<u64>1) << 63;
/** What an entry of a top table covers. */
const TOP_ENTRY: u64 = (<u64>1) << 39;


@unmanaged
class Space {
  root: Hpa;
  /** The tree that holds the tables which all monitors share. */
  shared: Hpa;
  largest: u64;
  x2apic: bool;
  apic: Hpa;
}

const space = changetype<Space>(memory.data(40, 8));
const format = changetype<Format>(memory.data(24, 8));

function pages(flags: u64, largest: u64): Format {
  format.leaf = PRESENT | USED | flags;
  format.table = PRESENT | WRITABLE;
  format.largest = min(largest, space.largest);
  return format;
}

function data(): Format {
  return pages(WRITABLE | NO_EXECUTE, HUGE);
}

function mapImage(top: Hpa): bool {
  const start = image.start();
  const text = image.textEnd();
  const readOnly = image.readOnlyEnd();
  const perCpu = image.perCpuEnd();
  return (
    map(top, start, start, text - start, pages(GLOBAL, SMALL)) &&
    map(top, text, text, readOnly - text, pages(NO_EXECUTE | GLOBAL, SMALL)) &&
    map(top, readOnly, readOnly, perCpu - readOnly, pages(WRITABLE | NO_EXECUTE, SMALL)) &&
    (space.x2apic || map(top, APIC_PAGE, space.apic, PAGE, pages(WRITABLE | NO_EXECUTE | UNCACHED, SMALL)))
  );
}

/** The 2 MiB around the image in the physical window: what is read-only at home is not writable there either. */
function mapImageWindow(top: Hpa): bool {
  const from = image.start();
  const to = image.readOnlyEnd();
  return (
    map(top, PHYSICAL_WINDOW + from, from, to - from, pages(NO_EXECUTE, SMALL)) &&
    map(top, PHYSICAL_WINDOW + to, to, alignUp(to, LARGE) - to, pages(WRITABLE | NO_EXECUTE, SMALL))
  );
}

/** Maps what of the 2 MiB pages around [base, end) the physical window does not have yet. */
function mapWindow(top: Hpa, base: Hpa, end: Hpa): bool {
  let at = alignDown(base, LARGE);
  while (at < end) {
    const huge = space.largest >= HUGE && at >= HUGE && (at & (HUGE - 1)) == 0 && at + HUGE <= end;
    const size = huge ? HUGE : LARGE;
    if (mappedSize(top, PHYSICAL_WINDOW + at) == 0 && !map(top, PHYSICAL_WINDOW + at, at, size, data()))
      return false;
    at += size;
  }
  return true;
}

/**
 * Builds root's address space and switches to it. `largest` is the largest page that the CPU has, `apic` the physical
 * address of the local APIC's page, used without x2APIC. False when memory ran out.
 */
export function enterRootSpace(largest: u64, x2apic: bool, apic: Hpa): bool {
  space.largest = largest;
  space.x2apic = x2apic;
  space.apic = apic;
  const top = allocateZeroed();
  if (top == NO_FRAME) return false;
  space.root = top;
  if (!mapImage(top) || !mapImageWindow(top) || !mapWindow(top, 0, LARGE)) return false;
  const data0 = image.perCpuEnd();
  const guard = image.stackGuard();
  if (
    !map(top, data0, data0, guard - data0, pages(WRITABLE | NO_EXECUTE, SMALL)) ||
    !map(
      top,
      guard + PAGE,
      guard + PAGE,
      image.dataEnd() - guard - PAGE,
      pages(WRITABLE | NO_EXECUTE, SMALL),
    ) ||
    !map(top, LINEAR_BASE, image.rootMemory(), ROOT_MEMORY, data())
  ) {
    return false;
  }
  for (let i: u32 = 0; i < boot.regions; i++) {
    const r = region(i);
    if (r.kind != Memory.Ram && r.kind != Memory.AcpiReclaimable && r.kind != Memory.AcpiNvs) continue;
    if (!mapWindow(top, r.base, r.end)) return false;
  }
  // What the loader left is in RAM, if the loader is right about that.
  if (!mapWindow(top, boot.infoStart, boot.infoEnd)) return false;
  for (let i: u32 = 0; i < boot.modules; i++) {
    if (!mapWindow(top, module(i).text, module(i).text + TEXT_BYTES)) return false;
  }
  if (!mapSerialPort(top)) return false;
  cpu.writeCr3(top);
  return makeShared();
}

/** The registers of a serial port in memory, where they have been used before: through the window, as it was, but uncached. */
function mapSerialPort(top: Hpa): bool {
  if (!serialPort.isFound || serialPort.stride == Stride.Port) return true;
  const page = alignDown(serialPort.base, PAGE);
  if (mappedSize(top, PHYSICAL_WINDOW + page) != 0) return true;
  return map(top, PHYSICAL_WINDOW + page, page, PAGE, pages(WRITABLE | NO_EXECUTE | UNCACHED, SMALL));
}

/** Root has no space of its own yet. */
function isEarly(): bool {
  return space.root == 0;
}

/**
 * Makes [hpa, hpa + length) readable through the physical window, wherever firmware put it. False when it cannot be, or not yet:
 * before root has a space of its own, there is only what boot/start.asm has mapped.
 */
export function ensureWindow(hpa: Hpa, length: u64): bool {
  const end = isEarly() ? EARLY_END : physicalEnd();
  if (hpa >= end || length > end - hpa) return false;
  return isEarly() || mapWindow(space.root, hpa, hpa + length);
}

/** Makes a page of device registers reachable through the uncached window. */
export function ensureDevice(hpa: Hpa): bool {
  const at = alignDown(hpa, SMALL);
  if (at >= physicalEnd()) return false;
  if (mappedSize(space.root, UNCACHED_WINDOW + at) != 0) return true;
  return map(space.root, UNCACHED_WINDOW + at, at, SMALL, pages(WRITABLE | NO_EXECUTE | UNCACHED, SMALL));
}

/**
 * Makes a framebuffer reachable; what phys takes as its address then, 0 when it cannot be. Before root has its own space that is
 * boot/start.asm's window; afterwards the uncached one, which is behind the physical one.
 */
export function reachDisplay(hpa: Hpa, length: u64): u64 {
  if (isEarly()) return hpa + length <= EARLY_END ? hpa : 0;
  const at = alignDown(hpa, SMALL);
  const end = alignUp(hpa + length, SMALL);
  const flags = WRITABLE | NO_EXECUTE | (hasPat() ? COMBINED : UNCACHED);
  if (!map(space.root, UNCACHED_WINDOW + at, at, end - at, pages(flags, LARGE))) return 0;
  return WINDOW_SIZE + hpa;
}

/** What all monitors have in common, as a tree of its own to take tables from. */
function makeShared(): bool {
  space.shared = allocateZeroed();
  return space.shared != NO_FRAME && mapImage(space.shared);
}

/** A zeroed page in root's space, and in every monitor's to come if they all have it. NO_FRAME when memory ran out. */
function addPage(at: Hva, everywhere: bool): Hpa {
  const frame = allocateZeroed();
  const format = pages(WRITABLE | NO_EXECUTE, SMALL);
  if (frame == NO_FRAME || !map(space.root, at, frame, PAGE, format)) return NO_FRAME;
  return !everywhere || map(space.shared, at, frame, PAGE, format) ? frame : NO_FRAME;
}

/**
 * Makes what CPU n has, n > 0, at PERCPU_AREA and ROOT_STACK_AREA; returns where its block is. NO_FRAME when memory ran
 * out.
 */
export function mapCpu(n: u32): Hpa {
  const at = PERCPU_AREA + <u64>n * PERCPU_SLOT;
  const own = ROOT_STACK_AREA + <u64>n * ROOT_STACK_SLOT;
  const block = addPage(at, true);
  let ok = block != NO_FRAME;
  for (let i: u64 = 1; i <= PERCPU_STACKS; i++) ok = ok && addPage(at + i * PAGE, true) != NO_FRAME;
  for (let i = PAGE; i <= ROOT_STACK_SIZE; i += PAGE)
    ok = ok && addPage(own + ROOT_STACK_SLOT - i, false) != NO_FRAME;
  for (let i = PAGE; i <= PANIC_STACK_SIZE; i += PAGE)
    ok = ok && addPage(own + PANIC_STACK_END - i, false) != NO_FRAME;
  return ok ? block : NO_FRAME;
}

/**
 * A new monitor's address space: its linear memory (page 0 stays unmapped: a null reference is a trap) and a stack a
 * vCPU, each with a guard below. mapGuestRam adds the guest's memory. NO_FRAME when memory ran out.
 */
export function newMonitorSpace(linear: Hpa, linearSize: u64, stacks: Hpa, vcpus: u32): Hpa {
  const shared = space.shared;
  const top = allocateZeroed();
  if (top == NO_FRAME) return NO_FRAME;
  let ok = link(top, 0, 3, tableAt(shared, 0, 3), pages(0, SMALL));
  // The APIC's page, and what CPUs other than the boot CPU have, where there are such.
  const apart = tableAt(shared, APIC_PAGE, 4);
  if (apart != NO_FRAME) ok = ok && link(top, APIC_PAGE, 4, apart, pages(0, SMALL));
  ok = ok && map(top, LINEAR_BASE + PAGE, linear + PAGE, linearSize - PAGE, data());
  for (let i: u64 = 0; i < vcpus; i++) {
    ok = ok && map(top, stackTop(<u32>i) - STACK_SIZE, stacks + i * STACK_SIZE, STACK_SIZE, data());
  }
  if (ok) return top;
  releaseMonitorSpace(top);
  return NO_FRAME;
}

/** Where vCPU n's stack starts, in its monitor's space. The slot's lower part is never mapped. */
export function stackTop(n: u32): Hva {
  return STACK_AREA + (<u64>n + 1) * STACK_SLOT;
}

/** Gives the monitor vCPU n's control structure, a page; returns where. 0 when memory ran out. */
export function mapControl(top: Hpa, n: u32, control: Hpa): Hva {
  const at = CONTROL_AREA + <u64>n * PAGE;
  return map(top, at, control, PAGE, pages(WRITABLE | NO_EXECUTE, SMALL)) ? at : 0;
}

export function mapGuestRam(top: Hpa, gpa: Gpa, hpa: Hpa, length: u64): bool {
  return map(top, GUEST_WINDOW + gpa, hpa, length, data());
}

/** Gives a monitor's tables back; the memory that they map is the VM's to give back. */
export function releaseMonitorSpace(top: Hpa): void {
  unlink(top, 0, 3);
  unlink(top, APIC_PAGE, 4);
  releaseTables(top);
}

/**
 * The debugger's address space: all memory that root reaches now through the physical window, its own memory and stack.
 * NO_FRAME when memory ran out.
 */
export function newDebuggerSpace(linear: Hpa, linearSize: u64, stack: Hpa): Hpa {
  const top = allocateZeroed();
  if (top == NO_FRAME || !mapImage(top)) return NO_FRAME;
  if (!map(top, LINEAR_BASE + PAGE, linear + PAGE, linearSize - PAGE, data())) return NO_FRAME;
  if (!map(top, stackTop(0) - STACK_SIZE, stack, STACK_SIZE, data())) return NO_FRAME;
  for (let at = PHYSICAL_WINDOW; at < UNCACHED_WINDOW; at += TOP_ENTRY) {
    const table = tableAt(space.root, at, 4);
    if (table != NO_FRAME && !link(top, at, 4, table, pages(0, SMALL))) return NO_FRAME;
  }
  return top;
}
