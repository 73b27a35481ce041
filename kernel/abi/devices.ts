import { VM_INFO } from "./address";

/**
 * Where a monitor has the state of its devices, in its linear memory: the debugger reads it there. To others it is
 * untrusted. The layouts are the devices' own (kernel/device/).
 */
@unmanaged
export class DeviceTable {
  uart: u32;
  /** Two controllers, master and slave. */
  pic: u32;
  /** Three counters. */
  pit: u32;
  rtc: u32;
  pm: u32;
  pci: u32;
  /** vCPU 0's local APIC: the others' follow, a page each. */
  lapic: u32;
  ioapic: u32;
  hpet: u32;
}

export const DEVICE_TABLE: u32 = VM_INFO + 3072;
