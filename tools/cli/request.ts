/** What a boot is asked for: the command line's options, checked. Whatever can be refused early is refused here. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { checkFit, type KernelImage, readKernel } from "../guest/bzimage.ts";
import type { KernelName } from "../guest/kernels.ts";
import { checkCommandLine } from "../image/grub.ts";
import { chooseMachine } from "../machine/available.ts";
import { largestMemory } from "../machine/bochs-config.ts";
import { Refusal } from "../machine/errors.ts";
import type { MachineKind } from "../machine/machine.ts";
import { parseMemory, parseTimeout } from "./sizes.ts";

/** The options as commander hands them over. */
export interface Options {
  guest: KernelName;
  kernel?: string;
  initrd?: string;
  append: string;
  memory: string;
  machine: MachineKind | "auto";
  cpu?: string;
  bare: boolean;
  iso?: string;
  hypervisorOptions: string;
  until?: string;
  timeout?: string;
  ready?: string;
  reboot: boolean;
  log: boolean;
}

export interface Request extends Omit<Options, "memory" | "timeout" | "machine" | "initrd"> {
  /** Of the guest, in MiB. */
  memory: number;
  /** In seconds. */
  timeout: number | undefined;
  machine: MachineKind;
  /** Why this machine. */
  machineReason: string;
  /** A file, or undefined for our own busybox; "none" leaves it out. */
  initrd: string | "none" | undefined;
}

/** The hypervisor takes this much of the machine's memory at most, its image and the modules included. MiB. */
const hypervisorMemory = 128;
const smallestMachine = 512;

const guestConsole = "console=ttyS0,115200";

export function checkRequest(options: Options): Request {
  const { kind, reason } = chooseMachine(options.machine);
  const request: Request = {
    ...options,
    memory: parseMemory(options.memory),
    timeout: options.timeout === undefined ? undefined : parseTimeout(options.timeout),
    machine: kind,
    machineReason: reason,
    initrd: options.initrd,
    append: /\bconsole=/.test(options.append) ? options.append : `${guestConsole} ${options.append}`.trim(),
  };
  if (request.iso === undefined) checkMachineMemory(request);
  else checkIso(request.iso);
  checkCommandLine("--append", request.append, request.bare ? "bare" : "typevisor");
  checkCommandLine("--hypervisor-options", request.hypervisorOptions, "typevisor");
  if (request.until === "") throw new Refusal("--until: the text is empty");
  if (request.ready === "") throw new Refusal("--ready: the text is empty");
  const initrdSize =
    request.initrd === undefined || request.initrd === "none" ? 0 : fileSize("--initrd", request.initrd);
  if (request.kernel !== undefined) checkGuest(request, "--kernel", request.kernel, initrdSize);
  return request;
}

/** @throws a Refusal if the machine cannot have the memory that the guest asks for */
function checkMachineMemory(request: Request): void {
  const limit = request.machine === "bochs" ? largestMemory : Infinity;
  if (machineMemory(request) > limit) {
    const most = request.bare ? limit : limit - hypervisorMemory;
    throw new Refusal(
      `--memory: ${request.memory}M is too much for ${request.machine}, which can give a guest ${most}M`,
    );
  }
}

/** Checks the kernel's file and that kernel, initrd and command line fit the guest. */
export function checkGuest(
  request: Request,
  source: string,
  kernelFile: string,
  initrdSize: number,
): KernelImage {
  fileSize(source, kernelFile);
  const kernel = readKernel(`${source} ${kernelFile}`, readFileSync(kernelFile));
  checkFit(kernel, { memory: request.memory * (1 << 20), initrdSize, append: request.append });
  return kernel;
}

/** The machine's RAM in MiB: all the guest's without a hypervisor. */
export function machineMemory(request: Request): number {
  return request.bare ? request.memory : Math.max(smallestMachine, request.memory + hypervisorMemory);
}

function checkIso(path: string): void {
  if (!existsSync(dirname(path))) throw new Refusal(`--iso ${path}: no such directory`);
  if (existsSync(path) && !statSync(path).isFile()) throw new Refusal(`--iso ${path}: not a file`);
}

function fileSize(source: string, path: string): number {
  if (!existsSync(path)) throw new Refusal(`${source} ${path}: no such file`);
  const status = statSync(path);
  if (!status.isFile()) throw new Refusal(`${source} ${path}: not a file`);
  if (status.size === 0) throw new Refusal(`${source} ${path}: the file is empty`);
  return status.size;
}
