/** Root's side of AMD-V: enabling it, and a vCPU's VMCB (APM Vol. 2 15.5, VMRUN Instruction). */
import { Hpa } from "../lib/addr";
import * as msr from "../machine/msr";
import * as phys from "../machine/phys";
import * as svm from "../machine/svm";
import { EventType } from "../vcpu/event";
import { GuestSummary } from "../vcpu/summary";
import { Cr0, Efer, Rflags } from "../x86/cr";
import { DR6_RESET, DR7_RESET } from "../x86/dr";
import * as Msr from "../x86/msr";
import { Vector } from "../x86/vector";
import { asidOf, forgetAsid, isStale, noteFlush } from "./asid";
import { capability } from "./capability";
import {
  ASID_CLEAN,
  CR4_FORCED,
  CrIntercept,
  Intercept1,
  Intercept2,
  Intercept3,
  NESTED_PAGING,
  TlbControl,
  VIRTUAL_INTERRUPT_MASKING,
  VMEXIT_INVALID,
} from "./control";
import * as F from "./field";

const PAGE: u64 = 4096;
/** Reads and writes of all debug registers. */
const ALL_DR: u32 = 0xffffffff;
const PAT_RESET: u64 = 0x0007040600070406;
/** PAUSEs in a row, and cycles between two of them, that make a guest one that spins (15.14.4, Pause Intercept Filtering). */
const PAUSE_COUNT: u64 = 3000;
const PAUSE_THRESHOLD: u64 = 128;

/** Sizes of the permission maps (15.10.1, I/O Permissions Map; 15.11, MSR Intercepts). */
export const IO_MAP_SIZE: u32 = 0x3000;
export const MSR_MAP_SIZE: u32 = 0x2000;

/** Lets VMRUN be used. `save` is a page for what it saves of the host (15.30.4, VM_HSAVE_PA MSR). */
export function enable(save: Hpa): void {
  msr.write(Msr.IA32_EFER, msr.read(Msr.IA32_EFER) | Efer.SVME);
  msr.write(Msr.VM_HSAVE_PA, save);
  svm.setFlush(capability.hasFlushByAsid ? TlbControl.FLUSH_GUEST : TlbControl.FLUSH_ALL);
}

/**
 * Fills the maps, which are contiguous in root's memory. Every port exits. A guest reads and writes directly the MSRs that
 * VMRUN, VMLOAD and VMSAVE switch, or root when it changes vCPUs; every other one exits.
 */
export function fillMaps(io: usize, msrs: usize): void {
  memory.fill(io, 0xff, IO_MAP_SIZE);
  memory.fill(msrs, 0xff, MSR_MAP_SIZE);
  pass(msrs, Msr.IA32_SYSENTER_CS, 3);
  pass(msrs, Msr.IA32_SYSENTER_ESP, 3);
  pass(msrs, Msr.IA32_SYSENTER_EIP, 3);
  pass(msrs, Msr.IA32_PAT, 3);
  pass(msrs, Msr.IA32_STAR, 3);
  pass(msrs, Msr.IA32_LSTAR, 3);
  pass(msrs, Msr.IA32_CSTAR, 3);
  pass(msrs, Msr.IA32_FMASK, 3);
  pass(msrs, Msr.IA32_FS_BASE, 3);
  pass(msrs, Msr.IA32_GS_BASE, 3);
  pass(msrs, Msr.IA32_KERNEL_GS_BASE, 3);
  pass(msrs, Msr.IA32_TIME_STAMP_COUNTER, 1);
  if (capability.hasRdtscp) pass(msrs, Msr.IA32_TSC_AUX, 3);
}

/** Clears the bits of an MSR: 1 of reads, 2 of writes. MSRs 0 to 1FFFh are in the first 2 KiB, C0000000h on in the next. */
function pass(map: usize, index: u32, access: u32): void {
  const at = map + (index >= 0xc0000000 ? 2048 : 0) + ((index & 0x1fff) >> 2);
  store<u8>(at, load<u8>(at) & ~(access << ((index & 3) * 2)));
}

/** What a vCPU is bound to. Addresses are physical. */
@unmanaged
export class VmcbConfig {
  vmcb: Hpa;
  ioMap: Hpa;
  msrMap: Hpa;
  nestedTop: Hpa;
  tscOffset: u64;
  number: u32;
  /** Whether there is a debugger: it has the debug registers, and sees first what INT1 raises where it is undefined. */
  debug: bool;
}

function set(vmcb: Hpa, word: F.Word, value: u64): void {
  phys.store64(vmcb + word.offset, value);
}

/** Two fields of 4 bytes: the one at the word's offset, and the one above. */
function pair(low: u32, high: u32): u64 {
  return (<u64>low) | ((<u64>high) << 32);
}

