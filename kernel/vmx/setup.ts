/** Root's side of VT-x: VMX operation and a vCPU's VMCS (SDM Vol. 3C 25, Virtual Machine Control Structures). */
import { LINEAR_BASE } from "../abi/address";
import { Hpa, Hva } from "../lib/addr";
import { CR0_WATCHED, CR4_FREE } from "../vcpu/cr";
import { EventType } from "../vcpu/event";
import { GuestSummary } from "../vcpu/summary";
import { Blocking } from "../vcpu/vcpu";
import { Vector } from "../x86/vector";
import { Cr0, Cr4, Rflags } from "../x86/cr";
import * as Msr from "../x86/msr";
import * as cpu from "../machine/cpu";
import * as msr from "../machine/msr";
import * as phys from "../machine/phys";
import * as vmx from "../machine/vmx";
import { capability } from "./capability";
import { CR4_FORCED, Processor, Secondary } from "./control";
import { PENDING_BS } from "./event";
import * as F from "./field";
import { clearInterrupts } from "./virtualapic";

const PAGE: u64 = 4096;
const EPT_WRITE_BACK: u64 = 6;
const EPT_WALK_4: u64 = 3 << 3;
const VALID: u32 = 0x80000000;

/** Where a host resumes and what a vCPU is bound to. Addresses of pages are physical. */
@unmanaged
export class VmcsConfig {
  vmcs: Hpa;
  msrBitmap: Hpa;
  ept: Hpa;
  /** The monitor's page table, and where the exit stub pushes the guest's registers: the end of the Gprs. */
  hostCr3: Hpa;
  hostStack: Hva;
  /** Host segment bases: the CPU's block, TSS, GDT and IDT. */
  perCpu: Hva;
  tss: Hva;
  gdt: Hva;
  idt: Hva;
  tscOffset: u64;
  /** What the host's TSC is multiplied by, with 48 bits behind the point; 0: the guest's counts like it. */
  tscMultiplier: u64;
  /** TSC ticks that the guest may run without an exit. */
  slice: u64;
  /** The vCPU's virtual-APIC page, whose TPR is its CR8; 0: CR8 exits. */
  virtualApic: Hpa;
  /** Whether its interrupts may be delivered from there: the vCPU starts without. */
  virtualInterrupts: bool;
  vpid: u32;
  /** Whether there is a debugger: it has the debug registers, and sees INT3 first. */
  debug: bool;
}

/** Enters VMX operation (24.7, Enabling and Entering VMX Operation). `region` is a zeroed page. */
export function enable(region: Hpa): bool {
  cpu.writeCr0((cpu.readCr0() | capability.cr0Fixed0) & capability.cr0Fixed1);
  cpu.writeCr4((cpu.readCr4() | capability.cr4Fixed0 | Cr4.VMXE) & capability.cr4Fixed1);
  phys.store32(region, capability.revision);
  return vmx.on(region);
}

function set16(field: F.Field16, value: u32): bool {
  return vmx.write(field.encoding, value);
}

function set32(field: F.Field32, value: u32): bool {
  return vmx.write(field.encoding, value);
}

function set64(field: F.Field64, value: u64): bool {
  return vmx.write(field.encoding, value);
}

/** The EPT pointer of a tree of tables (25.6.11, Extended-Page-Table Pointer). */
export function eptPointer(top: Hpa): u64 {
  return top | EPT_WALK_4 | EPT_WRITE_BACK;
}

/** Makes a VMCS current and fills it. False when the CPU refuses one of its fields. */
export function create(c: VmcsConfig): bool {
  phys.fill(c.vmcs, 0, PAGE);
  phys.store32(c.vmcs, capability.revision);
  if (!vmx.clear(c.vmcs) || !vmx.load(c.vmcs)) return false;
  return setControls(c) && setHost(c) && setGuest();
}

function processorControls(c: VmcsConfig): u32 {
  const controls = capability.processor | (c.debug ? Processor.MOV_DR_EXITING : 0);
  if (!c.virtualApic) return controls;
  return (controls & ~(Processor.CR8_LOAD_EXITING | Processor.CR8_STORE_EXITING)) | Processor.USE_TPR_SHADOW;
}

