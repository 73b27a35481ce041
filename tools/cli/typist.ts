/**
 * Types a script into the guest's console as a careful person would: a few characters at a time, and no further before
 * the guest has echoed them, so that neither its UART nor its terminal loses any; then, after each line, not before
 * the prompt is back. A guest that stays silent gets the next characters anyway: it may have echo switched off, or
 * run a program that reads.
 */
import { TextWatch } from "../machine/plain-text.ts";
import type { SerialPort } from "../machine/serial.ts";

/** The depth of a 16550's receive FIFO. */
const chunkSize = 16;

/** How long a guest may be silent before it gets the next characters without having echoed the last. */
const silenceMilliseconds = 2000;

/** A shell's prompt: the last thing printed, with nothing after it. */
const prompt = /(^|\n)[^\n]*[#$>] $/;

export class Typist {
  /** What the console has printed since the last piece was typed. */
  private text = "";
  private wake: ((silent: boolean) => void) | undefined;
  private restarted = false;
  private ready: TextWatch | undefined;

  /** `ready` is what the guest prints when it is ready to be typed at: a shell's prompt, if not told. */
  constructor(
    private readonly port: SerialPort,
    private readonly readyText: string | undefined,
  ) {
    this.watchForReady();
    port.onText((plain) => {
      this.text = (this.text + plain).slice(-4096);
      this.ready?.push(plain);
      this.wake?.(false);
    });
  }

  /** Types all that comes from `source`. */
  async type(source: AsyncIterable<Buffer>): Promise<void> {
    await this.untilReady();
    for await (const chunk of chunks(source)) {
      this.text = "";
      await this.port.write(chunk);
      const echo = squeezed(chunk.toString("utf8"));
      await this.until(() => squeezed(this.text).includes(echo));
      if (chunk.at(-1) === 0x0a) await this.until(() => prompt.test(this.text));
      if (this.restarted) await this.untilReady();
    }
  }

  /** The guest begins anew: nothing is typed before it is ready again. */
  guestRestarted(): void {
    this.restarted = true;
    this.text = "";
    this.watchForReady();
    this.wake?.(true);
  }

  private watchForReady(): void {
    this.ready = this.readyText === undefined ? undefined : new TextWatch(this.readyText);
  }

  private async untilReady(): Promise<void> {
    this.restarted = false;
    await this.until(() => this.ready?.found ?? prompt.test(this.text), Infinity);
  }

  /** Waits until the condition holds, or the guest has been silent for too long. */
  private async until(holds: () => boolean, patience = silenceMilliseconds): Promise<void> {
    while (!holds()) {
      const silent = await new Promise<boolean>((resolve) => {
        const timer = patience === Infinity ? undefined : setTimeout(() => resolve(true), patience);
        this.wake = (value) => (clearTimeout(timer), resolve(value));
      });
      if (silent && patience !== Infinity) return;
    }
  }
}

/** Echo may wrap lines and expand tabs. */
function squeezed(text: string): string {
  return text.replace(/\s+/g, "");
}

/** At most `chunkSize` bytes each; the end of a line ends a chunk, and no character is cut. */
export async function* chunks(source: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  for await (const bytes of source) {
    let rest = bytes;
    while (rest.length > 0) {
      const lineEnd = rest.indexOf(0x0a) + 1;
      let size = Math.min(rest.length, chunkSize);
      while (size > 1 && size < rest.length && (rest[size]! & 0xc0) === 0x80) size--; // inside of UTF-8
      if (lineEnd > 0) size = Math.min(size, lineEnd);
      yield rest.subarray(0, size);
      rest = rest.subarray(size);
    }
  }
}
