/**
 * The image of a USB stick: GRUB for BIOS before the partition, GRUB for UEFI in it, and all that people may want to
 * change as plain files on FAT32. Two images of the same files are the same bytes.
 */
import { execFile } from "node:child_process";
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Refusal } from "../machine/errors.ts";
import { onExit } from "../machine/exit-hooks.ts";
import { fewestSectors, makeFat } from "./fat.ts";
import { diskStart, partitionStart, sectorBytes } from "./mbr.ts";
import { loadConfig, menuModules, stickMenu, stickPaths } from "./stick-menu.ts";

const run = promisify(execFile);

const grubFiles = "/usr/lib/grub";
/** "TVST". */
const identity = 0x54565354;
const mib = 1 << 20;
/** Left free for what people put on it. */
const roomToEdit = 32 * mib;

/** The size in bytes of an image that has room for the files and some more, in whole MiB. */
function stickSize(files: Iterable<string>): number {
  let bytes = roomToEdit;
  // The tables and the last cluster of each file take something too.
  for (const file of files) bytes += Math.ceil(statSync(file).size * 1.02) + 16384;
  const least = (partitionStart + fewestSectors) * sectorBytes;
  return Math.ceil(Math.max(bytes, least) / mib) * mib;
}

/**
 * Writes the image to `output`, under another name until it is whole.
 * @param files path on the stick -> source file, but for what GRUB needs
 * @param bytes its size, or undefined for stickSize's
 * @throws a Refusal if the files do not fit it, or GRUB's are not there
 */
export async function makeStick(
  output: string,
  files: ReadonlyMap<string, string>,
  bytes?: number,
): Promise<void> {
  const work = mkdtempSync(join(tmpdir(), "typevisor-stick-"));
  const partial = `${output}.${process.pid}.partial`;
  const clean = (): void => {
    rmSync(work, { recursive: true, force: true });
    rmSync(partial, { force: true });
  };
  const forget = onExit(clean);
  try {
    const menu = join(work, "grub.cfg");
    const uefiLoader = join(work, "bootx64.efi");
    writeFileSync(menu, stickMenu);
    await grubImage("x86_64-efi", work, uefiLoader, []);
    const all = new Map([...files, [stickPaths.menu, menu], [stickPaths.uefiLoader, uefiLoader]]);
    const needed = stickSize(all.values());
    const size = bytes ?? needed;
    if (size < needed)
      throw new Refusal(`--size: expected ${needed / mib}M or more, is ${Math.floor(size / mib)}M`);
    const sectors = Math.floor(size / sectorBytes);
    const core = join(work, "core.img");
    await grubImage("i386-pc", work, core, ["biosdisk"]);
    const bootSector = readFileSync(join(grubFiles, "i386-pc/boot.img"));
    writeFileSync(partial, diskStart(bootSector, readFileSync(core), { sectors, signature: identity }));
    truncateSync(partial, sectors * sectorBytes);
    const place = { image: partial, start: partitionStart, sectors: sectors - partitionStart };
    await makeFat(place, { label: "TYPEVISOR", volumeId: identity }, all);
    renameSync(partial, output);
  } finally {
    forget();
    clean();
  }
}

/** GRUB in one file, with all the modules that its menu uses. */
async function grubImage(platform: string, work: string, output: string, more: string[]): Promise<void> {
  const directory = join(grubFiles, platform);
  if (!existsSync(directory))
    throw new Refusal(`GRUB for ${platform} is not installed: run scripts/setup as root`);
  const config = join(work, "load.cfg");
  writeFileSync(config, loadConfig);
  const options = ["-O", platform, "-o", output, "-c", config, "-p", "(,msdos1)/boot/grub"];
  try {
    await run("grub-mkimage", [...options, ...menuModules, ...more]);
  } catch (error) {
    const text = String((error as { stderr?: unknown }).stderr || error).trim();
    throw new Refusal(`grub-mkimage could not make GRUB for ${platform}: ${text.split("\n").at(-1)}`);
  }
}
