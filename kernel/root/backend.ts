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
import { forgetAsid } from "../svm/asid";
import * as svmCapability from "../svm/capability";
import * as svmCheck from "../svm/check";
import * as svm from "../svm/setup";
import { GuestSummary } from "../vcpu/summary";
import * as vmxCapability from "../vmx/capability";
import * as vmxCheck from "../vmx/check";
import { fillMsrBitmap } from "../vmx/bitmap";
import * as vmx from "../vmx/setup";
import { Rflags } from "../x86/cr";
import * as Msr from "../x86/msr";
import { Cpu, thisCpu } from "./cpus";
import { HUGE, LARGE, NO_FRAME, allocateZeroed } from "./frames";
import { acquire, release } from "./lock";
import { racesCpus } from "./quirk";
import { mapControl } from "./space";
import {
  enterApicMode,
  prepareApicModes,
  usesApicRegisters,
  usesTprShadow,
  usesVirtualInterrupts,
} from "./virtualapic";
import { Format, protect as protectPage } from "./tables";

/** Which extension; image.ts has a monitor module for each. */
export namespace Extension {
  export const Vmx: u32 = 0;
  export const Svm: u32 = 1;
}

const EPT_ALL: u64 = 7;
const EPT_WRITE_BACK: u64 = 6 << 3;
/** Of entries of both: what protect() changes. */
const RIGHTS: u64 = 7;
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
  /** One of Extension. */
  extension: u32;
  /** Nonzero: there is a debugger. */
  debug: u32;
}

const backend = changetype<Backend>(memory.data(16, 8));
const vmcs = changetype<vmx.VmcsConfig>(memory.data(136, 8));
const vmcb = changetype<svm.VmcbConfig>(memory.data(48, 8));
const nested = changetype<Format>(memory.data(24, 8));
/** AMD-V: the permission maps, from the first page boundary on. */
const maps = memory.data(24576);

if (offsetof<vmx.VmcsConfig>() > 136 || offsetof<svm.VmcbConfig>() > 48)
  ERROR("a configuration does not fit");

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

/** Whether this CPU has an extension at all. */
export function isOffered(): bool {
  return vmxCapability.isOffered() || svmCapability.isOffered();
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
  if (isSvm()) return svmCapability.describe(out);
  return vmxCapability.describe(out, usesTprShadow(), usesApicRegisters(), usesVirtualInterrupts());
}

function physical(linear: usize): Hpa {
  return image.rootMemory() + linear;
}

/** Prepares what all CPUs share, and turns the extension on. False when it refuses or memory ran out. */
export function enable(): bool {
  if (isSvm()) {
    const io = <usize>alignUp(maps, 4096);
    svm.fillMaps(io, io + svm.IO_MAP_SIZE);
    vmcb.ioMap = physical(io);
    vmcb.msrMap = physical(io + svm.IO_MAP_SIZE);
    return enableHere();
  }
  backend.msrBitmap = allocateZeroed();
  if (backend.msrBitmap == NO_FRAME) return false;
  fillMsrBitmap(backend.msrBitmap);
  return prepareApicModes() && enableHere();
}

/** Turns the extension on for this CPU. */
function enableHere(): bool {
  const region = allocateZeroed();
  if (region == NO_FRAME) return false;
  if (!isSvm()) return vmx.enable(region);
  svm.enable(region);
  return true;
}

/** On another CPU than the boot CPU: turns on what that has, if it is the same here. Why not, if not. */
export function join(why: Text): bool {
  if (isSvm() ? !svmCapability.isAlike(why) : !vmxCapability.isAlike(why)) return false;
  if (enableHere()) return true;
  why.str(name()).str(": cannot be turned on");
  return false;
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
  return (
    (rdtscp ? VmFeature.Rdtscp : 0) |
    (invpcid ? VmFeature.Invpcid : 0) |
    (usesTprShadow() ? VmFeature.TprShadow : 0) |
    (usesApicRegisters() ? VmFeature.ApicRegisters : 0) |
    (usesVirtualInterrupts() ? VmFeature.VirtualInterrupts : 0) |
    (racesCpus() ? VmFeature.NoInjection : 0)
  );
}

