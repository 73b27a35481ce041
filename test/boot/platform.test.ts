/**
 * Programs that check the PC platform by its manuals (test/guests/platform): on the bare emulators, which shows that the
 * checks are right, and as guests, where everything must be as the manuals say.
 */
import { beforeAll, describe, expect, test, vi } from "vitest";
import { defaultModel } from "../../tools/machine/bochs-config.ts";
import type { MachineKind } from "../../tools/machine/machine.ts";
import { buildPlatformGuest } from "../../tools/trial/platform.ts";
import { type Findings, runPlatform } from "../../tools/trial/platform-run.ts";
import { nativeAbsences, nativeExceptions } from "../guests/platform/native-exceptions.ts";
import { programs } from "../guests/platform/programs.ts";
import { type Place, nightly, ryzen, svm, vtx } from "./harness.ts";

vi.setConfig({ testTimeout: 900_000, hookTimeout: 900_000 });

const machines: [name: string, place: Place][] = [
  ["Bochs, VT-x", vtx],
  ["QEMU, AMD-V", svm],
];
/** Subjects that are about other hardware than guests are offered. */
const notForGuests = ["pm24"];
/** Of a machine's checks so many may be exceptions. */
const mostExceptions = 0.05;

const subject = (check: string): string => check.slice(0, check.indexOf("."));
const offered = (check: string): boolean => !notForGuests.includes(subject(check));

const native = new Map<MachineKind, Findings>();
const guest = new Map<MachineKind, Findings>();
const troubles: string[] = [];

/**
 * What the CPU does of local APICs by itself, on the processor that has all of it: each part, and none. Every night all; else what the
 * machine above has not been asked.
 */
const apicPrograms = ["apic", "apic-modes"];
/** Bochs takes no heed of IF when the host is interrupted (docs/machines.md), so there delivery is not used unless asked for. */
const brokenDelivery = ["x2apic.waits-while-interrupts-are-off", "x2apic.comes-when-they-are-on"];
const parts: [options: string, cpu: string][] = [["apicregs=no vid=no", defaultModel]];
if (nightly)
  for (const options of ["", "vid=yes", "apicregs=no vid=yes", "apicregs=no vid=no", "tprshadow=no"])
    parts.push([options, "corei7_skylake_x"]);

/** Whether the check has failed that has no reason to. */
function isNews(machine: MachineKind, as: "native" | "guest", findings: Findings, check: string): boolean {
  const known = nativeExceptions.some(
    (e) => e.machine === machine && e.check === check && (as === "native" || e.inGuests),
  );
  return !known && findings.get(check)!.verdict === "FAIL";
}

/** One emulator after another; two such are at work. */
async function work(jobs: (() => Promise<void>)[]): Promise<void> {
  for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) await job();
}

beforeAll(async () => {
  const jobs: (() => Promise<void>)[] = [];
  for (const [, { machine }] of machines) {
    for (const [as, all] of [
      ["native", native],
      ["guest", guest],
    ] as const) {
      const findings: Findings = new Map();
      all.set(machine, findings);
      for (const { name, files, cpus, resets } of programs) {
        const file = buildPlatformGuest(name, files);
        const processors = cpus === undefined ? {} : { cpus };
        jobs.push(async () => {
          try {
            const run = { file, machine, as, resets: resets ?? false, ...processors };
            // QEMU's own host delays what it likes, for longer than any measure allows: there wrong is what stays wrong.
            for (let attempt = 0; attempt < (machine === "bochs" ? 1 : 3); attempt++) {
              const found = await runPlatform(run);
              for (const [check, finding] of found)
                if (findings.get(check)?.verdict !== "PASS") findings.set(check, finding);
              if (![...found].some(([check]) => isNews(machine, as, findings, check))) break;
            }
          } catch (error) {
            troubles.push(`${name}, ${as} on ${machine}: ${String(error)}`);
          }
        });
      }
    }
  }
  await Promise.all([work(jobs), work(jobs)]);
});

/** "CHECK: what was found" of those that did not pass. */
function notPassed(findings: Findings): Map<string, string> {
  const failed = [...findings].filter(([, { verdict }]) => verdict !== "PASS");
  return new Map(failed.map(([check, { verdict, detail }]) => [check, `${check}: ${verdict} ${detail}`]));
}

test("Every program comes to its end, and is more than a handful of checks", () => {
  expect(troubles).toEqual([]);
  for (const findings of native.values()) expect(findings.size).toBeGreaterThan(240);
});

describe.each(machines)("On %s", (_name, { machine }) => {
  const exceptions = nativeExceptions.filter((exception) => exception.machine === machine);
  const absent = nativeAbsences.filter((absence) => absence.machine === machine).map((a) => a.subject);

  test("Natively every check passes that is no exception with a reason, and no exception is out of date", () => {
    const failed = notPassed(native.get(machine)!);
    const there = [...failed].filter(([check]) => !absent.includes(subject(check)));
    const known = exceptions.map(({ check }) => check);
    expect(there.filter(([check]) => !known.includes(check)).map(([, what]) => what)).toEqual([]);
    expect(absent.filter((name) => ![...failed.keys()].some((check) => subject(check) === name))).toEqual([]);
    const always = exceptions.filter(({ atTimes }) => !atTimes).map(({ check }) => check);
    expect(always.filter((check) => !failed.has(check))).toEqual([]);
  });

  test("Exceptions are few", () => {
    expect(exceptions.length).toBeLessThanOrEqual(native.get(machine)!.size * mostExceptions);
  });

  test("As a guest every check passes, of what is offered", () => {
    const failed = notPassed(guest.get(machine)!);
    for (const { check, inGuests } of exceptions) if (inGuests) failed.delete(check);
    expect([...failed].filter(([check]) => offered(check)).map(([, what]) => what)).toEqual([]);
  });

  test("As a guest no check is missing that any emulator passes natively", () => {
    const passed = [...native.values()].flatMap((findings) =>
      [...findings].filter(([, { verdict }]) => verdict === "PASS").map(([check]) => check),
    );
    expect(passed.filter((check) => offered(check) && !guest.get(machine)!.has(check))).toEqual([]);
  });
});

test.each(parts)("With %j local APICs pass the same checks (on %s)", async (options, cpu) => {
  const known = nativeExceptions.filter(({ machine, inGuests }) => machine === "bochs" && inGuests);
  for (const { name, files } of programs.filter((program) => apicPrograms.includes(program.name))) {
    const file = buildPlatformGuest(name, files);
    const found = await runPlatform({
      file,
      machine: "bochs",
      as: "guest",
      options,
      cpu,
    });
    const failed = notPassed(found);
    for (const { check } of known) failed.delete(check);
    if (options.includes("vid=yes")) for (const check of brokenDelivery) failed.delete(check);
    // The HPET is the program's last subject, and nothing of this.
    const about = [...failed].filter(([check]) => offered(check) && subject(check) !== "hpet");
    expect(about.map(([, what]) => what)).toEqual([]);
    expect(found.size).toBeGreaterThan(10);
  }
});

// VMRUN of Bochs' ryzen does not load CR2 (docs/machines.md).
test.each([...machines, ["Bochs, a Ryzen", ryzen] as const])(
  "On %s vCPUs that share a CPU have page faults of their own",
  async (_name, place) => {
    const { name, files } = programs.find((program) => program.name === "faults")!;
    const file = buildPlatformGuest(name, files);
    const found = await runPlatform({ ...place, file, as: "guest", cpus: 2, hostCpus: 1 });
    expect([...notPassed(found).values()]).toEqual([]);
    expect(found.size).toBeGreaterThan(8);
  },
);
