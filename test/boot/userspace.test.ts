/** What people run in guests: a PREEMPT_RT kernel, Debian's installer, Debian with systemd, programs that strain the machine. */
import { describe, expect, test, vi } from "vitest";
import { boot, quick } from "./command.ts";
import { nightly, optionsOf, places, ryzen, spareCpus, triesAll } from "./harness.ts";

vi.setConfig({ testTimeout: 1_500_000 });

/** What a kernel says when it has found something wrong with the machine or with itself. */
const kernelWarning =
  /WARNING: CPU|BUG:|soft lockup|hard LOCKUP|detected stall|Call Trace|nobody cared|Spurious|Clocksource.*skewed/i;

const quickest = places.filter(([, place]) => triesAll(place));

const debian: [string, string[], string][] = [
  [
    "Debian's installer, to its first question,",
    ["--guest", "installer", "--memory", "1G"],
    "Select a language",
  ],
  [
    "Debian with systemd, to its login prompt,",
    ["--userspace", "systemd", "--memory", "1G", "--cpus", "2", "--host-cpus", "2"],
    "guest login:",
  ],
];

describe.each(quickest)("On %s", (_name, place) => {
  const machine = optionsOf(place);
  const spare = spareCpus(place);
  // Bochs' XRSTOR of the compacted form fails now and then, without the hypervisor too (docs/machines.md).
  const append = place === ryzen ? `${quick} clearcpuid=xsavec` : quick;
  const patient = ["--timeout", "1400"];

  test
    .runIf(nightly)
    .each([
      ["PREEMPT_RT", ["--guest", "rt", "--append", append, "--cpus", "2", "--host-cpus", "2"], "is up."],
      ...debian,
    ])("%s boots", async (_what, guest, text) => {
    const { status, stdout, stderr } = await boot([...machine, ...patient, ...guest, "--until", text]);
    expect(stderr).toContain("the text appeared");
    expect(stdout).not.toMatch(kernelWarning);
    expect(status).toBe(0);
  });

  // Twice as many vCPUs as CPUs, and as many.
  test.each([
    [2, 2],
    [4, 2],
  ])(
    "Linux with %d vCPUs on %d CPUs takes what stress-ng does, and cyclictest tells its latencies",
    async (vcpus, cpus) => {
      const seconds = nightly ? 60 : 5;
      const workers = "--cpu 2 --vm 2 --vm-bytes 16M --fork 2 --timer 2 --switch 2";
      const guest = ["--userspace", "stress", "--append", append, "--no-reboot"];
      const processors = ["--cpus", `${vcpus}`, "--host-cpus", `${cpus}`];
      const { status, stdout, stderr } = await boot(
        [...machine, ...patient, ...guest, ...processors],
        // One line: what is typed while something prints is echoed in its midst.
        `nproc; stress-ng ${workers} --timeout ${seconds}; printf '\\nstress-ng ended: %d\\n' $?; ` +
          `cyclictest -q -t ${vcpus} -i 1000 -l 200; printf '\\ncyclictest ended: %d\\n' $?; dmesg; poweroff\n`,
      );
      expect(stdout).toMatch(new RegExp(`^${vcpus}\r?$`, "m"));
      expect(stdout).toMatch(/successful run completed/);
      expect(stdout).toMatch(/^stress-ng ended: 0\r?$/m);
      expect(stdout.match(/^T: ?\d+ .* Min: +\d+ .* Max: +\d+\r?$/gm)).toHaveLength(vcpus);
      expect(stdout).toMatch(/^cyclictest ended: 0\r?$/m);
      expect(stdout).toMatch(new RegExp(`smp: Brought up 1 node, ${vcpus} CPUs`));
      expect(stdout).not.toMatch(kernelWarning);
      expect(stderr).toContain("powered off");
      expect(stderr).toMatch(
        new RegExp(
          `^ {2}vCPUs: 0 on CPU ${spare} .*, ${vcpus - 1} on CPU ${spare + ((vcpus - 1) % cpus)} `,
          "m",
        ),
      );
      expect(status).toBe(0);
    },
  );
});
