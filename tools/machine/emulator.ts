/** What the drivers have in common: a process, its serial ports, and how it all ends. */
import type { Child } from "./child.ts";
import { MachineFailure } from "./errors.ts";
import type { Machine, MachineEnd, MachineKind } from "./machine.ts";
import type { RunDirectory } from "./run-directory.ts";
import { SerialPort } from "./serial.ts";

export type SerialPorts = readonly [SerialPort, SerialPort];

export abstract class Emulator implements Machine {
  readonly ended: Promise<MachineEnd>;
  private stopped: "stopped" | "reset" | undefined;
  private readonly resetListeners = new Set<() => void>();

  protected constructor(
    readonly kind: MachineKind,
    protected readonly directory: RunDirectory,
    protected readonly child: Child,
    readonly serial: SerialPorts,
    private readonly noReboot: boolean,
  ) {
    this.ended = this.watch();
  }

  abstract monitor(command: string): Promise<string>;
  abstract screenshot(): Promise<string>;
  abstract ticks(): Promise<bigint | undefined>;

  /** Why the emulator ended by itself, `status` being its exit status in words. */
  protected abstract explainEnd(status: string): Promise<MachineEnd>;

  onReset(listener: () => void): void {
    this.resetListeners.add(listener);
  }

  /** For drivers: the guest has reset the machine. */
  protected resetHappened(): void {
    for (const listener of this.resetListeners) listener();
    if (this.noReboot) this.kill("reset");
  }

  async stop(): Promise<MachineEnd> {
    this.kill("stopped");
    const end = await this.ended;
    this.directory.remove();
    return end;
  }

  keepLogs(): string {
    return this.directory.keep();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  private kill(cause: "stopped" | "reset"): void {
    this.stopped ??= cause;
    this.child.kill();
  }

  private async watch(): Promise<MachineEnd> {
    const status = await this.child.ended;
    await Promise.all(this.serial.map((port) => port.drained()));
    const explained = await this.explainEnd(status);
    const end =
      this.stopped === undefined ? explained : { ...explained, cause: this.stopped, detail: this.stopped };
    if (end.cause === "failed") end.detail += `\nIts logs are in ${this.keepLogs()}/`;
    const what = end.cause === "failed" ? end.detail : `the machine ended (${end.cause})`;
    for (const port of this.serial) port.fail(new MachineFailure(`${this.kind}: ${what}`));
    return end;
  }
}

/** COM1 and COM2 of a run: on UNIX sockets in its directory, or for emulators that cannot, on TCP. */
export async function listenSerial(directory: RunDirectory, over: "unix" | "tcp"): Promise<SerialPorts> {
  const listen = (name: string): Promise<SerialPort> =>
    SerialPort.listen(
      name,
      directory.file(`${name}.log`),
      over === "unix" ? directory.file(name) : undefined,
    );
  return [await listen("com1"), await listen("com2")];
}
