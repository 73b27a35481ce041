/**
 * A vCPU's TSC, and KVM's clock of it. The guest's TSC is the host's, scaled where the VM has a frequency of its own, plus an offset
 * (SDM Vol. 3C 25.6.5, Time-Stamp Counter Offset and Multiplier). The way back is that of a deadline: device/lapictimer.ts, `after`.
 */
import { VM_INFO } from "../abi/address";
import { VmInfo } from "../abi/vminfo";
import { scale } from "../lib/scale";
import { CLOCK_OFFSET, Vcpu } from "./vcpu";

const info = changetype<VmInfo>(VM_INFO);


@unmanaged
export class Clock {
  /** Guest TSC = scaled host TSC + offset. The vendor's code writes the offset to the CPU when a handler changed it. */
  offset: u64;
  /** IA32_TSC_ADJUST: how far the guest has moved its TSC. */
  adjust: u64;
  /** KVM's MSRs as written (kvmclock.ts). */
  kvmSystem: u64;
  kvmWall: u64;
}

export function clockOf(v: Vcpu): Clock {
  return changetype<Clock>(changetype<usize>(v) + CLOCK_OFFSET);
}

/** The guest's TSC when the host's is `t`. */
export function guestTsc(v: Vcpu, t: u64): u64 {
  return scale(t, info.tscMultiplier) + clockOf(v).offset;
}

/** The guest's TSC starts at 0 when the VM does, on all vCPUs; root has told the CPU the same offset. */
export function startTsc(v: Vcpu): void {
  clockOf(v).offset = 0 - scale(info.tscBase, info.tscMultiplier);
}
