/** Terminal output as plain text: without escape sequences and carriage returns, however the stream was cut. */

const CSI = /\x1b\[[0-?]*[ -/]*[@-~]/; // ECMA-48 5.4, Control sequences
const STRING = /\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)/; // ECMA-48 5.6, Control strings; xterm also ends them by BEL
const ESCAPE = /\x1b[ -/]*[0-Z\\`-~]/; // ECMA-35 13.2, Escape sequences
const sequence = new RegExp(`${CSI.source}|${STRING.source}|${ESCAPE.source}|\\r`, "g");
const unfinished = /\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?|[ -/]*)$/;

/** A sequence longer than this is no sequence but garbage, and is shown. */
const longest = 1024;

export class PlainText {
  private held = "";

  /** The plain text of the next piece of the stream; the start of an unfinished escape sequence is held back. */
  push(chunk: string): string {
    const text = this.held + chunk;
    const start = text.slice(-longest).search(unfinished);
    const end = start < 0 ? text.length : Math.max(0, text.length - longest) + start;
    this.held = text.slice(end);
    return text.slice(0, end).replace(sequence, "");
  }
}

/** Whether a text has gone by in a stream of plain text, found even when it is cut anywhere. */
export class TextWatch {
  private tail = "";
  found = false;
  private readonly text: string;

  constructor(text: string) {
    this.text = new PlainText().push(text);
  }

  /** Takes the next piece and says whether the text has been seen by now. */
  push(plain: string): boolean {
    const seen = this.tail + plain;
    this.found ||= seen.includes(this.text);
    this.tail = this.text.length > 1 ? seen.slice(-(this.text.length - 1)) : "";
    return this.found;
  }
}
