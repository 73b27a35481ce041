/**
 * What the CPU does of a vCPU's local APIC by itself (SDM Vol. 3C 30, APIC Virtualization and Virtual Interrupts), and what it leaves to
 * software. In x2APIC mode only: what the APIC is switched to decides, and root sets the controls.
 */
import { VM_INFO } from "../abi/address";
import { ApicMode } from "../abi/run";
import { VmFeature, VmInfo } from "../abi/vminfo";
import { sendSelfIpi } from "../device/apicbus";
import { noteEnd } from "../device/lapic";
import { Lapic, Reg, SVR_ENABLED } from "../device/lapicregister";
import { endVirtual, startVirtual } from "../device/lapicvirtual";
import { onUnexpected } from "../vcpu/instruction";
import { Attention, Next, Vcpu } from "../vcpu/vcpu";
import { lapicOf, settleApic } from "./apic";

/** The most that the CPU may do for the APIC as it is. Without its software's leave an APIC takes no interrupts, of which the CPU knows nothing. */
function suitable(l: Lapic): u32 {
  const features = changetype<VmInfo>(VM_INFO).features;
  if (!l.isX2) return ApicMode.None;
  if (features & VmFeature.VirtualInterrupts && l.svr & SVR_ENABLED) return ApicMode.Interrupts;
  return features & VmFeature.ApicRegisters ? ApicMode.Registers : ApicMode.None;
}

/** The APIC may have been switched to another mode: the CPU follows before the guest goes on. */
export function followMode(v: Vcpu): void {
  const l = lapicOf(v);
  const mode = suitable(l);
  if (mode == v.apicMode) return;
  if (mode == ApicMode.Interrupts) {
    startVirtual(l);
    v.attention |= Attention.Virtual;
  } else if (v.apicMode == ApicMode.Interrupts) {
    endVirtual(l);
  }
  v.apicMode = mode;
  v.attention |= Attention.ApicMode;
}

/**
 * Exits behind an instruction: the CPU has ended interrupt `what`, which is level-triggered; or it has written to the register at `what`,
 * and the rest is software's: of a self-IPI whose vector is illegal (30.5, Virtualizing MSR-Based APIC Accesses).
 */
export function onVirtualApic(v: Vcpu, isEnd: bool, what: u32): u32 {
  const l = lapicOf(v);
  if (isEnd) noteEnd(l, what & 0xff);
  else if (what == Reg.SELF_IPI) sendSelfIpi(l, l.read(Reg.SELF_IPI) & 0xff);
  else return onUnexpected(v);
  settleApic(v);
  return Next.Resume;
}
