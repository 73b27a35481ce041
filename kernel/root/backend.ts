/** The CPU's virtualization extension, chosen once at boot: the only place that knows which one it is. */
import { Hpa } from "../lib/addr";
import { Text } from "../lib/text";
import * as image from "../machine/image";
import * as msr from "../machine/msr";
import * as machine from "../machine/vmx";
import { VcpuContext } from "../abi/context";
import { VmFeature } from "../abi/vminfo";
import * as capability from "../vmx/capability";
import * as vmx from "../vmx/setup";
import { GuestSummary } from "../vcpu/summary";
import * as check from "../vmx/check";
import * as Msr from "../x86/msr";
import { LARGE, HUGE, NO_FRAME, allocateZeroed } from "./frames";
import { Format } from "./tables";

const EPT_ALL: u64 = 7;
const EPT_WRITE_BACK: u64 = 6 << 3;
const MISC_FAST_STRINGS: u64 = 1 << 0;
const MISC_NO_BRANCH_TRACE: u64 = 1 << 11;
const MISC_NO_PEBS: u64 = 1 << 12;


@unmanaged
class Backend {
  msrBitmap: Hpa;
  /** The VMCS that is current on this CPU. */
  current: Hpa;
}

const backend = changetype<Backend>(memory.data(16, 8));
const config = changetype<vmx.VmcsConfig>(memory.data(104, 8));
const nested = changetype<Format>(memory.data(24, 8));

/** Whether this CPU can run guests; why not, if not. */
export function preflight(why: Text): bool {
  return capability.preflight(why);
}

/** Turns the extension on. False when it refuses or memory ran out. */
export function enable(): bool {
  const region = allocateZeroed();
  backend.msrBitmap = allocateZeroed();
  if (region == NO_FRAME || backend.msrBitmap == NO_FRAME) return false;
  vmx.fillMsrBitmap(backend.msrBitmap);
  return vmx.enable(region);
}

/** How a nested translation table of this extension looks. */
export function nestedFormat(): Format {
  nested.leaf = EPT_ALL | EPT_WRITE_BACK;
  nested.table = EPT_ALL;
  nested.largest = capability.capability.hasHugePages ? HUGE : LARGE;
  return nested;
}

/** What a guest may use besides what its CPUID says of the host's: VmFeature bits. */
export function guestFeatures(): u32 {
  const c = capability.capability;
  return (c.hasRdtscp ? VmFeature.Rdtscp : 0) | (c.hasInvpcid ? VmFeature.Invpcid : 0);
}

/** IA32_MISC_ENABLE as guests read it: fast strings as the host has them, no branch trace and no PEBS (SDM Vol. 4 2.1). */
export function miscEnable(): u64 {
  const host = msr.exists(Msr.IA32_MISC_ENABLE) ? msr.read(Msr.IA32_MISC_ENABLE) : 0;
  return (host & MISC_FAST_STRINGS) | MISC_NO_BRANCH_TRACE | MISC_NO_PEBS;
}

/**
 * Prepares a vCPU's control structure for the context. `number` tells it apart from all other vCPUs; `slice` is how many
 * TSC ticks its guest may run without an exit, where the CPU can see to that.
 */
export function createVcpu(
  context: VcpuContext,
  nestedTop: Hpa,
  number: u32,
  tscOffset: u64,
  slice: u64,
): bool {
  config.vmcs = context.vmcb;
  config.msrBitmap = backend.msrBitmap;
  config.ept = nestedTop;
  config.hostCr3 = context.cr3;
  config.hostStack = context.gprs + 128;
  config.perCpu = image.perCpu();
  config.tss = image.tss();
  config.gdt = image.gdt();
  config.idt = image.idt();
  config.tscOffset = tscOffset;
  config.slice = slice;
  config.vpid = number + 1;
  backend.current = context.vmcb;
  if (!vmx.create(config)) return false;
  // What an earlier vCPU of this number left in the TLB.
  machine.invalidateEpt(vmx.eptPointer(nestedTop));
  if (capability.capability.hasVpid) machine.invalidateVpid(number + 1);
  return true;
}

/** Makes the vCPU's control structure the one that VMREAD, VMWRITE and entries are about. */
function select(context: VcpuContext): void {
  if (backend.current == context.vmcb) return;
  assert(machine.load(context.vmcb), "VMPTRLD refused a VMCS of ours");
  backend.current = context.vmcb;
}

/** Runs the vCPU until root is wanted; returns a Leave. */
export function run(context: VcpuContext): u32 {
  select(context);
  return machine.runVcpu(changetype<usize>(context));
}

/** Lets go of a vCPU's control structure, so that its page can be given back. */
export function destroyVcpu(context: VcpuContext): void {
  machine.clear(context.vmcb);
  if (backend.current == context.vmcb) backend.current = 0;
}

/** Reads the vCPU's registers. */
export function readGuest(context: VcpuContext, out: GuestSummary): void {
  select(context);
  vmx.readGuest(out);
}

/** Explains why the vCPU that ran last could not be entered. */
export function explainEntry(out: Text): void {
  check.explainEntry(out);
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
