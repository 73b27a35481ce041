/**
 * Debian's Bochs is built with its internal debugger, which reads commands from standard input whenever the machine
 * is stopped, and stops it on SIGINT. Emulated time stands still meanwhile, so looking changes nothing.
 */
import { execFileSync } from "node:child_process";
import { closeSync, constants, openSync, writeSync } from "node:fs";
import type { Child } from "./child.ts";

const prompt = /<bochs:\d+> $/;
/** The echo of "c", after which the machine runs. A signal any sooner would eat the command. */
const running = /^c\n/;

/**
 * What Bochs reads its commands from. It has to be a pipe: the rfb display, as long as no viewer is connected, sends
 * the screen to file descriptor 0, which fails on a pipe and hangs Bochs on the sockets that Node.js makes.
 */
export function commandPipe(path: string): number {
  execFileSync("mkfifo", [path]);
  return openSync(path, constants.O_RDWR); // does not wait for a reader
}

export class BochsDebugger {
  private output = "";
  private wake: (() => void) | undefined;
  private queue: Promise<unknown>;
  private over = false;

  constructor(
    private readonly child: Child,
    private readonly commands: number,
  ) {
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      this.output += text;
      this.wake?.();
    });
    void child.ended.then(() => {
      this.over = true;
      this.wake?.();
      closeSync(commands);
    });
    this.queue = this.until(prompt).then(() => this.type("c", running));
  }

  /** Stops the machine, runs one command, lets the machine go on; returns the answer, "" if the machine is gone. */
  run(command: string): Promise<string> {
    const answer = this.queue.then(async () => {
      await this.interrupt();
      await this.type(command, prompt);
      const text = this.output;
      await this.type("c", running);
      // It echoes the command first.
      return this.over ? "" : text.replace(prompt, "").replace(/^.*\n/, "").trimEnd();
    });
    this.queue = answer;
    return answer;
  }

  /** Sends SIGINT, again if need be: Bochs forgets one between the echo of "c" and the first instruction. */
  private async interrupt(): Promise<void> {
    if (this.over) return;
    this.child.signal("SIGINT");
    const again = setInterval(() => this.child.signal("SIGINT"), 500);
    await this.until(prompt);
    clearInterval(again);
  }

  /** Types one line and waits for what the debugger says then. */
  private async type(line: string, answer: RegExp): Promise<void> {
    if (this.over) return;
    this.output = "";
    writeSync(this.commands, `${line}\n`);
    await this.until(answer);
  }

  private async until(pattern: RegExp): Promise<void> {
    while (!this.over && !pattern.test(this.output))
      await new Promise<void>((resolve) => (this.wake = resolve));
  }
}
