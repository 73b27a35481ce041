/** scripts/doctor: what it makes of a machine that does not show everything, and of real ones' tables. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Patient, examine, rowsOf } from "../../tools/doctor/examine.ts";
import { acpiTables, memoryMap, microcodeMsr, openMsrs, parseCpuid } from "../../tools/doctor/linux.ts";
import { projectDirectory } from "../../tools/machine/run-directory.ts";
import { cpuidOf, svmMsrs, vmxMsrs } from "../unit/fake/hostcpu.ts";
import { realSets, realTables } from "../unit/fake/tables.ts";

function patient(changes: Partial<Patient> = {}): Patient {
  const msrs: Record<number, bigint> = vmxMsrs();
  return {
    machine: {
      regions: [{ start: 0x100000n, end: 0x40000000n, kind: 1 }],
      efi: true,
      tables: realTables("qemu-pc"),
    },
    readable: 7,
    cpuid: cpuidOf("VT-x"),
    readMsr: (index) => msrs[index],
    readPci: () => 0xffffffff,
    ...changes,
  };
}

const told = (changes: Partial<Patient>, name: string) =>
  examine(patient(changes)).rows.filter((row) => row.name === name);

describe("The status is", () => {
  test("0 for a machine that can, 1 for one that cannot, 2 where that is not to be known", () => {
    expect(examine(patient()).status).toBe(0);
    const off = examine(patient({ readMsr: (index) => (index === 0x3a ? 1n : vmxMsrs()[index]) }));
    expect(off.status).toBe(1);
    expect(off.rows.at(-1).text).toContain("VT-x disabled by firmware");
    expect(examine(patient({ readable: 6, readMsr: () => undefined })).status).toBe(2);
    expect(examine(patient({ readable: 5 })).status).toBe(2);
    // Without an extension nothing that cannot be read would help.
    expect(examine(patient({ cpuid: () => [0, 0, 0, 0], readable: 0 })).status).toBe(1);
  });

  test("0 on AMD's too", () => {
    const msrs: Record<number, bigint> = svmMsrs();
    expect(examine(patient({ cpuid: cpuidOf("AMD-V"), readMsr: (index) => msrs[index] })).status).toBe(0);
  });
});

test("What cannot be read is unknown, and says what it needs", () => {
  const blind: Partial<Patient> = { readable: 0, readMsr: () => undefined };
  expect(told(blind, "VT-x in the firmware")).toEqual([
    {
      state: "unknown",
      name: "VT-x in the firmware",
      text: "not readable here: needs root and modprobe msr",
    },
  ]);
  expect(told(blind, "memory")[0]!.state).toBe("unknown");
  expect(told(blind, "ACPI tables")[0]).toMatchObject({
    state: "unknown",
    text: "not readable here: needs root",
  });
  expect(told(blind, "IOMMU")).toEqual([]);
});

test.each(realSets)("The tables of %s are read as at boot, without a warning", (set) => {
  const diagnosis = examine(patient({ machine: { ...patient().machine, tables: realTables(set) } }));
  expect(diagnosis.warnings).toEqual([]);
  const text = (name: string) => diagnosis.rows.find((row) => row.name === name)!.text;
  expect(text("power-off")).toBe("by ACPI, for end=poweroff");
  expect(text("CPUs")).toBe("2, 2 cores");
  expect(text("firmware")).toBe("UEFI");
  if (set === "qemu-q35-vtd") expect(text("IOMMU")).toMatch(/^VT-d, 1 units, 39 address bits/);
  if (set === "qemu-q35-amdvi") expect(text("IOMMU")).toMatch(/^AMD-Vi, 1 units/);
  if (set === "qemu-pc") expect(text("IOMMU")).toMatch(/^no DMAR or IVRS/);
});

test("What is wrong with a table is said", () => {
  const tables = realTables("qemu-pc");
  tables[2]![50]! ^= 1;
  const { warnings, rows } = examine(patient({ machine: { ...patient().machine, tables } }));
  expect(warnings).toEqual([expect.stringMatching(/^ACPI: APIC at 0x[0-9a-f]+: bad checksum, ignored$/)]);
  expect(rows.find((row) => row.name === "ACPI tables")!.text).toContain(
    "1 faults in them: update the firmware",
  );
});

test("A chipset's watchdog is found by its PCI bridge, and only looked at", () => {
  const readPci = (id: number) => (bdf: number, register: number) =>
    bdf !== 0x1f << 3 ? 0xffffffff : register === 0 ? (id << 16) | 0x8086 : register === 8 ? 0x06010002 : 0;
  expect(told({ readPci: readPci(0x2918) }, "watchdog")[0]).toMatchObject({ state: "present, not used" });
  expect(told({ readPci: readPci(0xa145) }, "watchdog")[0]!.text).toContain("not known");
  expect(told({}, "watchdog")[0]).toMatchObject({ state: "missing" });
});

test("Nothing is written: an MSR that the hypervisor would change stays as it was", () => {
  const written: number[] = [];
  const msrs = new Proxy<Record<number, bigint>>(
    { ...vmxMsrs(), 0x3a: 0n },
    {
      set: (_, name) => (written.push(Number(name)), false),
    },
  );
  const { status, rows } = examine(patient({ readMsr: (index) => msrs[index] }));
  expect({ status, written }).toEqual({ status: 0, written: [] });
  expect(rows.find((row) => row.name === "VT-x in the firmware")!.state).toBe("required");
});

test("Rows are told apart from lines that go on", () => {
  expect(rowsOf(["used               a: b c", "                   d: e", "present, not used  f: g"])).toEqual(
    [
      { state: "used", name: "a", text: "b c d: e" },
      { state: "present, not used", name: "f", text: "g" },
    ],
  );
});

describe("Of Linux", () => {
  test("CPUID is taken by leaf and subleaf; what it does not list is zero", () => {
    const cpuid = parseCpuid("0 0 d 1 2 ffffffff\n80000001 0 1 2 3 4\n");
    expect(cpuid(0, 0)).toEqual([0xd, 1, 2, 0xffffffff]);
    expect(cpuid(0x80000001 | 0, 0)).toEqual([1, 2, 3, 4]);
    expect(cpuid(7, 0)).toEqual([0, 0, 0, 0]);
  });

  test("the microcode's version is where the vendor's MSR has it", () => {
    expect(microcodeMsr("vendor_id\t: GenuineIntel\nmicrocode\t: 0xf4\n")).toBe(0xf4n << 32n);
    expect(microcodeMsr("vendor_id\t: AuthenticAMD\nmicrocode\t: 0x8301055\n")).toBe(0x8301055n);
    expect(microcodeMsr("")).toBe(0n);
  });

  test("the memory map, tables and MSRs are what its files say, or not readable", () => {
    const folder = mkdtempSync(join(tmpdir(), "typevisor-doctor-"));
    try {
      const regions = [["0x100000", "0x1fffffff", "System RAM"], ["0x0", "0x9ffff", "System RAM"], ["0xf0000", "0xfffff", "Reserved"]]; // prettier-ignore
      regions.forEach(([start, end, type], i) => {
        mkdirSync(join(folder, "map", String(i)), { recursive: true });
        writeFileSync(join(folder, "map", String(i), "start"), `${start}\n`);
        writeFileSync(join(folder, "map", String(i), "end"), `${end}\n`);
        writeFileSync(join(folder, "map", String(i), "type"), `${type}\n`);
      });
      expect(memoryMap(join(folder, "map"))).toEqual([
        { start: 0n, end: 0xa0000n, kind: 1 },
        { start: 0xf0000n, end: 0x100000n, kind: 2 },
        { start: 0x100000n, end: 0x20000000n, kind: 1 },
      ]);
      mkdirSync(join(folder, "acpi/data"), { recursive: true });
      writeFileSync(join(folder, "acpi/APIC"), "APIC");
      expect(acpiTables(join(folder, "acpi"))!.length).toBe(1);
      const msr = Buffer.alloc(32);
      msr.writeBigUInt64LE(5n, 16);
      writeFileSync(join(folder, "msr"), msr);
      expect([16, 30].map(openMsrs(join(folder, "msr"))!)).toEqual([5n, undefined]);
      expect([memoryMap(join(folder, "none")), openMsrs(join(folder, "none"))]).toEqual([
        undefined,
        undefined,
      ]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("this machine gets rows as JSON, and a status that fits them", () => {
    const script = join(projectDirectory, "scripts/doctor");
    let status = 0;
    let out: string;
    try {
      out = execFileSync(script, ["--json"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    } catch (error) {
      ({ status, stdout: out } = error as { status: number; stdout: string });
    }
    const { able, rows } = JSON.parse(out) as { able: boolean | null; rows: { state: string }[] };
    expect([true, false, null].indexOf(able)).toBe(status);
    expect(rows.length).toBeGreaterThan(10);
  });
});
