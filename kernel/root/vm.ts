/**
 * A VM as root sees it: one 2 MiB frame that is its home (the monitor's linear memory, its vCPU's stack, control
 * structure and extended state), its guest RAM, and the translation tables of both address spaces.
 */
import { LAPIC_AREA, LINEAR_BASE, MAX_VCPUS, VCPU_AREA_SIZE, VM_INFO } from "../abi/address";
import { VcpuContext } from "../abi/context";
import { ApicMode } from "../abi/run";
import { COMMAND_LINE_MAX, COMMAND_LINE_OFFSET, VmInfo } from "../abi/vminfo";
import { Gpa, Hpa } from "../lib/addr";
import { alignDown, alignUp } from "../lib/bits";
import { factorOf, inverseOf, scale } from "../lib/scale";
import * as image from "../machine/image";
import * as phys from "../machine/phys";
import { tsc } from "../machine/time";
import * as backend from "./backend";
import { TEXT_MAX, textAt } from "./boot";
import { clock, ticks } from "./clock";
import { cpuAt, place } from "./cpus";
import { HUGE, LARGE, NO_FRAME, SMALL, allocateCleared, allocateZeroed, frames, release } from "./frames";
import { options } from "./options";
import { append } from "./settings";
import { mapGuestRam, newMonitorSpace, releaseMonitorSpace, stackTop } from "./space";
import { map, mappedSize, releaseTables, translate } from "./tables";
import { wallClock } from "./rtc";
import { State, VCPUS, Vcpu, vcpu } from "./vcpus";
export { State } from "./vcpus";

export const MAX_VMS: u32 = 64;
/** As a time: none. */
export const NEVER: u64 = ~(<u64>0);
const GIB4: u64 = 0x100000000;
/** Guest RAM up to here is low; the rest starts at 4 GiB, as on a PC. */
const LOW_LIMIT: u64 = 0xc0000000;

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
  home: Hpa;
  nestedTop: Hpa;
  /** The first of its vCPUs, and how many they are. */
  first: u32;
  vcpus: u32;
  /** Physical addresses and sizes of the module files; they are kept for restarts. */
  kernel: Hpa;
  kernelSize: u64;
  initrd: Hpa;
  initrdSize: u64;
  /** Its module's string, and where in it the guest's command line starts; 0 when it has none: settings.txt has it. */
  commandLine: Hpa;
  commandLineSkip: u32;
  /** Nonzero: its vCPUs count where they live. */
  placed: u32;
  /** Frequency of its TSC in kHz, when that is another one than the host's; else 0. */
  tscKhz: u64;
  /** TSC value at its start. */
  started: u64;
  /** TSC ticks that its first vCPU had spent before it was last started again. */
  spentBefore: u64;
  /** TSC ticks that it has waited while none could run on its first vCPU's CPU. */
  waited: u64;
  /** Bytes of the hypervisor's memory: the home and the translation tables. */
  overhead: u64;

  /** Its vCPU n. */
  vcpu(n: u32): Vcpu {
    return vcpu(this.first + n);
  }

  /** Its first vCPU's. */
  get context(): VcpuContext {
    return this.vcpu(0).context;
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

  get alive(): bool {
    return this.state == State.Ready;
  }
}

const vms = memory.data(10240, 8);
const text = memory.data(2048);
const info = changetype<VmInfo>(memory.data(160, 8));

if (offsetof<VmInfo>() > 160) ERROR("what a monitor is told does not fit");


@unmanaged
class Table {
  count: u32;
  vcpus: u32;
}
export const table = changetype<Table>(memory.data(8, 4));

/** Gives a new VM this many vCPUs; false when there are not so many left. Numbers are kept for restarts. */
export function addVcpus(v: Vm, count: u32): bool {
  if (count > MAX_VCPUS || count > VCPUS - table.vcpus) return false;
  v.first = table.vcpus;
  v.vcpus = count;
  table.vcpus += count;
  for (let n: u32 = 0; n < count; n++) vcpu(v.first + n).index = v.first + n;
  return true;
}

export function vm(n: u32): Vm {
  return changetype<Vm>(vms + <usize>n * offsetof<Vm>());
}

/** Where the VMs are, one behind the other. */
export function vmTable(): usize {
  return vms;
}

