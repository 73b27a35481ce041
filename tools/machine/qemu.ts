/** The QEMU driver: AMD-V in software (TCG), or whatever the host nests (KVM). */
import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { Child } from "./child.ts";
import { Emulator, listenSerial, type SerialPorts } from "./emulator.ts";
import { Refusal } from "./errors.ts";
import type { Machine, MachineEnd, MachineKind, MachineOptions } from "./machine.ts";
import { qemuArguments, uefiCode, uefiVariables, type QemuFiles } from "./qemu-config.ts";
import { Qmp, type QmpEvent } from "./qmp.ts";
import { RunDirectory } from "./run-directory.ts";
import { dumpVgaText, vgaText } from "./vga-text.ts";

type QemuKind = Exclude<MachineKind, "bochs">;

export async function startQemu(kind: QemuKind, options: MachineOptions): Promise<Machine> {
  if (options.exact && kind !== "qemu-tcg")
    throw new Refusal("only qemu-tcg and bochs count instructions exactly");
  const directory = new RunDirectory(kind);
  const files: QemuFiles = {
    image: resolve(options.image),
    com1: directory.file("com1"),
    com2: directory.file("com2"),
    qmp: directory.file("qmp"),
    resets: directory.file("resets.log"),
    uefiVariables: directory.file("uefi-variables.fd"),
  };
  if (options.firmware === "uefi") {
    if (!existsSync(uefiCode)) throw new Refusal("UEFI firmware is not installed (Debian package ovmf)");
    copyFileSync(uefiVariables, files.uefiVariables);
  }
  const serial = await listenSerial(directory, "unix");
  const qmp = await Qmp.listen(files.qmp, (event) => void machine.onEvent(event));
  const child = new Child("qemu-system-x86_64", qemuArguments(kind, options, files), {
    cwd: directory.path,
    logFile: directory.file("qemu.log"),
  });
  const machine = new Qemu(kind, directory, child, serial, qmp, options, files);
  if (!(await qmp.ready)) {
    await machine.ended;
    const why = machine.lastWords(1).replace(/^qemu-system-x86_64: /, "");
    await machine.stop();
    throw new Refusal(`${kind} does not start: ${why}`);
  }
  return machine;
}

class Qemu extends Emulator {
  /** What ended the guest, if it was its own doing. */
  private own: MachineEnd | undefined;
  /** Whether the guest has said anything since the last reset. */
  private spoken = false;
  private resetsRead = 0;

  constructor(
    kind: QemuKind,
    directory: RunDirectory,
    child: Child,
    serial: SerialPorts,
    private readonly qmp: Qmp,
    private readonly options: MachineOptions,
    private readonly files: QemuFiles,
  ) {
    super(kind, directory, child, serial, options.noReboot ?? false);
    for (const port of serial) port.onText(() => (this.spoken = true));
  }

  async onEvent({ event, data }: QmpEvent): Promise<void> {
    if (event === "SHUTDOWN" && data?.["guest"] === true) {
      // QEMU waits (-no-shutdown), so that the instructions can still be counted.
      await this.finish({ cause: "powered off", detail: "powered off", ticks: await this.ticks() });
    } else if (event === "RESET") {
      const fault = this.tripleFault();
      // SeaBIOS, started by anything but power-on, resets the machine once more before it says a word.
      if (!this.spoken) return;
      this.spoken = false;
      if (fault === undefined) this.resetHappened();
      else await this.finish({ cause: "failed", detail: fault, ticks: await this.ticks() });
    } else if (event === "STOP") {
      // After a power-off, by the monitor's "stop", or because something cannot go on: KVM's "internal-error" is one.
      const { status } = ((await this.qmp.execute("query-status")) ?? {}) as { status?: string };
      if (status === undefined || status === "shutdown" || status === "paused") return;
      await this.finish({ cause: "failed", detail: `QEMU cannot go on (${status}): ${this.lastWords(40)}` });
    }
  }

  async monitor(command: string): Promise<string> {
    const answer = await this.qmp.execute("human-monitor-command", { "command-line": command });
    return String(answer ?? "")
      .replaceAll("\r", "")
      .trimEnd();
  }

  async screenshot(): Promise<string> {
    return vgaText(await this.monitor(dumpVgaText));
  }

  async ticks(): Promise<bigint | undefined> {
    if (!this.options.exact) return undefined;
    const answer = (await this.qmp.execute("query-replay")) as { icount?: number } | undefined;
    return answer?.icount === undefined ? this.own?.ticks : BigInt(answer.icount);
  }

  protected async explainEnd(status: string): Promise<MachineEnd> {
    this.qmp.end();
    if (this.own !== undefined) return this.own;
    return { cause: "failed", detail: `QEMU ended (${status}): ${this.lastWords(10)}`.replace(/: $/, "") };
  }

  /** The end of what QEMU itself has printed. */
  lastWords(lines: number): string {
    return readFileSync(this.directory.file("qemu.log"), "utf8").trim().split("\n").slice(-lines).join("\n");
  }

  private async finish(end: MachineEnd): Promise<void> {
    this.own ??= end;
    this.child.kill();
  }

  /** QEMU answers a triple fault with a reset; its log tells the difference, with the registers. Reads what is new. */
  private tripleFault(): string | undefined {
    const log = existsSync(this.files.resets) ? readFileSync(this.files.resets, "utf8") : "";
    const start = log.indexOf("Triple fault", this.resetsRead);
    this.resetsRead = log.length;
    return start < 0 ? undefined : log.slice(start).split("\nFCW=")[0]!.replaceAll(" \n", "\n");
  }
}
