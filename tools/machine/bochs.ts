/** The Bochs driver: VT-x (and SVM) in software, and every instruction counted. */
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { bochsConfig, noUefi } from "./bochs-config.ts";
import { BochsDebugger, commandPipe } from "./bochs-debugger.ts";
import { BochsLog } from "./bochs-log.ts";
import { Child } from "./child.ts";
import { Emulator, listenSerial, type SerialPorts } from "./emulator.ts";
import { Refusal } from "./errors.ts";
import type { Machine, MachineEnd, MachineOptions } from "./machine.ts";
import { RunDirectory } from "./run-directory.ts";
import { dumpVgaText, vgaText } from "./vga-text.ts";

/** How often to try: each time another Bochs must start in the very same moment. */
const attempts = 10;

export async function startBochs(options: MachineOptions): Promise<Machine> {
  if (options.firmware === "uefi") throw new Refusal(noUefi);
  if (options.medium === "usb") throw new Refusal("Bochs does not boot from USB sticks: use a QEMU machine");
  if (options.cpu !== undefined) await checkModel(options.cpu);
  for (let attempt = 1; ; attempt++) {
    const machine = await launch(options);
    if ((await machine.displayed) || attempt === attempts) return machine;
    await machine.stop();
  }
}

async function launch(options: MachineOptions): Promise<Bochs> {
  const directory = new RunDirectory("bochs");
  const serial = await listenSerial(directory, "tcp");
  const config = bochsConfig({ ...options, image: resolve(options.image) }, [
    tcpPort(serial[0]),
    tcpPort(serial[1]),
  ]);
  writeFileSync(directory.file("bochsrc"), config);
  const commands = commandPipe(directory.file("commands"));
  const child = new Child("bochs", ["-q", "-f", "bochsrc"], {
    cwd: directory.path,
    logFile: directory.file("bochs.log"),
    stdin: commands,
  });
  return new Bochs(directory, child, serial, options.noReboot ?? false, commands);
}

class Bochs extends Emulator {
  /** False if it ended because its display found no port; it may be started again then. */
  readonly displayed: Promise<boolean>;
  private readonly debugger: BochsDebugger;
  private readonly log = new BochsLog();

  constructor(
    directory: RunDirectory,
    child: Child,
    serial: SerialPorts,
    noReboot: boolean,
    commands: number,
  ) {
    super("bochs", directory, child, serial, noReboot);
    this.debugger = new BochsDebugger(child, commands);
    this.displayed = new Promise((resolve) => {
      createInterface(child.stderr).on("line", (line) => {
        if (this.log.add(line) === "reset") this.resetHappened();
        if (this.log.displayed === true) resolve(true);
      });
      void this.ended.then(() => resolve(this.log.displayed !== false));
    });
  }

  monitor(command: string): Promise<string> {
    return this.debugger.run(command);
  }

  async screenshot(): Promise<string> {
    return vgaText(await this.monitor(dumpVgaText));
  }

  async ticks(): Promise<bigint | undefined> {
    const answer = /ptime: (\d+)/.exec(await this.monitor("ptime"));
    return answer ? BigInt(answer[1]!) : this.log.ticks; // it may have ended just now
  }

  protected async explainEnd(status: string): Promise<MachineEnd> {
    const { ticks } = this.log;
    if (this.log.displayed === false)
      return { cause: "stopped", detail: "Bochs' display found no port to listen on", ticks };
    if (this.log.poweredOff) return { cause: "powered off", detail: "powered off", ticks };
    return { cause: "failed", detail: `Bochs ended (${status}): ${this.log.reason()}`, ticks };
  }
}

/** Bochs calls an unknown model a malformed line of its configuration. */
async function checkModel(model: string): Promise<void> {
  // Its exit status is 1 here too.
  const help = await new Promise<string>((resolve) =>
    execFile("bochs", ["--help", "cpu"], (_error, stdout, stderr) => resolve(stdout + stderr)),
  );
  const models = /Supported CPU models:\n\n((?:\w+\n)+)/.exec(help)?.[1]?.trim().split("\n");
  if (models === undefined || models.includes(model)) return;
  throw new Refusal(`Bochs has no processor model ${model}; it has ${models.join(", ")}`);
}

function tcpPort(port: SerialPorts[number]): number {
  if (!("port" in port.address)) throw new Error("a TCP port was asked for");
  return port.address.port;
}
