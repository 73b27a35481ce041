/** Debian's cloud kernel with and without the hypervisor, on the same machine: when its shell is there, what it costs. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { CpioEntry } from "../guest/cpio.ts";
import { fetchFile } from "../guest/debian.ts";
import { makeInitramfs } from "../guest/initramfs.ts";
import { kernels } from "../guest/kernels.ts";
import { makeIso } from "../image/iso.ts";
import type { MachineKind } from "../machine/machine.ts";
import { RunDirectory } from "../machine/run-directory.ts";
import { startMachine } from "../machine/start.ts";
import { bootImage, builtFile } from "../trial/boot.ts";

export interface LinuxResult {
  /** The TSC when the shell was there, as the guest reads it. */
  shell: number;
  /** Under the hypervisor: the TSC when the boot loader started it, and when it started the VM. */
  entered: number;
  started: number;
  /** Under the hypervisor: its lines of what the VM cost. */
  costs: string[];
  /** Ticks of one operation, by name. */
  operations: Map<string, number>;
}

/** MiB of the guest, and of the machine when there is no hypervisor: the kernel initialises as many pages. */
const memory = 512;
/** On Bochs 2.7's ryzen MWAITX, with which Linux delays, takes a thousand times as long as it is told to. */
function commandLine(cpu: string | undefined, quiet = true): string {
  return `console=ttyS0,115200${quiet ? " quiet" : ""}${cpu === "ryzen" ? " clearcpuid=mwaitx" : ""}`;
}

/** The initial RAM disk: says the time as soon as there is a shell to say it, measures, and switches off. */
async function initramfs(): Promise<string> {
  const folder = builtFile("bench");
  mkdirSync(folder, { recursive: true });
  const program = join(folder, "bench");
  execFileSync("gcc", ["-O2", "-static", "-s", "-o", program, join(import.meta.dirname, "guest.c")]);
  const start = '#!/bin/sh\necho "bench shell $(ticks)"\nbench\necho "bench end"\npoweroff -f\n';
  const extra: CpioEntry[] = [
    { kind: "file", path: "bin/bench", mode: 0o755, data: readFileSync(program) },
    { kind: "file", path: "etc/start", mode: 0o755, data: Buffer.from(start) },
  ];
  const output = join(folder, "initramfs");
  writeFileSync(output, await makeInitramfs(extra));
  return output;
}

function parse(console: string, log: string[]): LinuxResult {
  const operations = new Map<string, number>();
  for (const [, name, ticks] of console.matchAll(/^bench (\S+) ([\d.]+)\r?$/gm))
    operations.set(name!, Number(ticks));
  const shell = operations.get("shell");
  if (shell === undefined) throw new Error(`the guest did not come to its shell:\n${console.slice(-2000)}`);
  const text = log.join("\n");
  const entered = Number(/entered at tick (\d+)/.exec(text)?.[1] ?? 0);
  const started = Number(/started, .* at tick (\d+)/.exec(text)?.[1] ?? 0);
  const costs = Array.from(text.matchAll(/cost: (.*)/g), ([, cost]) => cost!);
  operations.delete("shell");
  return { shell, entered, started, costs, operations };
}

/** Where Linux boots: with so many CPUs, all of which are the guest's too. */
export interface Host {
  machine: MachineKind;
  cpu: string | undefined;
  cpus: number;
}

/** Where the log and the guest are besides the UARTs, while the guest says all that it has to say. */
export interface ScreenMode {
  screen: boolean;
  /** GRUB's name of a video mode; text unless told. */
  video?: string;
}

export async function bootLinux({ machine, cpu, cpus }: Host, mode?: ScreenMode): Promise<LinuxResult> {
  const kernel = await fetchFile(kernels.cloud);
  const { console, log } = await bootImage({
    machine,
    ...(cpu === undefined ? {} : { cpu }),
    cpus,
    exact: true,
    memory: memory + 128,
    timeout: 1200,
    ...(mode?.screen ? { options: "console=screen vmconsole=screen" } : {}),
    ...(mode?.video === undefined ? {} : { video: mode.video }),
    modules: [
      { file: kernel, text: `kernel memory=${memory}M cpus=${cpus} -- ${commandLine(cpu, !mode)}` },
      { file: await initramfs(), text: "initrd" },
    ],
  });
  return parse(console, log);
}

export async function bootBareLinux({ machine, cpu, cpus }: Host): Promise<LinuxResult> {
  const directory = new RunDirectory("bench");
  try {
    const files = new Map([
      ["/boot/kernel", await fetchFile(kernels.cloud)],
      ["/boot/initrd", await initramfs()],
    ]);
    const iso = directory.file("image.iso");
    const kernel = { path: "/boot/kernel", text: commandLine(cpu) };
    await makeIso(iso, { kind: "bare", kernel, initrd: "/boot/initrd" }, files);
    const options = { image: iso, memory, cpus, exact: true, noReboot: true };
    await using started = await startMachine(machine, cpu === undefined ? options : { ...options, cpu });
    let console = "";
    started.serial[0].onText((text) => (console += text));
    await started.ended;
    return parse(console, []);
  } finally {
    directory.remove();
  }
}
