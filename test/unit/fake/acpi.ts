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

/** The only kind of object that a DSDT here may define (20.2): named packages of integers. */
export function namedPackages(aml: Uint8Array): Map<string, number[]> {
  const packages = new Map<string, number[]>();
  let at = 0;
  const byte = () => {
    expect(at).toBeLessThan(aml.length);
    return aml[at++]!;
  };
  /** PkgLength (20.2.4): where what it encloses ends. */
  const packageEnd = () => {
    const start = at;
    const lead = byte();
    const more = lead >> 6;
    let length = more ? lead & 15 : lead & 63;
    for (let i = 0; i < more; i++) length |= byte() << (4 + i * 8);
    return start + length;
  };
  const integer = () => {
    const prefix = byte();
    if (prefix === 0 || prefix === 1) return prefix;
    if (prefix === 0xff) return 2 ** 64 - 1;
    const bytes = { 0x0a: 1, 0x0b: 2, 0x0c: 4 }[prefix];
    if (bytes === undefined) throw new Error(`AML: ${prefix} is no integer`);
    let value = 0;
    for (let i = 0; i < bytes; i++) value += byte() * 256 ** i;
    return value;
  };
  while (at < aml.length) {
    expect(byte()).toBe(0x08); // NameOp
    const name = String.fromCharCode(byte(), byte(), byte(), byte());
    expect(byte()).toBe(0x12); // PackageOp
    const end = packageEnd();
    const elements = Array.from({ length: byte() }, integer);
    expect(at).toBe(end);
    packages.set(name, elements);
  }
  return packages;
}
