/** Watches a booted machine and decides how the boot ends. */
import { grubFailure } from "../image/grub.ts";
import type { Machine, MachineEnd } from "../machine/machine.ts";
import { TextWatch } from "../machine/plain-text.ts";
import type { SerialPort } from "../machine/serial.ts";
import { type LogEvent, parseLogLine, poweredOff, reset } from "./hypervisor-log.ts";
import { Status } from "./status.ts";

export interface SessionOptions {
  /** No hypervisor: the machine itself is the guest's. */
  bare: boolean;
  until?: string;
  /** Seconds. */
  timeout?: number;
  /** Where each line of the hypervisor's log goes. */
  onLog(line: string): void;
  /** Called when the guest has reset itself and begins anew. */
  onRestart?(): void;
}

export interface Outcome {
  status: Status;
  /** What happened, in one line. */
  text: string;
  /** What the VM cost since it was last started, in the hypervisor's words. */
  costs: string[];
}

/** A panic is followed by its report, which takes this long at most. */
const reportMilliseconds = 3000;

/** When the guest is gone, its last words may still be on their way out of the UART. */
const quietMilliseconds = 200;

/** GRUB's messages come first of all on COM1, before a guest could say the same words. */
const grubCharacters = 4096;

export class Session {
  /** Resolves when something other than firmware and boot loader runs, or the boot has ended before. */
  readonly loaded: Promise<void>;
  readonly outcome: Promise<Outcome>;
  private readonly console: SerialPort;
  private costs: string[] = [];
  private panic: string | undefined;
  private lastEnd: { status: Status; text: string } | undefined;
  private resolveLoaded: () => void = () => {};
  private resolveOutcome: (outcome: Outcome) => void = () => {};
  private readonly timer: NodeJS.Timeout | undefined;

  constructor(
    machine: Machine,
    private readonly options: SessionOptions,
  ) {
    this.loaded = new Promise((resolve) => (this.resolveLoaded = resolve));
    this.outcome = new Promise((resolve) => (this.resolveOutcome = resolve));
    const { timeout } = options;
    if (timeout !== undefined) {
      const late = (): void => this.settle(Status.Timeout, `time ran out after ${timeout} s`);
      this.timer = setTimeout(late, timeout * 1000);
    }
    this.console = machine.serial[0];
    this.watchConsole();
    if (options.bare) {
      machine.onReset(() => options.onRestart?.());
    } else {
      machine.serial[1].onLine((line) => this.onLogLine(line.trimEnd()));
      machine.onReset(() => this.settle(Status.Failure, "the hypervisor's machine was reset"));
    }
    void machine.ended.then((end) => this.onMachineEnd(end));
  }

  /** The user has had enough. */
  leave(): void {
    this.settle(Status.Success, "left");
  }

  private watchConsole(): void {
    const until = this.options.until === undefined ? undefined : new TextWatch(this.options.until);
    let grub: { watch: TextWatch; left: number } | undefined = {
      watch: new TextWatch(grubFailure),
      left: grubCharacters,
    };
    this.console.onText((plain) => {
      if (this.options.bare && plain.trim() !== "") this.resolveLoaded();
      if (grub?.watch.push(plain.slice(0, grub.left))) this.settle(Status.Failure, grubFailure);
      if (grub !== undefined && (grub.left -= plain.length) <= 0) grub = undefined;
      if (until?.push(plain)) this.settle(Status.Success, "the text appeared");
    });
  }

  private onLogLine(line: string): void {
    const event = parseLogLine(line);
    if (line !== "") this.options.onLog(line);
    if (event !== undefined) this.onLogEvent(event);
  }

  private onLogEvent(event: LogEvent): void {
    switch (event.kind) {
      case "banner":
        return this.resolveLoaded();
      case "refused":
        return this.settle(Status.Failure, `the hypervisor refused: ${event.text}`);
      case "panic":
        this.panic ??= event.text;
        setTimeout(() => this.settle(Status.Failure, ""), reportMilliseconds);
        return;
      case "ended":
        this.costs = []; // those of lives before were told when it restarted
        this.lastEnd = { status: guestStatus(event.how), text: `the guest ended: ${event.how}` };
        return;
      case "restarted":
        this.lastEnd = undefined;
        return this.options.onRestart?.();
      case "cost":
        this.costs.push(event.text);
        return;
      case "done":
        return this.afterLastWords(() => this.settleGuestEnd());
      case "started":
        return;
    }
  }

  private onMachineEnd(end: MachineEnd): void {
    if (!this.options.bare) {
      // The hypervisor may switch the machine off after its last VM.
      if (this.lastEnd !== undefined && end.cause === "powered off") return this.settleGuestEnd();
      return this.settle(Status.Failure, `the machine ended: ${end.detail}`);
    }
    if (end.cause === "failed") return this.settle(Status.Failure, end.detail);
    this.lastEnd = { status: guestStatus(end.cause), text: `the guest ended: ${end.cause}` };
    this.settleGuestEnd();
  }

  /** The guest is gone for good. */
  private settleGuestEnd(): void {
    const end = this.lastEnd ?? { status: Status.GuestFailed, text: "the guest ended" };
    if (this.options.until === undefined) this.settle(end.status, end.text);
    else this.settle(Status.TextMissing, `${end.text}, without ${JSON.stringify(this.options.until)}`);
  }

  /** Calls `then` when nothing comes from the guest's console any more. */
  private afterLastWords(then: () => void): void {
    const timer = setTimeout(then, quietMilliseconds);
    this.console.onText(() => timer.refresh());
  }

  private settle(status: Status, text: string): void {
    clearTimeout(this.timer);
    // Whatever else follows a panic is its consequence.
    if (this.panic === undefined) this.resolveOutcome({ status, text, costs: this.costs });
    else
      this.resolveOutcome({
        status: Status.Failure,
        text: `the hypervisor panicked: ${this.panic}`,
        costs: this.costs,
      });
    this.resolveLoaded();
  }
}

function guestStatus(how: string): Status {
  if (how === poweredOff) return Status.Success;
  return how === reset ? Status.Reset : Status.GuestFailed;
}
