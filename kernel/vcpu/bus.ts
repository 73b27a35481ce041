/**
 * What guest-physical addresses lead to, for accesses that the monitor makes on the guest's behalf: RAM, or nothing. What
 * nothing claims reads all ones and takes no writes, as on a PC, and is counted.
 */
import { Refusal } from "../abi/exit";
import * as guest from "../machine/guest";
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
  // Registers of memory-mapped devices are read here.
  v.refuse(Refusal.UnclaimedMemory);
  return ~(<u64>0) >> (64 - size * 8);
}

/** Stores 1 to 8 bytes that lie on one page. */
export function storePhysical(v: Vcpu, gpa: u64, size: u32, value: u64): void {
  if (!guest.contains(gpa, size)) {
    // Registers of memory-mapped devices are written here.
    v.refuse(Refusal.UnclaimedMemory);
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
