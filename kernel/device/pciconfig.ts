/**
 * PCI configuration mechanism 1 (PCI Local Bus 3.0, 3.2.2.3.2) with nothing behind it: the address register holds what is
 * written, every function's registers read all ones.
 */

@unmanaged
class Pci {
  address: u32;
}

const pci = changetype<Pci>(memory.data(4));
/** Bits 30:24 and 1:0 of the address are reserved. */
const ADDRESS_MASK: u32 = 0x80fffffc;

/** Port CF8h, 32 bits at once; other accesses there are not PCI's. */
export function readPciAddress(): u32 {
  return pci.address;
}

export function writePciAddress(value: u32): void {
  pci.address = value & ADDRESS_MASK;
}

/** A byte of ports CFCh to CFFh. */
export function readPciData(): u32 {
  return 0xff;
}
