/** kernel/root/preflight: the table of what the machine offers, at boot and in tools/doctor. */
import { describe, expect, test } from "vitest";
import { examine, rowsOf } from "../../tools/doctor/examine.ts";
import { putTables } from "./fake/firmware.ts";
import {
  FakeHost,
  type HostOptions,
  type Vendor,
  cpuidOf,
  svmMsrs,
  vendors,
  vmxMsrs,
  vtxCpuid,
} from "./fake/host.ts";
import type { Cpuid } from "./fake/hostcpu.ts";
import { oneOfEach } from "./fake/tables.ts";
import { kernels } from "./fake/vms.ts";

const DSDT = 0xf0000;
const ROW = /^(required|used|present, not used|missing|off in firmware|affected|unknown) +\S| {19}\S/;

function boot(options: HostOptions = {}, prepare?: (host: FakeHost) => void) {
  const tables = oneOfEach(DSDT).filter((_, i) => i !== 1);
  const host = new FakeHost({
    modules: kernels(1),
    firmware: (machine) => {
      putTables(machine, ...tables);
      machine.memory.put(DSDT, oneOfEach(DSDT)[1]!);
    },
    ...options,
  });
  prepare?.(host);
  const log = host.boot();
  const rows = rowsOf(log.filter((line) => ROW.test(line)));
  const row = (name: string) => rows.filter((r) => r.name === name).map((r) => `${r.state}: ${r.text}`);
  return { host, log, rows, row };
}

const table = (options: HostOptions = {}, prepare?: (host: FakeHost) => void) =>
  boot({ ...options, commandLine: `preflight=yes ${options.commandLine ?? ""}` }, prepare);

/** A CPU with another signature. */
const signed =
  (signature: number): Cpuid =>
  (leaf, subleaf) => {
    const answer = vtxCpuid(leaf, subleaf);
    if (leaf === 1) answer[0] = signature;
    return answer;
  };

/** IA32_BIOS_SIGN_ID has the microcode's version after CPUID of leaf 1, whatever it had before. */
const microcode = (version: bigint) => (host: FakeHost) =>
  void Object.defineProperty(host.msrs, 0x8b, { get: () => version << 32n, set: () => undefined });

describe.each(vendors)("With %s", (vendor: Vendor) => {
  test("a boot says in one line how much there is, and with preflight=yes in a table no wider than 79", () => {
    const { log, rows } = boot({ vendor });
    expect(rows).toEqual([]);
    expect(
      log.filter((l) => /^preflight: \d+ used, \d+ present and not used, \d+ missing/.test(l)).length,
    ).toBe(1);
    const with_ = table({ vendor });
    expect(with_.log.at(-1)).toBe("halts");
    expect(with_.rows.length).toBeGreaterThan(25);
    for (const line of with_.log.filter((l) => ROW.test(l))) expect(line.length).toBeLessThanOrEqual(74);
    expect(with_.row("this machine")).toEqual(["required: can run Typevisor"]);
    expect(with_.log.some((l) => l.startsWith("preflight: "))).toBe(false);
  });

  test("preflight=only ends behind the table, and no VM runs", () => {
    const { log, rows } = boot({ vendor, commandLine: "preflight=only" });
    expect(rows.length).toBeGreaterThan(25);
    expect(log.slice(-2)).toEqual(["preflight only", "halts"]);
    expect(log.join("\n")).not.toContain("vm0");
  });

  test("tools/doctor has the same rows as the boot, in the same words", () => {
    const { rows, host } = table({ vendor });
    const own: Record<number, bigint> = { ...(vendor === "VT-x" ? vmxMsrs() : svmMsrs()) };
    const diagnosis = examine({
      machine: {
        regions: host.ram.map(([start, end]) => ({ start: BigInt(start), end: BigInt(end), kind: 1 })),
        efi: false,
        tables: oneOfEach(DSDT),
      },
      readable: 7,
      cpuid: cpuidOf(vendor),
      readMsr: (index) => own[index],
      readPci: () => 0xffffffff,
    });
    expect(diagnosis.rows).toEqual(rows);
    expect(diagnosis).toMatchObject({ status: 0, warnings: [] });
  });

  test("making the table changes nothing of what guests get", () => {
    const controls: bigint[] = [];
    boot({
      vendor,
      commandLine: "preflight=yes",
      run: (vcpu) => {
        if (vendor === "VT-x") controls.push(vcpu.host.fields().get(0x4002)!);
        return 2;
      },
    });
    // Neither window is open, and neither MOV DR exits (SDM Vol. 3C 25.6.2): those are for later.
    for (const value of controls) expect(value & ((1n << 2n) | (1n << 22n) | (1n << 23n))).toBe(0n);
    expect(controls.length).toBe(vendor === "VT-x" ? 1 : 0);
  });
});

