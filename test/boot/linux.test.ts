/** Linux as a guest of the hypervisor: unmodified kernels from Debian's packages, and memtest86+. */
import { describe, expect, test, vi } from "vitest";
import { boot, quick } from "./command.ts";
import { contract } from "./contract.ts";
import { nightly, places } from "./harness.ts";

vi.setConfig({ testTimeout: 900_000 });

describe.each(places)("On %s", (_name, place) => {
  const machine = ["--machine", place.machine, ...(place.cpu === undefined ? [] : ["--cpu", place.cpu])];

  contract(machine);

  test("At the end the boot says what the guest cost, and the guest saw the CPU that it was promised", async () => {
    const { status, stdout, stderr } = await boot(
      [...machine, "--append", quick],
      "grep flags /proc/cpuinfo\ngrep . /sys/devices/system/clocksource/clocksource0/current_clocksource\npoweroff\n",
    );
    expect(status).toBe(0);
    expect(stderr).toMatch(/^ {2}exits \d+: cpuid \d+ port \d+ rdmsr \d+ /m);
    expect(stderr).toMatch(/^ {2}refused: unknown-msr \d+ unclaimed-port \d+ unclaimed-memory 0 /m);
    expect(stderr).toMatch(/^ {2}ticks \d+ \(\d+ ms\), running \d+ \(\d+ ms\)$/m);
    expect(stderr).toMatch(/^ {2}memory of the guest 512 MiB, of the hypervisor for it \d+ KiB$/m);
    const flags = /^flags\s*: (.*)$/m.exec(stdout)?.[1]?.split(" ");
    expect(flags).toEqual(expect.arrayContaining(["hypervisor", "rdtscp", "xsave", "avx2", "smap"]));
    for (const hidden of ["vmx", "svm", "monitor", "x2apic", "mce", "mtrr"])
      expect(flags).not.toContain(hidden);
    // QEMU's CPU has no invariant TSC to offer.
    if (place.machine === "bochs") expect(stdout).toMatch(/^tsc$/m);
  });

  test.each([
    ["cloud-6.12", "is up."],
    ["stock", "is up."],
    // The first test of the first pass has begun.
    ["memtest", "[Address test, walking ones"],
  ])("Debian's %s boots", async (guest, text) => {
    const initrd =
      guest === "memtest" ? ["--initrd", "none", "--append", "console=ttyS0,115200"] : ["--append", quick];
    const { status, stderr } = await boot([...machine, "--guest", guest, ...initrd, "--until", text]);
    expect(stderr).toContain("the text appeared");
    expect(status).toBe(0);
  });
});

// More of VT-x, less of VT-x: APIC virtualization and AVX-512, or no 1 GiB pages.
test
  .runIf(nightly)
  .each(["corei7_skylake_x", "corei7_sandy_bridge_2600k", "corei7_haswell_4770", "corei7_ivy_bridge_3770k"])(
  "Linux boots on a %s",
  async (cpu) => {
    const { status, stdout } = await boot(
      ["--machine", "bochs", "--cpu", cpu, "--append", quick],
      "dmesg | grep -i -e warn -e bug:\npoweroff\n",
    );
    expect(status).toBe(0);
    // What Linux says of RETBleed on a Skylake is about that CPU.
    expect(stdout).not.toMatch(/WARNING: CPU|BUG:/);
  },
);
