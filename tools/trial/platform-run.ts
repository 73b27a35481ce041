/** Runs a platform program (platform.ts) on the bare machine, or as a guest, and reads what its checks found. */
import { makeIso } from "../image/iso.ts";
import type { Machine, MachineKind } from "../machine/machine.ts";
import { RunDirectory } from "../machine/run-directory.ts";
import { startMachine } from "../machine/start.ts";
import { startImage } from "./boot.ts";

export type Verdict = "PASS" | "FAIL" | "SKIP";

export interface Finding {
  verdict: Verdict;
  /** What was got and wanted, or why it was skipped. */
  detail: string;
}

/** SUBJECT.CHECK -> what was found. */
export type Findings = Map<string, Finding>;

export interface PlatformRun {
  file: string;
  machine: MachineKind;
  cpu?: string;
  /** Processors that the program sees. */
  cpus?: number;
  /** As a guest: the machine's, if not as many. */
  hostCpus?: number;
  as: "native" | "guest";
  /** At its end it resets the machine: that is a check too. */
  resets?: boolean;
  /** Of the hypervisor, when it is a guest. */
  options?: string;
}

/** The emulator that does not count instructions is late when its host is busy. */
const words = (machine: MachineKind): string => (machine === "bochs" ? "slack=1" : "slack=8");
const timeout = 90;

/** @throws if the program does not come to its end, or says the same thing twice */
export async function runPlatform(run: PlatformRun): Promise<Findings> {
  const directory = new RunDirectory("trial");
  try {
    await using machine = await (run.as === "native"
      ? startNative(run, directory)
      : startGuest(run, directory));
    const findings: Findings = new Map();
    let twice: string | undefined;
    machine.serial[0].onLine((line) => {
      const [, name, verdict, detail] = /^(\S+): (PASS|FAIL|SKIP) ?(.*)$/.exec(line.trimEnd()) ?? [];
      if (name === undefined) return;
      if (findings.has(name)) twice ??= name;
      findings.set(name, { verdict: verdict as Verdict, detail: detail! });
    });
    const reset =
      run.as === "native"
        ? machine.ended.then(({ cause }) => cause === "reset")
        : machine.serial[1].waitFor(/vm0: ended: reset/, timeout).then(
            () => true,
            () => false,
          );
    await machine.serial[0].waitFor(/^done [0-9A-F]+\r?\n/m, timeout);
    if (run.resets === true) {
      const late = new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 20_000).unref());
      const came = await Promise.race([reset, late]);
      findings.set("reset.resets", { verdict: came ? "PASS" : "FAIL", detail: "" });
    }
    await machine.stop();
    if (twice !== undefined) throw new Error(`two checks are called ${twice}`);
    return findings;
  } finally {
    directory.remove();
  }
}

async function startNative(run: PlatformRun, directory: RunDirectory): Promise<Machine> {
  const image = directory.file("image.iso");
  // GRUB loads any multiboot kernel in the hypervisor's place.
  const hypervisor = { path: "/boot/guest", text: words(run.machine) };
  await makeIso(
    image,
    { kind: "typevisor", hypervisor, modules: [], multiboot: 1 },
    new Map([["/boot/guest", run.file]]),
  );
  return startMachine(run.machine, {
    image,
    memory: 128,
    noReboot: true,
    ...(run.cpu === undefined ? {} : { cpu: run.cpu }),
    ...(run.cpus === undefined ? {} : { cpus: run.cpus }),
  });
}

function startGuest(run: PlatformRun, directory: RunDirectory): Promise<Machine> {
  const cpus = run.cpus ?? 1;
  const modules = [{ file: run.file, text: `kernel memory=128M cpus=${cpus} -- ${words(run.machine)}` }];
  const cpu = run.cpu === undefined ? {} : { cpu: run.cpu };
  const options = run.options === undefined ? {} : { options: run.options };
  return startImage(
    { machine: run.machine, modules, cpus: run.hostCpus ?? cpus, ...cpu, ...options },
    directory,
  );
}
