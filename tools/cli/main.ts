/** The command line of scripts/boot. */
import { Command, CommanderError, Option } from "commander";
import { kernelNames } from "../guest/kernels.ts";
import { MachineFailure, Refusal } from "../machine/errors.ts";
import { machineKinds } from "../machine/machine.ts";
import { boot } from "./boot.ts";
import { checkRequest, type Options } from "./request.ts";
import { Status } from "./status.ts";
import { escapeName } from "./terminal.ts";

const command = new Command("scripts/boot")
  .description(
    "Boots a Linux guest on Typevisor in an emulated machine and attaches your terminal to its console.\n" +
      `Without options it does everything by itself and leaves you at the guest's shell; ${escapeName} leaves.`,
  )
  .addOption(
    new Option("--guest <name>", "the kernel to boot, from Debian's packages")
      .choices(kernelNames)
      .default("cloud"),
  )
  .option("--kernel <file>", "boot this kernel (a bzImage) instead")
  .option("--initrd <file>", 'the initial RAM disk, or "none" (default: a busybox with a shell)')
  .option(
    "--append <text>",
    "the guest's command line; unless it names a console, console=ttyS0,115200 comes first",
    "",
  )
  .option("--memory <size>", "the guest's memory: 512M, 2G, ...", "512M")
  .addOption(
    new Option("--machine <kind>", "the emulator; auto takes the best that is there")
      .choices(["auto", ...machineKinds])
      .default("auto"),
  )
  .option("--cpu <model>", "the emulated processor, in the emulator's words")
  .option("--bare", "boot the kernel without the hypervisor, for comparison", false)
  .option("--hypervisor-options <text>", "more options for the hypervisor's command line", "")
  .option("--until <text>", "print the console to standard output and stop as soon as it has printed this")
  .option("--timeout <seconds>", "stop when the machine has run for so long (default: no limit)")
  .option(
    "--ready <text>",
    "type standard input, if it is no terminal, once this appeared (default: a shell prompt)",
  )
  .option("--no-reboot", "stop when the guest resets itself, instead of starting it again")
  .option("--log", "print the hypervisor's log on standard error", false)
  .helpOption("--help", "show this help")
  .allowExcessArguments(false)
  .addHelpText(
    "after",
    `
Exit status:
  ${Status.Success}  the guest powered off; with --until: the text appeared; or you left by ${escapeName}
  ${Status.TextMissing}  with --until: the guest ended without the text
  ${Status.Timeout}  time ran out
  ${Status.Failure}  the hypervisor or this tool refused or failed; one line says what and why
  ${Status.Reset}  with --no-reboot: the guest reset itself
  ${Status.GuestFailed}  the guest ended for another reason, which is printed

Standard input that is no terminal is typed into the guest's console, at the guest's own pace:
  printf 'uname -a\\npoweroff\\n' | scripts/boot
On a terminal the console is passed through byte for byte; elsewhere it is printed as plain text.`,
  )
  .exitOverride()
  .configureOutput({ outputError: () => {} }); // main() prints it, in our own form

async function main(): Promise<Status> {
  try {
    return await boot(checkRequest(command.parse().opts<Options>()));
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return Status.Success; // --help
      complain(`${error.message.replace(/^error: /, "")}; see scripts/boot --help`);
    } else if (error instanceof Refusal || error instanceof MachineFailure) {
      complain(error.message);
    } else throw error;
    return Status.Failure;
  }
}

function complain(message: string): void {
  process.stderr.write(`scripts/boot: ${message}\n`);
}

// Who reads our output may stop reading, as `head` does; then there is nobody left to serve.
process.stdout.on("error", () => process.exit(Status.Failure));
process.exitCode = Status.Failure; // should anything unforeseen happen
process.exitCode = await main();
