/** IA32_APIC_BASE: where a local APIC is, and in which mode (SDM Vol. 3A 11.4.4; 11.12.5, x2APIC State Transitions). */
import { initLapic, logicalId } from "./lapic";
import { Base, Lapic, Reg, Signal } from "./lapicregister";

/** WRMSR; false for #GP, with no effect. `physicalMask`: the bits that an address may have. */
export function writeBase(l: Lapic, value: u64, physicalMask: u64): bool {
  const s = l.state;
  if (value & ~((Base.ADDRESS & physicalMask) | Base.BSP | Base.X2 | Base.ENABLE)) return false;
  const was = s.base & (Base.X2 | Base.ENABLE);
  const is = value & (Base.X2 | Base.ENABLE);
  // Figure 11-27: x2APIC mode without being enabled; into it from disabled; out of it but to disabled.
  if (is == Base.X2) return false;
  if (was == 0 && is & Base.X2) return false;
  if (was & Base.X2 && is == Base.ENABLE) return false;
  s.base = value;
  s.signals |= Signal.Output | Signal.Lint0;
  if (was == is) return true;
  if (is & Base.X2) {
    l.write(Reg.ID, s.number);
    l.write(Reg.LDR, logicalId(s.number));
    l.write(Reg.ICR_HIGH, 0);
    l.signal(Signal.Mode);
  } else {
    // Disabled, it has no state to keep; enabled again, it is as after power-up (11.4.3, Enabling or Disabling the Local APIC).
    initLapic(l);
  }
  return true;
}
