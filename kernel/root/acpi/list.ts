/**
 * The list of the firmware's tables (ACPI 6.4 5.2.7, Root System Description Table; 5.2.8, Extended System Description Table), and
 * which of them root reads.
 */
import { load32, load64 } from "../../machine/phys";
import { readDmar } from "./dmar";
import { fadt, readFadt } from "./fadt";
import { IommuKind, iommu } from "./iommu";
import { readIvrs } from "./ivrs";
import { madt, readMadt, resetOverrides } from "./madt";
import { mcfg, readMcfg } from "./mcfg";
import { findRsdp, isExtended } from "./rsdp";
import { findSleep, sleep } from "./sleep";
import { HEADER, forgetWarnings, ignore, isSound, isWhole, signature, tableLength } from "./table";

namespace Signature {
  export const RSDT: u32 = 0x54445352;
  export const XSDT: u32 = 0x54445358;
  export const MADT: u32 = 0x43495041; // "APIC"
  export const FADT: u32 = 0x50434146; // "FACP"
  export const MCFG: u32 = 0x4746434d;
  export const DMAR: u32 = 0x52414d44;
  export const IVRS: u32 = 0x53525649;
  export const SSDT: u32 = 0x54445353;
  export const DSDT: u32 = 0x54445344;
  export const WDAT: u32 = 0x54414457;
}

/** Tables that are looked at: firmware has some dozens. */
const TABLES_MAX: u64 = 256;


@unmanaged
class List {
  /** Tables of it that are tables. */
  tables: u32;
  /** What the RSDP says: 0 is ACPI 1.0. */
  extended: bool;
  /** Who made the tables: the RSDP's OEMID, six characters, the first one lowest. */
  maker: u64;
  /** There is a WDAT: a watchdog that the firmware describes. */
  hasWatchdog: bool;
}
export const list = changetype<List>(memory.data(24, 8));

/** Reads a table that root knows, the first of its kind. */
function readTable(table: u64, length: u32): void {
  const kind = signature(table);
  if (kind == Signature.MADT) {
    if (!madt.found && isSound(table, length)) readMadt(table, length);
  } else if (kind == Signature.FADT) {
    if (!fadt.found && isSound(table, length)) readFadt(table, length);
  } else if (kind == Signature.MCFG) {
    if (mcfg.ranges == 0 && isSound(table, length)) readMcfg(table, length);
  } else if (kind == Signature.DMAR) {
    if (iommu.kind == IommuKind.None && isSound(table, length)) readDmar(table, length);
  } else if (kind == Signature.IVRS) {
    if (iommu.kind == IommuKind.None && isSound(table, length)) readIvrs(table, length);
  } else if (kind == Signature.WDAT) {
    list.hasWatchdog = true;
  } else if (kind == Signature.SSDT) {
    // There are many, and this is all that root wants of them.
    if (!sleep.found && isWhole(table, length)) findSleep(table, length);
  }
}

/** The DSDT is in no list: the FADT has its address. */
function readDsdt(): void {
  if (fadt.dsdt == 0) return;
  const length = tableLength(fadt.dsdt, "FACP: DSDT");
  if (length == 0) return;
  if (signature(fadt.dsdt) != Signature.DSDT) ignore(fadt.dsdt, null, "expected to be the DSDT");
  else if (isSound(fadt.dsdt, length)) findSleep(fadt.dsdt, length);
}

/** Reads the tables of a list of pointers of `step` bytes each. False when it is no such list. */
function readList(at: u64, name: u32, step: u32): bool {
  const what = step == 8 ? "XSDT" : "RSDT";
  if (at == 0) return false;
  const length = tableLength(at, what);
  if (length == 0) return false;
  if (signature(at) != name) {
    ignore(at, null, step == 8 ? "expected to be the XSDT" : "expected to be the RSDT");
    return false;
  }
  if (!isSound(at, length)) return false;
  const count = min<u64>((length - HEADER) / step, TABLES_MAX);
  for (let i: u64 = 0; i < count; i++) {
    const entry = at + HEADER + i * step;
    const table = step == 8 ? load64(entry) : <u64>load32(entry);
    if (table == 0) continue; // firmware leaves places free
    const size = tableLength(table, "pointer");
    if (size == 0) continue;
    if (table < at + length && table + size > at) {
      ignore(table, null, "lies in the list of tables");
      continue;
    }
    list.tables++;
    readTable(table, size);
  }
  readDsdt();
  return true;
}

/** Reads the tables. Without them all fields stay empty. */
export function readAcpi(): void {
  forgetWarnings();
  resetOverrides();
  const rsdp = findRsdp();
  if (rsdp == 0) return;
  list.maker = (load64(rsdp + 8) >> 8) & 0xffffffffffff;
  list.extended = isExtended(rsdp);
  if (list.extended && readList(load64(rsdp + 24), Signature.XSDT, 8)) return;
  readList(load32(rsdp + 16), Signature.RSDT, 4);
}
