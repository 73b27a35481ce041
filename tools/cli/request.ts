/** What a boot is asked for: the command line's options, checked. Whatever can be refused early is refused here. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { checkFit } from "../guest/bzimage.ts";
import { checkFileFits, type GuestKernel, readKernelFile } from "../guest/kernel-file.ts";
import type { KernelName } from "../guest/kernels.ts";
import type { UserspaceName } from "../guest/userspaces.ts";
import { checkCommandLine } from "../image/grub.ts";
import { chooseMachine } from "../machine/available.ts";
import { largestMemory, noUefi } from "../machine/bochs-config.ts";
import { Refusal } from "../machine/errors.ts";
import type { Firmware, MachineKind } from "../machine/machine.ts";
import { parseCount, parseFrequency, parseMemory, parseTimeout } from "./sizes.ts";

/** The options as commander hands them over. */
export interface Options {
  guest: KernelName;
  kernel?: string;
  initrd?: string;
  userspace: UserspaceName;
  append: string;
  memory: string;
  machine: MachineKind | "auto";
  cpu?: string;
  firmware?: Firmware;
  hostCpus?: string;
  cpus?: string;
  tscKhz?: string;
  bare: boolean;
  iso?: string;
  hypervisorOptions: string;
  until?: string;
  timeout?: string;
  ready?: string;
  reboot: boolean;
  log: boolean;
}

export interface Request extends Omit<
  Options,
  "memory" | "timeout" | "machine" | "initrd" | "hostCpus" | "cpus" | "tscKhz"
> {
  /** Processors of the machine and of the guest, 1 unless told. */
  hostCpus?: number;
  cpus?: number;
  /** Frequency of the guest's TSC, where it is not the machine's. */
  tscKhz?: number;
  /** Of the guest, in MiB. */
  memory: number;
  /** In seconds. */
  timeout: number | undefined;
  machine: MachineKind;
  /** Why this machine. */
  machineReason: string;
  /** A file, or undefined for our own busybox (or the userspace that was named; a multiboot kernel gets none); "none" leaves it out. */
  initrd: string | "none" | undefined;
  /** With a debugger's line on COM2, and the log on COM1: whether the hypervisor waits for it before any guest runs. */
  debug?: "wait" | "go on";
  /** An image of the hypervisor, instead of build/typevisor.elf. */
  hypervisor?: string;
}

/** What is asked of the guest alone. */
export type GuestRequest = Pick<
  Request,
  "guest" | "kernel" | "initrd" | "userspace" | "append" | "memory" | "bare"
>;

/** The hypervisor takes this much of the machine's memory at most, its image and the modules included. MiB. */
const hypervisorMemory = 128;
const smallestMachine = 512;
/** What emulators of ours take (with one more for QEMU's boot CPU), and what a VM may have (kernel/abi/address.ts). */
const mostHostCpus: Record<MachineKind, number> = { bochs: 8, "qemu-tcg": 63, "qemu-kvm": 64 };
const mostGuestCpus = 16;

const guestConsole = "console=ttyS0,115200";

/** A guest's command line, with a console if it names none. */
export function withConsole(append: string): string {
  return /\bconsole=/.test(append) ? append : `${guestConsole} ${append}`.trim();
}

export function checkRequest(options: Options): Request {
  const { kind, reason } = chooseMachine(options.machine);
  const request: Request = {
    ...options,
    memory: parseMemory(options.memory),
    hostCpus: parseCount("--host-cpus", options.hostCpus ?? "1", mostHostCpus[kind]),
    cpus: parseCount("--cpus", options.cpus ?? "1", mostGuestCpus),
    tscKhz: options.tscKhz === undefined ? undefined : parseFrequency(options.tscKhz),
    timeout: options.timeout === undefined ? undefined : parseTimeout(options.timeout),
    machine: kind,
    machineReason: reason,
    initrd: options.initrd,
    append: withConsole(options.append),
  };
  if (request.firmware === "uefi" && kind === "bochs") throw new Refusal(`--firmware: ${noUefi}`);
  if (request.iso === undefined) checkMachineMemory(request);
  else checkIso(request.iso);
  checkCommandLine("--append", request.append, request.bare ? "bare" : "typevisor");
  checkCommandLine("--hypervisor-options", request.hypervisorOptions, "typevisor");
  if (request.bare && request.tscKhz !== undefined)
    throw new Refusal("--tsc-khz: there is no hypervisor to see to it with --bare");
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
  request: GuestRequest,
  source: string,
  kernelFile: string,
  initrdSize: number,
): GuestKernel {
  fileSize(source, kernelFile);
  const kernel = readKernelFile(`${source} ${kernelFile}`, readFileSync(kernelFile));
  if (request.bare && kernel.format !== "bzImage") {
    throw new Refusal(`${source} ${kernelFile}: a ${kernel.format} kernel, but --bare boots bzImages only`);
  }
  const memory = request.memory * (1 << 20);
  checkFit(kernel, { memory, initrdSize, append: request.append });
  checkFileFits(kernel, { memory, initrdSize });
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
