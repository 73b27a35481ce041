/**
 * What this CPU's VT-x offers (SDM Vol. 3D Appendix A, VMX Capability Reporting Facility), and the refusal by name of
 * a CPU that lacks what is needed. Controls are adjusted here and nowhere else.
 */
import { bit, bits } from "../lib/bits";
import { Text } from "../lib/text";
import * as cpuid from "../machine/cpuid";
import * as msr from "../machine/msr";
import * as Msr from "../x86/msr";
import { Entry, Exit, Pin, Processor, Secondary } from "./control";
import { hasBrokenPreemptionTimer } from "./errata";

const FEATURE_LOCK: u64 = 1 << 0;
const FEATURE_VMX: u64 = 1 << 2; // outside SMX operation


@unmanaged
export class Capability {
  revision: u32;
  pin: u32;
  processor: u32;
  /** All primary controls that are wanted at one time or another, and that this CPU has. */
  available: u32;
  secondary: u32;
  exit: u32;
  entry: u32;
  /** The preemption timer counts each time that this bit of the TSC changes. */
  timerRate: u32;
  /** Nonzero: MOV-DR exiting, which a debugger wants. */
  hasDrExiting: u32;
  /** Nonzero: the TPR shadow, which a guest's CR8 can be without exits. */
  hasTprShadow: u32;
  /** Secondary controls that this CPU can have on; nonzero: posted interrupts. */
  offered: u32;
  posts: u32;
  ept: u64;
  basic: u64;
  misc: u64;
  cr0Fixed0: u64;
  cr0Fixed1: u64;
  cr4Fixed0: u64;
  cr4Fixed1: u64;

  get hasPreemptionTimer(): bool {
    return (this.pin & Pin.ACTIVATE_PREEMPTION_TIMER) != 0;
  }
  get hasVpid(): bool {
    return (this.secondary & Secondary.ENABLE_VPID) != 0;
  }
  get hasRdtscp(): bool {
    return (this.secondary & Secondary.ENABLE_RDTSCP) != 0;
  }
  get hasInvpcid(): bool {
    return (this.secondary & Secondary.ENABLE_INVPCID) != 0;
  }
  get hasTscScaling(): bool {
    return (this.offered & Secondary.USE_TSC_SCALING) != 0;
  }
  /** Both only for an x2APIC. */
  get hasApicRegisters(): bool {
    return this.hasOffered(Secondary.VIRTUALIZE_X2APIC_MODE | Secondary.APIC_REGISTER_VIRTUALIZATION);
  }
  get hasVirtualInterrupts(): bool {
    return this.hasOffered(Secondary.VIRTUALIZE_X2APIC_MODE | Secondary.VIRTUAL_INTERRUPT_DELIVERY);
  }
  private hasOffered(controls: u32): bool {
    return (this.offered & controls) == controls;
  }
  get hasEpt(): bool {
    return (this.secondary & Secondary.ENABLE_EPT) != 0;
  }
  get hasUnrestrictedGuest(): bool {
    return (this.secondary & Secondary.UNRESTRICTED_GUEST) != 0;
  }
  get hasHugePages(): bool {
    return bit(this.ept, 17);
  }
}

export const capability = changetype<Capability>(memory.data(112, 8));
const first = memory.data(112, 8);

if (offsetof<Capability>() > 112) ERROR("the capabilities do not fit");
const regs = memory.data(16, 4);

/** `wanted` as the CPU takes it: with what it forces, without what it lacks (A.3 to A.5). */
function adjust(index: u32, wanted: u32): u32 {
  const value = msr.read(index);
  return (wanted | (<u32>value)) & (<u32>(value >> 32));
}

function needs(controls: u32, control: u32, name: string, why: Text): bool {
  if ((controls & control) == control) return true;
  why.str(name).str(": not offered by this CPU");
  return false;
}

function eptNeeds(n: u32, name: string, why: Text): bool {
  return needs(bit(capability.ept, n) ? 1 : 0, 1, name, why);
}

/** Whether the firmware has locked VT-x off (24.7, Enabling and Entering VMX Operation). */
export function isDisabled(): bool {
  const control = msr.read(Msr.IA32_FEATURE_CONTROL);
  return (control & FEATURE_LOCK) != 0 && (control & FEATURE_VMX) == 0;
}

/** Whether the firmware allows VT-x; allows it itself where the firmware has left that open (24.7). */
function enabled(why: Text): bool {
  const control = msr.read(Msr.IA32_FEATURE_CONTROL);
  if (!(control & FEATURE_LOCK)) {
    msr.write(Msr.IA32_FEATURE_CONTROL, control | FEATURE_LOCK | FEATURE_VMX);
    return true;
  }
  if (control & FEATURE_VMX) return true;
  why.str("VT-x disabled by firmware: IA32_FEATURE_CONTROL = ").hex(control);
  return false;
}

/** Whether the CPU has VT-x at all. */
export function isOffered(): bool {
  cpuid.query(1, 0, regs);
  return bit(load<u32>(regs, 8), 5);
}

