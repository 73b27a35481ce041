/**
 * A child process that cannot outlive us: it leads a process group of its own, which is killed when we end, and
 * the kernel kills it (PR_SET_PDEATHSIG, by util-linux' setpriv) should we be killed without a chance to do so.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { createWriteStream } from "node:fs";
import type { Readable } from "node:stream";
import { onExit } from "./exit-hooks.ts";

export class Child {
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** How it ended ("exit status 1", "signal SIGKILL"), once it has and all its output was read. Never rejects. */
  readonly ended: Promise<string>;
  private readonly process: ChildProcess;

  /**
   * Starts `command`; what it prints also goes to `logFile`. Its standard input is the file descriptor `stdin`, or
   * nothing. Its group never gets the terminal's Ctrl-C.
   */
  constructor(
    command: string,
    args: readonly string[],
    options: { cwd: string; logFile: string; stdin?: number },
  ) {
    const child = spawn("setpriv", ["--pdeathsig", "KILL", "--", command, ...args], {
      cwd: options.cwd,
      detached: true,
      stdio: [options.stdin ?? "ignore", "pipe", "pipe"],
    });
    this.process = child;
    this.stdout = child.stdout!;
    this.stderr = child.stderr!;
    const log = createWriteStream(options.logFile);
    this.stdout.pipe(log, { end: false });
    this.stderr.pipe(log, { end: false });
    const forget = onExit(() => this.kill());
    this.ended = new Promise((resolve) => {
      this.process.once("error", (error) => {
        forget();
        resolve(`cannot start: ${error.message}`);
      });
      this.process.once("close", (code, signal) => {
        forget();
        log.end(() => resolve(signal ? `signal ${signal}` : `exit status ${code}`));
      });
    });
  }

  signal(signal: NodeJS.Signals): void {
    this.process.kill(signal);
  }

  /** Ends it and everything it started, at once. */
  kill(): void {
    const { pid, exitCode, signalCode } = this.process;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    try {
      process.kill(-pid, "SIGKILL");
    } catch {
      this.process.kill("SIGKILL"); // the group does not exist yet, or no more
    }
  }
}
