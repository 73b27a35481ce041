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

/** What the console has printed lately, and a way to wait for it to change. */
class Screen {
  private text = "";
  private wake: ((silent: boolean) => void) | undefined;
  readonly detach: () => void;

  constructor(port: SerialPort) {
    this.detach = port.onText((plain) => {
      this.text = (this.text + plain).slice(-4096);
      this.wake?.(false);
    });
  }

  clear(): void {
    this.text = "";
  }

  /** Waits until what was printed since `clear` fits; false if the guest fell silent instead. */
  async until(fits: (text: string) => boolean, patience = silenceMilliseconds): Promise<boolean> {
    while (!fits(this.text)) {
      const silent = await new Promise<boolean>((resolve) => {
        const timer = patience === Infinity ? undefined : setTimeout(() => resolve(true), patience);
        this.wake = (value) => (clearTimeout(timer), resolve(value));
      });
      if (silent) return false;
    }
    return true;
  }
}

/** Waits for `ready` (a shell's prompt, if not told), then types all that comes from `source`. */
export async function typeInto(
  port: SerialPort,
  source: AsyncIterable<Buffer>,
  ready?: string,
): Promise<void> {
  const screen = new Screen(port);
  try {
    if (ready === undefined) await screen.until((text) => prompt.test(text), Infinity);
    else await seen(port, ready);
    for await (const chunk of chunks(source)) {
      screen.clear();
      await port.write(chunk);
      const echo = squeezed(chunk.toString("utf8"));
      await screen.until((text) => squeezed(text).includes(echo));
      if (chunk.at(-1) === 0x0a) await screen.until((text) => prompt.test(text));
    }
  } finally {
    screen.detach();
  }
}

function seen(port: SerialPort, text: string): Promise<void> {
  const watch = new TextWatch(text);
  return new Promise((resolve) => {
    const stop = port.onText((plain) => {
      if (watch.push(plain)) (stop(), resolve());
    });
  });
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
