/**
 * The guest's console on our standard output: byte for byte on a terminal, as plain text elsewhere. What firmware and
 * boot loader draw before the first visible character is left out: it would clear the user's screen.
 */
import type { SerialPort } from "../machine/serial.ts";

export class ConsoleOutput {
  private started = false;
  private atLineStart = true;
  private ended = false;
  /** What has arrived before `begin`. */
  private held: (string | Buffer)[] | undefined = [];

  /** Takes what arrives on `port` from now on, and shows it from `begin` on. */
  constructor(port: SerialPort) {
    const raw = process.stdout.isTTY === true;
    // A port hands out each piece as bytes first, then as text: the first visible one is shown as text.
    port.onBytes((bytes) => {
      if (raw && this.started) this.write(bytes);
    });
    port.onText((plain) => {
      const text = this.started ? plain : plain.trimStart();
      if (text === "") return;
      if (!raw) this.write(text);
      else if (!this.started) this.write(text.replaceAll("\n", "\r\n"));
      this.started = true;
      this.atLineStart = text.endsWith("\n");
    });
  }

  begin(): void {
    const held = this.held ?? [];
    this.held = undefined;
    for (const piece of held) this.write(piece);
  }

  /** Ends an unfinished line, so that what we say next stands on its own. What still arrives is not shown. */
  end(): void {
    if (!this.atLineStart) this.write("\n");
    this.ended = true;
  }

  private write(piece: string | Buffer): void {
    if (this.ended) return;
    if (this.held === undefined) process.stdout.write(piece);
    else this.held.push(piece);
  }
}
