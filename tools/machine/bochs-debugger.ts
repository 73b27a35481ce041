/**
 * Debian's Bochs is built with its internal debugger, which reads commands from standard input whenever the machine
 * is stopped, and stops it on SIGINT. Emulated time stands still meanwhile; a stop shifts it by a few ticks at most.
 */
import { execFileSync } from "node:child_process";
import { closeSync, constants, openSync, writeSync } from "node:fs";
import type { Child } from "./child.ts";
import { MachineFailure } from "./errors.ts";

const prompt = /<bochs:\d+> $/;
/** Milliseconds that Bochs takes at least from the echo to the first instruction. */
const settling = 5;
/** So many times Bochs is asked to stop. */
const patience = 60;
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
  private continued = 0;

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
    this.queue = this.until(prompt).then(() => this.continue());
  }

  /** Stops the machine, runs one command, lets the machine go on; returns the answer, "" if the machine is gone. */
  run(command: string): Promise<string> {
    const answer = this.queue.then(async () => {
      await this.interrupt();
      await this.type(command, prompt);
      const text = this.output;
      await this.continue();
      // It echoes the command first.
      return this.over ? "" : text.replace(prompt, "").replace(/^.*\n/, "").trimEnd();
    });
    this.queue = answer.catch(() => {}); // that one failed; the next may not
    return answer;
  }

  /** Sends SIGINT, again if need be: Bochs forgets one between the echo of "c" and the first instruction. */
  private async interrupt(): Promise<void> {
    const early = this.continued + settling - performance.now();
    if (early > 0) await new Promise((resolve) => setTimeout(resolve, early));
    for (let tries = 0; tries < patience; tries++) {
      if (this.over) return;
      this.child.signal("SIGINT");
      if (await this.until(prompt, 500)) return;
    }
    throw new MachineFailure("Bochs' debugger does not answer");
  }

  private async continue(): Promise<void> {
    await this.type("c", running);
    this.continued = performance.now();
  }

  /** Types one line and waits for what the debugger says then. */
  private async type(line: string, answer: RegExp): Promise<void> {
    if (this.over) return;
    this.output = "";
    writeSync(this.commands, `${line}\n`);
    await this.until(answer);
  }

  /** Waits for output that fits; false if it does not come in time, true as well when there will be no more. */
  private async until(pattern: RegExp, milliseconds?: number): Promise<boolean> {
    let late = false;
    const expire = (): void => {
      late = true;
      this.wake?.();
    };
    const timer = milliseconds === undefined ? undefined : setTimeout(expire, milliseconds);
    while (!this.over && !late && !pattern.test(this.output)) {
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
    clearTimeout(timer);
    return !late;
  }
}