/** Whether a guest's TSC can have another frequency than the host's. AMD-V's TSC ratio is not used. */
export function scalesTsc(): bool {
  return !isSvm() && vmxCapability.capability.hasTscScaling;
}

/** What is missing when scalesTsc() says no. */
export function missingScale(): string {
  if (!isSvm()) return "TSC scaling: not offered by this CPU";
  return svmCapability.capability.hasTscRatio
    ? "TSC ratio: present, not used"
    : "TSC ratio: not offered by this CPU";
}

/** IA32_MISC_ENABLE as guests read it: fast strings as the host has them, no branch trace and no PEBS (SDM Vol. 4 2.1). */
export function miscEnable(): u64 {
  const host = msr.exists(Msr.IA32_MISC_ENABLE) ? msr.read(Msr.IA32_MISC_ENABLE) : 0;
  return (host & MISC_FAST_STRINGS) | MISC_NO_BRANCH_TRACE | MISC_NO_PEBS;
}

/**
 * Whether entries and exits switch SYSCALL's MSRs, KERNEL_GS_BASE and DR6: on AMD-V the VMCB has them, and VMLOAD and
 * VMSAVE move what VMRUN does not.
 */
export function switchesSyscall(): bool {
  return isSvm();
}

/** Maps vCPU n's control structure for its monitor, if that is memory and not the CPU's own. False: memory ran out. */
export function shareControl(context: VcpuContext, n: u32): bool {
  context.control = isSvm() ? mapControl(context.cr3, n, context.vmcb) : 0;
  return !isSvm() || context.control != 0;
}

/**
 * Prepares a vCPU's control structure for the context and the CPU where it is to live. `slice` is how many TSC ticks its guest may run without an exit,
 * where the CPU can see to that; `tscMultiplier` is 0 unless scalesTsc(). `lapic` is the page of its local APIC in its monitor's memory.
 */
export function createVcpu(
  context: VcpuContext,
  home: Cpu,
  nestedTop: Hpa,
  lapic: Hpa,
  tscOffset: u64,
  tscMultiplier: u64,
  slice: u64,
): bool {
  if (isSvm()) {
    vmcb.vmcb = context.vmcb;
    vmcb.nestedTop = nestedTop;
    vmcb.tscOffset = tscOffset;
    vmcb.number = context.number;
    vmcb.debug = backend.debug != 0;
    svm.create(vmcb);
    return true;
  }
  const vpid = context.number + 1;
  vmcs.vmcs = context.vmcb;
  vmcs.msrBitmap = backend.msrBitmap;
  vmcs.ept = nestedTop;
  vmcs.hostCr3 = context.cr3;
  vmcs.hostStack = context.gprs + 128;
  vmcs.perCpu = home.perCpu;
  vmcs.tss = home.tss;
  vmcs.gdt = home.gdt;
  vmcs.idt = image.idt();
  vmcs.tscOffset = tscOffset;
  vmcs.tscMultiplier = tscMultiplier;
  vmcs.slice = slice;
  vmcs.virtualApic = usesTprShadow() ? lapic : 0;
  vmcs.virtualInterrupts = usesVirtualInterrupts();
  vmcs.vpid = vpid;
  vmcs.debug = backend.debug != 0;
  thisCpu().current = context.vmcb;
  const ok = vmx.create(vmcs);
  // It may be to live elsewhere (25.11.1, Software Use of Virtual-Machine Control Structures).
  clear(context);
  return ok;
}

/** VT-x: the VMCS is neither active nor current on this CPU any more. */
function clear(context: VcpuContext): void {
  machine.clear(context.vmcb);
  context.launched = 0;
  if (thisCpu().current == context.vmcb) thisCpu().current = 0;
}

