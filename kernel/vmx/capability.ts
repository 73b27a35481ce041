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

const FEATURE_LOCK: u64 = 1 << 0;
const FEATURE_VMX: u64 = 1 << 2; // outside SMX operation


@unmanaged
export class Capability {
  revision: u32;
  pin: u32;
  processor: u32;
  secondary: u32;
  exit: u32;
  entry: u32;
  /** The preemption timer counts each time that this bit of the TSC changes. */
  timerRate: u32;
  ept: u64;
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
  get hasHugePages(): bool {
    return bit(this.ept, 17);
  }
}

export const capability = changetype<Capability>(memory.data(80, 8));
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
export function describe(out: Text): Text {
  out.str(capability.hasVpid ? ": VPID" : ": no VPID");
  if (capability.hasPreemptionTimer) out.str(", preemption timer");
  return capability.hasHugePages ? out.str(", EPT 1 GiB pages") : out;
}

/** Reads the capability MSRs. False, with the reason in `why`, when this CPU cannot run guests. */
export function preflight(why: Text): bool {
  if (!enabled(why)) return false;
  const c = capability;
  const basic = msr.read(Msr.IA32_VMX_BASIC);
  c.revision = <u32>bits(basic, 30, 0);
  const exact = bit(basic, 55);
  if (bits(basic, 53, 50) != 6) {
    why.str("VMCS in write-back memory: not offered by this CPU");
    return false;
  }
  c.pin = adjust(
    exact ? Msr.IA32_VMX_TRUE_PINBASED_CTLS : Msr.IA32_VMX_PINBASED_CTLS,
    Pin.EXTERNAL_INTERRUPT_EXITING | Pin.NMI_EXITING | Pin.VIRTUAL_NMIS | Pin.ACTIVATE_PREEMPTION_TIMER,
  );
  const windows = Processor.INTERRUPT_WINDOW_EXITING | Processor.NMI_WINDOW_EXITING;
  c.processor = adjust(
    exact ? Msr.IA32_VMX_TRUE_PROCBASED_CTLS : Msr.IA32_VMX_PROCBASED_CTLS,
    windows |
      Processor.USE_TSC_OFFSETTING |
      Processor.HLT_EXITING |
      Processor.MWAIT_EXITING |
      Processor.MONITOR_EXITING |
      Processor.RDPMC_EXITING |
      Processor.CR8_LOAD_EXITING |
      Processor.CR8_STORE_EXITING |
      Processor.UNCONDITIONAL_IO_EXITING |
      Processor.USE_MSR_BITMAPS |
      Processor.ACTIVATE_SECONDARY_CONTROLS,
  );
  if (
    !needs(c.pin, Pin.EXTERNAL_INTERRUPT_EXITING, "external-interrupt exiting", why) ||
    !needs(c.pin, Pin.NMI_EXITING, "NMI exiting", why) ||
    !needs(c.pin, Pin.VIRTUAL_NMIS, "virtual NMIs", why) ||
    !needs(c.processor, Processor.INTERRUPT_WINDOW_EXITING, "interrupt-window exiting", why) ||
    !needs(c.processor, Processor.NMI_WINDOW_EXITING, "NMI-window exiting", why) ||
    !needs(c.processor, Processor.USE_TSC_OFFSETTING, "TSC offsetting", why) ||
    !needs(c.processor, Processor.HLT_EXITING, "HLT exiting", why) ||
    !needs(c.processor, Processor.MWAIT_EXITING, "MWAIT exiting", why) ||
    !needs(c.processor, Processor.MONITOR_EXITING, "MONITOR exiting", why) ||
    !needs(c.processor, Processor.RDPMC_EXITING, "RDPMC exiting", why) ||
    !needs(c.processor, Processor.CR8_LOAD_EXITING, "CR8-load exiting", why) ||
    !needs(c.processor, Processor.CR8_STORE_EXITING, "CR8-store exiting", why) ||
    !needs(c.processor, Processor.UNCONDITIONAL_IO_EXITING, "unconditional I/O exiting", why) ||
    !needs(c.processor, Processor.USE_MSR_BITMAPS, "MSR bitmaps", why) ||
    !needs(c.processor, Processor.ACTIVATE_SECONDARY_CONTROLS, "secondary controls", why)
  ) {
    return false;
  }
  c.processor &= ~windows;
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
  if (
    !needs(c.secondary, Secondary.ENABLE_EPT, "EPT", why) ||
    !needs(c.secondary, Secondary.UNRESTRICTED_GUEST, "unrestricted guest", why)
  ) {
    return false;
  }
  c.exit = adjust(
    exact ? Msr.IA32_VMX_TRUE_EXIT_CTLS : Msr.IA32_VMX_EXIT_CTLS,
    Exit.SAVE_DEBUG_CONTROLS | Exit.HOST_64 | Exit.SAVE_PAT | Exit.LOAD_PAT | Exit.SAVE_EFER | Exit.LOAD_EFER,
  );
  c.entry = adjust(
    exact ? Msr.IA32_VMX_TRUE_ENTRY_CTLS : Msr.IA32_VMX_ENTRY_CTLS,
    Entry.LOAD_DEBUG_CONTROLS | Entry.LOAD_PAT | Entry.LOAD_EFER,
  );
  const misc = msr.read(Msr.IA32_VMX_MISC);
  c.timerRate = <u32>bits(misc, 4, 0);
  c.ept = msr.read(Msr.IA32_VMX_EPT_VPID_CAP);
  // INVVPID, single-context, goes with VPID; without both the CPU flushes at every entry and exit by itself.
  if (!bit(c.ept, 32) || !bit(c.ept, 41)) c.secondary &= ~Secondary.ENABLE_VPID;
  c.cr0Fixed0 = msr.read(Msr.IA32_VMX_CR0_FIXED0);
  c.cr0Fixed1 = msr.read(Msr.IA32_VMX_CR0_FIXED1);
  c.cr4Fixed0 = msr.read(Msr.IA32_VMX_CR4_FIXED0);
  c.cr4Fixed1 = msr.read(Msr.IA32_VMX_CR4_FIXED1);
  const pat = Exit.SAVE_PAT | Exit.LOAD_PAT;
  const efer = Exit.SAVE_EFER | Exit.LOAD_EFER;
  return (
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
    needs(bit(misc, 5) ? 1 : 0, 1, "saving IA32_EFER.LMA at VM exits", why)
  );
}
