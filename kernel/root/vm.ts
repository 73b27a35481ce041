/**
 * A VM as root sees it: one 2 MiB frame that is its home (the monitor's linear memory, its vCPU's stack, control
 * structure and extended state), its guest RAM, and the translation tables of both address spaces.
 */
import { LINEAR_BASE, VCPU_AREA, VM_INFO } from "../abi/address";
import { VcpuContext } from "../abi/context";
import { COMMAND_LINE_MAX, COMMAND_LINE_OFFSET, VmInfo } from "../abi/vminfo";
import { Gpa, Hpa } from "../lib/addr";
import { alignDown, alignUp } from "../lib/bits";
import * as image from "../machine/image";
import * as phys from "../machine/phys";
import { tsc } from "../machine/time";
import * as backend from "./backend";
import { TEXT_MAX, textAt } from "./boot";
import { clock, ticks } from "./clock";
import { HUGE, LARGE, NO_FRAME, SMALL, allocateCleared, allocateZeroed, frames, release } from "./frames";
import { options } from "./options";
import { mapGuestRam, newMonitorSpace, releaseMonitorSpace, stackTop } from "./space";
import { map, mappedSize, releaseTables, translate } from "./tables";
import { wallClock } from "./rtc";

export const MAX_VMS: u32 = 64;
const GIB4: u64 = 0x100000000;
/** Guest RAM up to here is low; the rest starts at 4 GiB, as on a PC. */
const LOW_LIMIT: u64 = 0xc0000000;
export const EXTENDED_STATE_MAX: u64 = 0x4000;
/** The vCPU's VMCS, or its VMCB and the page behind it. */
const CONTROL: u64 = 2 * SMALL;

export namespace State {
  export const None: u32 = 0;
  export const Ready: u32 = 1;
  export const Halted: u32 = 2;
  export const Ended: u32 = 3;
}

/** Why a VM could not be made. */
export namespace Failure {
  export const None: u32 = 0;
  export const NoMemory: u32 = 1;
  /** The kernel and the initrd do not fit the guest's memory. */
  export const TooSmall: u32 = 2;
  export const ControlStructure: u32 = 3;
}


@unmanaged
export class Vm {
  id: u32;
  state: u32;
  /** Bytes of guest RAM, a multiple of 2 MiB. */
  memory: u64;
  /** Physical addresses and sizes of the module files; they are kept for restarts. */
  kernel: Hpa;
  kernelSize: u64;
  initrd: Hpa;
  initrdSize: u64;
  /** Its module's string, and where in it the guest's command line starts. */
  commandLine: Hpa;
  commandLineSkip: u32;
  padding: u32;
  home: Hpa;
  nestedTop: Hpa;
  /** TSC value at which to run again, in State.Halted. */
  wake: u64;
  /** TSC ticks: when it started, and spent in the guest and its monitor. */
  started: u64;
  spent: u64;
  /** TSC ticks spent before it was last started again. */
  spentBefore: u64;
  /** TSC ticks that it has waited while no VM could run. */
  waited: u64;
  /** Bytes of the hypervisor's memory: the home and the translation tables. */
  overhead: u64;
  /** Times that the vCPU came back to root, and how many of them for a host interrupt. */
  leaves: u32;
  interrupts: u32;

  get context(): VcpuContext {
    return changetype<VcpuContext>(contexts + <usize>this.id * offsetof<VcpuContext>());
  }

  get ramLow(): u64 {
    return min(this.memory, LOW_LIMIT);
  }

  get ramHigh(): u64 {
    return this.memory > LOW_LIMIT ? GIB4 + this.memory - LOW_LIMIT : GIB4;
  }

  /** Physical address of a place in the monitor's linear memory. */
  linear(address: u32): Hpa {
    return this.home + address;
  }

  /** Physical address of the extended state area. */
  get extendedState(): Hpa {
    return this.home + LARGE - CONTROL - EXTENDED_STATE_MAX;
  }

  get alive(): bool {
    return this.state == State.Ready || this.state == State.Halted;
  }
}

const vms = memory.data(10240, 8);
const contexts = memory.data(4096, 8);
const text = memory.data(2048);
const info = changetype<VmInfo>(memory.data(128, 8));


@unmanaged
class Table {
  count: u32;
}
export const table = changetype<Table>(memory.data(4));

export function vm(n: u32): Vm {
  return changetype<Vm>(vms + <usize>n * offsetof<Vm>());
}

/** Size of every monitor's linear memory. */
export function linearSize(): u64 {
  return (<u64>image.monitorPages(backend.extension())) << 16;
}

if (TEXT_MAX > COMMAND_LINE_MAX) ERROR("a module's string is longer than a VM's page has room for");

