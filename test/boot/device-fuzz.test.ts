/** A guest that programs all of its devices with random values, widths and sequences: it may hang or reset itself, and nobody else. */
import { describe, expect, test, vi } from "vitest";
import { buildPlatformGuest } from "../../tools/trial/platform.ts";
import { assembleGuest, bootImage, nightly, places } from "./harness.ts";

vi.setConfig({ testTimeout: 3_600_000 });

/** Of a guest's own time, in milliseconds: on Bochs it is slower than ours, and exact. */
const limit = (machine: string): number => (nightly ? 600_000 : machine === "bochs" ? 1_000 : 4_000);

describe.each(places)("On %s", (_name, place) => {
  test("The hypervisor takes all of it, and another guest does not notice", async () => {
    const { console, log } = await bootImage({
      ...place,
      cpus: 2,
      options: `reboot=yes vmlimit=${limit(place.machine)}`,
      timeout: 3_600,
      modules: [
        { file: buildPlatformGuest("fuzz", ["fuzz"]), text: "kernel memory=16M cpus=2" },
        { file: assembleGuest("victim"), text: "kernel memory=4M -- 0" },
      ],
    });
    const ends = log.filter((line) => /^vm\d: ended: /.test(line));
    expect(ends.find((line) => line.startsWith("vm1"))).toMatch(/: (powered off|time limit)$/);
    expect(console.match(/^vm1: /gm)!.length).toBeGreaterThan(3); // it counts, from beginning to end
    // Whoever waits for nothing that comes is ended too, and so is one whose registers a stray interrupt has spoilt.
    const fuzz = ends.find((line) => line.startsWith("vm0"));
    expect(fuzz).toMatch(
      /: (time limit|halted with interrupts off .*|an instruction .*|an event's delivery .*)$/,
    );
    // Each life has costs of its own; its last one may have just begun, and it may have ended itself soon.
    const lives = log.flatMap((line) => /^vm0: cost: exits (\d+)/.exec(line)?.[1] ?? []);
    expect(lives.reduce((sum, exits) => sum + Number(exits), 0)).toBeGreaterThan(100);
    expect(log.filter((line) => line.startsWith("panic"))).toEqual([]);
    expect(log.slice(-2)).toEqual(["done", "halts"]);
  });
});
