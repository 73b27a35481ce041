/**
 * A bootable ISO image by grub-mkrescue: from CD or USB stick, on BIOS, and on UEFI where GRUB's files for it are
 * installed. Small, because GRUB reads an emulated CD slowly: only the modules that the configuration uses.
 */
import { execFile } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { Refusal } from "../machine/errors.ts";
import { onExit } from "../machine/exit-hooks.ts";
import { grubConfig, type Boot } from "./grub.ts";

const run = promisify(execFile);

/** What grub.cfg uses; grub-mkrescue adds what these need. */
const commands = [
  "normal",
  "linux",
  "multiboot",
  "multiboot2",
  "serial",
  "terminal",
  "echo",
  "boot",
  "halt",
  "test",
  "all_video",
];
/** grub-mkrescue's own start-up file loads a module for every kind of partition table, and complains without. */
const partitionTables = "acorn amiga apple bsd dfly dvh gpt msdos plan sun sunpc"
  .split(" ")
  .map((name) => `part_${name}`);
const modules = [...commands, ...partitionTables];

/** Writes the image to `output`, under another name until it is whole. `files`: path on the image -> source file. */
export async function makeIso(output: string, boot: Boot, files: ReadonlyMap<string, string>): Promise<void> {
  const config = grubConfig(boot);
  const tree = mkdtempSync(join(tmpdir(), "typevisor-image-"));
  const partial = `${output}.${process.pid}.partial`;
  const clean = (): void => {
    rmSync(tree, { recursive: true, force: true });
    rmSync(partial, { force: true });
  };
  const forget = onExit(clean);
  try {
    mkdirSync(dirname(output), { recursive: true });
    for (const [path, source] of [...files, ["/boot/grub/grub.cfg", undefined] as const]) {
      const target = join(tree, path);
      mkdirSync(dirname(target), { recursive: true });
      if (source === undefined) writeFileSync(target, config);
      else place(source, target);
    }
    await mkrescue(partial, tree);
    renameSync(partial, output);
  } finally {
    forget();
    clean();
  }
}

function place(source: string, target: string): void {
  try {
    linkSync(realpathSync(source), target); // no copy of a 40 MB initrd where the file systems are the same
  } catch {
    copyFileSync(source, target);
  }
}

async function mkrescue(output: string, tree: string): Promise<void> {
  const args = [
    `--install-modules=${modules.join(" ")}`,
    "--fonts=",
    "--locales=",
    "--themes=",
    "-o",
    output,
    tree,
  ];
  try {
    await run("grub-mkrescue", args);
  } catch (error) {
    const text = String((error as { stderr?: unknown }).stderr ?? error).trim();
    throw new Refusal(`grub-mkrescue could not make the image: ${text.split("\n").at(-1)}`);
  }
  if (!existsSync(output)) throw new Refusal(`grub-mkrescue made no image (is the disk full?)`);
}
