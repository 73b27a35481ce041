/** A guest whose TSC has a frequency of its own: Linux believes it, and the clocks that count real time agree. */
import { expect, test, vi } from "vitest";
import { boot, quick } from "./command.ts";
import { nightly } from "./harness.ts";

vi.setConfig({ testTimeout: 600_000 });

/** The machine's TSC counts at 50 MHz. Waiting costs an emulator nothing. */
const WAIT = 8;
const typed = [
  "dmesg | grep -e 'tsc: Detected'",
  "cat /sys/devices/system/clocksource/clocksource0/current_clocksource",
  "rtc() { cat /sys/class/rtc/rtc0/since_epoch; }",
  `echo "at $(rtc) $(cut -d ' ' -f 1 /proc/uptime)"; sleep ${WAIT}; echo "at $(rtc) $(cut -d ' ' -f 1 /proc/uptime)"`,
  "dmesg | grep -c -i unstable",
  "poweroff",
];

test.each([[25_000, 1], ...(nightly ? [[100_000, 2]] : [])] as [number, number][])(
  "Linux with a TSC of %i kHz and %i vCPUs sees it, and its time is the RTC's",
  async (khz, cpus) => {
    const { status, stdout, stderr } = await boot(
      [
        ...[
          "--machine",
          "bochs",
          "--cpu",
          "corei7_skylake_x",
          "--append",
          quick,
          "--log",
          "--memory",
          "192M",
        ],
        ...["--tsc-khz", `${khz}`, "--cpus", `${cpus}`, "--host-cpus", `${cpus}`],
      ],
      `${typed.join("\n")}\n`,
    );
    expect(status).toBe(0);
    expect(stderr).toMatch(/^\(tv\) VT-x: .*, TSC scaling(,|$)/m);
    expect(stderr).toContain(`, TSC ${khz} kHz, at tick`);
    expect(stdout).toContain(`tsc: Detected ${khz / 1000}.000 MHz processor`);
    expect(stdout).toMatch(/^tsc\r?$/m);
    // grep -c: the kernel's watchdog has found nothing wrong.
    expect(stdout).toMatch(/^0\r?$/m);
    const times = [...stdout.matchAll(/^at (\d+) (\d+\.\d+)\r?$/gm)].map(([, rtc, uptime]) => ({
      rtc: Number(rtc),
      uptime: Number(uptime),
    }));
    expect(times.length).toBe(2);
    const [before, after] = times as [(typeof times)[0], (typeof times)[0]];
    expect(after.uptime - before.uptime).toBeGreaterThanOrEqual(WAIT);
    // The RTC says whole seconds.
    expect(Math.abs(after.rtc - before.rtc - (after.uptime - before.uptime))).toBeLessThanOrEqual(1.1);
  },
);
