/**
 * One table of what a machine offers, in the words that the log, the screen and scripts/doctor all have. A row is a state, a name,
 * and what there is to say, wrapped: WIDTH columns, so that with the log's prefix a line is no longer than 79.
 */
import { Text } from "../../lib/text";

export namespace State {
  /** Nothing works without it, and it is there. */
  export const Required: u32 = 0;
  /** It can be done without, and it is there and used. */
  export const Used: u32 = 1;
  export const Spare: u32 = 2;
  export const Missing: u32 = 3;
  export const Off: u32 = 4;
  /** Something is not as its maker says: an erratum. */
  export const Affected: u32 = 5;
  export const Unknown: u32 = 6;
  export const Count: u32 = 7;
}

/** What can be looked at: bits. On the bare machine that is all, on a running system what it lets be read. */
export namespace Readable {
  export const Msr: u32 = 1;
  export const Memory: u32 = 2;
  export const Acpi: u32 = 4;
  export const All: u32 = 7;
}

const WIDTH: u32 = 74;
/** Where the name starts, and the lines that go on. */
const INDENT: u32 = 19;
const CAPACITY: u32 = 8192;
const ROW: u32 = 320;
const SPACE: u32 = 32;
const NEWLINE: u32 = 10;

/** What is read of it from outside, in this order: tools/doctor does so too. */
@unmanaged
class Report {
  /** Nonzero: this machine can run guests. */
  able: u32;
  /** Lines, each with a newline at its end. */
  start: usize;
  length: u32;
  /** Readable bits. */
  readable: u32;
  /** What the log said meanwhile. */
  log: usize;
  logLength: u32;

  canRead(what: u32): bool {
    return (this.readable & what) != 0;
  }
}

export const report = changetype<Report>(memory.data(24, 4));
const buffer = memory.data(8192);
const counts = memory.data(28, 4);
const lines = changetype<Text>(memory.data(16));
const row = changetype<Text>(memory.data(16));
const rowBuffer = memory.data(320);

function stateName(state: u32): string {
  switch (state) {
    case State.Required:
      return "required";
    case State.Used:
      return "used";
    case State.Spare:
      return "present, not used";
    case State.Missing:
      return "missing";
    case State.Off:
      return "off in firmware";
    case State.Affected:
      return "affected";
    default:
      return "unknown";
  }
}

export function countOf(state: u32): u32 {
  return load<u32>(counts + <usize>state * 4);
}

/** Forgets all rows. */
export function beginReport(): void {
  lines.over(buffer, CAPACITY);
  report.start = buffer;
  memory.fill(counts, 0, State.Count * 4);
}

/** Starts a row: what there is to say about it is appended. */
export function begin(state: u32, name: string): Text {
  store<u32>(counts + <usize>state * 4, countOf(state) + 1);
  row.over(rowBuffer, ROW).str(stateName(state));
  while (row.length < INDENT) row.byte(SPACE);
  return row.str(name).str(": ");
}

/** Where a line that starts at `from` and has `room` ends: behind its last word that fits. */
function lineEnd(from: u32, room: u32): u32 {
  if (row.length - from <= room) return row.length;
  for (let at = from + room; at > from; at--) if (load<u8>(row.start + at) == SPACE) return at;
  return from + room;
}

/** Ends the row. */
export function end(_row: Text): void {
  let room = WIDTH;
  for (let from: u32 = 0; from < row.length;) {
    if (from > 0) for (let i: u32 = 0; i < INDENT; i++) lines.byte(SPACE);
    const to = lineEnd(from, room);
    lines.bytes(row.start + from, to - from).byte(NEWLINE);
    from = to;
    while (from < row.length && load<u8>(row.start + from) == SPACE) from++;
    room = WIDTH - INDENT;
  }
  report.length = lines.length;
}

/** A whole row. */
export function tell(state: u32, name: string, what: string): void {
  end(begin(state, name).str(what));
}

/** A row of something that nothing works without. */
export function require(there: bool, name: string, what: string, advice: string): void {
  if (there) tell(State.Required, name, what);
  else end(begin(State.Missing, name).str("required; ").str(advice));
}

/** A row of something that is used where it is there. */
export function use(there: bool, name: string, what: string, instead: string): void {
  tell(there ? State.Used : State.Missing, name, there ? what : instead);
}

/** A row of something that is not used. */
export function spare(there: bool, name: string, what: string, instead: string): void {
  tell(there ? State.Spare : State.Missing, name, there ? what : instead);
}
