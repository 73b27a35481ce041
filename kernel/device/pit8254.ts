/**
 * The 8254 interval timer of a PC, and port 61h (Intel 8254 data sheet; 82371AB 4.2.6, NMI Status and Control). Time is
 * the caller's: the number of clock pulses so far, at 1.193182 MHz, that never goes down.
 *
 *   0 to 2  rw counter      3  w: control word, read-back      61h  rw gate and speaker, r: outputs
 */
import { Counter, NEVER } from "./counter8254";

/** An interrupt that a guest sets up comes back no sooner than this, in clocks: 54 us. */
const SHORTEST: u64 = 64;
/** Port 61h: bits that read as written; the refresh request's toggle, every 15 us; counter 2's output. */
const SPEAKER_WRITTEN: u32 = 15;
const SPEAKER_REFRESH: u32 = 0x10;
const SPEAKER_OUTPUT: u32 = 0x20;
const REFRESH: u64 = 18;
/** Bits of the read-back command: do not latch. */
const NO_COUNT: u32 = 0x20;
const NO_STATUS: u32 = 0x10;


@unmanaged
class Pit {
  /** When counter 0's output next rises. */
  rise: u64;
  speaker: u32;
  padding: u32;
}

const counters = memory.data(264, 8);
const pit = changetype<Pit>(memory.data(16, 8));

function counter(n: u32): Counter {
  return changetype<Counter>(counters + <usize>n * offsetof<Counter>());
}

/** After reset: no counter counts. The gates of counters 0 and 1 are wired high. */
export function resetPit(): void {
  for (let n: u32 = 0; n < 3; n++) counter(n).reset(n < 2 ? 1 : 0);
  pit.rise = NEVER;
}

/** When the timer interrupt is due, in timer clocks; ~0 for never. */
export function nextTimerInterrupt(): u64 {
  return pit.rise;
}

/** Whether the timer's output has risen since the last call: an edge for the interrupt controller. */
export function takeTimerInterrupt(now: u64): bool {
  if (pit.rise > now) return false;
  const c = counter(0);
  c.settle(now);
  pit.rise = max(c.nextRise(now), now + SHORTEST);
  return true;
}

export function readPit(offset: u32, now: u64): u32 {
  return offset < 3 ? counter(offset).read(now) : 0xff;
}

function readBack(word: u32, now: u64): void {
  for (let n: u32 = 0; n < 3; n++) {
    if (!(word & (2 << n))) continue;
    counter(n).settle(now);
    if (!(word & NO_COUNT)) counter(n).latch(now);
    if (!(word & NO_STATUS)) counter(n).latchStatus(now);
  }
}

/** What a write did to the timer's output. */
export namespace Edge {
  export const None: u32 = 0;
  export const Fall: u32 = 1;
  export const Rise: u32 = 2;
}

/** The caller takes an interrupt that is due first: a new count forgets it. */
export function writePit(offset: u32, value: u32, now: u64): u32 {
  const n = offset < 3 ? offset : value >> 6;
  if (n == 3) {
    readBack(value, now);
    return Edge.None;
  }
  const c = counter(n);
  c.settle(now);
  const before = c.output(now);
  if (offset < 3) c.write(value, now);
  else c.command(value, now);
  if (n != 0) return Edge.None;
  pit.rise = c.nextRise(now);
  const after = c.output(now);
  return before == after ? Edge.None : after ? Edge.Rise : Edge.Fall;
}

export function readSpeaker(now: u64): u32 {
  const c = counter(2);
  c.settle(now);
  const refresh = (now / REFRESH) & 1 ? SPEAKER_REFRESH : 0;
  return pit.speaker | refresh | (c.output(now) ? SPEAKER_OUTPUT : 0);
}

export function writeSpeaker(value: u32, now: u64): void {
  counter(2).setGate(value & 1, now);
  pit.speaker = value & SPEAKER_WRITTEN;
}

if (offsetof<Counter>() * 3 > 264) ERROR("three counters do not fit their memory");

/** Where its state is, for the debugger. */
export function pitState(): usize {
  return counters;
}
