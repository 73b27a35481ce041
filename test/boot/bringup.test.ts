/** The first steps of a boot: TypeScript on the serial port, a guest through its monitor, monitors that fail. */
import { describe, expect, test, vi } from "vitest";
import { startMachine } from "../../tools/machine/start.ts";
import { boot } from "./command.ts";
import { assembleGuest, bootImage, faultLine, guestFile, places, ryzen } from "./harness.ts";

vi.setConfig({ testTimeout: 600_000 });

/** What each kind of failure of test/images/containment/ is called. */
const failures: [kind: number, cause: string][] = [
  [1, "its monitor trapped: memory access out of bounds at 0x7fff0000"],
  [2, "its monitor trapped: unreachable"],
  [3, "its monitor trapped: assertion failed"],
  [4, "its monitor trapped: integer division by zero"],
  [5, "its monitor trapped: stack overflow"],
  [6, "its monitor did not come back"],
  [7, "its monitor trapped: memory access out of bounds at 0x0"],
  [8, "its monitor trapped: write of a control structure's field, or of bits in it, off the allow list"],
  [9, "its monitor trapped: memory access out of bounds at 0x17ffffffe"],
];

describe.each(places)("On %s", (name, place) => {
  test("TypeScript prints on the serial port, and says what is missing", async () => {
    const { log } = await bootImage({ ...place });
    expect(log[0]).toBe("Typevisor starts");
    expect(log[1]).toMatch(/^Typevisor \d+\.\d+\.\d+ [0-9a-f]{8}$/);
    expect(log).toContain("refused: modules: no kernel");
  });

  test.each([1, 2] as const)(
    "By Multiboot %d a guest executes CPUID and HLT; one that halts for good is ended by name",
    async (multiboot) => {
      const { log, console } = await bootImage({
        ...place,
        multiboot,
        modules: [{ file: assembleGuest("hello"), text: "kernel memory=4M" }],
      });
      expect(console).toContain("hypervisor Typevisor\nslept until the timer's interrupt\n");
      expect(log.find((l) => l.startsWith("vm0: ended"))).toMatch(
        /^vm0: ended: halted with interrupts off \(0x1[0-9a-f]{5}\)$/,
      );
      expect(log).toContain("done");
    },
  );

  // Bochs 2.7 leaves the host's interrupts off under AMD-V where the guest's are; VT-x has its preemption timer for that.
  test.skipIf(place === ryzen)(
    "A guest that spins with interrupts off loses the CPU at its slice's end, and another one runs",
    async () => {
      const { log, console } = await bootImage({
        ...place,
        options: "vmlimit=500",
        modules: ["spin", "hello"].map((name) => ({ file: assembleGuest(name), text: "kernel memory=4M" })),
      });
      expect(console).toContain("vm0: spins\n");
      expect(console).toContain("vm1: slept until the timer's interrupt\n");
      const ends = log.filter((line) => / ended: /.test(line)).map((line) => line.replace(/ \(0x.*/, ""));
      expect(ends).toEqual(["vm1: ended: halted with interrupts off", "vm0: ended: time limit"]);
    },
  );

  test("Each way in which a monitor can fail ends its VM, with the line, while another VM counts on", async () => {
    const file = assembleGuest("victim");
    const modules = [0, ...failures.map(([kind]) => kind)].map((kind) => ({
      file,
      text: `kernel memory=4M -- ${kind}`,
    }));
    const { log, console } = await bootImage({ ...place, image: "containment", modules });
    for (const [kind, cause] of failures) {
      const at = log.indexOf(`vm${kind}: ended: ${cause}`);
      expect(at, `vm${kind}: ${cause}`).toBeGreaterThan(0);
      const report = log.slice(at + 1, at + 50).join("\n");
      const source = kind === 8 ? (name === "VT-x" ? "vmx" : "svm") : "fail";
      expect(report).toContain(faultLine(`test/images/containment/${source}.ts`, kind));
      expect(report).toContain("guest registers:");
    }
    expect(console).not.toContain("survived");
    const counts = [...console.matchAll(/vm0: count (\d+)/g)].map((m) => Number(m[1]));
    expect(counts).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
    expect(log).toContain("vm0: ended: powered off");
  });
});

test.each(places)("On %s a monitor that halts its CPU again and again ends its VM", async (_, place) => {
  const kind = String.fromCharCode(48 + 10);
  const modules = [{ file: assembleGuest("victim"), text: `kernel memory=4M -- ${kind}` }];
  const { log, console } = await bootImage({ ...place, image: "containment", modules });
  expect(log.join("\n")).toContain("vm0: ended: its monitor did not come back");
  expect(console).not.toContain("survived");
});

test("With a pause filter a guest that waits for a lock lets others go first", async () => {
  const waiting = assembleGuest("spin", { PAUSE: 1 });
  const { log, console } = await bootImage({
    ...ryzen,
    // Without it the first one would keep the CPU for a second at a time.
    options: "vmlimit=200 slice=1000",
    modules: [waiting, assembleGuest("hello")].map((file) => ({ file, text: "kernel memory=4M" })),
  });
  expect(console).toContain("vm1: slept until the timer's interrupt\n");
  const ends = log.filter((line) => / ended: /.test(line)).map((line) => line.replace(/ \(0x.*/, ""));
  expect(ends).toEqual(["vm1: ended: halted with interrupts off", "vm0: ended: time limit"]);
  expect(Number(/^vm0: cost: exits .* pause (\d+)/m.exec(log.join("\n"))?.[1])).toBeGreaterThan(100);
});

test("What --iso writes boots on a machine with one serial port and a screen", async () => {
  const iso = guestFile("hello.iso", new Uint8Array());
  const { status, stdout } = await boot([
    ...["--iso", iso, "--kernel", assembleGuest("hello"), "--initrd", "none", "--memory", "4M"],
  ]);
  expect({ status, stdout }).toEqual({ status: 0, stdout: "" });
  await using machine = await startMachine("bochs", { image: iso, memory: 512, noReboot: true });
  await machine.serial[0].waitFor("slept until the timer's interrupt");
  await machine.serial[0].waitFor("vm0: ended: halted with interrupts off");
  await machine.serial[0].waitFor("(tv) halts");
  expect(await machine.screenshot()).toContain("(tv)   guest registers:");
});
