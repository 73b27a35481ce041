/** One boot from the request to its end: build, guest, image, machine, session. */
import { basename } from "node:path";
import { makeIso } from "../image/iso.ts";
import { type Machine, processorsFor } from "../machine/machine.ts";
import { RunDirectory } from "../machine/run-directory.ts";
import { startMachine } from "../machine/start.ts";
import { build } from "./build.ts";
import { ConsoleOutput } from "./console-output.ts";
import { getGuest } from "./guest.ts";
import { planImage } from "./image-plan.ts";
import { machineMemory, type Request } from "./request.ts";
import { Session } from "./session.ts";
import { stage } from "./stages.ts";
import { Status } from "./status.ts";
import { summary } from "./summary.ts";
import { attachTerminal, escapeName, powerKeys } from "./terminal.ts";
import { Typist } from "./typist.ts";

export async function boot(request: Request): Promise<Status> {
  const directory = new RunDirectory("boot");
  try {
    const guest = await getGuest(request, directory.file("initramfs.cpio"));
    process.stderr.write(`Guest: ${basename(guest.kernel)} with ${request.memory} MiB.\n`);
    if (request.iso === undefined)
      process.stderr.write(`Machine: ${request.machine}. ${request.machineReason}.\n`);
    if (!request.bare) await stage("Build the hypervisor", ({ progress }) => build(progress));
    const image = request.iso ?? directory.file("image.iso");
    await stage("Make the boot image", () => {
      const { boot, files } = planImage(request, guest);
      return makeIso(image, boot, files);
    });
    if (request.iso !== undefined) {
      process.stderr.write(`${request.iso} boots from CD or USB stick; its log and console are on COM1.\n`);
      return Status.Success;
    }
    await using machine = await stage(`Start ${request.machine}`, () =>
      startMachine(request.machine, {
        image,
        memory: machineMemory(request),
        cpu: request.cpu,
        firmware: request.firmware,
        cpus: request.bare ? request.hostCpus : processorsFor(request.machine, request.hostCpus ?? 1),
        // Without a hypervisor a reset of the machine is the guest's; with one it is a failure.
        noReboot: !request.bare || !request.reboot,
      }),
    );
    return await follow(machine, request);
  } finally {
    directory.remove();
  }
}

/** Follows the machine to its end, the user's terminal or piped input attached. */
async function follow(machine: Machine, request: Request): Promise<Status> {
  const begin = performance.now();
  const [console] = machine.serial;
  const output = new ConsoleOutput(console);
  const typist = process.stdin.isTTY === true ? undefined : new Typist(console, request.ready);
  const session = new Session(machine, {
    bare: request.bare,
    until: request.until,
    timeout: request.timeout,
    onLog: (line) => {
      if (request.log) process.stderr.write(`${line}\n`);
    },
    onRestart: () => typist?.guestRestarted(),
  });
  typist?.type(process.stdin).catch(() => {}); // what cannot be read cannot be typed
  await stage("Load by firmware and GRUB", () => session.loaded);
  const attached = typist === undefined && request.until === undefined;
  if (attached)
    process.stderr.write(
      `Your terminal is the guest's console now; ${escapeName} leaves, ${powerKeys} presses its power button.\n`,
    );
  output.begin();
  const detach = attached ? attachTerminal(console, () => session.leave()) : () => {};

  const outcome = await session.outcome;
  detach();
  process.stdin.destroy();
  output.end();
  const ticks = await machine.ticks().catch(() => undefined);
  const troubled = ![Status.Success, Status.Reset].includes(outcome.status as 0 | 4);
  const logs = troubled ? machine.keepLogs() : undefined;
  await machine.stop();
  const seconds = (performance.now() - begin) / 1000;
  process.stderr.write(summary({ ...outcome, machine: machine.kind, seconds, ticks, logs }));
  return outcome.status;
}
