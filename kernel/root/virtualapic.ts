/** VT-x: which of its parts for local APICs guests have, and the modes that a monitor may ask for (ApicMode). */
import { ApicMode } from "../abi/run";
import { Hpa } from "../lib/addr";
import { capability } from "../vmx/capability";
import { fillMsrBitmap } from "../vmx/bitmap";
import { passX2apic, setApic } from "../vmx/virtualapic";
import { NO_FRAME, allocateZeroed } from "./frames";
import { NONE } from "./log";
import { WHERE_SOUND, options } from "./options";
import { breaksVirtualInterrupts } from "./quirk";


@unmanaged
class Bitmaps {
  /** MSR bitmaps of the modes, shared by all VMs. */
  registers: Hpa;
  interrupts: Hpa;
}

const bitmaps = changetype<Bitmaps>(memory.data(16, 8));

/** Whether guests' CR8 is the TPR shadow: where the CPU has it, and the command line does not say otherwise. */
export function usesTprShadow(): bool {
  return capability.hasTprShadow != 0 && options.tprShadow != 0;
}

/** The same of an x2APIC's registers and interrupts without exits, which goes with the TPR shadow (27.2.1.1). */
export function usesApicRegisters(): bool {
  return usesTprShadow() && capability.hasApicRegisters && options.apicRegisters != 0;
}

/** Not with a debugger: its steps hold interrupts back, which the CPU would deliver. */
export function usesVirtualInterrupts(): bool {
  if (!usesTprShadow() || options.virtualInterrupts == 0 || options.debug != NONE) return false;
  if (options.virtualInterrupts == WHERE_SOUND && breaksVirtualInterrupts()) return false;
  return capability.hasVirtualInterrupts;
}

/** An MSR bitmap in which an x2APIC's registers pass that the CPU sees to. */
function bitmapFor(interrupts: bool): Hpa {
  const page = allocateZeroed();
  if (page == NO_FRAME) return page;
  fillMsrBitmap(page);
  passX2apic(page, usesApicRegisters(), interrupts);
  return page;
}

/** False: memory ran out. */
export function prepareApicModes(): bool {
  if (usesApicRegisters() && (bitmaps.registers = bitmapFor(false)) == NO_FRAME) return false;
  return !usesVirtualInterrupts() || (bitmaps.interrupts = bitmapFor(true)) != NO_FRAME;
}

/** Of the vCPU whose VMCS is current. A mode that is not used, or not known, is none: then MSRs are `plain`. */
export function enterApicMode(mode: u32, plain: Hpa): void {
  if (mode == ApicMode.Interrupts && usesVirtualInterrupts())
    setApic(bitmaps.interrupts, true, usesApicRegisters(), true);
  else if (mode == ApicMode.Registers && usesApicRegisters()) setApic(bitmaps.registers, true, true, false);
  else setApic(plain, false, false, false);
}
