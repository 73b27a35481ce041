/**
 * An operating system's look at a machine's ACPI tables (ACPI 6.4, 5.2 and 20.2), in the guest's RAM and by nothing but
 * the specification.
 */
import { expect } from "vitest";
import type { FakeRam } from "./ram.ts";

export interface Table {
  at: number;
  signature: string;
  length: number;
  revision: number;
  view: DataView;
}

/** A generic address (5.2.3.2). */
export interface GenericAddress {
  space: number;
  bits: number;
  offset: number;
  /** Bytes an access. */
  access: number;
  address: number;
}

export function text(ram: FakeRam, at: number, length: number): string {
  return Buffer.from(ram.bytes.subarray(at, at + length)).toString("latin1");
}

function sum(ram: FakeRam, at: number, length: number): number {
  return ram.bytes.subarray(at, at + length).reduce((total, byte) => (total + byte) & 255, 0);
}

/** Where the RSDP is by the search of 5.2.5.1: on 16-byte boundaries of E0000h to FFFFFh. */
export function findRsdp(ram: FakeRam): number {
  for (let at = 0xe0000; at < 0x100000; at += 16) {
    if (text(ram, at, 8) === "RSD PTR " && sum(ram, at, 20) === 0) return at;
  }
  throw new Error("there is no RSDP");
}

/** The RSDP's length and the address of the XSDT, both checksums checked. */
export function readRsdp(ram: FakeRam, at: number): { length: number; xsdt: number } {
  expect(ram.bytes[at + 15]).toBe(2);
  const length = ram.view.getUint32(at + 20, true);
  expect(length).toBe(36);
  expect([sum(ram, at, 20), sum(ram, at, length)]).toEqual([0, 0]);
  return { length, xsdt: Number(ram.view.getBigUint64(at + 24, true)) };
}

/** A table with its header (5.2.6), whose checksum must be right. */
export function readTable(ram: FakeRam, at: number): Table {
  const length = ram.view.getUint32(at + 4, true);
  expect(length).toBeGreaterThanOrEqual(36);
  expect(sum(ram, at, length)).toBe(0);
  // OEM ID, OEM table ID and creator ID are names.
  expect(text(ram, at + 10, 14) + text(ram, at + 28, 4)).toMatch(/^[ -~]{18}$/);
  const view = new DataView(ram.bytes.buffer, at, length);
  return { at, signature: text(ram, at, 4), length, revision: ram.bytes[at + 8]!, view };
}

export function genericAddress(view: DataView, at: number): GenericAddress {
  return {
    space: view.getUint8(at),
    bits: view.getUint8(at + 1),
    offset: view.getUint8(at + 2),
    access: [0, 1, 2, 4, 8][view.getUint8(at + 3)]!,
    address: Number(view.getBigUint64(at + 4, true)),
  };
}

/** The tables that the XSDT lists, by their signatures; none twice. */
export function findTables(ram: FakeRam): Map<string, Table> {
  const xsdt = readTable(ram, readRsdp(ram, findRsdp(ram)).xsdt);
  const tables = new Map<string, Table>();
  for (let at = 36; at < xsdt.length; at += 8) {
    const table = readTable(ram, Number(xsdt.view.getBigUint64(at, true)));
    expect(tables.has(table.signature)).toBe(false);
    tables.set(table.signature, table);
  }
  return tables;
}
