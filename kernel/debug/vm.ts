/** Root's records of its VMs, and the vCPU's state where the virtualization extension keeps it. */
import { MAX_VCPUS, VCPU_AREA, VCPU_AREA_SIZE } from "../abi/address";
import { VcpuContext } from "../abi/context";
import { DebugControl, VmRecord, WATCHES, WatchRange } from "../abi/debug";
import { PerCpu } from "../abi/percpu";
import { Hpa } from "../lib/addr";
import * as phys from "../machine/phys";
import * as vmx from "../machine/vmx";
import * as S from "../svm/field";
import * as V from "../vmx/field";
import { fetch, fetch32, fetch64, isReadable, isWritable, put32 } from "./physical";
import {
  FIRST_VM,
  HYPERVISOR,
  MAX_VMS,
  NONE,
  info,
  numberOf,
  processOf,
  session,
  threadOf,
  vmOf,
} from "./session";

const LAST_ALIVE: u32 = 2;


@unmanaged
class Selected {
  thread: u32;
  /** Nonzero: another VMCS is current than the one that was when the machine stopped. */
  loaded: u32;
}
const selected = changetype<Selected>(memory.data(8, 4));

/** The selected thread's VM's, and its own. */
export const record = changetype<VmRecord>(memory.data(40, 8));
export const context = changetype<VcpuContext>(memory.data(192, 8));

export function isSvm(): bool {
  return info.extension != 0;
}

/** How many VMs there may be; some are not there. */
export function vmCount(): u32 {
  return min(info.vmCount, MAX_VMS);
}

/** At the start of a stop: what was known of the VMs may have changed. */
export function forgetVms(): void {
  selected.thread = NONE;
  selected.loaded = 0;
}

/** Makes a vCPU the one that `record` and `context` are of, and its VMCS the current one. False when it is not there. */
export function select(thread: u32): bool {
  if (thread != NONE && selected.thread == thread) return true;
  if (processOf(thread) < FIRST_VM || !exists(thread)) return false;
  selected.thread = NONE;
  const size = <u32>offsetof<VcpuContext>();
  if (!fetch(recordAt(vmOf(thread)), changetype<usize>(record), offsetof<VmRecord>())) return false;
  const index = <u64>record.first + numberOf(thread);
  if (!fetch(info.contexts + index * size, changetype<usize>(context), size)) return false;
  if (context.vmcb == 0 || context.vmcb & 0xfff || !isReadable(context.vmcb)) return false;
  if (!isSvm()) {
    selected.loaded = 1;
    if (!vmx.load(context.vmcb)) return false;
  }
  selected.thread = thread;
  return true;
}

/** Before the machine goes on: the VMCS that ran last is current again. */
export function unselect(): void {
  const vmcs = fetch64(session.perCpu + offsetof<PerCpu>("vmcb"));
  if (selected.loaded && vmcs != 0) vmx.load(vmcs);
  forgetVms();
}

function recordAt(vm: u32): Hpa {
  return info.vms + <u64>vm * info.vmStride;
}

export function stateOf(vm: u32): u32 {
  return fetch32(recordAt(vm) + offsetof<VmRecord>("state"));
}

export function isAlive(vm: u32): bool {
  // 1 + to rule out 0, none.
  return vm < vmCount() && stateOf(vm) - 1 < LAST_ALIVE;
}

/** How many vCPUs a VM has that is there. */
export function vcpusOf(vm: u32): u32 {
  return min(fetch32(recordAt(vm) + offsetof<VmRecord>("vcpus")), MAX_VCPUS);
}

/** Whether there is such a thread, and so such a process. */
export function exists(thread: u32): bool {
  const vm = vmOf(thread);
  return thread == HYPERVISOR || (isAlive(vm) && numberOf(thread) < vcpusOf(vm));
}

/** The process behind this one, or NONE. */
export function nextProcess(process: u32): u32 {
  while (++process < FIRST_VM + vmCount()) {
    if (exists(process)) return process;
  }
  return NONE;
}

