/** Errors of the hardware's: QEMU's monitor brings them about. */
import { expect, test, vi } from "vitest";
import { RunDirectory } from "../../tools/machine/run-directory.ts";
import { startImage } from "../../tools/trial/boot.ts";
import { assembleGuest, bootImage } from "./harness.ts";

vi.setConfig({ testTimeout: 300_000 });

/** SDM Vol. 3B 16.3.2.2: valid, uncorrected, enabled, MISC and ADDR valid, state corrupt; a cache's read error. */
const STATUS = "0xbe00000000000134";

/**
 * Boots a guest that waits for ever, and has the machine check come when the CPU waits in root. In a guest QEMU would give it to that
 * guest, whatever AMD-V intercepts (docs/machines.md).
 */
async function check(options: string, board: "i440fx" | "q35") {
  const directory = new RunDirectory("machinecheck");
  try {
    await using machine = await startImage(
      {
        machine: "qemu-tcg",
        board,
        options,
        modules: [{ file: assembleGuest("spin", { HALT: 1 }), text: "kernel memory=4M" }],
      },
      directory,
    );
    const log: string[] = [];
    const [console, hypervisor] = machine.serial;
    const halted = new Promise<void>((resolve) =>
      hypervisor.onLine((line) => {
        log.push(line.trimEnd().slice(5));
        if (line.includes("halts")) resolve();
      }),
    );
    const late = new Promise<never>((_, reject) => {
      setTimeout(() => reject(new Error(log.join("\n"))), 120_000).unref();
    });
    const waits = async () => {
      await console.waitFor("waits");
      if (options.includes("hwwatchdog")) await hypervisor.waitFor("watchdog: resets");
      await machine.monitor(`mce 0 1 ${STATUS} 0x5 0x1234 0x0`);
      await halted;
    };
    await Promise.race([waits(), late]);
    const end = options.includes("hwwatchdog")
      ? (await Promise.race([machine.ended, late])).cause
      : undefined;
    return { log, end };
  } finally {
    directory.remove();
  }
}

test("A machine check is a panic with what the bank says", async () => {
  const { log } = await check("", "i440fx");
  const at = log.findIndex((line) => line.startsWith("panic: machine check"));
  expect(at, log.join("\n")).toBeGreaterThan(0);
  expect(log[at + 1]).toBe(
    `  machine check: CPU 0, bank 1: cache, uncorrected, state corrupt, status ${STATUS}, address 0x1234, misc 0x0`,
  );
  expect(log[at + 2]).toMatch(/^ {2}machine check: IA32_MCG_STATUS 0x[0-9a-f]+$/);
});

test("A watchdog that is fed lets the machine be for as long as it runs", async () => {
  const { log } = await bootImage({
    machine: "qemu-tcg",
    board: "q35",
    options: "hwwatchdog=4 vmlimit=9000",
    modules: [{ file: assembleGuest("spin"), text: "kernel memory=4M" }],
  });
  expect(log).toContain("watchdog: resets the machine after 4 s");
  expect(log).toContain("vm0: ended: time limit");
  expect(log.at(-1)).toBe("halts");
});

test("After a panic that halts, the watchdog of the chipset resets the machine", async () => {
  const { log, end } = await check("hwwatchdog=4", "q35");
  expect(log).toContain("watchdog: resets the machine after 4 s");
  expect(log.at(-1)).toBe("halts");
  expect(end).toBe("reset");
});
