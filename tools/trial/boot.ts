/**
 * Boots an image of ours in an emulated machine, for tests and measurements, and collects what it prints: the log from
 * COM2, the guests' consoles from COM1.
 */
import { join } from "node:path";
import { makeIso } from "../image/iso.ts";
import {
  type Firmware,
  type Machine,
  type MachineEnd,
  type MachineKind,
  processorsFor,
} from "../machine/machine.ts";
import { projectDirectory, RunDirectory } from "../machine/run-directory.ts";
import { startMachine } from "../machine/start.ts";

export interface BootModule {
  file: string;
  /** Its role and options: "kernel memory=4M -- words". */
  text: string;
}

export interface TrialOptions {
  /** One of tools/build/modules.ts; "typevisor" unless told. */
  image?: string;
  /** Leave the line table out: reports have raw addresses then. */
  noLines?: boolean;
  /** Version of the boot protocol, 2 unless told. */
  multiboot?: 1 | 2;
  /** GRUB's name of a video mode; text unless told. */
  video?: string;
  /** What starts the machine, a BIOS unless told. */
  firmware?: Firmware;
  /** Words for the hypervisor, after those that choose the ports. */
  options?: string;
  modules?: BootModule[];
  machine?: MachineKind;
  cpu?: string;
  /** Processors of the machine that run guests, 1 unless told. */
  cpus?: number;
  /** MiB. */
  memory?: number;
  /** QEMU's board, i440fx unless told. */
  board?: "i440fx" | "q35";
  /** Instruction-exact counting, where the machine does not always do it. */
  exact?: boolean;
  /** Seconds. */
  timeout?: number;
  /** Only what `options` say of consoles. */
  defaultConsoles?: boolean;
  /** QEMU: the machine has no UARTs. */
  withoutSerial?: boolean;
  /** QEMU: the guests' port is a PCI card, and there is no COM1. */
  pciSerial?: boolean;
  /** The log's last line, "halts" unless told. */
  last?: RegExp;
}

export interface Outcome {
  /** The hypervisor's lines without "(tv) ". */
  log: string[];
  /** What the guests printed. */
  console: string;
  /** Instructions executed, where the machine counts them. */
  ticks?: bigint;
  /** The text screen at the end. */
  screen: string;
}

export function builtFile(name: string): string {
  return join(projectDirectory, "build", name);
}

/** Starts a machine with an image of ours. */
export async function startImage(options: TrialOptions, directory: RunDirectory): Promise<Machine> {
  const image = options.image ?? "typevisor";
  const files = new Map([["/boot/typevisor", builtFile(`${image}.elf`)]]);
  const modules = [...(options.modules ?? [])];
  if (!options.noLines) modules.push({ file: builtFile(`${image}.lines`), text: "lines" });
  const loads = modules.map((module, i) => {
    files.set(`/boot/module${i}`, module.file);
    return { path: `/boot/module${i}`, text: module.text };
  });
  const consoles = options.defaultConsoles ? [] : ["console=com2", "vmconsole=com1", "reboot=no"];
  const words = [...consoles, options.options ?? ""].join(" ").trim();
  const iso = directory.file("image.iso");
  await makeIso(
    iso,
    {
      kind: "typevisor",
      hypervisor: { path: "/boot/typevisor", text: words },
      modules: loads,
      multiboot: options.multiboot ?? 2,
      ...(options.video === undefined ? {} : { video: options.video }),
    },
    files,
  );
  const kind = options.machine ?? "bochs";
  return startMachine(kind, {
    image: iso,
    memory: options.memory ?? 512,
    ...(options.cpu === undefined ? {} : { cpu: options.cpu }),
    cpus: processorsFor(kind, options.cpus ?? 1),
    ...(options.board === undefined ? {} : { board: options.board }),
    ...(options.firmware === undefined ? {} : { firmware: options.firmware }),
    exact: options.exact ?? false,
    ...(options.withoutSerial ? { withoutSerial: true } : {}),
    ...(options.pciSerial ? { pciSerial: true } : {}),
    noReboot: true,
  });
}

/** Boots until the emulator is gone; returns how, and the log. */
export async function bootToEnd(
  options: TrialOptions,
): Promise<{ log: string[]; cause: MachineEnd["cause"] }> {
  const directory = new RunDirectory("trial");
  try {
    await using machine = await startImage(options, directory);
    const log: string[] = [];
    machine.serial[1].onLine((line) => {
      if (line.startsWith("(tv) ")) log.push(line.slice(5).trimEnd());
    });
    const late = new Promise<undefined>((resolve) => {
      setTimeout(() => resolve(undefined), (options.timeout ?? 300) * 1000).unref();
    });
    const end = await Promise.race([machine.ended, late]);
    if (!end) throw new Error(`time ran out; the log ends with\n${log.slice(-20).join("\n")}`);
    return { log, cause: end.cause };
  } finally {
    directory.remove();
  }
}

/** Boots until the hypervisor says that it halts. */
export async function bootImage(options: TrialOptions): Promise<Outcome> {
  const directory = new RunDirectory("trial");
  try {
    await using machine = await startImage(options, directory);
    const [consolePort, logPort] = machine.serial;
    let console = "";
    const log: string[] = [];
    consolePort.onText((text) => (console += text));
    const halted = new Promise<void>((resolve) =>
      logPort.onLine((line) => {
        if (!line.startsWith("(tv) ")) return;
        log.push(line.slice(5).trimEnd());
        if ((options.last ?? /^halts$/).test(log.at(-1))) resolve();
      }),
    );
    const late = new Promise<string>((resolve) => {
      setTimeout(() => resolve("time ran out"), (options.timeout ?? 300) * 1000).unref();
    });
    const trouble = await Promise.race([halted, late, machine.ended.then((end) => end.detail)]);
    if (trouble !== undefined) throw new Error(`${trouble}; the log ends with\n${log.slice(-20).join("\n")}`);
    const ticks = await machine.ticks();
    const screen = await machine.screenshot();
    await machine.stop();
    return { log, console, screen, ...(ticks === undefined ? {} : { ticks }) };
  } finally {
    directory.remove();
  }
}
