/** Time of the platform: counts since the VM's start in each device's own unit, from the host's TSC and back. */
import { VM_INFO } from "../abi/address";
import { VmInfo } from "../abi/vminfo";
import { mulDiv, mulDivUp } from "../lib/scale";

const PIT_HZ: u64 = 1193182;
const PM_HZ: u64 = 3579545;
const RTC_HZ: u64 = 32768;
const HPET_HZ: u64 = 100000000;
const NEVER: u64 = ~(<u64>0);

const info = changetype<VmInfo>(VM_INFO);

/** What a clock of `hz` has counted at TSC value `t`. */
function count(t: u64, hz: u64): u64 {
  return mulDiv(t - info.tscBase, hz, info.tscHz);
}

export function pitCount(t: u64): u64 {
  return count(t, PIT_HZ);
}
export function pmCount(t: u64): u64 {
  return count(t, PM_HZ);
}
export function rtcCount(t: u64): u64 {
  return count(t, RTC_HZ);
}

export function hpetCount(t: u64): u64 {
  return count(t, HPET_HZ);
}

/** The first TSC value at which `value` has been counted; ~0 for never. */
function at(value: u64, hz: u64): u64 {
  return value == NEVER ? NEVER : info.tscBase + mulDivUp(value, info.tscHz, hz);
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

export function hpetAt(value: u64): u64 {
  return at(value, HPET_HZ);
}

/** About a millisecond after `t`. */
export function soon(t: u64): u64 {
  return t + (info.tscHz >> 10);
}
