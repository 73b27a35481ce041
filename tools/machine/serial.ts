/**
 * One serial port of a machine. We listen, the emulator connects. What arrives is logged, passed to listeners as
 * bytes and as plain text, and kept for `waitFor`, which consumes it as `expect` does: each wait begins where the
 * last one ended.
 */
import { once } from "node:events";
import { createWriteStream, type WriteStream } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { StringDecoder } from "node:string_decoder";
import { MachineFailure } from "./errors.ts";
import { PlainText } from "./plain-text.ts";

/** Long enough for any boot on a loaded machine with a slow emulator. A wait ends early if the emulator does. */
export const generousSeconds = 600;

/** What `waitFor` may still look at; a guest may print without end and nobody wait. */
const keptCharacters = 4 << 20;

interface Wait {
  find(text: string): { end: number } | undefined;
  what: string;
  resolve(text: string): void;
  reject(error: Error): void;
}

export class SerialPort {
  /** Where the emulator has to connect to. */
  readonly address: { host: string; port: number } | { path: string };
  /** Resolves when the emulator has closed the port and everything it sent has been passed on and logged. */
  private readonly closed: Promise<void>;
  private socket: Socket | undefined;
  private readonly connected: Promise<Socket>;
  private readonly bytesListeners = new Set<(bytes: Buffer) => void>();
  private readonly textListeners = new Set<(plain: string) => void>();
  private readonly decoder = new StringDecoder("utf8");
  private readonly plain = new PlainText();
  private readonly log: WriteStream;
  private kept = "";
  private waits: Wait[] = [];
  private end: Error | undefined;
  private close: () => void = () => {};

  private constructor(
    readonly name: string,
    private readonly server: Server,
    logFile: string,
  ) {
    const address = server.address();
    if (address === null) throw new Error("the server does not listen");
    this.address =
      typeof address === "string" ? { path: address } : { host: "127.0.0.1", port: address.port };
    this.log = createWriteStream(logFile);
    this.closed = new Promise((resolve) => (this.close = resolve));
    this.connected = new Promise((resolve) =>
      server.once("connection", (socket) => {
        server.close(); // one machine, one connection
        this.attach(socket);
        resolve(socket);
      }),
    );
  }

  /** Listens on a UNIX socket, or on a free TCP port of the loopback interface if no path is given. */
  static async listen(name: string, logFile: string, path?: string): Promise<SerialPort> {
    const server = createServer();
    if (path === undefined) server.listen(0, "127.0.0.1");
    else server.listen(path);
    await once(server, "listening");
    return new SerialPort(name, server, logFile);
  }

  private attach(socket: Socket): void {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (bytes) => this.receive(bytes));
    socket.on("error", () => {}); // an emulator that was killed resets the connection; "close" follows
    socket.on("close", () => this.finish());
  }

  private receive(bytes: Buffer): void {
    this.log.write(bytes);
    const text = this.plain.push(this.decoder.write(bytes));
    for (const listener of this.bytesListeners) listener(bytes);
    for (const listener of this.textListeners) listener(text);
    this.kept = (this.kept + text).slice(-keptCharacters);
    this.serveWaits();
  }

  private finish(): void {
    this.log.end(() => this.close());
  }

  /** Calls `listener` with each piece as it arrives, exactly as sent; the function returned ends that. */
  onBytes(listener: (bytes: Buffer) => void): () => void {
    this.bytesListeners.add(listener);
    return () => this.bytesListeners.delete(listener);
  }

  /** Calls `listener` with each piece as plain text (see plain-text.ts). */
  onText(listener: (plain: string) => void): () => void {
    this.textListeners.add(listener);
    return () => this.textListeners.delete(listener);
  }

  /** Each whole line of plain text from now on, until the machine ends. */
  onLine(listener: (line: string) => void): () => void {
    let rest = "";
    return this.onText((plain) => {
      const lines = (rest + plain).split("\n");
      rest = lines.pop()!.slice(-keptCharacters);
      for (const line of lines) listener(line);
    });
  }

  /** Sends bytes to the guest. The emulator takes them as its UART has room. */
  async write(data: string | Uint8Array): Promise<void> {
    const socket = this.socket ?? (await this.connected);
    if (socket.destroyed) return;
    await new Promise<void>((resolve) => socket.write(data, () => resolve()));
  }

  /**
   * The plain text up to and including `wanted`, which may have arrived already. Rejects with the tail of the output
   * when the machine ends first or `seconds` go by.
   */
  waitFor(wanted: string | RegExp, seconds = generousSeconds): Promise<string> {
    return new Promise((resolve, reject) => {
      const what = typeof wanted === "string" ? JSON.stringify(wanted) : String(wanted);
      const limit = setTimeout(() => {
        this.waits = this.waits.filter((other) => other !== wait);
        wait.reject(this.failure(`no ${what} on ${this.name} within ${seconds} s`));
      }, seconds * 1000);
      const settle =
        <T>(how: (value: T) => void) =>
        (value: T): void => (clearTimeout(limit), how(value));
      const wait: Wait = { find: finder(wanted), what, resolve: settle(resolve), reject: settle(reject) };
      this.waits.push(wait);
      this.serveWaits();
    });
  }

  /** The last lines that arrived and were not consumed by a wait, for messages. */
  tail(lines = 15): string {
    return this.kept.trimEnd().split("\n").slice(-lines).join("\n");
  }

  /** For drivers, when the emulator is gone: resolves when everything it sent has been passed on and logged. */
  async drained(): Promise<void> {
    this.server.close();
    if (this.socket === undefined) this.finish();
    await this.closed;
  }

  /** For drivers, after `drained`: no wait can succeed any more. */
  fail(error: Error): void {
    this.end = error;
    this.serveWaits();
  }

  private serveWaits(): void {
    for (let wait = this.waits[0]; wait !== undefined; wait = this.waits[0]) {
      const found = wait.find(this.kept);
      if (found !== undefined) {
        const text = this.kept.slice(0, found.end);
        this.kept = this.kept.slice(found.end);
        wait.resolve(text);
      } else if (this.end !== undefined) {
        wait.reject(this.failure(`no ${wait.what} on ${this.name}: ${this.end.message}`));
      } else return;
      this.waits.shift();
    }
  }

  private failure(message: string): MachineFailure {
    const tail = this.tail();
    return new MachineFailure(tail === "" ? `${message}; ${this.name} said nothing` : `${message}\n${tail}`);
  }
}

function finder(wanted: string | RegExp): Wait["find"] {
  if (typeof wanted === "string") {
    return (text) => {
      const at = text.indexOf(wanted);
      return at < 0 ? undefined : { end: at + wanted.length };
    };
  }
  return (text) => {
    const match = wanted.exec(text);
    return match === null ? undefined : { end: match.index + match[0].length };
  };
}
