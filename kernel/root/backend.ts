/** The CPU's virtualization extension, chosen once at boot: the only place that knows which one it is. */
import { VcpuContext } from "../abi/context";
import { VmFeature } from "../abi/vminfo";
import { Hpa } from "../lib/addr";
import { alignUp } from "../lib/bits";
import { Text } from "../lib/text";
import * as image from "../machine/image";
import * as msr from "../machine/msr";
import { runVcpu as runSvm } from "../machine/svm";
import * as machine from "../machine/vmx";
import * as svmCapability from "../svm/capability";
import * as svmCheck from "../svm/check";
import * as svm from "../svm/setup";
import { GuestSummary } from "../vcpu/summary";
import * as vmxCapability from "../vmx/capability";
import * as vmxCheck from "../vmx/check";
import * as vmx from "../vmx/setup";
import * as Msr from "../x86/msr";
import { HUGE, LARGE, NO_FRAME, allocateZeroed } from "./frames";
import { mapControl } from "./space";
import { Format } from "./tables";

/** Which extension; image.ts has a monitor module for each. */
export namespace Extension {
  export const Vmx: u32 = 0;
  export const Svm: u32 = 1;
}

const EPT_ALL: u64 = 7;
const EPT_WRITE_BACK: u64 = 6 << 3;
/** Of a nested page table: present, writable, with a user's rights, which is what a guest's accesses have; A and D. */
const NPT_TABLE: u64 = 7;
const NPT_LEAF: u64 = 0x67;
const MISC_FAST_STRINGS: u64 = 1 << 0;
const MISC_NO_BRANCH_TRACE: u64 = 1 << 11;
const MISC_NO_PEBS: u64 = 1 << 12;


@unmanaged
class Backend {
  /** VT-x: shared by all VMs. */
  msrBitmap: Hpa;
  /** VT-x: the VMCS that is current on this CPU. */
  current: Hpa;
  /** One of Extension. */
  extension: u32;
}

const backend = changetype<Backend>(memory.data(24, 8));
const vmcs = changetype<vmx.VmcsConfig>(memory.data(104, 8));
const vmcb = changetype<svm.VmcbConfig>(memory.data(48, 8));
const nested = changetype<Format>(memory.data(24, 8));
/** AMD-V: the permission maps, from the first page boundary on. */
const maps = memory.data(24576);

function isSvm(): bool {
  return backend.extension == Extension.Svm;
}

/** One of Extension. */
export function extension(): u32 {
  return backend.extension;
}

export function name(): string {
  return isSvm() ? "AMD-V" : "VT-x";
}

/** Whether this CPU can run guests; why not, if not. */
export function preflight(why: Text): bool {
  if (vmxCapability.isOffered()) return vmxCapability.preflight(why);
  if (svmCapability.isOffered()) {
    backend.extension = Extension.Svm;
    return svmCapability.preflight(why);
  }
  why.str("neither VT-x nor AMD-V: not offered by this CPU");
  return false;
}

/** What of the extension is used. */
export function describe(out: Text): Text {
  out.str(name());
  return isSvm() ? svmCapability.describe(out) : vmxCapability.describe(out);
}

function physical(linear: usize): Hpa {
  return image.rootMemory() + linear;
}

/** Turns the extension on. False when it refuses or memory ran out. */
export function enable(): bool {
  const region = allocateZeroed();
  if (region == NO_FRAME) return false;
  if (isSvm()) {
    const io = <usize>alignUp(maps, 4096);
    svm.fillMaps(io, io + svm.IO_MAP_SIZE);
    vmcb.ioMap = physical(io);
    vmcb.msrMap = physical(io + svm.IO_MAP_SIZE);
    svm.enable(region);
    return true;
  }
  backend.msrBitmap = allocateZeroed();
  if (backend.msrBitmap == NO_FRAME) return false;
  vmx.fillMsrBitmap(backend.msrBitmap);
  return vmx.enable(region);
}

/** How a nested translation table of this extension looks. */
export function nestedFormat(): Format {
  const huge = isSvm() ? svmCapability.capability.hasHugePages != 0 : vmxCapability.capability.hasHugePages;
  nested.leaf = isSvm() ? NPT_LEAF : EPT_ALL | EPT_WRITE_BACK;
  nested.table = isSvm() ? NPT_TABLE : EPT_ALL;
  nested.largest = huge ? HUGE : LARGE;
  return nested;
}

/** What a guest may use besides what its CPUID says of the host's: VmFeature bits. */
export function guestFeatures(): u32 {
  const rdtscp = isSvm() ? svmCapability.capability.hasRdtscp != 0 : vmxCapability.capability.hasRdtscp;
  const invpcid = isSvm() ? svmCapability.capability.hasInvpcid != 0 : vmxCapability.capability.hasInvpcid;
  return (rdtscp ? VmFeature.Rdtscp : 0) | (invpcid ? VmFeature.Invpcid : 0);
}

