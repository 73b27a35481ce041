/** The machine's other CPUs: they come, and VMs run on them at the same time. */
import { describe, expect, test, vi } from "vitest";
import { boot, quick } from "./command.ts";
import { RunDirectory } from "../../tools/machine/run-directory.ts";
import { startImage } from "../../tools/trial/boot.ts";
import {
  assembleGuest,
  bootImage,
  nightly,
  optionsOf,
  places,
  ryzen,
  spareCpus,
  svm,
  triesAll,
} from "./harness.ts";

vi.setConfig({ testTimeout: 900_000 });

const hello = () => ({ file: assembleGuest("hello"), text: "kernel memory=4M" });
const ends = (log: string[]) =>
  log.filter((line) => / ended: /.test(line)).map((line) => line.replace(/ \(0x.*/, ""));

/** What a VM has printed, whoever has printed in between. */
function consoleOf(text: string, vm: number): string {
  const own = text.split("\n").filter((line) => line.startsWith(`vm${vm}: `));
  return own.map((line) => line.slice(`vm${vm}: `.length)).join("");
}

describe.each(places)("On %s", (_name, place) => {
  const all = triesAll(place);
  const spare = spareCpus(place);

  test.each([[2, "", 2], ...(all ? ([[4, "", 4]] as [number, string, number][]) : []), [4, "cpus=3", 3]])(
    "Of %d CPUs and with %j, %d are used, and VMs spread over them",
    async (cpus, options, used) => {
      const running = /cpus/.test(options) ? used - spare : used;
      const { log, console } = await bootImage({
        ...place,
        cpus,
        options,
        modules: Array.from({ length: running }, hello),
      });
      expect(log.join("\n")).toContain(`CPUs: ${running + spare} of ${cpus + spare} (`);
      for (let n = 0; n < running; n++) {
        expect(consoleOf(console, n)).toContain("slept until the timer's interrupt");
        expect(log.join("\n")).toMatch(new RegExp(`^vm${n}: cost: vCPUs: 0 on CPU ${n + spare} `, "m"));
      }
      expect(ends(log).sort()).toEqual(
        Array.from({ length: running }, (_, n) => `vm${n}: ended: halted with interrupts off`),
      );
      expect(log.slice(-2)).toEqual(["done", "halts"]);
    },
  );

  // It spins with IF = 0, out of which Bochs' ryzen does not come.
  test.runIf(all && place !== ryzen)(
    "A guest that spins on one CPU does not keep one on another CPU from running",
    async () => {
      const { log, console } = await bootImage({
        ...place,
        cpus: 2,
        // On one CPU the second VM would wait for a slice that is longer than the test.
        options: "vmlimit=100 slice=100000",
        modules: ["spin", "hello"].map((name) => ({ file: assembleGuest(name), text: "kernel memory=4M" })),
      });
      expect(console).toContain("vm1: slept until the timer's interrupt\n");
      expect(ends(log)).toEqual(["vm1: ended: halted with interrupts off", "vm0: ended: time limit"]);
    },
  );

  // How many vCPUs, on how many CPUs, and how the last one ends: 0 is well. They wait with IF = 0 too.
  test
    .skipIf(place === ryzen)
    .each([...(all ? [[2, 2, 0] as const] : []), [4, 4, 0], [3, 2, 2], [2, 1, 6]] as const)(
    "%d vCPUs on %d CPUs count, use devices and wake each other; one that fails (%d) ends them all",
    async (vcpus, cpus, failure) => {
      const { log, console } = await bootImage({
        ...place,
        image: "containment",
        cpus,
        options: "vmlimit=20000 loglvl=debug",
        modules: [{ file: assembleGuest("vcpus"), text: `kernel memory=4M cpus=${vcpus} -- ${failure}` }],
      });
      expect(console).toContain("all have counted\n");
      expect(console).toContain("all have been woken\n");
      expect(console).not.toContain("survived");
      const end = {
        0: "powered off",
        2: "its monitor trapped: unreachable",
        6: "its monitor did not come back",
      }[failure];
      expect(ends(log)).toEqual([`vm0: ended: ${end}`]);
      // Everything that it had is free again.
      const used = log.filter((line) => line.startsWith("memory in use: "));
      expect(used.length).toBe(2);
      expect(used[1]).toBe(used[0]);
      expect(log.slice(-2)).toEqual(["done", "halts"]);
    },
  );

  test.runIf(all)(
    "Linux boots on a machine of two CPUs, and ends with a vCPU that it has not started",
    async () => {
      const { status, stderr } = await boot(
        [...optionsOf(place), "--host-cpus", "2", "--cpus", "2", "--no-reboot", "--append", quick, "--log"],
        "poweroff\n",
      );
      expect(status).toBe(0);
      expect(stderr).toContain(`CPUs: ${2 + spare} of ${2 + spare}`);
    },
  );
});

// What is not said is on, but for virtual-interrupt delivery in Bochs, which does it wrong.
test.runIf(nightly).each(["", "apicregs=no", "tprshadow=no"])(
  "Linux boots with two vCPUs on a Skylake with %j",
  async (options) => {
    const { status, stderr } = await boot(
      [
        ...["--machine", "bochs", "--cpu", "corei7_skylake_x", "--host-cpus", "2", "--cpus", "2", "--log"],
        ...["--append", quick, "--no-reboot", "--hypervisor-options", options],
      ],
      "poweroff\n",
    );
    expect(status).toBe(0);
    const used = (name: string, option: RegExp) =>
      `, ${name}${/tprshadow=no/.test(options) || !option.test(options) ? " (present, not used)" : ""}`;
    const line = stderr.split(/\r?\n/).find((l) => l.includes("VT-x: "));
    const parts =
      used("APIC-register virtualization", /^(?!.*apicregs=no)/) +
      ", virtual interrupt delivery (present, not used)";
    expect(line?.endsWith(parts), line).toBe(true);
  },
);

test("NMIs come to CPUs and are told; in the end every CPU is stopped for good, by an NMI too", async () => {
  const directory = new RunDirectory("trial");
  try {
    await using machine = await startImage(
      {
        ...svm,
        cpus: 3,
        options: "vmlimit=6000",
        modules: Array.from({ length: 3 }, () => ({ file: assembleGuest("spin"), text: "kernel memory=4M" })),
      },
      directory,
    );
    const [console, log] = machine.serial;
    let text = "";
    let said = "";
    console.onText((more) => (text += more));
    log.onText((more) => (said += more));
    await vi.waitUntil(() => [0, 1, 2].every((n) => consoleOf(text, n).includes("spins")), {
      timeout: 60_000,
    });
    await machine.monitor("nmi");
    await vi.waitUntil(() => [0, 1, 2, 3].every((n) => said.includes(`NMI, number 1, on CPU ${n}`)), {
      timeout: 60_000,
    });
    await log.waitFor("(tv) halts");
    const isStopped = (registers: string) =>
      !(parseInt(/RFL=(\S+)/.exec(registers)![1]!, 16) & 0x200) && registers.includes("HLT=1");
    await vi.waitUntil(
      async () => {
        const cpus = (await machine.monitor("info registers -a")).split("CPU#").slice(1);
        return cpus.length === 4 && cpus.every(isStopped);
      },
      { timeout: 10_000, interval: 500 },
    );
  } finally {
    directory.remove();
  }
});