describe("A machine that is refused", () => {
  test("gets the table too, and it says what to do", () => {
    const { log, row } = boot({ msrs: { 0x3a: 1n }, commandLine: "loglvl=error" });
    expect(row("VT-x in the firmware")[0]).toMatch(
      /^off in firmware: required; switch on Intel Virtualization/,
    );
    expect(row("this machine")).toEqual([
      "missing: cannot run Typevisor: VT-x disabled by firmware: IA32_FEATURE_CONTROL = 0x1",
    ]);
    expect(row("nested paging")).toEqual(["required: EPT, 2 MiB pages"]);
    // ACPI's tables are read for it.
    expect(row("IOMMU")[0]).toMatch(/^present, not used: VT-d, 2 units, 39 address bits, 1 reserved ranges/);
    expect(log.at(-1)).toMatch(/^refused: VT-x disabled by firmware/);
  });

  test("for AMD-V that is locked off likewise", () => {
    const { row } = boot({ vendor: "AMD-V", msrs: { 0xc0010114: 0x18n } });
    expect(row("AMD-V in the firmware")[0]).toMatch(/^off in firmware: required; switch on SVM/);
  });

  test("without any extension says so", () => {
    const cpuid: Cpuid = (leaf, subleaf) => {
      const answer = vtxCpuid(leaf, subleaf);
      if (leaf === 1) answer[2] &= ~(1 << 5);
      return answer;
    };
    expect(boot({ cpuid }).row("virtualization")[0]).toMatch(/^missing: neither VT-x nor AMD-V: required;/);
  });

  test("is not changed by the table", () => {
    const { host } = boot({ msrs: { 0x48b: vmxMsrs()[0x48b]! & ~(2n << 32n) } });
    expect(host.cr[3]).toBe(0n);
    expect(host.msrWrites.filter((n) => n !== 0x8b)).toEqual([]);
  });

  test("by a command line that makes no sense gets none: it is not the machine's fault", () => {
    expect(boot({ commandLine: "oops" }).rows).toEqual([]);
  });
});