/** Appends what is used of the features that a CPU may lack. */
export function describe(out: Text, tprShadow: bool, registers: bool, interrupts: bool): Text {
  const c = capability;
  out.str(c.hasVpid ? ": VPID" : ": no VPID");
  if (c.hasPreemptionTimer) out.str(", preemption timer");
  if (c.hasHugePages) out.str(", EPT 1 GiB pages");
  if (c.hasTscScaling) out.str(", TSC scaling");
  if (c.hasTprShadow) spare(out, "TPR shadow", tprShadow);
  if (c.offered & Secondary.VIRTUALIZE_APIC_ACCESSES) spare(out, "APIC accesses", false);
  if (c.offered & Secondary.APIC_REGISTER_VIRTUALIZATION)
    spare(out, "APIC-register virtualization", registers);
  if (c.offered & Secondary.VIRTUAL_INTERRUPT_DELIVERY) spare(out, "virtual interrupt delivery", interrupts);
  if (c.posts) spare(out, "posted interrupts", false);
  return out;
}

function spare(out: Text, name: string, used: bool): void {
  out.str(", ").str(name);
  if (!used) out.str(" (present, not used)");
}

/** The controls that are wanted, as far as the CPU has them. */
function wantedProcessor(): u32 {
  return (
    Processor.MOV_DR_EXITING |
    Processor.USE_TPR_SHADOW |
    Processor.INTERRUPT_WINDOW_EXITING |
    Processor.NMI_WINDOW_EXITING |
    Processor.USE_TSC_OFFSETTING |
    Processor.HLT_EXITING |
    Processor.MWAIT_EXITING |
    Processor.MONITOR_EXITING |
    Processor.RDPMC_EXITING |
    Processor.CR8_LOAD_EXITING |
    Processor.CR8_STORE_EXITING |
    Processor.UNCONDITIONAL_IO_EXITING |
    Processor.USE_MSR_BITMAPS |
    Processor.ACTIVATE_SECONDARY_CONTROLS
  );
}

/** The secondary controls, which not every CPU has, and what EPT and VPID can do (A.3.3, A.10). */
function readSecondary(): void {
  const c = capability;
  c.secondary = 0;
  c.offered = 0;
  c.ept = 0;
  if (!(c.available & Processor.ACTIVATE_SECONDARY_CONTROLS)) return;
  c.secondary = adjust(
    Msr.IA32_VMX_PROCBASED_CTLS2,
    Secondary.ENABLE_EPT |
      Secondary.ENABLE_RDTSCP |
      Secondary.ENABLE_VPID |
      Secondary.WBINVD_EXITING |
      Secondary.UNRESTRICTED_GUEST |
      Secondary.ENABLE_INVPCID |
      Secondary.ENCLS_EXITING |
      Secondary.ENCLV_EXITING,
  );
  c.offered = <u32>(msr.read(Msr.IA32_VMX_PROCBASED_CTLS2) >> 32);
  if (c.offered & (Secondary.ENABLE_EPT | Secondary.ENABLE_VPID)) c.ept = msr.read(Msr.IA32_VMX_EPT_VPID_CAP);
  // INVVPID, single-context, goes with VPID; without both the CPU flushes at every entry and exit by itself.
  if (!bit(c.ept, 32) || !bit(c.ept, 41)) c.secondary &= ~Secondary.ENABLE_VPID;
}

/** Reads the capability MSRs, and changes nothing. */
export function readCapabilities(): void {
  const c = capability;
  c.basic = msr.read(Msr.IA32_VMX_BASIC);
  c.revision = <u32>bits(c.basic, 30, 0);
  const exact = bit(c.basic, 55);
  const pin = exact ? Msr.IA32_VMX_TRUE_PINBASED_CTLS : Msr.IA32_VMX_PINBASED_CTLS;
  c.pin = adjust(
    pin,
    Pin.EXTERNAL_INTERRUPT_EXITING | Pin.NMI_EXITING | Pin.VIRTUAL_NMIS | Pin.ACTIVATE_PREEMPTION_TIMER,
  );
  if (hasBrokenPreemptionTimer()) c.pin &= ~Pin.ACTIVATE_PREEMPTION_TIMER;
  c.posts = (<u32>(msr.read(pin) >> 32)) & Pin.POSTED_INTERRUPTS;
  c.available = adjust(
    exact ? Msr.IA32_VMX_TRUE_PROCBASED_CTLS : Msr.IA32_VMX_PROCBASED_CTLS,
    wantedProcessor(),
  );
  c.hasDrExiting = c.available & Processor.MOV_DR_EXITING;
  c.hasTprShadow = c.available & Processor.USE_TPR_SHADOW;
  // These are turned on when there is a reason.
  const windows = Processor.INTERRUPT_WINDOW_EXITING | Processor.NMI_WINDOW_EXITING;
  c.processor = c.available & ~(windows | Processor.MOV_DR_EXITING | Processor.USE_TPR_SHADOW);
  readSecondary();
  c.exit = adjust(
    exact ? Msr.IA32_VMX_TRUE_EXIT_CTLS : Msr.IA32_VMX_EXIT_CTLS,
    Exit.SAVE_DEBUG_CONTROLS | Exit.HOST_64 | Exit.SAVE_PAT | Exit.LOAD_PAT | Exit.SAVE_EFER | Exit.LOAD_EFER,
  );
  c.entry = adjust(
    exact ? Msr.IA32_VMX_TRUE_ENTRY_CTLS : Msr.IA32_VMX_ENTRY_CTLS,
    Entry.LOAD_DEBUG_CONTROLS | Entry.LOAD_PAT | Entry.LOAD_EFER,
  );
  c.misc = msr.read(Msr.IA32_VMX_MISC);
  c.timerRate = <u32>bits(c.misc, 4, 0);
  c.cr0Fixed0 = msr.read(Msr.IA32_VMX_CR0_FIXED0);
  c.cr0Fixed1 = msr.read(Msr.IA32_VMX_CR0_FIXED1);
  c.cr4Fixed0 = msr.read(Msr.IA32_VMX_CR4_FIXED0);
  c.cr4Fixed1 = msr.read(Msr.IA32_VMX_CR4_FIXED1);
}

