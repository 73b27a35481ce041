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
  PHYSICAL_WINDOW,
  ROOT_MEMORY,
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
import { physicalEnd } from "./physical";
import { Format, link, map, mappedSize, releaseTables, tableAt, unlink } from "./tables";

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const UNCACHED: u64 = (1 << 4) | (1 << 3);
const USED: u64 = (1 << 6) | (1 << 5); // accessed and dirty from the start: the CPU need not write them
const GLOBAL: u64 = 1 << 8;
const NO_EXECUTE: u64 = (<u64>1) << 63;


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
  cpu.writeCr3(top);
  return makeShared();
}

/** Makes [hpa, hpa + length) readable through the physical window, wherever firmware put it. False when it cannot be. */
export function ensureWindow(hpa: Hpa, length: u64): bool {
  const end = physicalEnd();
  return hpa < end && length <= end - hpa && mapWindow(space.root, hpa, hpa + length);
}

/** Makes a page of device registers reachable through the uncached window. */
export function ensureDevice(hpa: Hpa): bool {
  const at = alignDown(hpa, SMALL);
  if (at >= physicalEnd()) return false;
  if (mappedSize(space.root, UNCACHED_WINDOW + at) != 0) return true;
  return map(space.root, UNCACHED_WINDOW + at, at, SMALL, pages(WRITABLE | NO_EXECUTE | UNCACHED, SMALL));
}

/** What all monitors have in common, as a tree of its own to take tables from. */
function makeShared(): bool {
  space.shared = allocateZeroed();
  return space.shared != NO_FRAME && mapImage(space.shared);
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
  if (!space.x2apic) ok = ok && link(top, APIC_PAGE, 4, tableAt(shared, APIC_PAGE, 4), pages(0, SMALL));
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
  if (!space.x2apic) unlink(top, APIC_PAGE, 4);
  releaseTables(top);
}
