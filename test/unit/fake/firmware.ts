/** ACPI tables as firmware makes them (ACPI 6.4 5.2), and as it should not. */
import type { FakeHost } from "./host.ts";

/** Where tables go: below 1 MiB, as firmware without a reclaimable region would do it. */
export const RSDP = 0xe0000;
const TABLES = 0xe1000;

/** Makes all bytes of a table add up to 0 with the byte at `at`. */
export function fixChecksum(bytes: Uint8Array, at: number, length = bytes.length): Uint8Array {
  bytes[at] = 0;
  bytes[at] = -bytes.subarray(0, length).reduce((sum, b) => sum + b, 0) & 0xff;
  return bytes;
}

/** A table with a header (5.2.6, System Description Table Header), its length and checksum right. */
export function table(signature: string, body: Uint8Array): Buffer {
  const bytes = Buffer.alloc(36 + body.length);
  bytes.write(signature, 0, "latin1");
  bytes.writeUInt32LE(bytes.length, 4);
  bytes.write("TYPEVRTEST    ", 10, "latin1");
  bytes.set(body, 36);
  fixChecksum(bytes, 9);
  return bytes;
}

/** 5.2.5.3, Root System Description Pointer Structure; revision 0 has 20 bytes. */
export function rsdp(rsdt: number, xsdt?: bigint, maker = ""): Buffer {
  const bytes = Buffer.alloc(xsdt === undefined ? 20 : 36);
  bytes.write("RSD PTR ", 0, "latin1");
  bytes.write(maker, 9, "latin1");
  bytes.writeUInt32LE(rsdt, 16);
  if (xsdt !== undefined) {
    bytes[15] = 2;
    bytes.writeUInt32LE(36, 20);
    bytes.writeBigUInt64LE(xsdt, 24);
  }
  fixChecksum(bytes, 8, 20);
  if (xsdt !== undefined) fixChecksum(bytes, 32);
  return bytes;
}

export function rsdt(...tables: number[]): Buffer {
  const body = Buffer.alloc(tables.length * 4);
  tables.forEach((at, i) => body.writeUInt32LE(at, i * 4));
  return table("RSDT", body);
}

export function xsdt(...tables: bigint[]): Buffer {
  const body = Buffer.alloc(tables.length * 8);
  tables.forEach((at, i) => body.writeBigUInt64LE(at, i * 8));
  return table("XSDT", body);
}

/** 5.2.12, Multiple APIC Description Table, with these structures. */
export function madt(...structures: Uint8Array[]): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(0xfee00000, 0);
  return table("APIC", Buffer.concat([head, ...structures]));
}

/** 5.2.12.3, I/O APIC Structure. */
export function ioapic(address: number, firstInterrupt = 0): Buffer {
  const bytes = Buffer.from([1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  bytes.writeUInt32LE(address >>> 0, 4);
  bytes.writeUInt32LE(firstInterrupt, 8);
  return bytes;
}

/** 5.2.12.5, Interrupt Source Override Structure. */
export function override(source: number, gsi: number, flags: number): Buffer {
  const bytes = Buffer.from([2, 10, 0, source, 0, 0, 0, 0, 0, 0]);
  bytes.writeUInt32LE(gsi >>> 0, 4);
  bytes.writeUInt16LE(flags, 8);
  return bytes;
}

/** 5.2.9, Fixed ACPI Description Table, as far as it has a PM timer. */
export function fadt(pmTimer: number, length = 4): Buffer {
  const bytes = table("FACP", new Uint8Array(244 - 36));
  bytes.writeUInt32LE(pmTimer >>> 0, 76);
  bytes[91] = length;
  fixChecksum(bytes, 9);
  return bytes;
}

/** Puts tables into memory with an XSDT, an RSDT and an RSDP to find them by; returns the tables' addresses. */
export function putTables(host: FakeHost, ...tables: Uint8Array[]): number[] {
  let next = TABLES;
  const put = (bytes: Uint8Array) => {
    const at = next;
    host.memory.put(at, bytes);
    next = (at + bytes.length + 15) & ~15;
    return at;
  };
  const places = tables.map(put);
  const list = put(xsdt(...places.map(BigInt)));
  host.memory.put(RSDP, rsdp(put(rsdt(...places)), BigInt(list)));
  return places;
}

/** What an ordinary PC has: an I/O APIC and a PM timer. */
export function ordinaryTables(host: FakeHost): void {
  putTables(host, fadt(0x608), madt(ioapic(0xfec00000), override(0, 2, 0), override(9, 9, 0xd)));
}
