/** From the options to an image in a file: build, guests, and what else is on the stick. */
import { existsSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { build } from "../cli/build.ts";
import { getGuest } from "../cli/guest.ts";
import { type GuestRequest, withConsole } from "../cli/request.ts";
import { parseMemory } from "../cli/sizes.ts";
import { stage } from "../cli/stages.ts";
import { fetchFile } from "../guest/debian.ts";
import { kernels } from "../guest/kernels.ts";
import { checkCommandLine } from "../image/grub.ts";
import { stickPaths } from "../image/stick-menu.ts";
import { makeStick } from "../image/stick.ts";
import { Refusal } from "../machine/errors.ts";
import { projectDirectory, type RunDirectory } from "../machine/run-directory.ts";
import type { Options } from "./command.ts";
import { readmeText, settingsText } from "./texts.ts";

/** The longest line of settings.txt is 2047 bytes (kernel/root/settings.ts). */
const longestAppend = 2047 - "append=".length;

export interface StickRequest {
  /** In MiB, of each guest. */
  memory: number;
  append: string;
  /** In bytes; undefined: what is needed. */
  size: number | undefined;
}

/** Checks what can be checked before anything is built. @throws a Refusal */
export function checkStick(options: Options): StickRequest {
  const memory = parseMemory(options.memory);
  if (memory % 2 !== 0) throw new Refusal(`--memory: expected a multiple of 2M, is ${options.memory}`);
  const append = withConsole(options.append.trim());
  checkCommandLine("--append", append, "typevisor");
  const length = Buffer.byteLength(append);
  if (length > longestAppend)
    throw new Refusal(`--append: expected ${longestAppend} bytes at most, has ${length}`);
  if (options.output !== undefined) checkOutput(options.output);
  const size = options.size === undefined ? undefined : parseMemory(options.size, "--size") * (1 << 20);
  return { memory, append, size };
}

function checkOutput(path: string): void {
  if (!existsSync(dirname(path))) throw new Refusal(`-o ${path}: no such directory`);
  if (!existsSync(path)) return;
  if (statSync(path).isBlockDevice()) throw new Refusal(`-o ${path}: a disk: --write writes those`);
  if (!statSync(path).isFile()) throw new Refusal(`-o ${path}: not a file`);
}

/** Makes the image. What has to be written for it is put into `directory`. */
export async function makeImage(
  output: string,
  options: Pick<Options, "guest" | "kernel" | "initrd">,
  request: StickRequest,
  directory: RunDirectory,
): Promise<void> {
  const files = new Map<string, string>();
  const addText = (path: string, name: string, text: string): void => {
    writeFileSync(directory.file(name), text);
    files.set(path, directory.file(name));
  };
  addText(stickPaths.settings, "settings.txt", settingsText(request));
  addText(stickPaths.readme, "README.txt", readmeText);
  // GRUB's menu has guests in the order of their folders.
  for (const [name, guest] of guestsOf(options, request)) {
    const { kernel, initrd } = await getGuest(guest, directory.file(`${name}.initrd`));
    files.set(stickPaths.kernel(name), kernel);
    if (initrd !== undefined) files.set(stickPaths.initrd(name), initrd);
  }
  files.set(stickPaths.memoryTest, await fetchFile(kernels.memtest));
  await stage("Build the hypervisor", ({ progress }) => build(progress));
  files.set(stickPaths.hypervisor, join(projectDirectory, "build/typevisor.elf"));
  files.set(stickPaths.lines, join(projectDirectory, "build/typevisor.lines"));
  await stage("Make the stick's image", () => makeStick(output, files, request.size));
}

function guestsOf(
  options: Pick<Options, "guest" | "kernel" | "initrd">,
  { memory, append }: StickRequest,
): [string, GuestRequest][] {
  const common = { memory, append, bare: false, userspace: "busybox", initrd: options.initrd } as const;
  if (options.kernel !== undefined) return [["guest", { ...common, guest: "cloud", kernel: options.kernel }]];
  return (options.guest ?? ["cloud"]).map((guest) => [guest, { ...common, guest }]);
}