/** Fills a VMCB: controls, and the state of which a monitor does not set all. */
export function create(c: VmcbConfig): void {
  const vmcb = c.vmcb;
  phys.fill(vmcb, 0, PAGE);
  forgetAsid(c.number);
  const has = capability;
  const registers =
    CrIntercept.READ_CR4 | CrIntercept.WRITE_CR4 | CrIntercept.READ_CR8 | CrIntercept.WRITE_CR8;
  set(vmcb, F.INTERCEPT_CR, pair(registers, c.debug ? ALL_DR : 0));
  set(
    vmcb,
    F.INTERCEPT_EXCEPTIONS,
    // #DB and #AC could be delivered without end (a debug or alignment fault within their own delivery).
    pair(
      (1 << Vector.DB) | (1 << Vector.AC) | (1 << Vector.MC) | (c.debug ? 1 << Vector.UD : 0),
      Intercept1.INTR |
        Intercept1.NMI |
        Intercept1.INIT |
        Intercept1.VINTR |
        Intercept1.CR0_SELECTIVE |
        Intercept1.RDPMC |
        Intercept1.CPUID |
        Intercept1.INVD |
        Intercept1.HLT |
        Intercept1.INVLPGA |
        Intercept1.IOIO |
        Intercept1.MSR |
        Intercept1.FERR_FREEZE |
        Intercept1.SHUTDOWN |
        (has.hasPauseFilter ? Intercept1.PAUSE : 0),
    ),
  );
  set(
    vmcb,
    F.INTERCEPT_2,
    pair(
      Intercept2.VMRUN |
        Intercept2.VMMCALL |
        Intercept2.VMLOAD |
        Intercept2.VMSAVE |
        Intercept2.STGI |
        Intercept2.CLGI |
        Intercept2.SKINIT |
        Intercept2.ICEBP |
        Intercept2.WBINVD |
        Intercept2.MONITOR |
        Intercept2.MWAIT |
        Intercept2.MWAIT_ARMED |
        Intercept2.XSETBV |
        (has.hasRdpru ? Intercept2.RDPRU : 0),
      (has.hasInvlpgb ? Intercept3.INVLPGB | Intercept3.INVLPGB_ILLEGAL | Intercept3.TLBSYNC : 0) |
        (has.hasMcommit ? Intercept3.MCOMMIT : 0),
    ),
  );
  if (has.hasPauseFilter) {
    set(vmcb, F.PAUSE_FILTER, (PAUSE_COUNT << 48) | ((has.hasPauseThreshold ? PAUSE_THRESHOLD : 0) << 32));
  }
  set(vmcb, F.IOPM_BASE, c.ioMap);
  set(vmcb, F.MSRPM_BASE, c.msrMap);
  set(vmcb, F.TSC_OFFSET, c.tscOffset);
  set(vmcb, F.VIRTUAL_INTERRUPT, VIRTUAL_INTERRUPT_MASKING);
  set(vmcb, F.NESTED_CONTROL, NESTED_PAGING);
  set(vmcb, F.NESTED_CR3, c.nestedTop);
  set(vmcb, F.EFER, Efer.SVME);
  set(vmcb, F.CR0, Cr0.ET);
  set(vmcb, F.CR4, CR4_FORCED);
  set(vmcb, F.DR6, DR6_RESET);
  set(vmcb, F.DR7, DR7_RESET);
  set(vmcb, F.RFLAGS, 2);
  set(vmcb, F.PAT, PAT_RESET);
}

/** Before root gives the vCPU the CPU: its ASID, and what the entry is to flush. */
export function prepare(vmcb: Hpa, number: u32): void {
  const asid = asidOf(number);
  const word = phys.load64(vmcb + F.ASID.offset);
  const control: u64 = isStale() ? TlbControl.FLUSH_ALL : word >> 32;
  const wanted = (<u64>asid) | (control << 32);
  if (word == wanted && !isStale()) return;
  set(vmcb, F.ASID, wanted);
  set(vmcb, F.CLEAN, 0);
}

/**
 * The vCPU has come back to root, perhaps without an entry: its monitor need not make one. The exit stub sets all clean bits,
 * and that of the ASID is no one's to take back but prepare()'s.
 */
export function settle(vmcb: Hpa): void {
  if (!isStale() || !(phys.load64(vmcb + F.CLEAN.offset) & ASID_CLEAN)) return;
  // A refused entry may have flushed nothing.
  if (phys.load32(vmcb + F.EXIT_CODE.offset) != VMEXIT_INVALID) noteFlush();
}

/** Reads the registers of a vCPU. */
export function readGuest(vmcb: Hpa, out: GuestSummary): void {
  out.rip = phys.load64(vmcb + F.RIP.offset);
  out.rsp = phys.load64(vmcb + F.RSP.offset);
  out.rflags = phys.load64(vmcb + F.RFLAGS.offset);
  out.cr0 = phys.load64(vmcb + F.CR0.offset);
  out.cr3 = phys.load64(vmcb + F.CR3.offset);
  out.cr4 = phys.load64(vmcb + F.CR4.offset);
  out.efer = phys.load64(vmcb + F.EFER.offset);
  out.cs = phys.load16(vmcb + F.CS.offset);
}

export function setDr7(vmcb: Hpa, value: u64): void {
  if (phys.load64(vmcb + F.DR7.offset) == value) return;
  set(vmcb, F.DR7, value);
  set(vmcb, F.CLEAN, 0);
}

/** Sets the trap flag to `flag`: 0, or Rflags.TF to stop behind an instruction. */
export function setStep(vmcb: Hpa, flag: u64): void {
  set(vmcb, F.RFLAGS, (phys.load64(vmcb + F.RFLAGS.offset) & ~Rflags.TF) | flag);
}

/**
 * Makes the next entry deliver the guest's own exception (15.20, Event Injection): that of an INT1 of `length` bytes is a
 * trap behind it.
 */
export function deliver(vmcb: Hpa, vector: u32, length: u64): void {
  const next = phys.load64(vmcb + F.RIP.offset) + length;
  set(vmcb, F.RIP, next);
  set(vmcb, F.NEXT_RIP, next);
  set(vmcb, F.EVENT_INJECTION, F.EVENT_VALID | (EventType.HardwareException << 8) | vector);
}