/** The thread behind this one, or NONE. */
export function nextThread(thread: u32): u32 {
  const next = threadOf(processOf(thread), numberOf(thread) + 1);
  return exists(next) ? next : nextProcess(processOf(thread));
}

/** Physical address of what the debugger wants of a VM. */
export function control(vm: u32): Hpa {
  const stride = <u32>offsetof<DebugControl>() + WATCHES * <u32>offsetof<WatchRange>();
  return info.controls + <u64>vm * stride;
}

/** None of the VM's vCPUs is to step any more, and none is held. */
export function letRun(vm: u32): void {
  put32(control(vm) + offsetof<DebugControl>("steps"), 0);
  put32(control(vm) + offsetof<DebugControl>("held"), 0);
}

/** Root looks at what is wanted before a guest runs. */
export function wantAttention(): void {
  put32(session.perCpu + offsetof<PerCpu>("attention"), 1);
}

/** Whether the selected vCPU is where its registers may be changed: not in the midst of an exit. */
export function isSettled(): bool {
  const inMonitor = fetch32(session.perCpu + offsetof<PerCpu>("inMonitor"));
  return inMonitor == 0 || fetch64(session.perCpu + offsetof<PerCpu>("vmcb")) != context.vmcb;
}

/** Where the selected vCPU's area is in its monitor's memory. */
export function areaAt(): Hpa {
  return record.home + VCPU_AREA + <u64>numberOf(selected.thread) * VCPU_AREA_SIZE;
}

/** Where its general register `n` is, in the order of Gprs. */
export function gprAt(n: u32): Hpa {
  return areaAt() + <u64>n * 8;
}

/** The vCPU's state that the extension keeps. */
export namespace State {
  export const Rip: u32 = 0;
  export const Rsp: u32 = 1;
  export const Rflags: u32 = 2;
  export const Cr0: u32 = 3;
  export const Cr3: u32 = 4;
  export const Cr4: u32 = 5;
  export const Efer: u32 = 6;
  /** And behind it those of the other segments: ES, CS, SS, DS, FS, GS. */
  export const Selector: u32 = 8;
  export const Base: u32 = 16;
}
export const CS: u32 = 1;

/** A field's encoding or a word's offset. */
function placeOf(what: u32): u32 {
  const svm = isSvm();
  if (what >= State.Selector) {
    const n = what & 7;
    if (svm) return S.ES.offset + n * 16 + (what >= State.Base ? 8 : 0);
    return n * 2 + (what >= State.Base ? V.GUEST_ES_BASE.encoding : V.GUEST_ES_SELECTOR.encoding);
  }
  switch (what) {
    case State.Rip:
      return svm ? S.RIP.offset : V.GUEST_RIP.encoding;
    case State.Rsp:
      return svm ? S.RSP.offset : V.GUEST_RSP.encoding;
    case State.Rflags:
      return svm ? S.RFLAGS.offset : V.GUEST_RFLAGS.encoding;
    case State.Cr0:
      return svm ? S.CR0.offset : V.GUEST_CR0.encoding;
    case State.Cr3:
      return svm ? S.CR3.offset : V.GUEST_CR3.encoding;
    case State.Cr4:
      return svm ? S.CR4.offset : V.GUEST_CR4.encoding;
    default:
      return svm ? S.EFER.offset : V.GUEST_EFER.encoding;
  }
}

/** The selected vCPU's, as the CPU has it. */
export function getState(what: u32): u64 {
  const place = placeOf(what);
  const value = isSvm() ? fetch64(context.vmcb + place) : vmx.read(place);
  return what >= State.Selector && what < State.Base ? value & 0xffff : value;
}

/** False when it cannot be changed. */
export function setState(what: u32, value: u64): bool {
  const place = placeOf(what);
  if (!isSvm()) return vmx.write(place, value);
  if (!isWritable(context.vmcb)) return false;
  phys.store64(context.vmcb + place, value);
  phys.store64(context.vmcb + S.CLEAN.offset, 0);
  return true;
}
