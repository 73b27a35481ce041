import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Pc } from "./fake/pc.ts";
import type { FakeRam } from "./fake/ram.ts";

interface Structure {
  type: number;
  handle: number;
  bytes: Buffer;
  strings: string[];
}

const sum = (bytes: Uint8Array) => bytes.reduce((total, byte) => (total + byte) & 255, 0);

/** An entry point by the search of DSP0134 5.2: on 16-byte boundaries of F0000h to FFFFFh. */
function entry(ram: FakeRam, anchor: string): Buffer {
  for (let at = 0xf0000; at < 0x100000; at += 16) {
    const here = Buffer.from(ram.bytes.buffer, at, 64);
    if (here.subarray(0, anchor.length).toString("latin1") !== anchor) continue;
    const length = here[anchor === "_SM3_" ? 6 : 5]!;
    if (sum(here.subarray(0, length)) === 0) return here.subarray(0, length);
  }
  throw new Error(`there is no ${anchor}`);
}

function structures(ram: FakeRam, at: number, size: number): Structure[] {
  const found: Structure[] = [];
  const end = at + size;
  while (at < end) {
    const length = ram.bytes[at + 1]!;
    const bytes = Buffer.from(ram.bytes.slice(at, at + length));
    at += length;
    const strings: string[] = [];
    while (ram.bytes[at] !== 0) {
      const stop = ram.bytes.indexOf(0, at);
      strings.push(Buffer.from(ram.bytes.slice(at, stop)).toString("latin1"));
      at = stop + 1;
    }
    at += strings.length ? 1 : 2;
    found.push({ type: bytes[0]!, handle: bytes.readUInt16LE(2), bytes, strings });
  }
  expect(at).toBe(end);
  return found;
}

const GIB = 2n ** 30n;

function table(options: { ram?: number; ramHigh?: bigint } = {}) {
  const pc = new Pc(options);
  const { ram } = pc.machine;
  const e = entry(ram, "_SM3_");
  return { ram, e, all: structures(ram, Number(e.readBigUInt64LE(16)), e.readUInt32LE(12)) };
}

describe("SMBIOS", () => {
  test("has an entry point of 64 bits and one of 32 that lead to the same table", () => {
    const { ram, e, all } = table();
    expect([e.length, e[7], e[8], e[10]]).toEqual([24, 3, 3, 1]);
    const old = entry(ram, "_SM_");
    expect([old.length, old[6], old[7], old[30]]).toEqual([31, 2, 8, 0x28]);
    expect(old.subarray(16, 21).toString()).toBe("_DMI_");
    expect(sum(old.subarray(16))).toBe(0);
    expect(BigInt(old.readUInt32LE(24))).toBe(e.readBigUInt64LE(16));
    expect([old.readUInt16LE(22), old.readUInt16LE(28)]).toEqual([e.readUInt32LE(12), all.length]);
  });

  test("has what 6.2 requires, each with a handle of its own and no string that is not there", () => {
    const { ram, all } = table();
    expect(all.map((s) => s.type)).toEqual([0, 1, 3, 4, 16, 17, 19, 32, 127]);
    expect(new Set(all.map((s) => s.handle)).size).toBe(all.length);
    const numbers: Record<number, number[]> = {
      0: [4, 5, 8],
      1: [4, 5, 6, 7, 25, 26],
      3: [4, 6, 7, 8, 21],
      4: [4, 7, 16, 32, 33, 34],
      17: [16, 17, 23, 24, 25, 26],
    };
    for (const { type, bytes, strings } of all) {
      const used = (numbers[type] ?? []).map((at) => bytes[at]!);
      expect(Math.max(0, ...used)).toBe(strings.length);
    }
    const largest = Math.max(...all.map((s) => s.bytes.length + Math.max(2, s.strings.join("0").length + 2)));
    expect(entry(ram, "_SM_").readUInt16LE(8)).toBe(largest);
  });

  test.each<[number, bigint | undefined, bigint]>([
    [16 << 20, undefined, BigInt(16 << 20)],
    [16 << 20, 4n * GIB + 8n * GIB, 8n * GIB + BigInt(16 << 20)],
    [16 << 20, 4n * GIB + 64n * GIB, 64n * GIB + BigInt(16 << 20)],
    [16 << 20, 4n * GIB + 5000n * GIB, 5000n * GIB + BigInt(16 << 20)],
  ])("says how much memory there is, and where: %i below 4 GiB, up to %s above", (ram, ramHigh, bytes) => {
    const { all } = table({ ram, ramHigh });
    const of = (type: number) => all.filter((s) => s.type === type).map((s) => s.bytes);
    const [array] = of(16);
    const [device] = of(17);
    const capacity = array!.readUInt32LE(7);
    expect(capacity === 0x80000000 ? array!.readBigUInt64LE(15) : BigInt(capacity) << 10n).toBe(bytes);
    const size = device!.readUInt16LE(12);
    expect(size === 0x7fff ? BigInt(device!.readUInt32LE(28)) << 20n : BigInt(size) << 20n).toBe(bytes);
    let mapped = 0n;
    for (const map of of(19)) {
      const [first, last] =
        map.readUInt32LE(4) === 0xffffffff
          ? [map.readBigUInt64LE(15), map.readBigUInt64LE(23)]
          : [BigInt(map.readUInt32LE(4)) << 10n, (BigInt(map.readUInt32LE(8)) << 10n) | 1023n];
      expect(first === 0n || first === 4n * GIB).toBe(true);
      mapped += last - first + 1n;
      expect(map.readUInt16LE(12)).toBe(array!.readUInt16LE(2));
    }
    expect(mapped).toBe(bytes);
    expect(device!.readUInt16LE(4)).toBe(array!.readUInt16LE(2));
  });

  test("is read by dmidecode without a complaint", () => {
    const { ram } = table();
    const directory = mkdtempSync(join(tmpdir(), "typevisor-smbios-"));
    try {
      // The format of dmidecode's own dumps: an entry point at 0 that says where in the file the table is.
      const e = Buffer.from(entry(ram, "_SM3_"));
      const at = Number(e.readBigUInt64LE(16));
      const file = Buffer.alloc(32 + e.readUInt32LE(12));
      file.set(ram.bytes.subarray(at, at + e.readUInt32LE(12)), 32);
      e.writeBigUInt64LE(32n, 16);
      e[5] = 0;
      e[5] = 256 - sum(e);
      file.set(e, 0);
      const path = join(directory, "dump");
      writeFileSync(path, file);
      const said = execFileSync("dmidecode", ["--from-dump", path], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "pipe"],
      });
      expect(said).toContain("SMBIOS 3.3.0 present.");
      expect(said).toContain("Product Name: Virtual PC");
      expect(said).toContain("UUID: 54797065-6973-8000-8000-000000000000");
      expect(said).toContain("System is a virtual machine");
      expect(said).not.toContain("UEFI");
      expect(said).toMatch(/Manufacturer: GenuineIntel/);
      expect(said).toMatch(/Max Speed: 1193 MHz/);
      expect(said).toMatch(/Size: 16 MB/);
      expect(said).not.toMatch(/OUT OF SPEC|BAD|truncated|broken|Wrong/i);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
