/** Linux as a guest of the hypervisor: unmodified kernels from Debian's packages, and memtest86+. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { CpioEntry } from "../../tools/guest/cpio.ts";
import { fetchFile } from "../../tools/guest/debian.ts";
import { makeInitramfs } from "../../tools/guest/initramfs.ts";
import { boot, quick } from "./command.ts";
import { contract } from "./contract.ts";
import { nightly, optionsOf, places, triesAll } from "./harness.ts";

vi.setConfig({ testTimeout: 900_000 });

/** Our initial RAM disk with the drivers of the power button and of what it types, which Debian's kernels have as modules. */
async function withButton(): Promise<string> {
  const driver = async (path: string): Promise<CpioEntry> => {
    const file = await fetchFile({
      package: "linux-image-cloud-amd64",
      path: `lib/modules/*/kernel/drivers/${path}`,
    });
    return { kind: "file", path: `lib/${basename(path)}`, data: readFileSync(file) };
  };
  const directory = mkdtempSync(join(tmpdir(), "typevisor-button-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const initrd = join(directory, "initrd");
  writeFileSync(
    initrd,
    await makeInitramfs([await driver("acpi/button.ko"), await driver("input/evdev.ko")]),
  );
  return initrd;
}

describe.each(places)("On %s", (_name, place) => {
  const machine = optionsOf(place);
  const all = triesAll(place);

  if (all) contract(machine);

  test("At the end the boot says what the guest cost, and the guest saw the CPU that it was promised", async () => {
    const { status, stdout, stderr } = await boot(
      [...machine, "--host-cpus", "2", "--cpus", "2", "--no-reboot", "--append", quick],
      "grep -e timer -e ttyS0 -e LOC: /proc/interrupts\ngrep flags /proc/cpuinfo\ngrep . /sys/devices/system/clocksource/clocksource0/current_clocksource\npoweroff\n",
    );
    expect(status).toBe(0);
    expect(stderr).toMatch(/^ {2}exits \d+: cpuid \d+ port \d+ rdmsr \d+ /m);
    expect(stderr).toMatch(/^ {2}refused: unknown-msr \d+ unclaimed-port \d+ unclaimed-memory 0 /m);
    expect(stderr).toMatch(/^ {2}ticks \d+ \(\d+ ms\), running \d+ \(\d+ ms\)$/m);
    expect(stderr).toMatch(/^ {2}memory of the guest 512 MiB, of the hypervisor for it \d+ KiB$/m);
    const flags = /^flags\s*: (.*)$/m.exec(stdout)?.[1]?.split(" ");
    expect(flags).toEqual(
      expect.arrayContaining([
        "hypervisor",
        "rdtscp",
        "xsave",
        "avx2",
        "smap",
        "apic",
        "x2apic",
        "tsc_deadline_timer",
        "arat",
      ]),
    );
    for (const hidden of ["vmx", "svm", "monitor", "mce", "mtrr"]) expect(flags).not.toContain(hidden);
    // Interrupts come by the I/O APIC and the local APIC's timer, without a word on the kernel's command line.
    expect(stdout).toMatch(/^ *4: +\d+ +\d+ +IO-APIC +4-edge +ttyS0$/m);
    expect(stdout).toMatch(/^ *LOC: +[1-9]\d+ +[1-9]\d+ +Local timer interrupts$/m);
    // QEMU's CPU has no invariant TSC to offer.
    if (place.machine === "bochs") expect(stdout).toMatch(/^tsc$/m);
  });

  test.runIf(all)(
    "Linux finds the machine's tables, PCI, HPET and DMI, and the power button interrupts it",
    async () => {
      const typed = [
        "dmesg | grep -e DMI: -e MMCONFIG -e '8086:29' -e hpet0 -e 'PCI Root Bridge' -e 'ACPI.*[Ee]rror' -e 'ACPI BIOS'",
        "ls /sys/bus/acpi/devices /sys/bus/pci/devices | tr '\\n' ' '",
        "insmod /lib/evdev.ko; insmod /lib/button.ko",
        "head -c 24 /dev/input/event0 | od -An -tx2 > /tmp/key &",
        "grep acpi /proc/interrupts",
        "\x1epsleep 1; cat /tmp/key",
        "grep acpi /proc/interrupts",
        "poweroff",
      ];
      const { status, stdout } = await boot(
        [...machine, "--initrd", await withButton(), "--append", "cryptomgr.notests loglevel=1"],
        `${typed.join("\n")}\n`,
      );
      expect(status).toBe(0);
      expect(stdout).toContain("DMI: Typevisor Virtual PC");
      expect(stdout).toMatch(
        /PCI: MMCONFIG at \[mem 0xe0000000-0xefffffff\] reserved in ACPI motherboard resources/,
      );
      expect(stdout).toMatch(/pci 0000:00:00\.0: \[8086:29c0\]/);
      expect(stdout).toMatch(/pci 0000:00:1f\.0: \[8086:2918\]/);
      expect(stdout).toContain("hpet0: 3 comparators, 64-bit 100.000000 MHz counter");
      expect(stdout).not.toMatch(/\] ACPI.*[Ee]rror/);
      for (const id of [
        "LNXPWRBN:00",
        "PNP0501:00",
        "PNP0A08:00",
        "PNP0B00:00",
        "PNP0103:00",
        "0000:00:1f.0",
      ])
        expect(stdout).toContain(id);
      // KEY_POWER goes down; each press and nothing else is an interrupt.
      expect(stdout).toMatch(/ 0001 0074 0001 0000\r?$/m);
      const counts = [...stdout.matchAll(/^ +9: +(\d+) .*acpi\r?$/gm)].map(([, count]) => Number(count));
      expect(counts).toEqual([0, 1]);
    },
  );

  // Others than the default one. Of memtest86+ the first test of the first pass has begun.
  const others: [guest: string, text: string][] = [
    ["cloud-6.12", "is up."],
    ["stock", "is up."],
  ];
  if (nightly) others.push(["memtest", "[Address test, walking ones"]);
  test.runIf(all).each(others)("Debian's %s boots", async (guest, text) => {
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
