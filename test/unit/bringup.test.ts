/** How root calls the machine's other CPUs (kernel/root/bringup.ts). The bare machine has one: nobody answers. */
import { describe, expect, test } from "vitest";
import { madt, putTables } from "./fake/firmware.ts";
import { FakeHost, vendors } from "./fake/host.ts";
import { kernels } from "./fake/vms.ts";

/** ACPI 6.4 5.2.12.2, Processor Local APIC Structure. */
const lapic = (id: number, flags = 1) => Buffer.from([0, 8, id, id, flags, 0, 0, 0]);
/** 5.2.12.12, Processor Local x2APIC Structure. */
function x2apic(id: number, flags = 1): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.set([9, 16]);
  bytes.writeUInt32LE(id, 4);
  bytes.writeUInt32LE(flags, 8);
  return bytes;
}

const INIT = 0x4500;
const SIPI = 0x4608;
const NMI = 0x4400;
/** TSC ticks of a millisecond. */
const MS = 50_000n;

describe.each(vendors)("on %s", (vendor) => {
  function boot(structures: Buffer[], commandLine = "") {
    const host = new FakeHost({
      vendor,
      commandLine,
      modules: kernels(1),
      firmware: (h) => {
        putTables(h, madt(...structures));
        // What firmware has where the trampoline goes.
        h.memory.put(0x8000, new Uint8Array(4096).fill(0x5a));
      },
    });
    const log = host.boot();
    return { host, log, called: host.ipis.map((i) => [i.to, i.command]) };
  }

  test("A CPU is called by INIT, and 10 ms later by two SIPIs; one that does not come is refused and sent back", () => {
    const { host, log, called } = boot([lapic(0), lapic(3)]);
    expect(called).toEqual([
      [3, INIT],
      [3, SIPI],
      [3, SIPI],
      [3, INIT],
    ]);
    const [first, second, third, last] = host.ipis;
    expect(second!.tsc - first!.tsc).toBeGreaterThanOrEqual(10n * MS);
    expect(third!.tsc - second!.tsc).toBeGreaterThanOrEqual(MS / 5n);
    expect(last!.tsc - third!.tsc).toBeGreaterThanOrEqual(3000n * MS);
    expect(log).toContain("CPU with APIC id 3: does not come, not used");
    expect(log).toContain("CPUs: 1 of 2 (2 cores)");
    expect(log).toContain("vm0: ended: powered off");
  });

  test("What is in the page where CPUs start is there again afterwards", () => {
    const { host } = boot([lapic(0), lapic(3)]);
    expect([...host.memory.get(0x8000, 4096)].every((b) => b === 0x5a)).toBe(true);
  });

  test("Who is disabled, is the boot CPU, or is named twice is not called", () => {
    const { called, log } = boot([lapic(0), lapic(1, 0), x2apic(0), lapic(2), x2apic(2), x2apic(300)]);
    expect(called.map(([to]) => to)).toEqual([2, 2, 2, 2, 300, 300, 300, 300]);
    expect(log).toContain("CPUs: 1 of 3 (3 cores)");
  });

  test("With cpus=1 nobody is", () => {
    expect(boot([lapic(0), lapic(3)], "cpus=1").called).toEqual([]);
  });

  test.each(["cpus=0", "cpus=65", "cpus=x"])("%s refuses the boot", (commandLine) => {
    const { log } = boot([lapic(0)], commandLine);
    expect(log).toContain(`refused: command line: ${commandLine}: expected 1 to 64`);
  });

  test("CPUs that are not used get no NMI at the end", () => {
    const { host } = boot([lapic(0), lapic(3)]);
    expect(host.ipis.some((i) => i.command === NMI)).toBe(false);
  });
});