/** Size of every monitor's linear memory. */
export function linearSize(): u64 {
  return (<u64>image.memoryPages(backend.extension())) << 16;
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
  const space = newMonitorSpace(v.home, linearSize(), stacks, v.vcpus);
  if (space == NO_FRAME) return Failure.NoMemory;
  settle(v);
  for (let n: u32 = 0; n < v.vcpus; n++) {
    describe(v, v.vcpu(n), space);
    if (!backend.shareControl(v.vcpu(n).context, n)) return Failure.NoMemory;
  }
  if (!addRam(v, 0, v.ramLow) || !addRam(v, GIB4, v.ramHigh)) return Failure.NoMemory;
  const which = backend.extension();
  for (let i: u32 = 0; i < image.segments(which); i++) {
    phys.copy(
      v.linear(image.segmentOffset(which, i)),
      image.segmentAddress(which, i),
      image.segmentLength(which, i),
    );
  }
  const now = tsc();
  loadModules(v);
  tell(v, now);
  for (let n: u32 = 0; n < v.vcpus; n++) {
    const c = v.vcpu(n);
    const lapic = v.linear(LAPIC_AREA + n * VCPU_AREA_SIZE);
    // The guest's TSC starts at 0.
    const offset = 0 - scale(now, info.tscMultiplier);
    if (
      !backend.createVcpu(
        c.context,
        cpuAt(c.cpu),
        v.nestedTop,
        lapic,
        offset,
        info.tscMultiplier,
        ticks(options.slice),
      )
    )
      return Failure.ControlStructure;
  }
  v.overhead = frames.used - before - v.memory;
  v.state = State.Ready;
  v.started = now;
  return Failure.None;
}

/** Gives each vCPU a CPU to live on. */
function settle(v: Vm): void {
  for (let n: u32 = 0; n < v.vcpus; n++) v.vcpu(n).cpu = place();
  v.placed = 1;
}

/** A vCPU before its first entry, and what the stubs are to know of it. */
function describe(v: Vm, p: Vcpu, space: Hpa): void {
  p.vm = v.id;
  p.number = p.index - v.first;
  p.home = v.home;
  p.state = p.number == 0 ? State.Ready : State.Halted;
  p.wake = NEVER;
  p.loaded = 0;
  p.fresh = 1;
  p.spent = 0;
  p.leaves = 0;
  p.interrupts = 0;
  p.apicMode = ApicMode.None;
  const c = p.context;
  c.cr3 = space;
  c.stack = stackTop(p.number);
  c.gprs = LINEAR_BASE + p.area;
  c.ramLow = v.ramLow;
  c.ramHigh = v.ramHigh;
  c.vcpu = p.area;
  c.vmcb = p.control;
  c.launched = 0;
  c.number = p.index;
  c.sliceEnd = 0;
  c.siblings = v.vcpus;
  for (let n: u32 = 0; n < v.vcpus; n++) c.setApicId(n, cpuAt(v.vcpu(n).cpu).apicId);
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
  info.vcpus = v.vcpus;
  info.ramLow = v.ramLow;
  info.ramHigh = v.ramHigh;
  info.tscHz = clock.tscHz;
  info.guestTscHz = v.tscKhz ? v.tscKhz * 1000 : clock.tscHz;
  info.tscMultiplier = v.tscKhz ? factorOf(info.guestTscHz, info.tscHz) : 0;
  info.tscInverse = inverseOf(info.tscMultiplier);
  info.tscBase = now;
  info.bootTime = wallClock();
  info.features = backend.guestFeatures();
  info.miscEnable = backend.miscEnable();
  info.kernelSize = v.kernelSize;
  info.initrdSize = v.initrdSize;
  info.powerPresses = 0;
  const length = textAt(v.commandLine, text);
  const isOwn = v.commandLine != 0;
  info.commandLineLength = isOwn ? length - min(length, v.commandLineSkip) : append.length;
  phys.write(v.linear(VM_INFO), changetype<usize>(info), offsetof<VmInfo>());
  const from = isOwn ? text + v.commandLineSkip : append.start;
  phys.write(v.linear(VM_INFO + COMMAND_LINE_OFFSET), from, info.commandLineLength);
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
  const space = v.context.cr3;
  for (let n: u32 = 0; n < v.vcpus; n++) {
    const p = v.vcpu(n);
    if (p.context.vmcb != 0) backend.destroyVcpu(p.context);
    p.context.cr3 = 0;
    p.context.vmcb = 0;
    p.state = State.Ended;
    if (v.placed) cpuAt(p.cpu).load--;
  }
  v.placed = 0;
  releaseRam(v, 0, v.ramLow);
  releaseRam(v, GIB4, v.ramHigh);
  if (space != 0) releaseMonitorSpace(space);
  if (v.nestedTop != NO_FRAME) releaseTables(v.nestedTop);
  if (v.home != NO_FRAME) release(v.home, LARGE);
  v.nestedTop = NO_FRAME;
  v.home = NO_FRAME;
}
