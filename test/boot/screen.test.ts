/** The screen and the keyboard of whole machines: what is seen is read back from a picture, by the font. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { fetchFile } from "../../tools/guest/debian.ts";
import { makeInitramfs } from "../../tools/guest/initramfs.ts";
import { kernels } from "../../tools/guest/kernels.ts";
import type { Machine } from "../../tools/machine/machine.ts";
import { RunDirectory } from "../../tools/machine/run-directory.ts";
import { startImage, type TrialOptions } from "../../tools/trial/boot.ts";
import { nightly } from "./harness.ts";
import { readScreen, typeKeys } from "./screenshot.ts";

vi.setConfig({ testTimeout: 600_000 });

/** Seconds in which a screen has to show something. */
const patience = 240;

class Watched implements AsyncDisposable {
  private constructor(
    readonly machine: Machine,
    private readonly directory: RunDirectory,
    private readonly read: () => Promise<string[]>,
  ) {}

  static async start(options: TrialOptions, isText: boolean): Promise<Watched> {
    const directory = new RunDirectory("screen");
    const machine = await startImage({ machine: "qemu-tcg", ...options }, directory);
    const text = async () => (await machine.screenshot()).split("\n");
    return new Watched(machine, directory, isText ? text : () => readScreen(machine, directory));
  }

  /** Waits until the screen shows it; returns the lines. */
  async waitFor(pattern: RegExp): Promise<string[]> {
    const end = Date.now() + patience * 1000;
    for (;;) {
      const lines = await this.read();
      if (pattern.test(lines.join("\n"))) return lines;
      if (Date.now() > end) throw new Error(`no ${pattern} on the screen:\n${lines.join("\n")}`);
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.machine.stop();
    this.directory.remove();
  }
}

/** Debian's cloud kernel with a shell, on its only console. */
async function linux(words = ""): Promise<TrialOptions["modules"]> {
  const folder = mkdtempSync(join(tmpdir(), "typevisor-screen-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const initrd = join(folder, "initrd");
  writeFileSync(initrd, await makeInitramfs());
  return [
    {
      file: await fetchFile(kernels.cloud),
      text: `kernel memory=256M -- console=ttyS0 cryptomgr.notests ${words}`.trim(),
    },
    { file: initrd, text: "initrd" },
  ];
}

/** UEFI's are of the same kind. */
const biosPixels: [string, Partial<TrialOptions>, boolean][] = [
  ["1024 x 768 pixels of 32 bits", { video: "1024x768x32" }, false],
  ["800 x 600 pixels of 16 bits", { video: "800x600x16" }, false],
];

const withoutColours = (text: string) => text.replaceAll(/\x1b\[[0-9;?]*[A-Za-z]/g, "").replaceAll("\r", "");

test.each<[string, Partial<TrialOptions>, boolean]>([
  ["the text screen of a BIOS", {}, true],
  ["UEFI's pixels", { firmware: "uefi" }, false],
  ...(nightly ? biosPixels : []),
])(
  "On %s the log and a guest's console are what the serial ports have, line for line",
  async (_, how, isText) => {
    const options = "console=screen vmconsole=screen";
    await using watched = await Watched.start({ ...how, options, modules: await linux() }, isText);
    let console = "";
    let log = "";
    watched.machine.serial[0].onText((text) => (console += text));
    watched.machine.serial[1].onText((text) => (log += text));
    // Pictures are taken when there is something to see, and no sooner.
    await watched.machine.serial[0].waitFor(/# $/, patience);
    await watched.waitFor(/#$/);
    await typeKeys(watched.machine, "seq 1 300; echo colour$((40 + 2))\n");
    await watched.machine.serial[0].waitFor(/^colour42/m, patience);
    const lines = await watched.waitFor(/colour42\n.*# ?$/);
    const width = isText ? 80 : Math.max(...lines.map((line) => line.length), 80);
    expect(width).toBeLessThanOrEqual(128);
    const printed = withoutColours(console).split("\n").slice(-lines.length);
    expect(lines.map((line) => line.trimEnd())).toEqual(printed.map((line) => line.trimEnd()));
    expect(log).toMatch(isText ? /screen: text/ : /screen: \d+ x \d+ pixels of (16|24|32) bits/);
    expect(log).toContain("keyboard: PS/2");
    await typeKeys(watched.machine, "poweroff -f\n");
    const end = await watched.waitFor(/\(tv\) halts/);
    expect(end.slice(-2)).toEqual(["(tv) done", "(tv) halts"]);
  },
);

test.each<[string, Partial<TrialOptions>, boolean]>([
  ...(nightly ? [["text", {}, true] satisfies [string, Partial<TrialOptions>, boolean]] : []),
  ["pixels", { video: "1024x768x32" }, false],
])("A machine without serial ports is used by screen and keyboard: %s", async (_, how, isText) => {
  const modules = await linux();
  const options = { ...how, withoutSerial: true, defaultConsoles: true, options: "reboot=no", modules };
  await using watched = await Watched.start(options, isText);
  await watched.waitFor(/#$/);
  // With Shift, editing, and keys of more than one byte: up brings the line before back.
  await typeKeys(watched.machine, "echo Hi-$((6*7))_OK | tr a-z A-Z\n");
  await watched.waitFor(/\nHI-42_OK\n/);
  await watched.machine.monitor("sendkey ctrl-l 20");
  const cleared = await watched.waitFor(/^[^\n]*#$/);
  expect(cleared.length).toBe(1);
  await watched.machine.monitor("sendkey up 20");
  await watched.machine.monitor("sendkey ret 20");
  await watched.waitFor(/^[^\n]*# echo Hi-[^\n]*\nHI-42_OK\n/);
  await typeKeys(watched.machine, "sleep 1000\n");
  await watched.machine.monitor("sendkey ctrl-c 20");
  await typeKeys(watched.machine, "poweroff -f\n");
  await watched.waitFor(/\(tv\) done\n\(tv\) halts$/);
});
