/** QEMU's machine protocol (QMP) over a UNIX socket on which we listen and to which QEMU connects. */
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { MachineFailure } from "./errors.ts";

export interface QmpEvent {
  event: string;
  data?: Record<string, unknown>;
}

interface Answer {
  return?: unknown;
  error?: { desc: string };
}

export class Qmp {
  /** Resolves when QEMU has closed the connection and every event was passed on. */
  readonly closed: Promise<void>;
  /** Whether QEMU's machine is there; false if QEMU ended before. */
  readonly ready: Promise<boolean>;
  private readonly connected: Promise<Socket>;
  private waiting: ((answer: Answer | undefined) => void)[] = [];
  private over = false;
  private finish: () => void = () => {};

  private constructor(
    private readonly server: Server,
    private readonly onEvent: (event: QmpEvent) => void,
  ) {
    this.closed = new Promise((resolve) => (this.finish = resolve));
    this.connected = new Promise((resolve) => server.once("connection", resolve));
    void this.connected.then((socket) => this.attach(socket));
    // QEMU connects before it makes the machine, and answers after that.
    this.ready = this.send("qmp_capabilities", {}).then((answer) => answer !== undefined);
  }

  static async listen(path: string, onEvent: (event: QmpEvent) => void): Promise<Qmp> {
    const server = createServer().listen(path);
    await once(server, "listening");
    return new Qmp(server, onEvent);
  }

  /** Runs one command; `undefined` if QEMU is gone. */
  async execute(command: string, args: Record<string, unknown> = {}): Promise<unknown> {
    const answer = await this.send(command, args);
    if (answer?.error) throw new MachineFailure(`QEMU refused ${command}: ${answer.error.desc}`);
    return answer?.return;
  }

  /** For the driver, when QEMU has ended: nothing more will come. */
  end(): void {
    if (this.over) return;
    this.over = true;
    this.server.close();
    for (const resolve of this.waiting) resolve(undefined);
    this.finish();
  }

  private async send(command: string, args: Record<string, unknown>): Promise<Answer | undefined> {
    if (this.over) return undefined;
    const answer = new Promise<Answer | undefined>((resolve) => this.waiting.push(resolve));
    // QEMU answers in the order of the commands.
    void this.connected.then((socket) =>
      socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`),
    );
    return answer;
  }

  private attach(socket: Socket): void {
    this.server.close();
    const lines = createInterface(socket);
    for (const stream of [socket, lines]) stream.on("error", () => {}); // "close" follows
    lines.on("line", (line) => {
      const message = JSON.parse(line) as Answer & Partial<QmpEvent>;
      if (message.event !== undefined) this.onEvent({ event: message.event, data: message.data });
      else if ("return" in message || "error" in message) this.waiting.shift()?.(message);
    });
    socket.on("close", () => this.end());
  }
}
