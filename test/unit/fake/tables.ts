/** ACPI tables as machines have them: QEMU 7.2's, and what the specifications give as examples. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { fixChecksum, ioapic, madt, override, table } from "./firmware.ts";

export type RealSet = "qemu-pc" | "qemu-q35-vtd" | "qemu-q35-amdvi";

export const realSets: RealSet[] = ["qemu-pc", "qemu-q35-vtd", "qemu-q35-amdvi"];

/** A machine's tables, the DSDT among them: one file has them one behind the other. */
export function realTables(set: RealSet): Buffer[] {
  const bytes = gunzipSync(readFileSync(join(import.meta.dirname, `../fixtures/${set}.tables.gz`)));
  const tables: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = bytes.readUInt32LE(at + 4);
    tables.push(Buffer.from(bytes.subarray(at, at + length)));
    at += length;
  }
  return tables;
}

export const signatureOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.subarray(0, 4)).toString("latin1");

/** 5.2.12.2, Processor Local APIC Structure. */
export function localApic(id: number, flags = 1): Buffer {
  const bytes = Buffer.from([0, 8, id, id, 0, 0, 0, 0]);
  bytes.writeUInt32LE(flags, 4);
  return bytes;
}

/** ACPI 6.4 20.2: Name (_S5, Package () { a, b, 0, 0 }). */
export function s5(a = 5, b = a): Buffer {
  const elements = [a, b, 0, 0].flatMap((n) => (n < 2 ? [n] : [0x0a, n]));
  return Buffer.from([0x08, 0x5f, 0x53, 0x35, 0x5f, 0x12, elements.length + 2, 4, ...elements]);
}

export interface FadtFields {
  /** 0: in no table of this FADT. */
  dsdt?: number;
  smiCommand?: number;
  acpiEnable?: number;
  pm1a?: number;
  pm1b?: number;
  pmTimer?: number;
  flags?: number;
  /** Space, address and value of the reset register; flags must say that there is one. */
  reset?: [space: number, address: bigint, value: number];
  sleepControl?: [space: number, address: bigint];
  length?: number;
}

/** 5.2.9, Fixed ACPI Description Table, of 276 bytes unless told. */
export function powerFadt(fields: FadtFields): Buffer {
  const bytes = table("FACP", new Uint8Array(276 - 36));
  const { dsdt = 0, smiCommand = 0, acpiEnable = 0, pm1a = 0, pm1b = 0, pmTimer = 0x608, flags = 0 } = fields;
  bytes.writeUInt32LE(dsdt, 40);
  bytes.writeUInt32LE(smiCommand, 48);
  bytes[52] = acpiEnable;
  bytes.writeUInt32LE(pm1a, 64);
  bytes.writeUInt32LE(pm1b, 68);
  bytes.writeUInt32LE(pmTimer, 76);
  bytes[89] = 2;
  bytes[91] = 4;
  bytes.writeUInt32LE(flags >>> 0, 112);
  const gas = (at: number, [space, address]: [number, bigint, number?]) => {
    bytes[at] = space;
    bytes[at + 1] = 8;
    bytes.writeBigUInt64LE(address, at + 4);
  };
  if (fields.reset) {
    gas(116, fields.reset);
    bytes[128] = fields.reset[2];
  }
  if (fields.sleepControl) gas(244, fields.sleepControl);
  const { length = bytes.length } = fields;
  bytes.writeUInt32LE(length, 4);
  return Buffer.from(fixChecksum(bytes.subarray(0, length), 9));
}

/** PCI Firmware 3.3 4.1.2: entries of {address, segment, first bus, last bus}. */
export function mcfg(...entries: [bigint, number, number, number][]): Buffer {
  const body = Buffer.alloc(8 + entries.length * 16);
  entries.forEach(([address, segment, first, last], i) => {
    body.writeBigUInt64LE(address, 8 + i * 16);
    body.writeUInt16LE(segment, 16 + i * 16);
    body[18 + i * 16] = first;
    body[19 + i * 16] = last;
  });
  return table("MCFG", body);
}

/** VT-d 8.1: width and flags, then structures. */
export function dmar(width: number, flags: number, ...structures: Buffer[]): Buffer {
  return table(
    "DMAR",
    Buffer.concat([Buffer.from([width - 1, flags, ...new Array<number>(10).fill(0)]), ...structures]),
  );
}

/** VT-d 8.3, of one unit. */
export function drhd(address: bigint): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt16LE(16, 2);
  bytes.writeBigUInt64LE(address, 8);
  return bytes;
}

/** VT-d 8.4, of one region. */
export function rmrr(): Buffer {
  const bytes = Buffer.alloc(24);
  bytes.writeUInt16LE(1, 0);
  bytes.writeUInt16LE(24, 2);
  return bytes;
}

/** A small machine with one of everything. */
export function oneOfEach(dsdt: number): Buffer[] {
  return [
    powerFadt({ dsdt, pm1a: 0x604, flags: 1 << 10, reset: [1, 0xcf9n, 6] }),
    table("DSDT", Buffer.concat([Buffer.from([0x10, 0x20, 0x5c, 0, 0, 0, 0, 0, 0]), s5(5)])),
    madt(localApic(0), localApic(1), ioapic(0xfec00000), override(0, 2, 0), override(9, 9, 0xd)),
    mcfg([0xe0000000n, 0, 0, 255]),
    dmar(39, 1, drhd(0xfed90000n), drhd(0xfed91000n), rmrr()),
    table("SSDT", Buffer.concat([Buffer.alloc(4), s5(3)])),
  ];
}
