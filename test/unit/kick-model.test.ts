/**
 * The protocol by which vCPUs reach each other (docs/smp.md), in every interleaving: no wake-up is lost. The model has one
 * atomic step a line of kernel/device/kick.ts, kernel/monitor/run.ts, kernel/monitor/halt.ts and kernel/root/scheduler.ts that another CPU
 * can see. The target's monitor halts its CPU itself, or leaves that to root.
 */
import { expect, test } from "vitest";

/** Ways in which it could be wrong. */
type Mistake =
  | "none"
  | "looks before it answers"
  | "kicks before the message"
  | "root does not look"
  | "no interrupt"
  | "halts without a look at what is marked";

interface State {
  /** What each sender has still to do: its messages, and where it is in sending one. */
  senders: { left: number; at: "message" | "kick" | "interrupt" }[];
  /** The mailbox, the word RunArea.kicked, and an interrupt that waits for the target's CPU. */
  messages: number;
  kicked: boolean;
  pending: boolean;
  /** It has been let in, by the monitor, and waits for the exit stub. */
  marked: boolean;
  /** Messages that the target has seen. */
  seen: number;
  /** Where the target's CPU is. */
  at: "answer" | "look" | "decide" | "guest" | "monitor" | "resting" | "root" | "asleep";
  halted: boolean;
}

const TOTAL = 3;

/** What may happen next, from a state. */
function* next(s: State, mistake: Mistake): Generator<State> {
  for (const [i, sender] of s.senders.entries()) {
    const change = (c: Partial<State>, n: Partial<State["senders"][0]>): State => ({
      ...s,
      ...c,
      senders: s.senders.map((other, j) => (i === j ? { ...other, ...n } : other)),
    });
    const early = mistake === "kicks before the message";
    const done = { at: "message" as const, left: sender.left - 1 };
    if (sender.at === "message" && sender.left > 0) {
      // With the mistake this step is the kick.
      if (!early) yield change({ messages: s.messages + 1 }, { at: "kick" });
      else if (s.kicked) yield change({}, { at: "interrupt" });
      else yield change({ kicked: true, pending: true }, { at: "interrupt" });
    } else if (sender.at === "kick") {
      // One locked instruction: who finds the word set leaves the interrupt to whom set it.
      yield change({ kicked: true }, s.kicked || mistake === "no interrupt" ? done : { at: "interrupt" });
    } else if (sender.at === "interrupt") {
      yield early ? change({ messages: s.messages + 1 }, done) : change({ pending: true }, done);
    }
  }
  const look = { seen: s.seen + s.messages, messages: 0, halted: s.halted && s.messages === 0 };
  const answer = { kicked: false };
  switch (s.at) {
    case "answer":
      yield { ...s, ...(mistake === "looks before it answers" ? look : answer), at: "look" };
      break;
    case "look":
      yield { ...s, ...(mistake === "looks before it answers" ? answer : look), at: "decide" };
      break;
    case "decide":
      // Halted still: to root, which marks it so; else into the guest.
      yield { ...s, at: s.halted ? "root" : "guest" };
      if (s.halted) yield { ...s, at: "monitor" };
      break;
    case "guest":
      // The guest halts when it likes; an interrupt brings it to root, which runs it again, or to its monitor.
      yield { ...s, halted: true, at: "root" };
      yield { ...s, halted: true, at: "monitor" };
      if (s.pending) yield { ...s, pending: false, at: "answer" };
      break;
    case "monitor":
      // It runs with interrupts on, but for its look at what is marked and the HLT behind that.
      if (s.pending) yield { ...s, pending: false, marked: true };
      if (s.marked && mistake !== "halts without a look at what is marked")
        yield { ...s, marked: false, at: "answer" };
      else yield { ...s, at: "resting" };
      break;
    case "resting":
      if (s.pending) yield { ...s, pending: false, marked: false, at: "answer" };
      break;
    case "root":
      // Root has opened interrupts before, so its look comes behind them.
      yield { ...s, at: s.kicked && mistake !== "root does not look" ? "answer" : "asleep" };
      break;
    case "asleep":
      // HLT with nothing pending, or an interrupt that came before it: both end by an interrupt alone.
      if (s.pending) yield { ...s, pending: false, at: "root" };
  }
}

/** States that can be reached and from which nothing happens any more. */
function ends(mistake: Mistake): { reached: number; ends: State[] } {
  const start: State = {
    senders: [
      { left: 2, at: "message" },
      { left: 1, at: "message" },
    ],
    messages: 0,
    kicked: false,
    pending: false,
    marked: false,
    seen: 0,
    at: "guest",
    halted: false,
  };
  const known = new Set<string>();
  const found: State[] = [];
  const open = [start];
  for (let s = open.pop(); s; s = open.pop()) {
    const key = JSON.stringify(s);
    if (known.has(key)) continue;
    known.add(key);
    const following = [...next(s, mistake)];
    if (following.length === 0) found.push(s);
    open.push(...following);
  }
  return { reached: known.size, ends: found };
}

test("Whatever the order, in the end every message has been seen, and the vCPU sleeps with nothing to do", () => {
  const { reached, ends: all } = ends("none");
  expect(reached).toBeGreaterThan(200);
  expect(all.length).toBeGreaterThan(0);
  for (const s of all) expect(s).toMatchObject({ seen: TOTAL, messages: 0, kicked: false, marked: false });
  expect(new Set(all.map((s) => s.at))).toEqual(new Set(["asleep", "resting"]));
});

test.each<Mistake>([
  "looks before it answers",
  "kicks before the message",
  "root does not look",
  "no interrupt",
  "halts without a look at what is marked",
])("A message would be lost if it were otherwise: %s", (mistake) => {
  expect(ends(mistake).ends.some((s) => s.seen < TOTAL)).toBe(true);
});