/** IA32_MISC_ENABLE as guests read it: fast strings as the host has them, no branch trace and no PEBS (SDM Vol. 4 2.1). */
export function miscEnable(): u64 {
  const host = msr.exists(Msr.IA32_MISC_ENABLE) ? msr.read(Msr.IA32_MISC_ENABLE) : 0;
  return (host & MISC_FAST_STRINGS) | MISC_NO_BRANCH_TRACE | MISC_NO_PEBS;
}

/**
 * Whether entries and exits switch SYSCALL's MSRs, KERNEL_GS_BASE, CR2 and DR6: on AMD-V the VMCB has them, and VMLOAD and
 * VMSAVE move what VMRUN does not.
 */
export function switchesSyscall(): bool {
  return isSvm();
}

/** Maps the vCPU's control structure for its monitor, if that is memory and not the CPU's own. False: memory ran out. */
export function shareControl(context: VcpuContext): bool {
  context.control = isSvm() ? mapControl(context.cr3, 0, context.vmcb) : 0;
  return !isSvm() || context.control != 0;
}

/**
 * Prepares a vCPU's control structure for the context. `slice` is how many TSC ticks its guest may run without an exit,
 * where the CPU can see to that.
 */
export function createVcpu(context: VcpuContext, nestedTop: Hpa, tscOffset: u64, slice: u64): bool {
  if (isSvm()) {
    vmcb.vmcb = context.vmcb;
    vmcb.nestedTop = nestedTop;
    vmcb.tscOffset = tscOffset;
    vmcb.number = context.number;
    svm.create(vmcb);
    return true;
  }
  const vpid = context.number + 1;
  vmcs.vmcs = context.vmcb;
  vmcs.msrBitmap = backend.msrBitmap;
  vmcs.ept = nestedTop;
  vmcs.hostCr3 = context.cr3;
  vmcs.hostStack = context.gprs + 128;
  vmcs.perCpu = image.perCpu();
  vmcs.tss = image.tss();
  vmcs.gdt = image.gdt();
  vmcs.idt = image.idt();
  vmcs.tscOffset = tscOffset;
  vmcs.slice = slice;
  vmcs.vpid = vpid;
  backend.current = context.vmcb;
  if (!vmx.create(vmcs)) return false;
  // What an earlier vCPU of this number left in the TLB.
  machine.invalidateEpt(vmx.eptPointer(nestedTop));
  if (vmxCapability.capability.hasVpid) machine.invalidateVpid(vpid);
  return true;
}

/** VT-x: makes the vCPU's VMCS the one that VMREAD, VMWRITE and entries are about. */
function select(context: VcpuContext): void {
  if (backend.current == context.vmcb) return;
  assert(machine.load(context.vmcb), "VMPTRLD refused a VMCS of ours");
  backend.current = context.vmcb;
}

/** Runs the vCPU until root is wanted; returns a Leave. */
export function run(context: VcpuContext): u32 {
  if (isSvm()) {
    svm.prepare(context.vmcb, context.number);
    const left = runSvm(changetype<usize>(context));
    svm.settle(context.vmcb);
    return left;
  }
  select(context);
  return machine.runVcpu(changetype<usize>(context));
}

/** Lets go of a vCPU's control structure, so that its page can be given back. */
export function destroyVcpu(context: VcpuContext): void {
  if (isSvm()) return;
  machine.clear(context.vmcb);
  if (backend.current == context.vmcb) backend.current = 0;
}

/** Reads the vCPU's registers. */
export function readGuest(context: VcpuContext, out: GuestSummary): void {
  if (isSvm()) {
    svm.readGuest(context.vmcb, out);
    return;
  }
  select(context);
  vmx.readGuest(out);
}

/** Explains why the vCPU could not be entered. */
export function explainEntry(context: VcpuContext, out: Text): void {
  if (isSvm()) {
    svmCheck.explainEntry(context.vmcb, out);
    return;
  }
  select(context);
  vmxCheck.explainEntry(out);
}

export function entryError(): u32 {
  return machine.instructionError();
}

/** What an entry error means (SDM Vol. 3C 31.4, VM Instruction Error Numbers), as far as an entry has it. */
export function entryErrorName(error: u32): string {
  switch (error) {
    case 4:
      return "VMLAUNCH with a launched VMCS";
    case 5:
      return "VMRESUME with a VMCS that is not launched";
    case 7:
      return "invalid control fields";
    case 8:
      return "invalid host-state fields";
    default:
      return "no reason known";
  }
}
