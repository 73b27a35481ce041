/** Root's records of its VMs, and the vCPU's state where the virtualization extension keeps it. */
import { VCPU_AREA } from "../abi/address";
import { VcpuContext } from "../abi/context";
import { DebugControl, VmRecord, WATCHES, WatchRange } from "../abi/debug";
import { PerCpu } from "../abi/percpu";
import { Hpa } from "../lib/addr";
import * as phys from "../machine/phys";
import * as vmx from "../machine/vmx";
import * as S from "../svm/field";
import * as V from "../vmx/field";
import { fetch, fetch32, fetch64, isReadable, isWritable, put32 } from "./physical";
import { FIRST_VM, HYPERVISOR, MAX_VMS, NONE, info, session } from "./session";

const LAST_ALIVE: u32 = 2;


@unmanaged
class Selected {
  vm: u32;
  /** Nonzero: another VMCS is current than the one that was when the machine stopped. */
  loaded: u32;
}
const selected = changetype<Selected>(memory.data(8, 4));

/** The selected VM's. */
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
  selected.vm = NONE;
  selected.loaded = 0;
}

/** Makes `vm` the one that `record` and `context` are of, and its VMCS the current one. False when it is not there. */
export function select(vm: u32): bool {
  if (selected.vm == vm) return true;
  if (!isAlive(vm)) return false;
  selected.vm = NONE;
  const size = <u32>offsetof<VcpuContext>();
  if (!fetch(info.vms + <u64>vm * info.vmStride, changetype<usize>(record), offsetof<VmRecord>()))
    return false;
  if (!fetch(info.contexts + <u64>record.first * size, changetype<usize>(context), size)) return false;
  if (context.vmcb == 0 || context.vmcb & 0xfff || !isReadable(context.vmcb)) return false;
  if (!isSvm()) {
    selected.loaded = 1;
    if (!vmx.load(context.vmcb)) return false;
  }
  selected.vm = vm;
  return true;
}

/** Before the machine goes on: the VMCS that ran last is current again. */
export function unselect(): void {
  const vmcs = fetch64(session.perCpu + offsetof<PerCpu>("vmcb"));
  if (selected.loaded && vmcs != 0) vmx.load(vmcs);
  forgetVms();
}

export function stateOf(vm: u32): u32 {
  return fetch32(info.vms + <u64>vm * info.vmStride + offsetof<VmRecord>("state"));
}

export function isAlive(vm: u32): bool {
  // 1 + to rule out 0, none.
  return vm < vmCount() && stateOf(vm) - 1 < LAST_ALIVE;
}

/** Whether there is such a process. */
export function exists(process: u32): bool {
  return process == HYPERVISOR || (process >= FIRST_VM && isAlive(process - FIRST_VM));
}

/** The process behind this one, or NONE. */
export function nextProcess(process: u32): u32 {
  while (++process < FIRST_VM + vmCount()) {
    if (exists(process)) return process;
  }
  return NONE;
}

/** Physical address of what the debugger wants of a VM. */
export function control(vm: u32): Hpa {
  const stride = <u32>offsetof<DebugControl>() + WATCHES * <u32>offsetof<WatchRange>();
  return info.controls + <u64>vm * stride;
}

/** Root looks at what is wanted before a guest runs. */
export function wantAttention(): void {
  put32(session.perCpu + offsetof<PerCpu>("attention"), 1);
}

/** Whether the selected VM's vCPU is where its registers may be changed: not in the midst of an exit. */
export function isSettled(): bool {
  const inMonitor = fetch32(session.perCpu + offsetof<PerCpu>("inMonitor"));
  return inMonitor == 0 || fetch64(session.perCpu + offsetof<PerCpu>("vmcb")) != context.vmcb;
}

/** Where the selected VM's general register `n` is, in the order of Gprs. */
export function gprAt(n: u32): Hpa {
  return record.home + VCPU_AREA + <u64>n * 8;
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
