/** scripts/usb-image: what is not bash of it. */
import { MachineFailure, Refusal } from "../machine/errors.ts";
import { onExit } from "../machine/exit-hooks.ts";
import { RunDirectory } from "../machine/run-directory.ts";
import { stage } from "../cli/stages.ts";
import { type Options, parseOptions } from "./command.ts";
import { checkDevice, type DiskInfo, openDevice, openImage } from "./device.ts";
import { checkStick, makeImage } from "./image.ts";
import { type Disk, writeImage } from "./write.ts";

const failure = 3;

async function run(options: Options): Promise<void> {
  const info =
    options.write === undefined ? undefined : checkDevice(options.write, options.force !== undefined);
  // Whatever is wrong with it is said before anything is built.
  await using disk = info === undefined ? undefined : await openDevice(info);
  const directory = new RunDirectory("usb");
  try {
    const image = options.image ?? options.output ?? directory.file("stick.img");
    if (options.image === undefined) await makeImage(image, options, checkStick(options), directory);
    if (info !== undefined && disk !== undefined) await write(image, info, disk);
    if (options.output !== undefined)
      process.stderr.write(
        `${options.output} is the whole disk: write it raw to a stick, from its first sector on.\n`,
      );
  } finally {
    directory.remove();
  }
}

async function write(image: string, info: DiskInfo, disk: Disk): Promise<void> {
  await using source = await openImage(image);
  const incomplete = `${info.name} is incomplete and does not boot: write it again`;
  let begun = false;
  const forget = onExit(() => {
    if (begun) process.stderr.write(`\nscripts/usb-image: ${incomplete}\n`);
  });
  try {
    await stage(`Write ${info.name} (${info.description}) and compare`, ({ progress }) =>
      writeImage(source, disk, ({ what, bytes, of }) => {
        begun = true;
        progress(`${Math.floor((100 * bytes) / of)} % of ${Math.ceil(of / (1 << 20))} MiB ${what}`);
      }),
    );
  } catch (error) {
    if (error instanceof Refusal) throw error;
    const why =
      error instanceof MachineFailure ? error.message : `${info.name}: ${String((error as Error).message)}`;
    throw new MachineFailure(`${why}; ${incomplete}`);
  } finally {
    forget();
  }
}

async function main(): Promise<number> {
  try {
    const options = parseOptions(process.argv.slice(2));
    if (options !== undefined) await run(options);
    return 0;
  } catch (error) {
    if (!(error instanceof Refusal || error instanceof MachineFailure)) throw error;
    process.stderr.write(`scripts/usb-image: ${error.message}\n`);
    return failure;
  }
}

process.exitCode = failure; // should anything unforeseen happen
process.exitCode = await main();
