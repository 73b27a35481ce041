/** GDB's end of the debugger's line, as a test speaks it: packets, and what comes instead of them. */
import type { SerialPort } from "../../tools/machine/serial.ts";

/** Milliseconds for a reply, however slow the machine. */
const patience = 300_000;

export class RspClient {
  private received = "";
  private readonly packets: string[] = [];
  private wake: () => void = () => {};

  constructor(private readonly port: SerialPort) {
    port.onBytes((bytes) => {
      this.received += bytes.toString("latin1");
      this.take();
      this.wake();
    });
  }

  private take(): void {
    for (;;) {
      const packet = /^[^$]*\$([^#]*)#(..)/.exec(this.received);
      if (!packet) return;
      this.received = this.received.slice(packet[0].length);
      this.packets.push(packet[1]!);
      void this.port.write("+");
    }
  }

  /** The next packet of the debugger. */
  async next(): Promise<string> {
    const deadline = Date.now() + patience;
    while (this.packets.length === 0) {
      if (Date.now() > deadline) throw new Error(`no packet of the debugger; it sent ${this.received}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1000);
        this.wake = () => (clearTimeout(timer), resolve());
      });
    }
    return this.packets.shift()!;
  }

  /** Sends a packet, with this checksum instead of its own if told. */
  async send(text: string, checksum?: string): Promise<void> {
    const sum = [...Buffer.from(text, "latin1")].reduce((a, b) => (a + b) & 0xff, 0);
    await this.port.write(`$${text}#${checksum ?? sum.toString(16).padStart(2, "0")}`);
  }

  /** A request and its reply. */
  async ask(text: string): Promise<string> {
    await this.send(text);
    return this.next();
  }

  /** Ctrl-C. */
  async interrupt(): Promise<void> {
    await this.port.write("\x03");
  }
}
