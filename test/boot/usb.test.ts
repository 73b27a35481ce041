/** The image of scripts/usb-image as a USB stick of a PC: from the firmware to the guest's shell, and the menu's entries. */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { stickPaths } from "../../tools/image/stick-menu.ts";
import { type Firmware, firmwares, type Machine } from "../../tools/machine/machine.ts";
import { projectDirectory, RunDirectory } from "../../tools/machine/run-directory.ts";
import { startMachine } from "../../tools/machine/start.ts";
import { boot, quick } from "./command.ts";
import { assembleGuest, nightly } from "./harness.ts";

vi.setConfig({ testTimeout: 900_000, hookTimeout: 900_000 });

const directory = new RunDirectory("usb-test");
afterAll(() => directory.remove());
const stick = directory.file("stick.img");

beforeAll(() => {
  const script = join(projectDirectory, "scripts/usb-image");
  const options = ["--guest", "cloud", "--guest", "memtest", "--append", quick];
  execFileSync(script, ["-o", stick, ...options], { stdio: "pipe" });
});

/** Seconds: an emulated machine that others share the host with is slow. */
const patience = 300;

const start = (firmware: Firmware, image = stick): Promise<Machine> =>
  startMachine("qemu-tcg", { image, medium: "usb", firmware, memory: 768, cpus: 2, noReboot: true });

/** A copy of the stick with another settings.txt, as an editor would leave it. */
function withSettings(name: string, text: string): string {
  const [image, settings] = [directory.file(`${name}.img`), directory.file(`${name}.txt`)];
  execFileSync("cp", ["--sparse=always", stick, image]);
  writeFileSync(settings, text);
  execFileSync("mcopy", ["-o", "-i", `${image}@@1M`, settings, `::${stickPaths.settings}`]);
  return image;
}

describe.each(firmwares)("As a USB stick of a PC with %s:", (firmware) => {
  test("the stick boots to the shell of the first guest by itself", async () => {
    await using machine = await start(firmware);
    const [com1] = machine.serial;
    await com1.waitFor(/Typevisor with cloud[^]*Typevisor with memtest/, patience);
    await com1.waitFor("(tv) CPUs: 2 of 2", patience);
    await com1.waitFor("(tv) vm0: started, memory 512 MiB", patience);
    await com1.waitFor("/ # ", patience);
    await com1.write("cat /proc/cmdline\n");
    await com1.waitFor(`console=ttyS0,115200 ${quick}`, patience);
    await com1.write("poweroff\n");
    await com1.waitFor("(tv) vm0: ended: powered off", patience);
    await com1.waitFor("(tv) halts", patience);
  });

  test.runIf(nightly || firmware === "uefi")(
    "the menu's entry for debugging has its words after those of settings.txt",
    async () => {
      const image = withSettings(`debug-${firmware}`, "console=none\r\nloglvl=error\r\nmemory=64M\r\n");
      await using machine = await start(firmware, image);
      const [com1] = machine.serial;
      await com1.waitFor("debug messages", patience);
      await com1.write("d");
      await com1.waitFor("(tv) memory in use: ", patience);
      await com1.waitFor("(tv) vm0: started, memory 64 MiB", patience);
    },
  );

  test.runIf(nightly || firmware === "uefi")(
    "the menu's preflight prints the table, and that is all",
    async () => {
      await using machine = await start(firmware);
      const [com1] = machine.serial;
      await com1.waitFor("Preflight only", patience);
      await com1.write("p");
      await com1.waitFor(`firmware: ${firmware.toUpperCase()}`, patience);
      await com1.waitFor("(tv) preflight only", patience);
      await com1.waitFor("(tv) halts", patience);
    },
  );

  test.runIf(nightly || firmware === "bios")(
    "a mistake in line 7 of settings.txt is refused by its line",
    async () => {
      const text = "\ufeff# Settings\r\n\r\nmemory=512M\r\ncpus=1\r\n\r\n# The log\r\nloglvl=loud\r\n";
      await using machine = await start(firmware, withSettings(`mistake-${firmware}`, text));
      const [com1] = machine.serial;
      await com1.waitFor(
        "(tv) refused: settings.txt: line 7: loglvl=loud: expected error, warning, info, debug",
        patience,
      );
      await com1.waitFor("(tv) halts", patience);
    },
  );
});

test("A guest whose folder somebody has copied to the stick is an entry of the menu", async () => {
  const image = withSettings("copied", "memory=4M\r\nconsole=com1\r\n");
  execFileSync("mmd", ["-i", `${image}@@1M`, "::/guests/my own guest"]);
  const kernel = assembleGuest("hello");
  execFileSync("mcopy", ["-i", `${image}@@1M`, kernel, "::/guests/my own guest/kernel"]);
  await using machine = await start("bios", image);
  const [com1] = machine.serial;
  await com1.waitFor("Memory test", patience);
  // The third entry.
  await com1.write("\x1b[B");
  await com1.write("\x1b[B");
  await com1.write("\r");
  await com1.waitFor("(tv) vm0: started, memory 4 MiB", patience);
  await com1.waitFor("slept until the timer's interrupt", patience);
});

test.runIf(nightly)("The menu's memory test is memtest86+ on the bare machine", async () => {
  await using machine = await start("bios");
  await machine.serial[0].waitFor("Memory test", patience);
  await machine.serial[0].write("m");
  await expect.poll(() => machine.screenshot(), { timeout: patience * 1000 }).toContain("Memtest86+ v6");
});

test.runIf(nightly)("The memory test has a screen by UEFI too: the blue one of memtest86+", async () => {
  await using machine = await start("uefi");
  await machine.serial[0].waitFor("Memory test", patience);
  await machine.serial[0].write("m");
  const picture = directory.file("screen.ppm");
  const bluePixels = async (): Promise<number> => {
    await machine.monitor(`screendump ${picture}`);
    const bytes = readFileSync(picture);
    let count = 0;
    for (let i = 15; i + 2 < bytes.length; i += 3)
      if (bytes[i]! < 0x10 && bytes[i + 1]! < 0x10 && bytes[i + 2]! > 0x80) count++;
    return count;
  };
  await expect.poll(bluePixels, { timeout: patience * 1000, interval: 500 }).toBeGreaterThan(100_000);
});

test.runIf(nightly)("scripts/boot --firmware uefi boots as it does by the BIOS", async () => {
  const { status, stdout, stderr } = await boot(
    ["--machine", "qemu-tcg", "--firmware", "uefi", "--append", quick, "--log"],
    "ls -d /sys/class\npoweroff\n",
  );
  expect(stdout).toContain("/sys/class");
  expect(stderr).toMatch(/^\(tv\) CPUs: 1 of 1 \(1 core\)$/m);
  expect(stderr).toContain("the guest ended: powered off (qemu-tcg, ");
  expect(status).toBe(0);
});

test("A machine without UEFI is refused by name", async () => {
  const { status, stderr } = await boot(["--machine", "bochs", "--firmware", "uefi"]);
  expect(stderr).toBe("scripts/boot: --firmware: Bochs has no UEFI firmware: use a QEMU machine\n");
  expect(status).toBe(3);
});
