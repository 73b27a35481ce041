/** The hypervisor's log on COM2, as far as our tools understand it. Every line begins with "(tv) ". */

export type LogEvent =
  | { kind: "banner"; text: string }
  /** Preflight or configuration refused to go on; nothing runs. */
  | { kind: "refused"; text: string }
  /** Root is in trouble; a report of several lines follows. */
  | { kind: "panic"; text: string }
  | { kind: "started"; vm: string; text: string }
  | { kind: "ended"; vm: string; how: string }
  /** Instead of an end: the guest has reset itself and begins anew. */
  | { kind: "restarted"; vm: string }
  /** One line of what the VM cost, after its end. */
  | { kind: "cost"; vm: string; text: string }
  /** No VM is left. */
  | { kind: "done" };

/** How a VM ends by its guest's own will; every other reason is a failure of the guest. */
export const poweredOff = "powered off";
export const reset = "reset";

const patterns: [RegExp, (groups: string[]) => LogEvent][] = [
  [/^(Typevisor .*)$/, ([text]) => ({ kind: "banner", text: text! })],
  [/^refused: (.*)$/, ([text]) => ({ kind: "refused", text: text! })],
  [/^panic: (.*)$/, ([text]) => ({ kind: "panic", text: text! })],
  [/^(vm\d+): started\b ?(.*)$/, ([vm, text]) => ({ kind: "started", vm: vm!, text: text! })],
  [/^(vm\d+): ended: (.*)$/, ([vm, how]) => ({ kind: "ended", vm: vm!, how: how! })],
  [/^(vm\d+): restarts\b/, ([vm]) => ({ kind: "restarted", vm: vm! })],
  [/^(vm\d+): cost: (.*)$/, ([vm, text]) => ({ kind: "cost", vm: vm!, text: text! })],
  [/^done\b/, () => ({ kind: "done" })],
];

const prefix = "(tv) ";

/** The event that a line of the log tells of, if any. */
export function parseLogLine(line: string): LogEvent | undefined {
  if (!line.startsWith(prefix)) return undefined;
  const text = line.slice(prefix.length).trimEnd();
  for (const [pattern, event] of patterns) {
    const match = pattern.exec(text);
    if (match !== null) return event(match.slice(1));
  }
  return undefined;
}
