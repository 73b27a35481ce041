/** Hostile guests: whatever one executes ends itself, by a named reason, or runs on; the hypervisor survives it. */
import { describe, expect, test, vi } from "vitest";
import { garbageGuest, modes } from "./garbage.ts";
import { bootImage, nightly, type Place, svm, triesAll, vtx } from "./harness.ts";

vi.setConfig({ testTimeout: 3_600_000 });

const perBoot = 50;
const boots = (place: Place) => (nightly ? 20 : triesAll(place) ? 3 : 1);
/** The first seed, to look at others: SEED=1000 scripts/test garbage */
const first = Number(process.env["SEED"] ?? 1);

/** How a guest may end: by its own doing, or because its time is up. */
const mayEnd =
  /^(powered off|reset|reset \(triple fault\) \(0x[0-9a-f]+\)|halted with interrupts off \(0x[0-9a-f]+\)|task switch \(0x[0-9a-f]+\)|time limit|an event's delivery .*|an instruction .*)$/;

// Not on a Ryzen: Bochs 2.7 takes a guest's triple fault under AMD-V for its own.
describe.each([
  ["VT-x", vtx],
  ["AMD-V", svm],
] as const)("On %s", (_name, place) => {
  test.each(Array.from({ length: boots(place) }, (_, i) => first + i * perBoot))(
    `${perBoot} guests that execute garbage, from seed %d on, end themselves or run on`,
    async (seed) => {
      const guests = Array.from({ length: perBoot }, (_, i) => garbageGuest(seed + i, place.machine));
      const { log } = await bootImage({
        ...place,
        options: "vmlimit=100",
        memory: 768,
        timeout: 900,
        modules: guests.map(({ file }) => ({ file, text: "kernel memory=4M" })),
      });
      const ends = new Map<number, string>();
      for (const line of log) {
        const end = /^vm(\d+): ended: (.*)$/.exec(line);
        if (end) ends.set(Number(end[1]), end[2]!);
      }
      guests.forEach(({ mode }, i) => {
        expect(ends.get(i), `seed ${seed + i}, ${modes[mode]}`).toMatch(mayEnd);
      });
      // They really ran: exits were counted, and they did not all end alike.
      const exits = log
        .map((line) => Number(/cost: exits (\d+)/.exec(line)?.[1] ?? 0))
        .reduce((a, b) => a + b);
      expect(exits).toBeGreaterThan(1000);
      expect(new Set([...ends.values()].map((end) => end.replace(/ \(.*/, ""))).size).toBeGreaterThan(2);
      expect(log).toContain("done");
      expect(log.filter((line) => line.startsWith("panic"))).toEqual([]);
    },
  );
});
