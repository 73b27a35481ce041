/**
 * Guest-physical addresses that are no RAM: which is which device's. One that nobody claims reads all ones and takes no
 * writes, as on a PC, and is counted. Of this file vcpu/bus.ts knows the two functions, and nothing else in vcpu/ does.
 */
import { Refusal } from "../abi/exit";
import { deliverMsi } from "../device/apicbus";
import { readIoApic, writeIoApic } from "../device/ioapic";
import { Vcpu } from "../vcpu/vcpu";
import { isApicPage, readApicPage, settleApic, writeApicPage } from "./apic";
import { lookAtPic } from "./deliver";
import { readEcam, writeEcam } from "./ecam";
import { lock, unlock } from "./lock";
import { readHpetMemory, writeHpetMemory } from "./hpet";

/** PCI configuration space, of 256 buses. Guest RAM ends below. */
export const ECAM_BASE: u64 = 0xe0000000;
export const ECAM_SIZE: u64 = 0x10000000;
export const IOAPIC_BASE: u64 = 0xfec00000;
export const HPET_BASE: u64 = 0xfed00000;
export const HPET_SIZE: u64 = 0x400;
/** Stores to FEExxxxxh that no local APIC takes for its own are messages (SDM Vol. 3A 11.11.1, Message Address Register). */
const MSI: u64 = 0xfee;

/** Whether [gpa, gpa + size) is all in a range. */
function within(gpa: u64, size: u32, base: u64, length: u64): bool {
  return gpa >= base && gpa - base <= length - size;
}

/** Loads 1 to 8 bytes that lie on one page. @noinline */
export function readMmio(v: Vcpu, gpa: u64, size: u32): u64 {
  const ones = ~(<u64>0) >> (64 - size * 8);
  const offset = (<u32>gpa) & 4095;
  if (isApicPage(v, gpa)) return readApicPage(v, offset) & ones;
  lock();
  const value = readDevice(v, gpa, size);
  unlock();
  return value & ones;
}

/** With the VM's lock. */
function readDevice(v: Vcpu, gpa: u64, size: u32): u64 {
  const offset = (<u32>gpa) & 4095;
  if (gpa >> 12 == IOAPIC_BASE >> 12) return size >= 4 && offset & 3 ? 0 : readIoApic(offset);
  if (within(gpa, size, HPET_BASE, HPET_SIZE)) return readHpetMemory(v, <u32>(gpa - HPET_BASE), size);
  if (within(gpa, size, ECAM_BASE, ECAM_SIZE)) return readEcam(<u32>(gpa - ECAM_BASE), size);
  v.refuse(Refusal.UnclaimedMemory);
  return ~(<u64>0);
}

/** Stores 1 to 8 bytes that lie on one page. @noinline */
export function writeMmio(v: Vcpu, gpa: u64, size: u32, value: u64): void {
  if (isApicPage(v, gpa)) return writeApicPage(v, (<u32>gpa) & 4095, size, value);
  lock();
  writeDevice(v, gpa, size, value);
  unlock();
}

/** With the VM's lock. */
function writeDevice(v: Vcpu, gpa: u64, size: u32, value: u64): void {
  if (gpa >> 12 == IOAPIC_BASE >> 12) {
    writeIoApic((<u32>gpa) & 4095, <u32>value, v.number);
    // Input 0 may hand the 8259s' interrupts on from now on, or not any more.
    lookAtPic(v);
    settleApic(v);
  } else if (within(gpa, size, HPET_BASE, HPET_SIZE)) {
    writeHpetMemory(v, <u32>(gpa - HPET_BASE), size, value);
  } else if (within(gpa, size, ECAM_BASE, ECAM_SIZE)) {
    writeEcam(<u32>(gpa - ECAM_BASE), size, value);
  } else if (gpa >> 20 == MSI && size == 4) {
    deliverMsi(gpa, <u32>value, v.number);
    settleApic(v);
  } else {
    v.refuse(Refusal.UnclaimedMemory);
  }
}
