/** What root does with the rest of a PC: its clocks (clock.ts, rtc.ts), PCI functions (pci.ts), interrupts. */
import { describe, expect, test } from "vitest";
import { fadt, ordinaryTables, putTables } from "./fake/firmware.ts";
import { FakeHost, type HostOptions, cpuidOf, vendors } from "./fake/host.ts";
import { abi } from "./fake/layout.ts";
import { kernels } from "./fake/vms.ts";

type Cpuid = (leaf: number, subleaf: number) => [number, number, number, number];

describe.each(vendors)("on %s", (vendor) => {
  /** Leaf 1 without TSC-deadline mode, so that the APIC's timer counts. */
  const counting = (): [number, number, number, number] => {
    const answer = cpuidOf(vendor)(1, 0);
    answer[2] &= ~(1 << 24);
    return answer;
  };

  /** The host's CPUID with some leaves of another content, and a highest leaf that tells nothing of clocks. */
  function cpuidWith(leaves: Record<number, [number, number, number, number]>): Cpuid {
    return (leaf, subleaf) => {
      const known = leaves[leaf >>> 0];
      if (known) return known;
      const answer = cpuidOf(vendor)(leaf, subleaf);
      if (leaf === 0) answer[0] = 0x14;
      return answer;
    };
  }

  function boot(options: HostOptions): { host: FakeHost; log: string[] } {
    const host = new FakeHost({ vendor, modules: kernels(1), ...options });
    return { host, log: host.boot() };
  }

  const ranWell = (log: string[]) => expect(log.slice(-2)).toEqual(["done", "halts"]);

  test("The 8259s are masked before LINT0 is: what they have asked for then is taken back", () => {
    const { host, log } = boot({});
    ranWell(log);
    expect(host.apic.picMasksAtLint0).toEqual([0xff, 0xff]);
  });

  describe("The TSC's frequency", () => {
    const withPmTimer = (host: FakeHost) => void putTables(host, fadt(0x608));
    const frequency = (log: string[]) => {
      const [, mhz, from] = /, TSC (\d+) MHz from ([^,]+),/.exec(log.find((l) => l.startsWith("memory "))!)!;
      return { mhz: Number(mhz), from };
    };
    const highest = (leaf: number): [number, number, number, number] => [
      leaf,
      ...(cpuidOf(vendor)(0, 0).slice(1) as [number, number, number]),
    ];
    const underHypervisor = (): [number, number, number, number] => {
      const answer = cpuidOf(vendor)(1, 0);
      answer[2] |= 1 << 31;
      return answer;
    };

    // SDM Vol. 3B 19.7.3, Determining the Processor Base Frequency: crystal * EBX / EAX.
    test.each<[string, [number, number, number, number], number]>([
      ["a crystal of 24 MHz times 250 / 2", [2, 250, 24_000_000, 0], 3000],
      ["a crystal of 25 MHz times 196 / 2", [2, 196, 25_000_000, 0], 2450],
      ["a ratio that does not divide", [7, 100, 38_400_000, 0], 548],
    ])("is what CPUID 15h says: %s", (_, leaf, mhz) => {
      const { log } = boot({ cpuid: cpuidWith({ 0: highest(0x15), 0x15: leaf }) });
      expect(frequency(log)).toEqual({ mhz, from: "CPUID" });
    });

    test("is what the hypervisor below says in kHz, if it has the leaf", () => {
      const leaves = {
        1: underHypervisor(),
        0x40000010: [2_600_123, 0, 0, 0] as [number, number, number, number],
      };
      const { log } = boot({ cpuid: cpuidWith({ ...leaves, 0x40000000: [0x40000010, 0, 0, 0] }) });
      expect(frequency(log)).toEqual({ mhz: 2600, from: "the hypervisor below" });
      const without = boot({ cpuid: cpuidWith({ ...leaves, 0x40000000: [0x40000001, 0, 0, 0] }) });
      expect(frequency(without.log).from).toBe("the PIT");
    });

    test.each([
      [50_000_000n, 50],
      [1_000_000_000n, 1000],
      [3_400_000_000n, 3400],
    ])("is measured with the PM timer, else with the PIT, within 1 per mille: %d Hz", (tscHz, mhz) => {
      for (const [firmware, from] of [
        [withPmTimer, "the PM timer"],
        [undefined, "the PIT"],
      ] as const) {
        // prettier-ignore
        // A port access takes 1 us.
        const { host, log } = boot({ tscHz, portTicks: tscHz / 1_000_000n, cpuid: cpuidWith({}), firmware });
        expect(frequency(log).from).toBe(from);
        expect(Math.abs(frequency(log).mhz / mhz - 1)).toBeLessThan(mhz === 50 ? 0.02 : 0.001);
        expect(Math.abs(Number(host.watchdog) / Number(tscHz / 5n) - 1)).toBeLessThan(0.001);
      }
    });

    test.each<[string, [number, number, number, number]]>([
      ["without a ratio", [0, 0, 24_000_000, 0]],
      ["without a denominator", [0, 100, 24_000_000, 0]],
      ["without a crystal", [2, 200, 0, 0]],
      ["of less than 1 MHz", [0xffffffff, 1, 24_000_000, 0]],
      ["of 1 Hz", [1, 1, 1, 0]],
    ])("is measured if CPUID 15h gives one %s", (_, leaf) => {
      const { log } = boot({ cpuid: cpuidWith({ 0: highest(0x15), 0x15: leaf }), firmware: withPmTimer });
      expect(frequency(log)).toEqual({ mhz: 50, from: "the PM timer" });
      expect(log.slice(-2)).toEqual(["done", "halts"]);
    });

    test("is measured right with the PIT if the PM timer stands still", () => {
      for (const pmTimer of ["stands still", "absent"] as const) {
        const { host, log } = boot({ cpuid: cpuidWith({ 1: counting() }), firmware: withPmTimer, pmTimer });
        expect(frequency(log)).toEqual({ mhz: 50, from: "the PIT" });
        expect(Math.abs(Number(host.timerScale) / 2 ** 32 - 1)).toBeLessThan(0.002);
      }
    });

    test("is refused by name if no clock counts", () => {
      const { log } = boot({
        cpuid: cpuidWith({}),
        firmware: withPmTimer,
        pmTimer: "stands still",
        pit: "stands still",
      });
      expect(log.slice(-2)).toEqual(["refused: time: neither the PM timer nor the PIT counts", "halts"]);
    });

    test.each([
      [1n, 1n],
      [1n, 2n],
      [10n, 3n],
    ])(
      "and that of the APIC's timer, which makes %d counts in %d ticks, are told to the timer's stubs",
      (counts, ticks) => {
        const { host } = boot({
          cpuid: cpuidWith({ 1: counting() }),
          apicTimer: [counts, ticks],
          firmware: withPmTimer,
        });
        const scale = Number(host.timerScale) / 2 ** 32;
        expect(Math.abs(scale / (Number(counts) / Number(ticks)) - 1)).toBeLessThan(0.002);
      },
    );

    test("is all that a TSC-deadline timer needs", () => {
      const { host, log } = boot({ cpuid: cpuidWith({ 1: cpuidOf(vendor)(1, 0) }) });
      expect(host.timerScale).toBe(0n);
      // SDM Vol. 3A 11.5.4.1, TSC-Deadline Mode: 10b in bits 18:17.
      expect(host.apic.read(0x32)).toBe(abi("VECTOR_TIMER") | (2 << 17));
      expect(log.slice(-2)).toEqual(["done", "halts"]);
    });
  });

  describe("The local APIC", () => {
    // SDM Vol. 3A 11.9, Spurious Interrupt: bit 8 of SVR enables it. 11.5.1, Local Vector Table.
    test.each([false, true])("is set up with its own sources masked, by x2APIC: %s", (x2) => {
      const one = counting();
      if (x2) one[2] |= 1 << 21;
      const { host, log } = boot({
        cpuid: cpuidWith({ 1: one }),
        ioapicInputs: 24,
        firmware: ordinaryTables,
      });
      expect(log.slice(-2)).toEqual(["done", "halts"]);
      expect(log.find((l) => l.startsWith("memory "))).toContain(x2 ? ", x2APIC," : ", xAPIC,");
      expect(host.msrs[0x1b]! & 0xc00n).toBe(x2 ? 0xc00n : 0x800n);
      expect(host.apic.read(0x0f)).toBe(0x100 | abi("VECTOR_SPURIOUS"));
      expect(host.apic.read(0x35)).toBe(1 << 16);
      expect(host.apic.read(0x36)).toBe(4 << 8);
      expect(host.apic.read(0x32)).toBe(abi("VECTOR_TIMER"));
      expect([host.ports.in(0x21, 1), host.ports.in(0xa1, 1)]).toEqual([0xff, 0xff]);
    });

    test("that is not there is refused", () => {
      const one = cpuidOf(vendor)(1, 0);
      one[3] &= ~(1 << 9);
      expect(boot({ cpuid: cpuidWith({ 1: one }) }).log.at(-2)).toBe(
        "refused: local APIC: not offered by this CPU",
      );
    });
  });

  describe("The clock of day", () => {
    const bootTime = (cmos: number[]) => {
      let time = -1n;
      const { host, log } = boot({
        cmos,
        run: (vcpu) => {
          time = vcpu.load(abi("VM_INFO") + abi("VMINFO_BOOT_TIME"), 8);
          return vcpu.stop("POWERED_OFF");
        },
      });
      expect(log.slice(-2)).toEqual(["done", "halts"]);
      expect(host.ports.nmiMasked).toBe(false);
      return Number(time);
    };
    /** Registers 0 to 11 (MC146818A, Address Map): seconds, minutes, hours and their alarms between, day, month, year. */
    const cmos = (
      s: number,
      m: number,
      h: number,
      day: number,
      month: number,
      year: number,
      b: number,
      a = 0x26,
    ) => [...[s, 0, m, 0, h, 0, 1], ...[day, month, year, a, b]];
    const seconds = (...date: [number, number, number, number, number, number]) => Date.UTC(...date) / 1000;

    test("is read in BCD and in binary, in 24 hours and in 12", () => {
      const date = seconds(2031, 10, 29, 21, 47, 58);
      expect(bootTime(cmos(0x58, 0x47, 0x21, 0x29, 0x11, 0x31, 2))).toBe(date);
      expect(bootTime(cmos(58, 47, 21, 29, 11, 31, 6))).toBe(date);
      expect(bootTime(cmos(0x58, 0x47, 0x89, 0x29, 0x11, 0x31, 0))).toBe(date);
      expect(bootTime(cmos(58, 47, 0x80 | 9, 29, 11, 31, 4))).toBe(date);
      // 12 is the first hour of each half of the day.
      expect(bootTime(cmos(0, 0, 0x12, 1, 1, 0x24, 0))).toBe(seconds(2024, 0, 1, 0, 0, 0));
      expect(bootTime(cmos(0, 0, 0x92, 1, 1, 0x24, 0))).toBe(seconds(2024, 0, 1, 12, 0, 0));
    });

    test("counts leap years", () => {
      for (const [y, m, d] of [
        [0, 2, 29],
        [0, 3, 1],
        [24, 2, 29],
        [24, 3, 1],
        [99, 12, 31],
        [25, 2, 28],
        [25, 3, 1],
      ] as const)
        // prettier-ignore
        expect(bootTime(cmos(1, 2, 3, d, m, y, 6))).toBe(seconds(2000 + y, m - 1, d, 3, 2, 1));
    });

    test.each([
      ["nothing answers", Array.from({ length: 12 }, () => 0xff)],
      ["an update never ends and all is zero", cmos(0, 0, 0, 0, 0, 0, 2, 0x80)],
      ["month 0", cmos(0, 0, 0, 1, 0, 0x24, 2)],
      ["month 13", cmos(0, 0, 0, 1, 0x13, 0x24, 2)],
      ["day 0", cmos(0, 0, 0, 0, 1, 0x24, 2)],
      ["day 32", cmos(0, 0, 0, 0x32, 1, 0x24, 2)],
      ["hour 24", cmos(0, 0, 0x24, 1, 1, 0x24, 2)],
      ["minute 60", cmos(0, 0x60, 0, 1, 1, 0x24, 2)],
      ["second 61", cmos(0x61, 0, 0, 1, 1, 0x24, 2)],
    ])("is 0 if it makes no sense: %s", (_, registers) => {
      expect(bootTime(registers)).toBe(0);
    });
  });

  describe("PCI", () => {
    const MASTER = 4;
    /** A function's first registers: IDs, command and status, class, header type. */
    const registers = (header = 0, command = 7, status = 0xffff) => [
      0x12378086,
      ((status << 16) | command) >>> 0,
      0x02000000,
      header << 16,
    ];
    const bdf = (bus: number, device: number, f = 0) => (bus << 8) | (device << 3) | f;
    const found = (functions: [number, number[]][]) => {
      const pci = new Map(functions);
      const { log } = boot({ pci });
      expect(log.slice(-2)).toEqual(["done", "halts"]);
      const masters = [...pci].filter(([, r]) => r[1]! & MASTER).map(([n]) => n);
      const count = Number(/^PCI: bus mastering turned off in (\d+) functions$/.exec(log.find((l) => l.startsWith("PCI"))!)![1]); // prettier-ignore
      return { pci, masters, count };
    };

    test("functions on any bus cannot be masters any more, and nothing else of them changes", () => {
      const places = [bdf(0, 0), bdf(0, 31), bdf(1, 5), bdf(255, 31)];
      const { pci, masters, count } = found(places.map((n) => [n, registers()]));
      expect({ masters, count }).toEqual({ masters: [], count: 4 });
      // PCI 3.0 6.2.3: the status register's bits are cleared by writing ones.
      for (const n of places) expect(pci.get(n)![1]).toBe(0xffff0003);
    });

    test("bridges stay as they are", () => {
      const { masters, count } = found([
        [bdf(0, 1), registers(1)],
        [bdf(0, 2), registers(2)],
        [bdf(0, 3), registers(0)],
      ]);
      expect({ masters, count }).toEqual({ masters: [bdf(0, 1), bdf(0, 2)], count: 1 });
    });

    test("of USB controllers whose BIOS may make a keyboard of them stay, and with UEFI none", () => {
      const usb = (kind: number, legacy = 0) => {
        const own = registers();
        own[2] = kind << 8;
        own[0xc0 / 4] = legacy;
        return own;
      };
      const functions = (): [number, number[]][] => [
        [bdf(0, 1), usb(0x0c0300, 0x10)],
        [bdf(0, 2), usb(0x0c0300, 0x2000)],
        [bdf(0, 3), usb(0x0c0320)],
        [bdf(0, 4), usb(0x020000)],
      ];
      const kept = (options: HostOptions) => {
        const pci = new Map(functions());
        const { log } = boot({ pci, commandLine: "loglvl=debug", ...options });
        const lines = log.filter((l) => l.includes("keeps bus mastering"));
        return { masters: [...pci].filter(([, r]) => r[1]! & MASTER).map(([n]) => n), lines };
      };
      expect(kept({})).toEqual({
        masters: [bdf(0, 1), bdf(0, 3)],
        lines: [1, 3].map(
          (n) =>
            `PCI 00:0${n}.0: keeps bus mastering: a USB controller, which the BIOS may make a keyboard of`,
        ),
      });
      expect(kept({ loader: (info) => void (info.efi = true) })).toEqual({ masters: [], lines: [] });
    });

    test("of a multi-function device every function counts, with gaps between; of another only function 0", () => {
      const several = found([
        [bdf(0, 1, 0), registers(0x80)],
        [bdf(0, 1, 3), registers()],
        [bdf(0, 1, 7), registers(0x80)],
        [bdf(0, 2, 0), registers(0x81)],
        [bdf(0, 2, 5), registers()],
      ]);
      expect({ masters: several.masters, count: several.count }).toEqual({ masters: [bdf(0, 2)], count: 4 });
      // A device that does not decode the function number answers as function 0 for all of them.
      const one = registers();
      const aliased = found(Array.from({ length: 8 }, (_, f) => [bdf(0, 4, f), one]));
      expect(aliased.count).toBe(1);
    });

    test("functions that are no masters are not counted, and a machine without PCI has none", () => {
      expect(found([[bdf(0, 1), registers(0, 3)]]).count).toBe(0);
      expect(found([]).count).toBe(0);
    });
  });

  describe("The CPU", () => {
    test("that has more extended state than a VM's home has room for is refused", () => {
      const cpuid = cpuidWith({ 0xd: [0x602e7, 0, 16385, 0] });
      expect(boot({ cpuid }).log.at(-2)).toBe("refused: XSAVE: its state is larger than 16 KiB");
      ranWell(boot({ cpuid: cpuidWith({ 0xd: [0x602e7, 0, 16384, 0] }) }).log);
    });

    test("without XSAVE keeps x87 and SSE by FXSAVE, and its XCR0 is left alone", () => {
      const one = cpuidOf(vendor)(1, 0);
      one[2] &= ~(1 << 26);
      const { host, log } = boot({ cpuid: cpuidWith({ 1: one }), modules: kernels(2) });
      ranWell(log);
      // SDM Vol. 3A 2.5: OSFXSR is bit 9, OSXSAVE bit 18, SMEP bit 20, SMAP bit 21.
      expect(host.cr[4]! & 0x340200n).toBe(0x300200n);
    });

    if (vendor === "VT-x")
      test("that refuses VMXON ends the boot by name", () => {
        expect(boot({ vmxonFails: true }).log.at(-2)).toBe("refused: VT-x: cannot be turned on");
      });
  });
});