/** Whether what was read is enough for guests. */
function suffices(why: Text): bool {
  const c = capability;
  if (bits(c.basic, 53, 50) != 6) {
    why.str("VMCS in write-back memory: not offered by this CPU");
    return false;
  }
  const pat = Exit.SAVE_PAT | Exit.LOAD_PAT;
  const efer = Exit.SAVE_EFER | Exit.LOAD_EFER;
  return (
    needs(c.pin, Pin.EXTERNAL_INTERRUPT_EXITING, "external-interrupt exiting", why) &&
    needs(c.pin, Pin.NMI_EXITING, "NMI exiting", why) &&
    needs(c.pin, Pin.VIRTUAL_NMIS, "virtual NMIs", why) &&
    needs(c.available, Processor.INTERRUPT_WINDOW_EXITING, "interrupt-window exiting", why) &&
    needs(c.available, Processor.NMI_WINDOW_EXITING, "NMI-window exiting", why) &&
    needs(c.available, Processor.USE_TSC_OFFSETTING, "TSC offsetting", why) &&
    needs(c.available, Processor.HLT_EXITING, "HLT exiting", why) &&
    needs(c.available, Processor.MWAIT_EXITING, "MWAIT exiting", why) &&
    needs(c.available, Processor.MONITOR_EXITING, "MONITOR exiting", why) &&
    needs(c.available, Processor.RDPMC_EXITING, "RDPMC exiting", why) &&
    needs(c.available, Processor.CR8_LOAD_EXITING, "CR8-load exiting", why) &&
    needs(c.available, Processor.CR8_STORE_EXITING, "CR8-store exiting", why) &&
    needs(c.available, Processor.UNCONDITIONAL_IO_EXITING, "unconditional I/O exiting", why) &&
    needs(c.available, Processor.USE_MSR_BITMAPS, "MSR bitmaps", why) &&
    needs(c.available, Processor.ACTIVATE_SECONDARY_CONTROLS, "secondary controls", why) &&
    needs(c.secondary, Secondary.ENABLE_EPT, "EPT", why) &&
    needs(c.secondary, Secondary.UNRESTRICTED_GUEST, "unrestricted guest", why) &&
    needs(bit(c.cr4Fixed1, 6) ? 1 : 0, 1, "machine-check exceptions", why) &&
    needs(c.exit, Exit.HOST_64, "64-bit host after VM exits", why) &&
    needs(c.exit, pat, "saving and loading IA32_PAT at VM exits", why) &&
    needs(c.exit, efer, "saving and loading IA32_EFER at VM exits", why) &&
    needs(c.entry, Entry.LOAD_PAT, "loading IA32_PAT at VM entries", why) &&
    needs(c.entry, Entry.LOAD_EFER, "loading IA32_EFER at VM entries", why) &&
    eptNeeds(6, "EPT page walks of length 4", why) &&
    eptNeeds(14, "EPT in write-back memory", why) &&
    eptNeeds(16, "EPT 2 MiB pages", why) &&
    eptNeeds(20, "INVEPT", why) &&
    eptNeeds(25, "single-context INVEPT", why) &&
    needs(bit(c.misc, 5) ? 1 : 0, 1, "saving IA32_EFER.LMA at VM exits", why)
  );
}

/** Reads what there is. False, with the reason in `why`, when this CPU cannot run guests. */
export function preflight(why: Text): bool {
  if (!enabled(why)) return false;
  readCapabilities();
  return suffices(why);
}

/** Whether this CPU has what the boot CPU has, which is what all vCPUs are made for; if not, `why` says so. */
export function isAlike(why: Text): bool {
  memory.copy(first, changetype<usize>(capability), offsetof<Capability>());
  const able = preflight(why);
  const same = memory.compare(first, changetype<usize>(capability), offsetof<Capability>()) == 0;
  memory.copy(changetype<usize>(capability), first, offsetof<Capability>());
  if (able && !same) why.str("offers other features than the boot CPU");
  return able && same;
}
