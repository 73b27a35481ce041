/**
 * PCI configuration space of bus 0 (PCI Local Bus 3.0, 6.1): a table of functions, each 256 bytes and a mask of what of
 * them software may write. It is reached by mechanism 1 (3.2.2.3.2), whose address register is here too, and by the
 * memory that PCI Express has for it (PCI Express Base 4.0, 7.2.2). What is not there reads all ones and takes no writes.
 */

namespace Reg {
  export const VENDOR: u32 = 0x00;
  export const COMMAND: u32 = 0x04;
  export const STATUS: u32 = 0x06;
  export const REVISION: u32 = 0x08;
}
/** I/O, memory, bus master, parity response, SERR, interrupt disable. */
const COMMAND_WRITABLE: u32 = 0x0547;
/** Status bits that a 1 clears: errors. */
const STATUS_CLEARED: u32 = 0xf900;

const MAX_FUNCTIONS: u32 = 16;
export const CONFIG_SIZE: u32 = 256;
/** Bits 30:24 and 1:0 of the address are reserved. */
const ADDRESS_MASK: u32 = 0x80fffffc;
const ADDRESS_ENABLE: u32 = 0x80000000;


@unmanaged
export class Pci {
  address: u32;
  functions: u32;
}

const pci = changetype<Pci>(memory.data(8, 4));
/** By device and function: 1 + the function's number, or 0. */
const present = memory.data(256);
const spaces = memory.data(4096, 8);
const masks = memory.data(4096, 8);

/** Where a function's registers are, and the masks of them. */
export function configSpace(n: u32): usize {
  return spaces + <usize>(n * CONFIG_SIZE);
}

export function configMask(n: u32): usize {
  return masks + <usize>(n * CONFIG_SIZE);
}

export function resetPci(): void {
  pci.functions = 0;
  pci.address = 0;
  memory.fill(present, 0, 256);
}

/** A function of a kind of header that is not a bridge's. `id`: device and vendor; `kind`: class code and revision. */
export function addFunction(devfn: u32, id: u32, kind: u32): u32 {
  const n = pci.functions++;
  assert(n < MAX_FUNCTIONS);
  const space = configSpace(n);
  memory.fill(space, 0, CONFIG_SIZE);
  memory.fill(configMask(n), 0, CONFIG_SIZE);
  store<u32>(space, id, Reg.VENDOR);
  store<u32>(space, kind, Reg.REVISION);
  store<u16>(configMask(n), <u16>COMMAND_WRITABLE, Reg.COMMAND);
  store<u8>(present + <usize>devfn, <u8>(n + 1));
  return n;
}

/** 1 + the number of the function that is there, or 0. */
function functionAt(bus: u32, devfn: u32, offset: u32): u32 {
  return bus == 0 && offset < CONFIG_SIZE ? load<u8>(present + <usize>devfn) : 0;
}

/** A byte of a function's 4096: behind CONFIG_SIZE nothing is. */
export function readConfig(bus: u32, devfn: u32, offset: u32): u32 {
  const n = functionAt(bus, devfn, offset);
  return n == 0 ? 0xff : load<u8>(configSpace(n - 1) + <usize>offset);
}

export function writeConfig(bus: u32, devfn: u32, offset: u32, value: u32): void {
  const n = functionAt(bus, devfn, offset);
  if (n == 0) return;
  const at = configSpace(n - 1) + <usize>offset;
  const mask = <u32>load<u8>(configMask(n - 1) + <usize>offset);
  let byte = (load<u8>(at) & ~mask) | (value & mask);
  if (offset - Reg.STATUS < 2) byte &= ~(value & (STATUS_CLEARED >> ((offset & 1) * 8)));
  store<u8>(at, <u8>byte);
}

/** Port CF8h, 32 bits at once; other accesses there are not PCI's. */
export function readPciAddress(): u32 {
  return pci.address;
}

export function writePciAddress(value: u32): void {
  pci.address = value & ADDRESS_MASK;
}

/** A byte of ports CFCh to CFFh. */
export function readPciData(offset: u32): u32 {
  const a = pci.address;
  if (!(a & ADDRESS_ENABLE)) return 0xff;
  return readConfig((a >> 16) & 0xff, (a >> 8) & 0xff, (a & 0xfc) + offset);
}

export function writePciData(offset: u32, value: u32): void {
  const a = pci.address;
  if (a & ADDRESS_ENABLE) writeConfig((a >> 16) & 0xff, (a >> 8) & 0xff, (a & 0xfc) + offset, value);
}

/** Where its state is, for the debugger. */
export function pciState(): usize {
  return changetype<usize>(pci);
}

if (MAX_FUNCTIONS * CONFIG_SIZE > 4096) ERROR("the functions do not fit their memory");
