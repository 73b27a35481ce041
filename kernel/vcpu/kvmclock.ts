/**
 * KVM's paravirtual clock, for guests that look for it: CPUID leaves from 40000100h on, and MSRs by which a guest says where its memory
 * wants the time (Linux, Documentation/virt/kvm/x86: KVM-specific MSRs, KVM CPUID bits). A vCPU's page says what the TSC was
 * when the VM started, and its frequency. Neither changes, so it is written when the guest asks for it and when it moves its TSC.
 */
import { VM_INFO } from "../abi/address";
import { VmInfo } from "../abi/vminfo";
import { Gpa } from "../lib/addr";
import { mulDiv } from "../lib/scale";
import * as guest from "../machine/guest";
import * as Msr from "../x86/msr";
import { clockOf, guestTsc } from "./clock";
import { Vcpu } from "./vcpu";

/** The leaves: the signature, and behind it the features. */
export const KVM_LEAF: u32 = 0x40000100;
/** The clock, by both pairs of MSRs; port 80h needs no delays; all vCPUs' clocks agree. */
export const KVM_FEATURES: u32 = (1 << 0) | (1 << 3) | (1 << 1) | (1 << 24);

const ENABLE: u64 = 1;
const ALIGNED: u64 = 3;
const STABLE: u32 = 1;
const NANOSECONDS: u64 = 1000000000;

/** A vCPU's page, and where the time of day at its zero is: each begins with a version, which is odd while it changes. */
namespace Page {
  export const TSC: u64 = 8;
  export const TIME: u64 = 16;
  export const MULTIPLIER: u64 = 24;
  /** A byte each, side by side. */
  export const SHIFT_AND_FLAGS: u64 = 28;
  export const SIZE: u64 = 32;
}
namespace WallClock {
  export const SECONDS: u64 = 4;
  export const NANOSECONDS: u64 = 8;
  export const SIZE: u64 = 12;
}

const info = changetype<VmInfo>(VM_INFO);

/** Makes the version odd, and even again afterwards. */
function turnVersion(page: Gpa): void {
  guest.store32(page, guest.load32(page) + 1);
}

/** Writes the vCPU's page, if it has one. @noinline */
export function updateKvmClock(v: Vcpu): void {
  const kvmSystem = clockOf(v).kvmSystem;
  if (!(kvmSystem & ENABLE)) return;
  const page: Gpa = kvmSystem & ~ENABLE;
  // ns = (ticks << shift) * multiplier >> 32, the multiplier from 2^31 on and below 2^32; up to 8 GHz.
  let shift: i32 = 0;
  let frequency = info.guestTscHz;
  for (; frequency <= NANOSECONDS; frequency <<= 1) shift++;
  for (; frequency > NANOSECONDS * 2; frequency >>= 1) shift--;
  const multiplier = mulDiv(NANOSECONDS, (<u64>1) << (32 - shift), info.guestTscHz);
  if (!(guest.load32(page) & 1)) turnVersion(page);
  guest.store64(page + Page.TSC, guestTsc(v, info.tscBase));
  guest.store64(page + Page.TIME, 0);
  guest.store32(page + Page.MULTIPLIER, <u32>multiplier);
  guest.store32(page + Page.SHIFT_AND_FLAGS, ((<u32>shift) & 255) | (STABLE << 8));
  turnVersion(page);
}

function isPlace(page: u64, size: u64): bool {
  return (page & ALIGNED) == 0 && guest.contains(page, size);
}

/** Whether the MSR is one of the clock's. */
export function isKvmMsr(index: u32): bool {
  return (
    index == Msr.KVM_SYSTEM_TIME ||
    index == Msr.KVM_WALL_CLOCK ||
    index == Msr.KVM_SYSTEM_TIME_OLD ||
    index == Msr.KVM_WALL_CLOCK_OLD
  );
}

function isWall(index: u32): bool {
  return index == Msr.KVM_WALL_CLOCK || index == Msr.KVM_WALL_CLOCK_OLD;
}

export function readKvmMsr(v: Vcpu, index: u32): u64 {
  return isWall(index) ? clockOf(v).kvmWall : clockOf(v).kvmSystem;
}

/** False when what the guest names is no place in its RAM. */
export function writeKvmMsr(v: Vcpu, index: u32, value: u64): bool {
  if (!isWall(index)) {
    if (value & ENABLE && !isPlace(value & ~ENABLE, Page.SIZE)) return false;
    clockOf(v).kvmSystem = value;
    updateKvmClock(v);
    return true;
  }
  if (!isPlace(value, WallClock.SIZE)) return false;
  clockOf(v).kvmWall = value;
  const page: Gpa = value;
  if (!(guest.load32(page) & 1)) turnVersion(page);
  guest.store32(page + WallClock.SECONDS, <u32>info.bootTime);
  guest.store32(page + WallClock.NANOSECONDS, 0);
  turnVersion(page);
  return true;
}
