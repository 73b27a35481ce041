/**
/**
 * What guest-physical addresses lead to, for accesses that the monitor makes on the guest's behalf: RAM, or the platform.
 * The platform is above this folder, and this is the only file in it that may say so (eslint.config.js): without function
 * pointers, the place where a device may be has to call it.
 */
import * as guest from "../machine/guest";
import { readMmio, writeMmio } from "../monitor/mmio";
import { Vcpu } from "./vcpu";

/** Loads 1 to 8 bytes that lie on one page. */
export function loadPhysical(v: Vcpu, gpa: u64, size: u32): u64 {
  if (guest.contains(gpa, size)) {
    if (size == 8) return guest.load64(gpa);
    if (size == 4) return guest.load32(gpa);
    if (size == 2) return guest.load16(gpa);
    let value: u64 = 0;
    while (size) value = (value << 8) | guest.load8(gpa + --size);
    return value;
  }
  return readMmio(v, gpa, size);
}

/** Stores 1 to 8 bytes that lie on one page. */
export function storePhysical(v: Vcpu, gpa: u64, size: u32, value: u64): void {
  if (!guest.contains(gpa, size)) {
    writeMmio(v, gpa, size, value);
  } else if (size == 8) {
    guest.store64(gpa, value);
  } else if (size == 4) {
    guest.store32(gpa, <u32>value);
  } else if (size == 2) {
    guest.store16(gpa, <u32>value);
  } else {
    for (; size; size--, value >>= 8) guest.store8(gpa++, (<u32>value) & 0xff);
  }
}