/** Builds everything that the VM needs and puts its kernel and initrd into guest RAM. */
export function create(v: Vm): u32 {
  const before = frames.used;
  const room = alignUp(v.kernelSize, SMALL) + alignUp(v.initrdSize, SMALL);
  if (room + LARGE > v.ramLow) return Failure.TooSmall;
  v.home = allocateCleared(LARGE);
  v.nestedTop = allocateZeroed();
  if (v.home == NO_FRAME || v.nestedTop == NO_FRAME) return Failure.NoMemory;
  phys.fill(v.home, 0, linearSize());
  const stacks = v.home + linearSize();
  const space = newMonitorSpace(v.home, linearSize(), stacks, 1);
  if (space == NO_FRAME) return Failure.NoMemory;
  const c = v.context;
  c.cr3 = space;
  c.stack = stackTop(0);
  c.gprs = LINEAR_BASE + VCPU_AREA;
  c.ramLow = v.ramLow;
  c.ramHigh = v.ramHigh;
  c.vcpu = VCPU_AREA;
  c.vmcb = v.home + LARGE - CONTROL;
  c.launched = 0;
  c.number = v.id;
  if (!backend.shareControl(c)) return Failure.NoMemory;
  if (!addRam(v, 0, v.ramLow) || !addRam(v, GIB4, v.ramHigh)) return Failure.NoMemory;
  const which = backend.extension();
  for (let i: u32 = 0; i < image.monitorSegments(which); i++) {
    phys.copy(
      v.linear(image.segmentOffset(which, i)),
      image.segmentAddress(which, i),
      image.segmentLength(which, i),
    );
  }
  const now = tsc();
  loadModules(v);
  tell(v, now);
  if (!backend.createVcpu(c, v.nestedTop, 0 - now, ticks(options.slice))) return Failure.ControlStructure;
  v.overhead = frames.used - before - v.memory;
  v.state = State.Ready;
  v.started = now;
  v.spent = 0;
  v.leaves = 0;
  v.interrupts = 0;
  return Failure.None;
}

/** Gives guest-physical [gpa, end) memory, in both the guest's and the monitor's tables. */
function addRam(v: Vm, gpa: Gpa, end: Gpa): bool {
  const format = backend.nestedFormat();
  while (gpa < end) {
    let size = LARGE;
    if (format.largest == HUGE && (gpa & (HUGE - 1)) == 0 && end - gpa >= HUGE) size = HUGE;
    let frame = allocateCleared(size);
    if (frame == NO_FRAME && size == HUGE) {
      size = LARGE;
      frame = allocateCleared(size);
    }
    if (frame == NO_FRAME) return false;
    if (!map(v.nestedTop, gpa, frame, size, format)) {
      release(frame, size);
      return false;
    }
    if (!mapGuestRam(v.context.cr3, gpa, frame, size)) return false;
    gpa += size;
  }
  return true;
}

/** Copies a file to guest RAM, 2 MiB page by 2 MiB page; root does not look at its bytes. */
function load(v: Vm, gpa: Gpa, from: Hpa, size: u64): void {
  while (size > 0) {
    const part = min(size, LARGE - (gpa & (LARGE - 1)));
    phys.copy(translate(v.nestedTop, gpa), from, part);
    gpa += part;
    from += part;
    size -= part;
  }
}

/** The initrd at the top of low RAM, the kernel's file below it: the monitor takes it from there. */
function loadModules(v: Vm): void {
  info.initrdAddress = alignDown(v.ramLow - v.initrdSize, SMALL);
  info.kernelAddress = alignDown(info.initrdAddress - v.kernelSize, SMALL);
  load(v, info.initrdAddress, v.initrd, v.initrdSize);
  load(v, info.kernelAddress, v.kernel, v.kernelSize);
}

function tell(v: Vm, now: u64): void {
  info.id = v.id;
  info.vcpus = 1;
  info.ramLow = v.ramLow;
  info.ramHigh = v.ramHigh;
  info.tscHz = clock.tscHz;
  info.tscBase = now;
  info.bootTime = wallClock();
  info.features = backend.guestFeatures();
  info.miscEnable = backend.miscEnable();
  info.kernelSize = v.kernelSize;
  info.initrdSize = v.initrdSize;
  const length = textAt(v.commandLine, text);
  info.commandLineLength = length - min(length, v.commandLineSkip);
  phys.write(v.linear(VM_INFO), changetype<usize>(info), offsetof<VmInfo>());
  phys.write(v.linear(VM_INFO + COMMAND_LINE_OFFSET), text + v.commandLineSkip, info.commandLineLength);
}

function releaseRam(v: Vm, gpa: Gpa, end: Gpa): void {
  while (v.nestedTop != NO_FRAME && gpa < end) {
    const size = mappedSize(v.nestedTop, gpa);
    if (size == 0) return;
    release(translate(v.nestedTop, gpa), size);
    gpa += size;
  }
}

/** Gives back everything that a VM has. What create() left half done is given back too. */
export function destroy(v: Vm): void {
  if (v.context.vmcb != 0) backend.destroyVcpu(v.context);
  releaseRam(v, 0, v.ramLow);
  releaseRam(v, GIB4, v.ramHigh);
  if (v.context.cr3 != 0) releaseMonitorSpace(v.context.cr3);
  if (v.nestedTop != NO_FRAME) releaseTables(v.nestedTop);
  if (v.home != NO_FRAME) release(v.home, LARGE);
  v.context.cr3 = 0;
  v.context.vmcb = 0;
  v.nestedTop = NO_FRAME;
  v.home = NO_FRAME;
}
