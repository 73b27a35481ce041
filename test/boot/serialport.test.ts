/** A serial port that is neither COM1 nor COM2, on a whole machine: QEMU's PCI card. */
import { expect, test, vi } from "vitest";
import { RunDirectory } from "../../tools/machine/run-directory.ts";
import { startImage } from "../../tools/trial/boot.ts";
import { assembleGuest } from "./harness.ts";

vi.setConfig({ testTimeout: 300_000 });

test("A PCI card takes the log and a guest's console where there is no COM1", async () => {
  const directory = new RunDirectory("trial");
  try {
    await using machine = await startImage(
      {
        machine: "qemu-tcg",
        pciSerial: true,
        defaultConsoles: true,
        options: "console=pci vmconsole=pci reboot=no",
        modules: [{ file: assembleGuest("hello"), text: "kernel memory=4M" }],
      },
      directory,
    );
    const text = await machine.serial[0].waitFor(/\(tv\) halts\r?\n/);
    expect(text).toMatch(/\(tv\) serial port: PCI 00:0\d\.0, port 0xc\d\d0, served by the timer/);
    expect(text).toContain("slept until the timer's interrupt");
    expect(text).toMatch(/\(tv\) vm0: ended: halted with interrupts off/);
  } finally {
    directory.remove();
  }
});