/** VT-x: makes the vCPU's VMCS the one that VMREAD, VMWRITE and entries are about. */
function select(context: VcpuContext): void {
  const here = thisCpu();
  if (here.current == context.vmcb) return;
  assert(machine.load(context.vmcb), "VMPTRLD refused a VMCS of ours");
  here.current = context.vmcb;
}

/** VT-x: what the vCPU's CPU does of its local APIC from now on: what a monitor asks for. */
export function setApicMode(context: VcpuContext, mode: u32): void {
  if (isSvm()) return;
  select(context);
  enterApicMode(mode, backend.msrBitmap);
}

/** Before the first run of a vCPU, where it lives: what an earlier one of its number may have left in this CPU's TLB. */
export function forgetTranslations(context: VcpuContext, nestedTop: Hpa): void {
  if (isSvm()) return; // it gets an ASID that nobody has
  machine.invalidateEpt(vmx.eptPointer(nestedTop));
  if (vmxCapability.capability.hasVpid) machine.invalidateVpid(context.number + 1);
}

/** Runs the vCPU until root is wanted; returns a Leave. Root's lock is free meanwhile. */
export function run(context: VcpuContext): u32 {
  const at = changetype<usize>(context);
  if (isSvm()) svm.prepare(context.vmcb, context.number);
  else select(context);
  release();
  const left = isSvm() ? runSvm(at) : machine.runVcpu(at);
  acquire();
  if (isSvm()) svm.settle(context.vmcb);
  return left;
}

/** From now on vCPUs are made for a debugger. False when this CPU lacks what one needs. */
export function enableDebug(): bool {
  if (!isSvm() && !vmxCapability.capability.hasDrExiting) return false;
  backend.debug = 1;
  return true;
}

/** DR7 while the vCPU runs: the debugger's. */
export function setDr7(context: VcpuContext, value: u64): void {
  if (isSvm()) {
    svm.setDr7(context.vmcb, value);
    return;
  }
  select(context);
  vmx.setDr7(value);
}

/** Whether the vCPU stops behind its next instruction, by RFLAGS.TF, which is to be `flag` when it does not. */
export function setStep(context: VcpuContext, on: bool, flag: u64): void {
  if (isSvm()) {
    svm.setStep(context.vmcb, on ? Rflags.TF : flag);
    return;
  }
  select(context);
  vmx.setStep(on, flag);
}

/** Makes the next entry deliver the guest's own exception, that of an instruction of `length` bytes which is a trap, or with 0 a fault. */
export function deliver(context: VcpuContext, vector: u32, length: u32): void {
  if (isSvm()) {
    svm.deliver(context.vmcb, vector, length);
    return;
  }
  select(context);
  vmx.deliver(vector, length);
}

/**
 * Gives a page's entry in the nested tables these rights: bits of the entry. They are those of the vCPUs first,
 * first + 1, ..., all of which live on this CPU. False when memory ran out.
 */
export function protect(first: u32, vcpus: u32, nestedTop: Hpa, gpa: u64, access: u32): bool {
  const format = nestedFormat();
  if (!protectPage(nestedTop, gpa, RIGHTS, isSvm() ? nptRights(access) : access, format)) return false;
  // Entries that allow more may be in the TLB.
  if (isSvm()) for (let n: u32 = 0; n < vcpus; n++) forgetAsid(first + n);
  else machine.invalidateEpt(vmx.eptPointer(nestedTop));
  return true;
}

/** EPT's bits: 1 read, 2 write, 4 execute. NPT has no execute-only or write-only pages: what cannot be read is not present. */
function nptRights(access: u32): u64 {
  return access & 1 ? 5 | (access & 2) : 0;
}

/** Lets go of a vCPU's control structure on this CPU, so that another may use it or its page be given back. */
export function destroyVcpu(context: VcpuContext): void {
  if (!isSvm()) clear(context);
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