describe("The CPU", () => {
  test("is told by vendor, family, model, stepping, and its microcode's version", () => {
    const { row } = table({}, microcode(0x2fn));
    expect(row("CPU")).toEqual(["required: Intel, family 6, model 0x3d, stepping 4, microcode 0x2f"]);
    expect(table().row("CPU")[0]).toMatch(/microcode unknown$/);
    expect(table({ vendor: "AMD-V", msrs: { 0x8b: 0x8301055n } }).row("CPU")[0]).toMatch(
      /microcode 0x8301055$/,
    );
  });

  test("may have threads: then the log counts cores", () => {
    const cpuid: Cpuid = (leaf, subleaf) => (leaf === 0xb ? [1, 2, 0x100, 0] : vtxCpuid(leaf, subleaf));
    const { row, log } = table({ cpuid, commandLine: "cpus=1" });
    expect(row("CPUs")).toEqual(["used: 2, 1 core, SMT"]);
    expect(log).toContain("CPUs: 1 of 2 (1 core, SMT)");
    expect(table({ commandLine: "cpus=1" }).log).toContain("CPUs: 1 of 2 (2 cores)");
  });

  test.each([
    [0x206e6, true],
    [0x106a5, true],
    [0x306a8, true],
    [0x306a9, false],
    [0x306d4, false],
  ])("with signature %i: a preemption timer that may be wrong is not used: %s", (signature, affected) => {
    const { row, host } = table({ cpuid: signed(signature) });
    expect(row("erratum").some((text) => text.includes("preemption timer"))).toBe(affected);
    expect(row("preemption timer")[0]!.startsWith("missing")).toBe(affected);
    expect(host.log.some((l) => l.startsWith("VT-x: ") && l.includes("preemption timer"))).toBe(!affected);
  });

  test.each([
    [0x306c3, 0x21n, true],
    [0x306c3, 0x22n, false],
    [0x306f2, 0x39n, true],
    [0x306f3, 0x01n, false],
    [0x306c3, 0n, false],
  ])("with signature %i and microcode %i: TSC deadlines are late: %s", (signature, version, late) => {
    const { row, log } = table({ cpuid: signed(signature) }, version ? microcode(version) : undefined);
    expect(row("TSC deadline timer")[0]!.startsWith("present, not used")).toBe(late);
    expect(row("erratum").some((text) => text.startsWith("affected: TSC deadline"))).toBe(late);
    expect(log.at(-1)).toBe("halts");
  });

  test("of family 10h of AMD's is known for erratum 383, and later ones are not", () => {
    const amd =
      (signature: number): Cpuid =>
      (leaf, subleaf) => {
        const answer = cpuidOf("AMD-V")(leaf, subleaf);
        if (leaf === 1) answer[0] = signature;
        return answer;
      };
    const errata = (signature: number) => table({ vendor: "AMD-V", cpuid: amd(signature) }).row("erratum");
    expect(errata(0x100f43)[0]).toMatch(/^affected: AMD 383/);
    expect(errata(0x800f11)).toEqual([]);
  });

  test("says itself that a guest cannot stop it by changing page sizes, or is told of", () => {
    const says: Cpuid = (leaf, subleaf) => {
      const answer = vtxCpuid(leaf, subleaf);
      if (leaf === 7) answer[3] |= 1 << 29;
      return answer;
    };
    const isTold = (options: HostOptions) =>
      table(options).row("erratum").join().includes("page size change");
    expect(isTold({})).toBe(true);
    expect(isTold({ cpuid: says, msrs: { 0x10a: 0n } })).toBe(true);
    expect(isTold({ cpuid: says, msrs: { 0x10a: 1n << 6n } })).toBe(false);
    expect(isTold({ cpuid: signed(0x406c3) })).toBe(false);
  });
});

describe("Machine checks", () => {
  const bank = (n: number, status: bigint, address = 0n): Record<number, bigint> => ({
    [0x400 + 4 * n]: 0n,
    [0x401 + 4 * n]: status,
    [0x402 + 4 * n]: address,
    [0x403 + 4 * n]: 0n,
  });
  const msrs = {
    0x179: 0x102n,
    0x17a: 5n,
    0x17b: 0n,
    ...bank(0, 0n),
    ...bank(1, 0x8c00004000000152n, 0x1234n),
  };

  test("from before the boot are told once and cleared, and every bank is to report", () => {
    const { host, log } = boot({ msrs });
    expect(log.filter((l) => l.startsWith("machine check"))).toEqual([
      "machine check: CPU 0, bank 1: cache, corrected, status 0x8c00004000000152, address 0x1234, misc 0x0",
    ]);
    expect([host.msrs[0x405], host.msrs[0x17b], host.msrs[0x400], host.msrs[0x404]]).toEqual([
      0n,
      2n ** 64n - 1n,
      2n ** 64n - 1n,
      2n ** 64n - 1n,
    ]);
  });

  test.each([
    [0xb200000000000400n, "internal timer or unit, uncorrected, state corrupt"],
    [0xf200000000000e0fn, "bus or interconnect, uncorrected, state corrupt, others lost"],
    [0x8000000000000090n, "memory controller, corrected"],
    [0x8000000000000015n, "TLB, corrected"],
    [0x8000000000000005n, "internal, corrected"],
  ])("with status %i are told as: %s", (status, text) => {
    const { log } = boot({ msrs: { ...msrs, 0x405: status } });
    expect(log).toContain(`machine check: CPU 0, bank 1: ${text}, status 0x${status.toString(16)}`);
  });

  test("are nobody's on a CPU without banks", () => {
    expect(table().row("machine checks")[0]).toMatch(/^missing/);
    expect(table({ msrs }).row("machine checks")).toEqual(["used: 2 banks"]);
  });
});
