/** The options of scripts/debug and their help. */
import { existsSync, statSync } from "node:fs";
import { Command, CommanderError, Option } from "commander";
import { checkRequest, type Request } from "../cli/request.ts";
import { kernelNames } from "../guest/kernels.ts";
import { Refusal } from "../machine/errors.ts";
import { machineKinds } from "../machine/machine.ts";

/** What a session is asked for. */
export interface DebugRequest {
  boot: Request;
  /** GDB's commands; undefined when a person types them. */
  script: string | undefined;
  /** The hypervisor built for debugging. */
  og: boolean;
  /** Seconds. */
  timeout: number | undefined;
  console: boolean;
}

interface Options {
  guest: Request["guest"];
  kernel?: string;
  initrd?: string;
  append: string;
  memory: string;
  cpus: string;
  machine: Request["machine"] | "auto";
  cpu?: string;
  hypervisorOptions: string;
  script?: string;
  og: boolean;
  timeout?: string;
  console: boolean;
}

const command = (): Command =>
  new Command("scripts/debug")
    .description(
      "Boots Typevisor and a Linux guest in an emulated machine, stopped before the guest's first instruction,\n" +
        "and starts GDB on both: inferior 1 is the hypervisor, in TypeScript, inferior 2 the guest.",
    )
    .option("--script <file>", "run GDB's commands from this file, unattended; its status is GDB's")
    .addOption(new Option("--guest <name>", "the kernel to boot").choices(kernelNames).default("cloud"))
    .option("--kernel <file>", "boot this kernel (a bzImage) instead")
    .option("--initrd <file>", 'the initial RAM disk, or "none" (default: a busybox with a shell)')
    .option("--append <text>", "the guest's command line", "")
    .option("--memory <size>", "the guest's memory: 512M, 2G, ...", "512M")
    .option("--cpus <count>", "processors of the guest, each a thread; the machine has one", "1")
    .addOption(
      new Option("--machine <kind>", "the emulator: see scripts/boot --help")
        .choices(["auto", ...machineKinds])
        .default("auto"),
    )
    .option("--cpu <model>", "the emulated processor, in the emulator's words")
    .option("--hypervisor-options <text>", "more options for the hypervisor's command line", "")
    .option("--og", "the hypervisor from scripts/build --debug: arguments and locals by their names", false)
    .option("--timeout <seconds>", "end with status 2 when the session has taken so long (default: no limit)")
    .option("--console", "print the guest's console and the log on standard error", false)
    .helpOption("--help", "show this help")
    .allowExcessArguments(false)
    .addHelpText(
      "after",
      `
In GDB, beside its own commands (docs/debugging.md):
  hypervisor            go to the hypervisor's CPU
  guest [VM[.VCPU]]     go to a guest's vCPU
  guest-kernel          let the guest run until its kernel is at its own addresses, and read its symbols
  monitor help          what Typevisor can tell: exits, page walks, the VMCS or VMCB, devices, the log

Exit status: GDB's; 2 when time ran out; 3 when the hypervisor or this tool refused or failed, in one line.`,
    )
    .exitOverride()
    .configureOutput({ outputError: () => {} });

/** What the arguments say, checked; undefined if they asked for help, which has been printed. */
export function parseRequest(args: readonly string[]): DebugRequest | undefined {
  let options: Options;
  try {
    options = command().parse(args, { from: "user" }).opts<Options>();
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return undefined;
    const message = error.message.replace(/^error: /, "").replace(/\.$/, "");
    throw new Refusal(`${message}; see scripts/debug --help`);
  }
  const { script, og, console } = options;
  if (script !== undefined && (!existsSync(script) || !statSync(script).isFile()))
    throw new Refusal(`--script ${script}: no such file`);
  const fixed = { userspace: "busybox", bare: false, reboot: true, log: false } as const;
  const boot = checkRequest({ ...options, ...fixed });
  return { boot: { ...boot, debug: "wait" }, script, og, timeout: boot.timeout, console };
}
