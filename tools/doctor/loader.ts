/**
 * What a boot loader would have told the hypervisor on this machine: Multiboot2 information, with a root pointer to copies of the
 * firmware's ACPI tables.
 */
import { Memory } from "./memory.ts";

export const MULTIBOOT2 = 0x36d76289;
/** Where it goes: not in RAM, below the I/O APIC, and early enough for the hypervisor to reach it. */
export const INFO = 0xf000_0000;
const TABLES = 0xf010_0000;
/** What the hypervisor reaches early. */
const END = 0x1_0000_0000;

export interface Region {
  start: bigint;
  end: bigint;
  /** Multiboot's: 1 RAM, 3 ACPI reclaimable, 4 ACPI NVS, else reserved. */
  kind: number;
}

export interface Machine {
  regions: Region[];
  efi: boolean;
  /** ACPI tables as firmware has them, in any order; the DSDT among them. */
  tables: Uint8Array[];
}

function checksum(bytes: Buffer, at: number, length = bytes.length): void {
  bytes[at] = 0;
  bytes[at] = -bytes.subarray(0, length).reduce((sum, b) => sum + b, 0) & 0xff;
}

function tag(kind: number, body: Buffer): Buffer {
  const bytes = Buffer.alloc((8 + body.length + 7) & ~7);
  bytes.writeUInt32LE(kind, 0);
  bytes.writeUInt32LE(8 + body.length, 4);
  body.copy(bytes, 8);
  return bytes;
}

function memoryMap(regions: Region[]): Buffer {
  const body = Buffer.alloc(8 + regions.length * 24);
  body.writeUInt32LE(24, 0);
  regions.forEach(({ start, end, kind }, i) => {
    body.writeBigUInt64LE(start, 8 + i * 24);
    body.writeBigUInt64LE(end - start, 16 + i * 24);
    body.writeUInt32LE(kind, 24 + i * 24);
  });
  return tag(6, body);
}

const signature = (table: Uint8Array) => Buffer.from(table.subarray(0, 4)).toString("latin1");

/** ACPI 6.4 5.2.9: where the DSDT is. */
function dsdtAddress(fadt: Uint8Array): number {
  const view = new DataView(fadt.buffer, fadt.byteOffset, fadt.length);
  const wide = fadt.length >= 148 ? Number(view.getBigUint64(140, true)) : 0;
  return wide || (fadt.length >= 44 ? view.getUint32(40, true) : 0);
}

/** Puts the tables, a list of them and a root pointer; returns the root pointer's bytes. */
function putTables(memory: Memory, tables: Uint8Array[]): Buffer {
  let next = TABLES;
  const put = (bytes: Uint8Array) => {
    const at = next;
    memory.put(at, bytes);
    next += Math.ceil(bytes.length / 64) * 64;
    return at;
  };
  const fadt = tables.find((table) => signature(table) === "FACP");
  const dsdt = tables.find((table) => signature(table) === "DSDT");
  const at = fadt ? dsdtAddress(fadt) : 0;
  if (dsdt && at !== 0 && at + dsdt.length <= END) memory.put(at, dsdt);
  // The DSDT and the FACS are in no list.
  const places = tables.filter((table) => !["DSDT", "FACS"].includes(signature(table))).map(put);
  const list = Buffer.alloc(36 + places.length * 8);
  list.write("XSDT", 0, "latin1");
  list.writeUInt32LE(list.length, 4);
  places.forEach((place, i) => list.writeBigUInt64LE(BigInt(place), 36 + i * 8));
  checksum(list, 9);
  const rsdp = Buffer.alloc(36);
  rsdp.write("RSD PTR ", 0, "latin1");
  rsdp[15] = 2;
  rsdp.writeUInt32LE(36, 20);
  rsdp.writeBigUInt64LE(BigInt(put(list)), 24);
  checksum(rsdp, 8, 20);
  checksum(rsdp, 32);
  return rsdp;
}

/** Puts all of it into memory, at INFO. */
export function load(memory: Memory, machine: Machine): void {
  const tags = [memoryMap(machine.regions)];
  if (machine.efi) tags.push(tag(12, Buffer.alloc(8)));
  if (machine.tables.length > 0) tags.push(tag(15, putTables(memory, machine.tables)));
  tags.push(tag(0, Buffer.alloc(0)));
  const body = Buffer.concat(tags);
  const head = Buffer.alloc(8);
  head.writeUInt32LE(8 + body.length, 0);
  memory.put(INFO, Buffer.concat([head, body]));
}
