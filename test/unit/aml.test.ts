/** kernel/monitor/aml.ts as a module of its own: each helper's bytes, by the grammar (ACPI 6.4, 20.2). */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { projectDirectory } from "../../tools/machine/run-directory.ts";
import { compile } from "../toolchain/asc.ts";
import { eisaId, readAml } from "./fake/aml.ts";
import { FakeRam } from "./fake/ram.ts";

const ENTRY = `
import * as aml from "./monitor/aml";
import { out } from "./monitor/writer";
const NAMES: StaticArray<string> = ["A", "AB", "ABC", "ABCD", "\\\\_SB", "\\\\PICF"];
const IDS: StaticArray<string> = ["PNP0A08", "PNP0501", "ABC0000", "XYZFFFF"];
export function begin(at: u64): void { out.at = at; }
export function end(): u64 { return out.at; }
export function integer(value: u64): void { aml.integer(value); }
export function name(n: u32): void { aml.name(NAMES[n]); }
export function id(n: u32): void { aml.namedId("_HID", IDS[n]); }
export function buffer(size: u32): void {
  const start = aml.openBuffer();
  for (let i: u32 = 0; i < size; i++) out.byte(i & 0xff);
  aml.closeBuffer(start);
}
export function nested(size: u32): void {
  const scope = aml.openScope("\\\\_SB_");
  const device = aml.openDevice("DEV0");
  aml.named("BUF0");
  buffer(size);
  aml.close(device);
  aml.namedInteger("LAST", 7);
  aml.close(scope);
}
`;

interface Exports {
  begin(at: bigint): void;
  end(): bigint;
  integer(value: bigint): void;
  name(n: number): void;
  id(n: number): void;
  buffer(size: number): void;
  nested(size: number): void;
}

describe("AML", () => {
  const ram = new FakeRam(1 << 22);
  let module: Exports;

  beforeAll(async () => {
    const sources: Record<string, string> = { "entry.ts": ENTRY };
    for (const name of ["monitor/aml", "monitor/writer", "lib/addr", "machine/guest"])
      sources[`${name}.ts`] = readFileSync(join(projectDirectory, "kernel", `${name}.ts`), "utf8");
    const { wasm } = await compile(sources, "entry.ts");
    const store = (size: number) => (gpa: bigint, value: number | bigint) =>
      ram.store(gpa, size, BigInt.asUintN(size * 8, BigInt(value)));
    const guest = {
      load8: (gpa: bigint) => Number(ram.load(gpa, 1)),
      store8: store(1),
      store16: store(2),
      store32: store(4),
      store64: store(8),
      move: (to: bigint, from: bigint, length: bigint) =>
        void ram.bytes.copyWithin(Number(to), Number(from), Number(from + length)),
    };
    const { instance } = await WebAssembly.instantiate(wasm, {
      "machine/guest": guest,
      guest,
      env: { abort: () => undefined },
    });
    module = instance.exports as unknown as Exports;
  }, 60_000);

  function bytesOf(write: () => void): Uint8Array {
    ram.bytes.fill(0xcc);
    module.begin(0x1000n);
    write();
    return ram.bytes.slice(0x1000, Number(module.end()));
  }

  test.each<[bigint, number[]]>([
    [0n, [0]],
    [1n, [1]],
    [2n, [0x0a, 2]],
    [0xffn, [0x0a, 0xff]],
    [0x100n, [0x0b, 0, 1]],
    [0xffffn, [0x0b, 0xff, 0xff]],
    [0x10000n, [0x0c, 0, 0, 1, 0]],
    [0xffffffffn, [0x0c, 0xff, 0xff, 0xff, 0xff]],
    [0x100000000n, [0x0e, 0, 0, 0, 0, 1, 0, 0, 0]],
  ])("integers take as few bytes as they can: %i", (value, bytes) => {
    expect([...bytesOf(() => module.integer(value))]).toEqual(bytes);
  });

  test("names have four characters, with a root or without", () => {
    const names = [0, 1, 2, 3, 4, 5].map((n) => Buffer.from(bytesOf(() => module.name(n))).toString());
    expect(names).toEqual(["A___", "AB__", "ABC_", "ABCD", "\\_SB_", "\\PICF"]);
  });

  test("identifiers are compressed", () => {
    expect([...bytesOf(() => module.id(0))]).toEqual([
      0x08,
      ...Buffer.from("_HID"),
      0x0c,
      0x41,
      0xd0,
      0x0a,
      0x08,
    ]);
    ["PNP0A08", "PNP0501", "ABC0000", "XYZFFFF"].forEach((id, n) => {
      expect(eisaId(readAml(bytesOf(() => module.id(n))).get("\\_HID"))).toBe(id);
    });
  });

  test("lengths are right, and no longer than needed, at every size where they grow", () => {
    const edges = [
      0,
      1,
      10,
      ...Array.from({ length: 60 }, (_, i) => 20 + i),
      ...Array.from({ length: 60 }, (_, i) => 4050 + i),
    ];
    for (const size of [...edges, 65535]) {
      const objects = readAml(bytesOf(() => module.nested(size)));
      const buffer = objects.get("\\_SB_.DEV0.BUF0") as Uint8Array;
      expect(buffer.length).toBe(size);
      expect(buffer.every((b, i) => b === (i & 0xff))).toBe(true);
      expect(objects.get("\\_SB_.LAST")).toBe(7);
    }
  });
});
