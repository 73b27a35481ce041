/**
 * What root needs of the firmware's ACPI tables (ACPI 6.4, 5.2): where the I/O APIC is, and the PM timer. A table whose
 * checksum or length is wrong is left aside with a warning, and so is what in a table cannot be.
 */
import { load16, load32, load64, load8 } from "../machine/phys";
import { boot, isRam } from "./boot";
import { say, warning } from "./log";
import { ensureWindow } from "./space";

const RSDP_LOW: u32 = 0x20445352; // "RSD "
const RSDP_HIGH: u32 = 0x20525450; // "PTR "
const RSDT: u32 = 0x54445352;
const XSDT: u32 = 0x54445358;
const MADT: u32 = 0x43495041; // "APIC"
const FADT: u32 = 0x50434146; // "FACP"
const HEADER: u32 = 36;
const LENGTH_MAX: u32 = 1 << 20;
/** Tables that are looked at: firmware has some dozens. */
const TABLES_MAX: u64 = 256;


@unmanaged
class Acpi {
  /** Physical address of the I/O APIC that serves the ISA interrupts, 0 when there is none. */
  ioapic: u64;
  /** First global system interrupt of it. */
  ioapicBase: u32;
  /** Port of the PM timer, 0 when there is none. */
  pmTimer: u32;
  /** Tables that were read: each kind counts once. */
  hasMadt: bool;
  hasFadt: bool;
}


@unmanaged
class Override {
  /** Global system interrupt of an ISA interrupt. */
  gsi: u32;
  /** MPS INTI flags (5.2.12.5): polarity in bits 1:0, trigger mode in bits 3:2. */
  flags: u32;
}

export const acpi = changetype<Acpi>(memory.data(24, 8));
const overrides = memory.data(128, 4);
const ISA_INTERRUPTS: u32 = 16;

/** Where an ISA interrupt goes. */
export function overrideOf(irq: u32): Override {
  return changetype<Override>(overrides + <usize>irq * offsetof<Override>());
}

/** Whether the bytes of a table add up to 0 (5.2.6, System Description Table Header). */
function isWhole(at: u64, length: u32): bool {
  let sum: u32 = 0;
  for (let i: u32 = 0; i < length; i++) sum += load8(at + i);
  return (sum & 0xff) == 0;
}

function signature(at: u64): u32 {
  return load32(at);
}

/** Says what of the tables is not used: the four letters at `at`, or `name`. */
function ignore(at: u64, name: string | null, why: string): void {
  const out = warning().str("ACPI: ");
  if (name == null) for (let i: u32 = 0; i < 4; i++) out.printable(load8(at + i));
  else out.str(name);
  say(out.str(" at ").hex(at).str(": ").str(why).str(", ignored"));
}

/** From revision 2 on there is a checksum of all of it besides that of its first 20 bytes (5.2.5.3). */
function isRsdp(at: u64): bool {
  if (load32(at) != RSDP_LOW || load32(at + 4) != RSDP_HIGH) return false;
  if (isWhole(at, 20) && (load8(at + 15) < 2 || isWhole(at, 36))) return true;
  ignore(at, "RSDP", "bad checksum");
  return false;
}

/** 5.2.5.1: the first KiB of the EBDA, then E0000h to FFFFFh, on 16-byte boundaries. */
function findRsdp(): u64 {
  if (boot.rsdp != 0 && isRsdp(boot.rsdp)) return boot.rsdp;
  const ebda = (<u64>load16(0x40e)) << 4;
  if (ebda >= 0x80000 && ebda < 0xa0000) {
    for (let at = ebda; at < ebda + 1024; at += 16) if (isRsdp(at)) return at;
  }
  for (let at: u64 = 0xe0000; at < 0x100000; at += 16) if (isRsdp(at)) return at;
  return 0;
}

/** Makes a table readable; its length, or 0 when there is none. */
function tableLength(table: u64): u32 {
  if (table == 0 || !ensureWindow(table, HEADER)) return 0;
  const length = load32(table + 4);
  return length >= HEADER && length < LENGTH_MAX && ensureWindow(table, length) ? length : 0;
}

/** The length of a table that is to be used, or 0 when it is not what it should be. */
function usableLength(table: u64): u32 {
  const length = tableLength(table);
  if (length == 0 || isWhole(table, length)) return length;
  ignore(table, null, "bad checksum");
  return 0;
}

/** 5.2.12.3, I/O APIC Structure: the one that serves interrupt 0, if there are several. */
function readIoapic(at: u64): void {
  const address = load32(at + 4);
  const base = load32(at + 8);
  if (acpi.ioapic != 0 && base != 0) return;
  // Root writes to it: better to no RAM. 82093AA 3.1: its registers are at FEC0xy00h.
  if (address == 0 || (address & 0xff) != 0 || isRam(address)) {
    ignore(address, "I/O APIC", "expected on 256 bytes and outside of RAM");
    return;
  }
  acpi.ioapic = address;
  acpi.ioapicBase = base;
}

/** Structures of {u8 type, u8 size} from byte 44 on (5.2.12, Multiple APIC Description Table). */
function readMadt(table: u64, length: u32): void {
  acpi.hasMadt = true;
  const end = table + length;
  for (let at: u64 = table + 44; at + 2 <= end;) {
    const kind = load8(at);
    const size = load8(at + 1);
    if (size < 2 || at + size > end) return;
    if (kind == 1 && size >= 12) {
      readIoapic(at);
    } else if (kind == 2 && size >= 10) {
      const irq = load8(at + 3);
      if (irq < ISA_INTERRUPTS) {
        overrideOf(irq).gsi = load32(at + 4);
        overrideOf(irq).flags = load16(at + 8);
      }
    }
    at += size;
  }
}

/** PM_TMR_BLK is 76, its length in byte 91: 4, or there is no timer (5.2.9, Fixed ACPI Description Table). */
function readFadt(table: u64, length: u32): void {
  acpi.hasFadt = true;
  if (length < 92 || load8(table + 91) != 4) return;
  const port = load32(table + 76);
  if (port <= 0xfffc) acpi.pmTimer = port;
}

/** Reads the tables of a list of pointers of `step` bytes each. False when it is no such list. */
function readList(list: u64, name: u32, step: u32): bool {
  const length = usableLength(list);
  if (length == 0 || signature(list) != name) return false;
  const count = min<u64>((length - HEADER) / step, TABLES_MAX);
  for (let i: u64 = 0; i < count; i++) {
    const at = list + HEADER + i * step;
    const table = step == 8 ? load64(at) : <u64>load32(at);
    if (tableLength(table) == 0) continue;
    const kind = signature(table);
    if (kind == MADT && !acpi.hasMadt) {
      const size = usableLength(table);
      if (size > 0) readMadt(table, size);
    } else if (kind == FADT && !acpi.hasFadt) {
      const size = usableLength(table);
      if (size > 0) readFadt(table, size);
    }
  }
  return true;
}

/** Reads the tables. Without them all fields stay empty. */
export function readAcpi(): void {
  for (let irq: u32 = 0; irq < ISA_INTERRUPTS; irq++) overrideOf(irq).gsi = irq;
  const rsdp = findRsdp();
  if (rsdp == 0) return;
  if (load8(rsdp + 15) >= 2 && readList(load64(rsdp + 24), XSDT, 8)) return;
  readList(load32(rsdp + 16), RSDT, 4);
}