/** Only a VM with a frequency of its own has its TSC scaled. */
function secondaryControls(c: VmcsConfig): u32 {
  return capability.secondary | (c.tscMultiplier ? Secondary.USE_TSC_SCALING : 0);
}

function setControls(c: VmcsConfig): bool {
  return (
    set32(F.PIN_CONTROLS, capability.pin) &&
    set32(F.PROCESSOR_CONTROLS, processorControls(c)) &&
    (!c.virtualApic || (set64(F.VIRTUAL_APIC, c.virtualApic) && set32(F.TPR_THRESHOLD, 0))) &&
    set32(F.SECONDARY_CONTROLS, secondaryControls(c)) &&
    (!c.virtualInterrupts || clearInterrupts()) &&
    set32(F.EXIT_CONTROLS, capability.exit) &&
    // The monitor says whether the guest starts in long mode; after that every exit records its mode here (A.6, bit 5).
    set32(F.ENTRY_CONTROLS, capability.entry) &&
    // #DB and #AC could be delivered without end (a debug or alignment fault within their own delivery).
    set32(
      F.EXCEPTION_BITMAP,
      (1 << Vector.DB) | (1 << Vector.AC) | (1 << Vector.MC) | (c.debug ? 1 << Vector.BP : 0),
    ) &&
    set32(F.PAGE_FAULT_MASK, 0) &&
    set32(F.PAGE_FAULT_MATCH, 0) &&
    set32(F.CR3_TARGET_COUNT, 0) &&
    set32(F.EXIT_MSR_STORE_COUNT, 0) &&
    set32(F.EXIT_MSR_LOAD_COUNT, 0) &&
    set32(F.ENTRY_MSR_LOAD_COUNT, 0) &&
    set32(F.ENTRY_INTERRUPTION, 0) &&
    set64(F.MSR_BITMAP, c.msrBitmap) &&
    set64(F.EPT_POINTER, eptPointer(c.ept)) &&
    set64(F.TSC_OFFSET, c.tscOffset) &&
    // 25.6.5, Time-Stamp Counter Offset and Multiplier.
    (!c.tscMultiplier || set64(F.TSC_MULTIPLIER, c.tscMultiplier)) &&
    set64(F.CR0_MASK, CR0_WATCHED) &&
    set64(F.CR4_MASK, ~CR4_FREE) &&
    // A second fence behind the host's timer (26.5.1, VMX-Preemption Timer): each entry starts it anew.
    (!capability.hasPreemptionTimer ||
      set32(F.PREEMPTION_TIMER, <u32>min<u64>(c.slice >> capability.timerRate, 0xffffffff))) &&
    // SGX is not for guests: every leaf of its instructions exits (25.6.16, ENCLS-Exiting Bitmap).
    (!(capability.secondary & Secondary.ENCLS_EXITING) || set64(F.ENCLS_BITMAP, ~(<u64>0))) &&
    (!(capability.secondary & Secondary.ENCLV_EXITING) || set64(F.ENCLV_BITMAP, ~(<u64>0))) &&
    (!capability.hasVpid || set16(F.VPID, c.vpid))
  );
}

