/** Time of the platform: counts since the VM's start in each device's own unit, from the host's TSC. */
import { VM_INFO } from "../abi/address";
import { VmInfo } from "../abi/vminfo";
import { mulDiv } from "../lib/scale";
import { tsc } from "../machine/time";

const PIT_HZ: u64 = 1193182;
const PM_HZ: u64 = 3579545;
const RTC_HZ: u64 = 32768;
const NEVER: u64 = ~(<u64>0);

const info = changetype<VmInfo>(VM_INFO);

function count(hz: u64): u64 {
  return mulDiv(tsc() - info.tscBase, hz, info.tscHz);
}

export function pitNow(): u64 {
  return count(PIT_HZ);
}
export function pmNow(): u64 {
  return count(PM_HZ);
}
export function rtcNow(): u64 {
  return count(RTC_HZ);
}

/** The TSC value at which a count of `hz` is reached, rounded up; ~0 for never. */
function at(value: u64, hz: u64): u64 {
  return value == NEVER ? NEVER : info.tscBase + mulDiv(value, info.tscHz, hz) + 1;
}

export function pitAt(value: u64): u64 {
  return at(value, PIT_HZ);
}
export function pmAt(value: u64): u64 {
  return at(value, PM_HZ);
}
export function rtcAt(value: u64): u64 {
  return at(value, RTC_HZ);
}
