/** The options of scripts/usb-image and their help. */
import { Command, CommanderError, Option } from "commander";
import { kernelNames, type KernelName } from "../guest/kernels.ts";
import { Refusal } from "../machine/errors.ts";

/** The options as commander hands them over. */
export interface Options {
  output?: string;
  write?: string;
  force?: string;
  image?: string;
  guest?: KernelName[];
  kernel?: string;
  initrd?: string;
  append: string;
  memory: string;
  size?: string;
}

const addGuest = (name: string, names: KernelName[] = []): KernelName[] => {
  if (!(kernelNames as string[]).includes(name))
    throw new Refusal(`--guest: expected one of ${kernelNames.join(", ")}, is "${name}"`);
  return names.includes(name as KernelName) ? names : [...names, name as KernelName];
};

const command = (): Command =>
  new Command("scripts/usb-image")
    .description(
      "Makes the image of a USB stick that boots Typevisor on a PC, by BIOS and by UEFI (64-bit, Secure Boot off), and\n" +
        "writes it to a stick. Hypervisor, guests and settings.txt are plain files on it (docs/test-machine.md).",
    )
    .option("-o, --output <file>", "write the image to this file")
    .option("--write <device>", "write the image to this disk, /dev/sdX: all that is on it is lost")
    .option("--force <device>", "the disk of --write once more, if it is not a removable one")
    .addOption(
      new Option("--image <file>", "write this image, instead of making one").conflicts([
        ...["output", "guest", "kernel", "initrd", "append", "memory", "size"],
      ]),
    )
    .addOption(
      new Option(
        "--guest <name>",
        `a guest from Debian's packages; once more for each further one (choices: ${kernelNames.join(", ")}; default: cloud)`,
      )
        .argParser<KernelName[]>(addGuest)
        .conflicts("kernel"),
    )
    .option(
      "--kernel <file>",
      "a kernel of your own as the guest: a bzImage, a PVH ELF file or a multiboot kernel",
    )
    .option(
      "--initrd <file>",
      'the initial RAM disk, of a multiboot kernel its module, or "none" (default: a busybox with a shell for Linux)',
    )
    .option(
      "--append <text>",
      "the guests' command line, in settings.txt; unless it names a console, console=ttyS0,115200 comes first",
      "",
    )
    .option("--memory <size>", "the guests' memory, in settings.txt: 512M, 2G, ...", "512M")
    .option("--size <size>", "the size of the image (default: what is on it, and 32M to edit)")
    .helpOption("-h, --help", "show this help")
    .allowExcessArguments(false)
    .addHelpText(
      "after",
      `
A disk is written only if it is a removable one that nothing uses. Then it is read back and compared. Its first MiB comes
last: a stick whose writing was interrupted does not boot.

Exit status: 0 when all is done, 3 when something was refused or failed; one line says what and why.`,
    )
    .exitOverride()
    .configureOutput({ outputError: () => {} }); // it is thrown as well

/** What the arguments say; undefined if they asked for help, which has been printed. */
export function parseOptions(args: readonly string[]): Options | undefined {
  try {
    const options = command().parse(args, { from: "user" }).opts<Options>();
    if (options.image !== undefined && options.write === undefined)
      throw new Refusal("--image: there is no --write that says where to");
    if (options.output === undefined && options.write === undefined)
      throw new Refusal("neither -o nor --write says what to do; see scripts/usb-image --help");
    if (options.force !== undefined && options.force !== options.write)
      throw new Refusal(
        `--force ${options.force}: expected the same disk as --write${options.write === undefined ? ", which is missing" : ` ${options.write}`}`,
      );
    return options;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return undefined;
    const message = error.message.replace(/^error: /, "").replace(/\.$/, "");
    throw new Refusal(`${message}; see scripts/usb-image --help`);
  }
}
