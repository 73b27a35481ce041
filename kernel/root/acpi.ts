/** What root needs of the firmware's ACPI tables (ACPI 6.4, 5.2): where the I/O APIC is, and the PM timer. */
import { load16, load32, load64, load8 } from "../machine/phys";
import { boot } from "./boot";
import { ensureWindow } from "./space";

const RSDP_LOW: u32 = 0x20445352; // "RSD "
const RSDP_HIGH: u32 = 0x20525450; // "PTR "
const MADT: u32 = 0x43495041; // "APIC"
const FADT: u32 = 0x50434146; // "FACP"
const HEADER: u64 = 36;


@unmanaged
class Acpi {
  /** Physical address of the I/O APIC that serves the ISA interrupts, 0 when there is none. */
  ioapic: u64;
  /** First global system interrupt of it. */
  ioapicBase: u32;
  /** Port of the PM timer, 0 when there is none. */
  pmTimer: u32;
  /** Global system interrupt of each ISA interrupt, and its MPS INTI flags, as u16 pairs. */
  overrides: usize;
  hasTables: u32;
}

export const acpi = changetype<Acpi>(memory.data(32, 8));
const overrides = memory.data(64, 4);

export function gsiOf(irq: u32): u32 {
  return load<u16>(overrides + <usize>irq * 4);
}

/** MPS INTI flags (ACPI 6.4 5.2.12.5): polarity in bits 1:0, trigger mode in bits 3:2. */
export function flagsOf(irq: u32): u32 {
  return load<u16>(overrides + <usize>irq * 4 + 2);
}

function isRsdp(at: u64): bool {
  return load32(at) == RSDP_LOW && load32(at + 4) == RSDP_HIGH;
}

/** ACPI 6.4 5.2.5.1: the first KiB of the EBDA, then E0000h to FFFFFh, on 16-byte boundaries. */
function findRsdp(): u64 {
  if (boot.rsdp != 0) return boot.rsdp;
  const ebda = (<u64>load16(0x40e)) << 4;
  if (ebda >= 0x80000 && ebda < 0xa0000) {
    for (let at = ebda; at < ebda + 1024; at += 16) if (isRsdp(at)) return at;
  }
  for (let at: u64 = 0xe0000; at < 0x100000; at += 16) if (isRsdp(at)) return at;
  return 0;
}

/** Makes a table readable; its length, or 0 when it is none. */
function tableLength(table: u64): u32 {
  if (table == 0 || !ensureWindow(table, HEADER)) return 0;
  const length = load32(table + 4);
  return length >= HEADER && length < 1 << 20 && ensureWindow(table, length) ? length : 0;
}

function readMadt(table: u64, length: u32): void {
  for (let at: u64 = table + 44; at + 2 <= table + length;) {
    const kind = load8(at);
    const size = load8(at + 1);
    if (size < 2) break;
    if (kind == 1 && (acpi.ioapic == 0 || load32(at + 8) == 0)) {
      acpi.ioapic = load32(at + 4);
      acpi.ioapicBase = load32(at + 8);
    } else if (kind == 2) {
      const irq = load8(at + 3);
      if (irq < 16) {
        store<u16>(overrides + <usize>irq * 4, <u16>load32(at + 4));
        store<u16>(overrides + <usize>irq * 4 + 2, <u16>load16(at + 8));
      }
    }
    at += size;
  }
}

function readFadt(table: u64, length: u32): void {
  if (length >= 112) acpi.pmTimer = load32(table + 76);
}

/** Reads the tables. Without them all fields stay empty. */
export function readAcpi(): void {
  for (let irq: u32 = 0; irq < 16; irq++) store<u32>(overrides + <usize>irq * 4, irq);
  const rsdp = findRsdp();
  if (rsdp == 0) return;
  const wide = load8(rsdp + 15) >= 2 && load64(rsdp + 24) != 0;
  const list = wide ? load64(rsdp + 24) : <u64>load32(rsdp + 16);
  const length = tableLength(list);
  const step: u64 = wide ? 8 : 4;
  for (let at = HEADER; at + step <= length; at += step) {
    const table = wide ? load64(list + at) : <u64>load32(list + at);
    const size = tableLength(table);
    if (size == 0) continue;
    acpi.hasTables = 1;
    const signature = load32(table);
    if (signature == MADT) readMadt(table, size);
    else if (signature == FADT) readFadt(table, size);
  }
}
