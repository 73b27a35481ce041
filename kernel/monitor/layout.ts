/**
 * What every guest is given below 1 MiB, whatever the format of its kernel, and the map of its memory.
 *
 *     1000h GDT   7000h the protocol's own information   8000h page tables   20000h command line
 *     21000h free for kernels, as all RAM from 1 MiB on   9FC00h   E0000h ACPI tables   F0000h SMBIOS
 */
import { MAX_VCPUS, VM_INFO } from "../abi/address";
import { COMMAND_LINE_MAX, COMMAND_LINE_OFFSET, VmInfo } from "../abi/vminfo";
import * as guest from "../machine/guest";
import { writeAcpiTables } from "./acpi";
import { writeSmbios } from "./smbios";

export const GDT: u64 = 0x1000;
export const START_INFO: u64 = 0x7000;
/** PML4, PDPT, four PDs. */
export const PAGE_TABLES: u64 = 0x8000;
export const COMMAND_LINE: u64 = 0x20000;
/** What of the memory below 1 MiB a kernel may be loaded to. */
export const LOW_FREE: u64 = 0x21000;
export const LOW_END: u64 = 0x9fc00;
const ACPI_TABLES: u64 = 0xe0000;
const SMBIOS: u64 = 0xf0000;
const ACPI_NVS_AREA: u64 = 0xff000;
export const MIB: u64 = 0x100000;
export const GIB4: u64 = 0x100000000;

/** Kinds of memory (ACPI 6.4, 15, System Address Map Interfaces): Linux, Xen and multiboot use its numbers. */
const RAM: u32 = 1;
const RESERVED: u32 = 2;
const ACPI_RECLAIMABLE: u32 = 3;
const ACPI_NVS: u32 = 4;
const MAX_REGIONS: u32 = 6;

/** Of the GDT, with the selectors of Linux's protocols. */
export const CODE_SELECTOR: u32 = 0x10;
export const DATA_SELECTOR: u32 = 0x18;
export const GDT_LIMIT: u32 = 0x1f;
export const CODE_64: u64 = 0x00af9b000000ffff;
export const CODE_32: u64 = 0x00cf9b000000ffff;
const DATA: u64 = 0x00cf93000000ffff;


@unmanaged
export class Region {
  base: u64;
  end: u64;
  kind: u32;
  padding: u32;
}


@unmanaged
class MemoryMap {
  count: u32;
}

export const info = changetype<VmInfo>(VM_INFO);
const regions = memory.data(144, 8);
const map = changetype<MemoryMap>(memory.data(4));

export function region(n: u32): Region {
  return changetype<Region>(regions + <usize>n * offsetof<Region>());
}

function addRegion(base: u64, end: u64, kind: u32): void {
  const r = region(map.count++);
  r.base = base;
  r.end = end;
  r.kind = kind;
}

/** Says what memory there is, by address; returns the number of its regions. */
export function makeMemoryMap(): u32 {
  map.count = 0;
  addRegion(0, LOW_END, RAM);
  addRegion(ACPI_TABLES, SMBIOS, ACPI_RECLAIMABLE);
  addRegion(SMBIOS, ACPI_NVS_AREA, RESERVED);
  addRegion(ACPI_NVS_AREA, MIB, ACPI_NVS);
  addRegion(MIB, info.ramLow, RAM);
  if (info.ramHigh > GIB4) addRegion(GIB4, info.ramHigh, RAM);
  return map.count;
}

/** How many vCPUs the VM has. */
export function vcpuCount(): u32 {
  return max(1, min(info.vcpus, MAX_VCPUS));
}

/** What firmware leaves in memory for operating systems. Returns the address of the RSDP. */
export function writeFirmwareTables(): u64 {
  writeSmbios(SMBIOS);
  return writeAcpiTables(ACPI_TABLES, ACPI_NVS_AREA, vcpuCount());
}

export function writeCommandLine(): void {
  guest.write(COMMAND_LINE, VM_INFO + COMMAND_LINE_OFFSET, info.commandLineLength);
  guest.store8(COMMAND_LINE + info.commandLineLength, 0);
}

/** `code`: the descriptor of CODE_SELECTOR. */
export function writeGdt(code: u64): void {
  guest.fill(GDT, 0, 64);
  guest.store64(GDT + CODE_SELECTOR, code);
  guest.store64(GDT + DATA_SELECTOR, DATA);
}

if (MAX_REGIONS * offsetof<Region>() != 144) ERROR("the memory map has no room for its regions");
if (COMMAND_LINE + COMMAND_LINE_MAX >= LOW_FREE) ERROR("the command line runs into what is free for kernels");
