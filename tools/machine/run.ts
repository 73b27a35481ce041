/**
 * A developer's tool: puts a multiboot2 ELF and its modules on an image, boots it in an emulated machine and shows
 * both serial ports. `npx tsx tools/machine/run.ts --help`
 */
import { Command, Option } from "commander";
import { existsSync } from "node:fs";
import { makeIso } from "../image/iso.ts";
import { Refusal } from "./errors.ts";
import { type Machine, type MachineKind, machineKinds } from "./machine.ts";
import { MergedOutput } from "./merged-output.ts";
import { TextWatch } from "./plain-text.ts";
import { RunDirectory } from "./run-directory.ts";
import { startMachine } from "./start.ts";

interface Options {
  elf?: string;
  image?: string;
  options: string;
  module: string[];
  machine: MachineKind;
  cpu?: string;
  cpus: string;
  memory: string;
  exact?: true;
  until?: string;
  timeout: string;
  reboot: boolean;
  screenshot?: true;
}

const command = new Command("tools/machine/run.ts")
  .description(
    "Boots build/typevisor.elf (or an image) in an emulated machine and prints COM1 and COM2.\n" +
      "Status: 0 the text appeared, or the machine was switched off; 1 it ended otherwise; 2 time ran out; 3 failed.",
  )
  .option("--elf <file>", "the multiboot2 ELF to boot", "build/typevisor.elf")
  .option("--image <file>", "boot this ISO image instead")
  .option("--options <text>", "the ELF's command line", "console=com2,115200 vmconsole=com1")
  .option(
    "--module <file:text>",
    "a module and its command line; repeat for more",
    (m, all: string[]) => [...all, m],
    [],
  )
  .addOption(new Option("--machine <kind>", "the emulator").choices(machineKinds).default("bochs"))
  .option("--cpu <model>", "the emulated processor")
  .option("--cpus <count>", "how many processors", "1")
  .option("--memory <MiB>", "RAM of the machine", "1024")
  .option("--exact", "QEMU TCG: one TSC tick is one instruction, runs repeat exactly")
  .option("--until <text>", "stop with status 0 as soon as either port has printed this")
  .option("--timeout <seconds>", "give up after so long", "120")
  .option("--no-reboot", "stop when the machine is reset")
  .option("--screenshot", "print the VGA text screen at the end")
  .allowExcessArguments(false);

async function image(options: Options, directory: RunDirectory): Promise<string> {
  if (options.image !== undefined) return options.image;
  const files = new Map([["/boot/typevisor", options.elf!]]);
  const modules = options.module.map((module, index) => {
    const [, file, text] = /^([^:]*):?(.*)$/s.exec(module)!;
    files.set(`/boot/module${index}`, file!);
    return { path: `/boot/module${index}`, text: text! };
  });
  for (const file of files.values()) if (!existsSync(file)) throw new Refusal(`${file}: no such file`);
  const output = directory.file("image.iso");
  await makeIso(
    output,
    { kind: "typevisor", hypervisor: { path: "/boot/typevisor", text: options.options }, modules },
    files,
  );
  return output;
}

/** Watches the machine until something decides how this ends. */
async function watch(machine: Machine, options: Options, output: MergedOutput): Promise<number> {
  const found = new Promise<number>((resolve) => {
    for (const port of machine.serial) {
      const watched = options.until === undefined ? undefined : new TextWatch(options.until);
      port.onText((text) => {
        output.add(port.name, text);
        if (watched?.push(text)) resolve(0);
      });
    }
  });
  const seconds = Number(options.timeout);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<number>((resolve) => (timer = setTimeout(() => resolve(2), seconds * 1000)));
  const ended = machine.ended.then((end) =>
    end.cause === "powered off" && options.until === undefined ? 0 : 1,
  );
  const status = await Promise.race([found, late, ended]);
  clearTimeout(timer);
  output.end();
  if (status === 2) console.error(`${machine.kind}: time ran out after ${seconds} s`);
  return status;
}

async function main(): Promise<number> {
  const options = command.parse().opts<Options>();
  const directory = new RunDirectory("image");
  const begin = performance.now();
  const seconds = (): string => ((performance.now() - begin) / 1000).toFixed(1);
  const iso = await image(options, directory);
  console.error(`image ready after ${seconds()} s; starting ${options.machine}`);
  await using machine = await startMachine(options.machine, {
    image: iso,
    memory: Number(options.memory),
    cpu: options.cpu,
    cpus: Number(options.cpus),
    exact: options.exact,
    noReboot: !options.reboot,
  });
  const status = await watch(machine, options, new MergedOutput((text) => process.stdout.write(text)));
  if (options.screenshot) console.error(`--- screen\n${await machine.screenshot()}\n---`);
  const ticks = await machine.ticks();
  if (status === 2) console.error(`its logs are in ${machine.keepLogs()}/`);
  const end = await machine.stop();
  console.error(
    `${machine.kind}: ${end.detail} after ${seconds()} s, ${ticks ?? end.ticks ?? "unknown"} ticks`,
  );
  directory.remove();
  return status;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof Refusal ? `run: ${error.message}` : error);
  process.exitCode = 3;
}