function setHost(c: VmcsConfig): bool {
  return (
    set16(F.HOST_CS_SELECTOR, 0x08) &&
    set16(F.HOST_SS_SELECTOR, 0x10) &&
    set16(F.HOST_DS_SELECTOR, 0x10) &&
    set16(F.HOST_ES_SELECTOR, 0x10) &&
    set16(F.HOST_FS_SELECTOR, 0) &&
    set16(F.HOST_GS_SELECTOR, 0) &&
    set16(F.HOST_TR_SELECTOR, 0x18) &&
    set64(F.HOST_CR0, cpu.readCr0()) &&
    set64(F.HOST_CR3, c.hostCr3) &&
    set64(F.HOST_CR4, cpu.readCr4()) &&
    set64(F.HOST_FS_BASE, LINEAR_BASE) &&
    set64(F.HOST_GS_BASE, c.perCpu) &&
    set64(F.HOST_TR_BASE, c.tss) &&
    set64(F.HOST_GDTR_BASE, c.gdt) &&
    set64(F.HOST_IDTR_BASE, c.idt) &&
    set32(F.HOST_SYSENTER_CS, 0) &&
    set64(F.HOST_SYSENTER_ESP, 0) &&
    set64(F.HOST_SYSENTER_EIP, 0) &&
    set64(F.HOST_PAT, msr.read(Msr.IA32_PAT)) &&
    set64(F.HOST_EFER, msr.read(Msr.IA32_EFER)) &&
    set64(F.HOST_RSP, c.hostStack) &&
    set64(F.HOST_RIP, vmx.exitStub(c.debug))
  );
}

/** State that a monitor does not set; the registers that it does set start as an entry wants them. */
function setGuest(): bool {
  return (
    set64(F.LINK_POINTER, ~(<u64>0)) &&
    set64(F.GUEST_DEBUGCTL, 0) &&
    set32(F.GUEST_ACTIVITY, 0) &&
    set32(F.GUEST_INTERRUPTIBILITY, 0) &&
    set64(F.GUEST_PENDING_DEBUG, 0) &&
    set64(F.GUEST_DR7, 0x400) &&
    set64(F.GUEST_CR0, Cr0.ET | Cr0.NE) &&
    set64(F.GUEST_CR4, CR4_FORCED) &&
    set64(F.GUEST_RFLAGS, 2)
  );
}

/** Reads the registers of the vCPU whose VMCS is current. */
export function readGuest(out: GuestSummary): void {
  out.rip = vmx.read(F.GUEST_RIP.encoding);
  out.rsp = vmx.read(F.GUEST_RSP.encoding);
  out.rflags = vmx.read(F.GUEST_RFLAGS.encoding);
  out.cr0 = vmx.read(F.GUEST_CR0.encoding);
  out.cr3 = vmx.read(F.GUEST_CR3.encoding);
  out.cr4 = vmx.read(F.GUEST_CR4.encoding);
  out.efer = vmx.read(F.GUEST_EFER.encoding);
  out.cs = vmx.read(F.GUEST_CS_SELECTOR.encoding);
}

/** DR7 of the vCPU whose VMCS is current. */
export function setDr7(value: u64): void {
  set64(F.GUEST_DR7, value);
}

/** Whether the vCPU whose VMCS is current stops behind its next instruction: RFLAGS.TF is set, or is `flag`. */
export function setStep(on: bool, flag: u64): void {
  const rflags = vmx.read(F.GUEST_RFLAGS.encoding) & ~Rflags.TF;
  set64(F.GUEST_RFLAGS, rflags | (on ? Rflags.TF : flag));
  if (on) {
    // With TF, blocking goes with a single step that is pending already (27.3.1.5); what it blocks the monitor holds back.
    const blocking = <u32>vmx.read(F.GUEST_INTERRUPTIBILITY.encoding);
    set32(F.GUEST_INTERRUPTIBILITY, blocking & ~(Blocking.Sti | Blocking.MovSs));
  } else if (!flag) {
    set64(F.GUEST_PENDING_DEBUG, vmx.read(F.GUEST_PENDING_DEBUG.encoding) & ~PENDING_BS);
  }
}

/** Makes the next entry deliver the guest's own exception, of an INT3 of `length` bytes or another (27.6, Event Injection). */
export function deliver(vector: u32, length: u32): void {
  const type: u32 = vector == Vector.BP ? EventType.SoftwareException : EventType.HardwareException;
  set32(F.ENTRY_INTERRUPTION, VALID | (type << 8) | vector);
  set32(F.ENTRY_LENGTH, length);
  const blocking = <u32>vmx.read(F.GUEST_INTERRUPTIBILITY.encoding);
  set32(F.GUEST_INTERRUPTIBILITY, blocking & ~(Blocking.Sti | Blocking.MovSs));
}
