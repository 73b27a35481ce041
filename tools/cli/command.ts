/** The options of scripts/boot and their help. */
import { Command, CommanderError, Option } from "commander";
import { kernelNames } from "../guest/kernels.ts";
import { userspaceNames } from "../guest/userspaces.ts";
import { Refusal } from "../machine/errors.ts";
import { firmwares, machineKinds } from "../machine/machine.ts";
import type { Options } from "./request.ts";
import { Status } from "./status.ts";
import { escapeName, powerKeys } from "./terminal.ts";

const command = (): Command =>
  new Command("scripts/boot")
    .description(
      "Boots a Linux guest on Typevisor in an emulated machine and attaches your terminal to its console.\n" +
        `Without options it does everything by itself and leaves you at the guest's shell; ${escapeName} leaves, ${powerKeys} presses its power button.`,
    )
    .addOption(
      new Option("--guest <name>", "the kernel to boot, from Debian's packages")
        .choices(kernelNames)
        .default("cloud"),
    )
    .option("--kernel <file>", "boot this kernel instead: a bzImage, a PVH ELF file or a multiboot kernel")
    .option(
      "--initrd <file>",
      'the initial RAM disk, of a multiboot kernel its module, or "none" (default: a busybox with a shell for Linux)',
    )
    .addOption(
      new Option("--userspace <name>", "what our own initial RAM disk has: see below")
        .choices(userspaceNames)
        .default("busybox")
        .conflicts("initrd"),
    )
    .option(
      "--append <text>",
      "the guest's command line; unless it names a console, console=ttyS0,115200 comes first",
      "",
    )
    .option("--memory <size>", "the guest's memory: 512M, 2G, ...", "512M")
    .addOption(
      new Option("--machine <kind>", "the emulator: see below")
        .choices(["auto", ...machineKinds])
        .default("auto"),
    )
    .addOption(
      new Option("--firmware <kind>", "what the machine boots by; uefi on QEMU only, from a USB stick")
        .choices(firmwares)
        .default("bios")
        .conflicts("iso"),
    )
    .option("--cpu <model>", "the emulated processor, in the emulator's words")
    .option("--host-cpus <count>", "processors of the machine that run guests", "1")
    .option("--cpus <count>", "processors of the guest", "1")
    .option("--tsc-khz <number>", "the frequency of the guest's TSC (default: the machine's)")
    .option("--bare", "boot the kernel without the hypervisor, for comparison", false)
    .option("--iso <file>", "write the boot image, for a machine of your own, instead of starting one")
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
Userspaces, of Debian's packages:
  busybox   one program and a shell
  stress    the same with stress-ng and cyclictest
  systemd   Debian with systemd, up to its login prompt, where root has no password; wants --memory 1G

Machines (docs/machines.md):
  qemu-kvm  QEMU on this host's own VT-x or AMD-V; KVM has to nest, and what is missing for that is said
  qemu-tcg  QEMU, which emulates AMD-V; --cpu max,+svm unless told
  bochs     Bochs, which emulates VT-x; with --cpu ryzen AMD-V
  auto      the first of these that can run a hypervisor here; says why that one

Exit status:
  ${Status.Success}  the guest powered off; with --until: the text appeared; or you left by ${escapeName}; or the --iso is written
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
    .configureOutput({ outputError: () => {} }); // it is thrown as well

/** What the arguments say; undefined if they asked for help, which has been printed. */
export function parseOptions(args: readonly string[]): Options | undefined {
  try {
    return command().parse(args, { from: "user" }).opts<Options>();
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return undefined;
    const message = error.message.replace(/^error: /, "").replace(/\.$/, "");
    throw new Refusal(`${message}; see scripts/boot --help`);
  }
}
