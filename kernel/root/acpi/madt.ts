/** ACPI 6.4 5.2.12, Multiple APIC Description Table: the CPUs, the I/O APIC, where ISA interrupts go. */
import { MAX_CPUS } from "../../abi/address";
import { load16, load32, load8 } from "../../machine/phys";
import { isRam } from "../boot";
import { ignore } from "./table";

/** Where its structures start. */
const STRUCTURES: u32 = 44;
const ENABLED: u32 = 1;

namespace Kind {
  export const LocalApic: u32 = 0;
  export const IoApic: u32 = 1;
  export const Override: u32 = 2;
  export const LocalX2apic: u32 = 9;
}


@unmanaged
class Madt {
  /** Physical address of the I/O APIC that serves the ISA interrupts, 0 when there is none. */
  ioapic: u64;
  /** First global system interrupt of it. */
  ioapicBase: u32;
  /** CPUs that it has, whether there is room for them here or not. */
  cpus: u32;
  /** It was read: a second one does not count. */
  found: bool;
}


@unmanaged
class Override {
  /** Global system interrupt of an ISA interrupt. */
  gsi: u32;
  /** MPS INTI flags (5.2.12.5): polarity in bits 1:0, trigger mode in bits 3:2. */
  flags: u32;
}

export const madt = changetype<Madt>(memory.data(24, 8));
/** The APIC ids of the first MAX_CPUS CPUs, in its order. */
const apicIds = memory.data(256, 4);
const overrides = memory.data(128, 4);
const ISA_INTERRUPTS: u32 = 16;

/** Where an ISA interrupt goes. */
export function overrideOf(irq: u32): Override {
  return changetype<Override>(overrides + <usize>irq * offsetof<Override>());
}

/** Every ISA interrupt goes to the input of its number, unless the table says otherwise. */
export function resetOverrides(): void {
  for (let irq: u32 = 0; irq < ISA_INTERRUPTS; irq++) overrideOf(irq).gsi = irq;
}

/** 5.2.12.3, I/O APIC Structure: the one that serves interrupt 0, if there are several. */
function readIoapic(at: u64): void {
  const address = load32(at + 4);
  const base = load32(at + 8);
  if (madt.ioapic != 0 && base != 0) return;
  // Root writes to it: better to no RAM. 82093AA 3.1: its registers are at FEC0xy00h.
  if (address == 0 || (address & 0xff) != 0 || isRam(address)) {
    ignore(address, "I/O APIC", "expected on 256 bytes and outside of RAM");
    return;
  }
  madt.ioapic = address;
  madt.ioapicBase = base;
}

/** The APIC id of the n-th CPU. */
export function cpuApicId(n: u32): u32 {
  return load<u32>(apicIds + <usize>n * 4);
}

/** Whether another structure has told of the CPU: both kinds may name it. */
function isKnownCpu(id: u32): bool {
  for (let n: u32 = 0; n < min(madt.cpus, MAX_CPUS); n++) if (cpuApicId(n) == id) return true;
  return false;
}

/** 5.2.12.2, Processor Local APIC Structure, and 5.2.12.12, Processor Local x2APIC Structure. */
function readCpu(id: u32, flags: u32): void {
  if (!(flags & ENABLED) || isKnownCpu(id)) return;
  if (madt.cpus < MAX_CPUS) store<u32>(apicIds + <usize>madt.cpus * 4, id);
  madt.cpus++;
}

/** Structures of {u8 type, u8 size}. One that cannot be ends the list: what is behind it cannot be told apart. */
export function readMadt(table: u64, length: u32): void {
  madt.found = true;
  const end = table + length;
  for (let at: u64 = table + STRUCTURES; at + 2 <= end;) {
    const kind = load8(at);
    const size = load8(at + 1);
    if (size < 2 || at + size > end) {
      ignore(at, "APIC: structure", "expected a size of 2 bytes to the table's end");
      return;
    }
    if (kind == Kind.LocalApic && size >= 8) {
      readCpu(load8(at + 3), load32(at + 4));
    } else if (kind == Kind.LocalX2apic && size >= 16) {
      readCpu(load32(at + 4), load32(at + 8));
    } else if (kind == Kind.IoApic && size >= 12) {
      readIoapic(at);
    } else if (kind == Kind.Override && size >= 10) {
      const irq = load8(at + 3);
      if (irq < ISA_INTERRUPTS) {
        overrideOf(irq).gsi = load32(at + 4);
        overrideOf(irq).flags = load16(at + 8);
      }
    }
    at += size;
  }
}
