/** One debugging session: build, guest, image, machine, GDB. */
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { build } from "../cli/build.ts";
import { getGuest } from "../cli/guest.ts";
import { planImage } from "../cli/image-plan.ts";
import { machineMemory } from "../cli/request.ts";
import { stage } from "../cli/stages.ts";
import { makeIso } from "../image/iso.ts";
import { MachineFailure, Refusal } from "../machine/errors.ts";
import { leaveInterrupts, onExit } from "../machine/exit-hooks.ts";
import type { Machine } from "../machine/machine.ts";
import { projectDirectory, RunDirectory } from "../machine/run-directory.ts";
import { startMachine } from "../machine/start.ts";
import type { DebugRequest } from "./command.ts";
import { type GdbSetup, gdbCommands } from "./gdb-commands.ts";
import { readKernel } from "./kernel-symbols/read-kernel.ts";
import { symbolFile } from "./kernel-symbols/symbol-file.ts";
import { relay } from "./relay.ts";

/** Exit statuses beside GDB's own. */
export const timedOut = 2;
export const failure = 3;

/** Runs the session; returns GDB's exit status, or timedOut. */
export async function debug(request: DebugRequest): Promise<number> {
  const directory = new RunDirectory("debug");
  try {
    const name = request.og ? "typevisor-debug" : "typevisor";
    const elf = join(projectDirectory, `build/${name}.elf`);
    const boot = { ...request.boot, hypervisor: elf };
    const guest = await getGuest(boot, directory.file("initramfs.cpio"));
    process.stderr.write(`Guest: ${basename(guest.kernel)} with ${boot.memory} MiB.\n`);
    process.stderr.write(`Machine: ${boot.machine}. ${boot.machineReason}.\n`);
    await stage("Build the hypervisor", ({ progress }) =>
      build(progress, ...(request.og ? ["--debug"] : [])),
    );
    const image = directory.file("image.iso");
    await stage("Make the boot image", () => {
      const plan = planImage(boot, guest);
      return makeIso(image, plan.boot, plan.files);
    });
    const kernel = await kernelSymbols(guest.kernel, directory.file("kernel.elf"));
    await using machine = await stage(`Start ${boot.machine}`, () =>
      startMachine(boot.machine, { image, memory: machineMemory(boot), cpu: boot.cpu, noReboot: true }),
    );
    const symbols = { hypervisor: elf.replace(/\.elf$/, ".debug"), kernel };
    return await attach(machine, request, directory, symbols);
  } finally {
    directory.remove();
  }
}

/** Writes the file of the kernel's symbols; undefined for a kernel that has none, which is said. */
async function kernelSymbols(kernel: string, file: string): Promise<string | undefined> {
  try {
    await stage("Read the guest kernel's symbols", async () =>
      writeFileSync(file, symbolFile(readKernel(kernel, readFileSync(kernel)))),
    );
    return file;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    process.stderr.write(`No symbols of the guest: ${error.message}\n`);
    return undefined;
  }
}

/** Waits for the hypervisor's debugger, and runs GDB on it. */
async function attach(
  machine: Machine,
  request: DebugRequest,
  directory: RunDirectory,
  symbols: Pick<GdbSetup, "hypervisor" | "kernel">,
): Promise<number> {
  const [console, line] = machine.serial;
  if (request.console) console.onText((text) => process.stderr.write(text));
  await stage("Wait for the debugger in the hypervisor", () => waitForDebugger(machine));
  const socket = directory.file("gdb");
  const server = await relay(line, socket);
  const unattended = request.script !== undefined;
  const commands = directory.file("commands.gdb");
  writeFileSync(commands, gdbCommands({ ...symbols, socket, unattended }));
  const script = request.script === undefined ? [] : ["-batch", "-x", request.script];
  const status = await runGdb(["-q", "-nx", "-x", commands, ...script], unattended, request.timeout);
  server.close();
  // A person at GDB's prompt has seen why.
  if (status !== 0 && (unattended || status === timedOut || status === failure)) {
    const logs = machine.keepLogs();
    process.stderr.write(`The machine's logs are in ${logs}/. The console's end:\n${console.tail()}\n`);
  }
  await machine.stop();
  return status;
}

/** The log is on COM1: it says when the debugger waits, or what was refused. */
async function waitForDebugger(machine: Machine): Promise<void> {
  const found = await machine.serial[0].waitFor(/\(tv\) (?:refused|panic|debugger): .*\n/);
  const refused = /\(tv\) ((?:refused|panic): .*)\n$/.exec(found);
  if (refused) throw new MachineFailure(`the hypervisor ${refused[1]}`);
}

async function runGdb(args: string[], unattended: boolean, timeout: number | undefined): Promise<number> {
  const gdb = spawn("gdb", args, {
    cwd: projectDirectory,
    stdio: [unattended ? "ignore" : "inherit", "inherit", "inherit"],
  });
  const forget = onExit(() => gdb.kill("SIGKILL"));
  // Ctrl-C is GDB's: it stops the guest, and not this.
  const takeInterrupts = unattended ? () => {} : leaveInterrupts();
  let late = false;
  const timer =
    timeout === undefined
      ? undefined
      : setTimeout(() => {
          late = true;
          gdb.kill("SIGKILL");
        }, timeout * 1000);
  const status = await new Promise<number | null>((resolve, reject) => {
    gdb.once("close", resolve);
    gdb.once("error", (error) => reject(new MachineFailure(`gdb does not start: ${error.message}`)));
  });
  clearTimeout(timer);
  takeInterrupts();
  forget();
  if (late) process.stderr.write(`scripts/debug: time ran out after ${timeout} s\n`);
  return late ? timedOut : (status ?? failure);
}
