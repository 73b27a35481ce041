import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { findTables, readTable } from "./fake/acpi.ts";
import { type AmlValue, eisaId, readAml, resources } from "./fake/aml.ts";
import { Pc } from "./fake/pc.ts";

/** A PC and its tables, FADT, DSDT and all. */
function tablesOf() {
  const pc = new Pc();
  const { ram } = pc.machine;
  const tables = findTables(ram);
  const at = Number(tables.get("FACP")!.view.getBigUint64(140, true));
  tables.set("DSDT", readTable(ram, at));
  const bytes = (signature: string) => {
    const t = tables.get(signature)!;
    return ram.bytes.slice(t.at, t.at + t.length);
  };
  return { pc, tables, bytes, objects: readAml(bytes("DSDT").subarray(36)) };
}

describe("The DSDT", () => {
  test("names the devices that no bus tells of, by their identifiers", () => {
    const { objects } = tablesOf();
    const ids = [...objects]
      .filter(([path]) => path.endsWith("._HID"))
      .map(([path, id]) => [path, eisaId(id)]);
    expect(Object.fromEntries(ids)).toEqual({
      "\\_SB_.PCI0._HID": "PNP0A08",
      "\\_SB_.PCI0.ISA_.PIC_._HID": "PNP0000",
      "\\_SB_.PCI0.ISA_.TIMR._HID": "PNP0100",
      "\\_SB_.PCI0.ISA_.RTC_._HID": "PNP0B00",
      "\\_SB_.PCI0.ISA_.SPKR._HID": "PNP0800",
      "\\_SB_.PCI0.ISA_.COM1._HID": "PNP0501",
      "\\_SB_.HPET._HID": "PNP0103",
      "\\_SB_.MBRD._HID": "PNP0C02",
    });
    expect(eisaId(objects.get("\\_SB_.PCI0._CID"))).toBe("PNP0A03");
    expect(objects.get("\\_SB_.PCI0.ISA_._ADR")).toBe(0x1f0000);
    expect(objects.get("\\_SB_.PCI0.ISA_.COM1._UID")).toBe(1);
  });

  test("gives each device what answers: ports, memory, interrupts", () => {
    const { pc, objects } = tablesOf();
    const of = (device: string) => resources(objects.get(`\\_SB_.${device}._CRS`));
    const irq = (n: number) => ({ kind: "irq", first: n, last: n });
    const io = (first: number, last: number) => ({ kind: "io", first, last });
    expect(of("PCI0.ISA_.COM1")).toEqual([io(0x3f8, 0x3ff), irq(4)]);
    expect(of("PCI0.ISA_.RTC_")).toEqual([io(0x70, 0x71), irq(8)]);
    expect(of("PCI0.ISA_.TIMR")).toEqual([io(0x40, 0x43), irq(0)]);
    expect(of("PCI0.ISA_.PIC_")).toEqual([io(0x20, 0x21), irq(2)]);
    expect(of("HPET")).toEqual([{ kind: "memory", first: 0xfed00000, last: 0xfed003ff }]);
    for (const [path, value] of objects) {
      if (!path.endsWith("._CRS") || path === "\\_SB_.PCI0._CRS" || path === "\\_SB_.MBRD._CRS") continue;
      for (const { kind, first, last } of resources(value))
        if (kind === "io") for (let port = first; port <= last; port++) pc.in(port);
    }
    expect(pc.machine.refusals("UNCLAIMED_PORT")).toBe(0n);
  });

  test("keeps PCI's windows apart from RAM, from configuration space and from what lies above", () => {
    const { tables, objects } = tablesOf();
    const windows = resources(objects.get("\\_SB_.PCI0._CRS"));
    const of = (kind: string) => windows.filter((r) => r.kind === kind).map((r) => [r.first, r.last]);
    expect(of("bus window")).toEqual([[0, 255]]);
    expect(of("io window")).toEqual([
      [0, 0xcf7],
      [0xd00, 0xffff],
    ]);
    const ecam = Number(tables.get("MCFG")!.view.getBigUint64(44, true));
    for (const [first, last] of of("memory window") as [number, number][]) {
      expect(first).toBeGreaterThanOrEqual(0xc0000000);
      expect(last).toBeLessThan(0xfec00000);
      expect(last < ecam || first >= ecam + (256 << 20)).toBe(true);
    }
    // PCI Firmware 4.1.2: an operating system believes MCFG only if a motherboard's device has that memory too.
    expect(resources(objects.get("\\_SB_.MBRD._CRS"))).toContainEqual({
      kind: "memory",
      first: ecam,
      last: ecam + (256 << 20) - 1,
    });
  });

  test("routes the pins of all slots, for the 8259s as the ISA bridge has its PIRQs, for an I/O APIC to inputs 16 to 19", () => {
    const { pc, objects } = tablesOf();
    pc.out(0xcf8, 0x8000f860, 4);
    const pirqs = [0, 1, 2, 3].map((n) => pc.in(0xcfc + n));
    const pic = objects.get("\\_SB_.PCI0.PRTP") as AmlValue[][];
    const apic = objects.get("\\_SB_.PCI0.PRTA") as AmlValue[][];
    expect([pic.length, apic.length]).toEqual([31 * 4, 31 * 4]);
    pic.forEach(([address, pin, source, input], i) => {
      expect([address, pin, source]).toEqual([(((i >> 2) + 1) << 16) | 0xffff, i & 3, 0]);
      const wired = (apic[i]![3] as number) - 16;
      expect(apic[i]!.slice(0, 3)).toEqual([address, pin, source]);
      expect(wired).toBe(((i >> 2) + 1 + (i & 3)) % 4);
      expect(input).toBe(pirqs[wired]);
    });
  });

  /** The tables as others read them: ACPICA's compiler takes apart what is right, and only that. */
  test("and the other tables are what iasl takes for right, in both directions", () => {
    const { tables, bytes } = tablesOf();
    const directory = mkdtempSync(join(tmpdir(), "typevisor-acpi-"));
    const iasl = (...args: string[]) =>
      execFileSync("iasl", args, { cwd: directory, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    try {
      for (const signature of tables.keys()) {
        writeFileSync(join(directory, `${signature}.dat`), bytes(signature));
        iasl("-d", `${signature}.dat`);
        const source = readFileSync(join(directory, `${signature}.dsl`), "utf8");
        expect(source, signature).not.toMatch(/\*\*\*\* |[Ii]nvalid|Incorrect checksum|Unknown/);
        expect(iasl("-p", `${signature}-again`, `${signature}.dsl`)).toMatch(
          /0 Errors, 0 Warnings, 0 Remarks/,
        );
        if (signature !== "DSDT") {
          const again = readFileSync(join(directory, `${signature}-again.aml`));
          // But for who has compiled it.
          expect([...again.subarray(36)]).toEqual([...bytes(signature).subarray(36)]);
        }
      }
      const dsdt = readFileSync(join(directory, "DSDT.dsl"), "utf8");
      expect(dsdt).toContain('If ((Arg0 == ToUUID ("33db4d5b-1ff7-401c-9657-7441c03dd766")');
      expect(dsdt).toMatch(
        /Method \(_PRT, 0, NotSerialized\).*\n\s*\{\s*If \(PICF\)\s*\{\s*Return \(PRTA\).*\n\s*\}/,
      );
      expect(dsdt).toMatch(/Method \(_PIC, 1, NotSerialized\).*\n\s*\{\s*PICF = Arg0\s*\}/);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
