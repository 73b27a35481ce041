/**
 * The 8254 interval timer and port 61h (Intel 8254 data sheet). Time is the caller's: a count of the timer's own clock,
 * 1.193182 MHz, that never goes back.
 *
 *   0 to 2  rw counter      3  w: control word, read-back      61h  rw gate and speaker, r: outputs
 */

const NEVER: u64 = ~(<u64>0);

namespace Format {
  export const Low: u32 = 1;
  export const High: u32 = 2;
  export const Both: u32 = 3;
}

@unmanaged
class Counter {
  /** When the current count was loaded, in timer clocks. */
  loaded: u64;
  /** The count, 1 to 65536 (10000 in BCD). */
  count: u32;
  mode: u32;
  format: u32;
  bcd: u32;
  gate: u32;
  /** A control word has come, and no count yet. */
  empty: u32;
  /** First byte of a count in two bytes. */
  low: u32;
  lowWritten: u32;
  highNext: u32;
  /** Latched count: bytes left to read, and the value. */
  latchedBytes: u32;
  latched: u32;
  statusLatched: u32;
  status: u32;
  padding: u32;
  /** Clocks counted when the gate went low. */
  frozen: u64;

  get periodic(): bool {
    return this.mode == 2 || this.mode == 3;
  }

  get modulus(): u64 {
    return this.bcd ? 10000 : 0x10000;
  }

  /** Clocks counted since the count was loaded: none while the gate is low, but in the modes that it triggers. */
  elapsed(now: u64): u64 {
    return this.gate || this.mode == 1 || this.mode == 5 ? now - this.loaded : this.frozen;
  }

  setGate(up: u32, now: u64): void {
    if (up == this.gate) return;
    if (!up) this.frozen = this.elapsed(now);
    else if (this.mode == 0 || this.mode == 4) this.loaded = now - this.frozen;
    else this.loaded = now; // a rising gate triggers, or starts a period
    this.gate = up;
  }

  /** The counting element's value. */
  value(now: u64): u32 {
    if (this.empty) return this.count & 0xffff;
    const passed = this.elapsed(now);
    let left: u64;
    if (this.mode == 3) left = this.count - ((passed * 2) % this.count & ~1);
    else if (this.mode == 2) left = this.count - (passed % this.count);
    else left = (this.count + this.modulus - (passed % this.modulus)) % this.modulus;
    return this.bcd ? toBcd(<u32>left % 10000) : <u32>left & 0xffff;
  }

  output(now: u64): bool {
    if (this.empty) return this.mode != 0;
    const passed = this.elapsed(now);
    switch (this.mode) {
      case 0:
      case 1:
        return passed >= this.count;
      case 2:
        return passed % this.count != this.count - 1;
      case 3:
        return passed % this.count < (this.count + 1) / 2;
      default:
        return passed != this.count;
    }
  }

  /** When the output next rises, after `now`. */
  nextRise(now: u64): u64 {
    if (this.empty || !this.gate) return NEVER;
    const passed = this.elapsed(now);
    if (this.periodic) return this.loaded + (passed / this.count + 1) * this.count;
    if (this.mode == 0) return passed < this.count ? this.loaded + this.count : NEVER;
    if (this.mode == 4) return passed <= this.count ? this.loaded + this.count + 1 : NEVER;
    return NEVER;
  }

  load(value: u32, now: u64): void {
    const binary = this.bcd ? fromBcd(value) : value;
    this.count = binary == 0 ? <u32>this.modulus : binary;
    this.loaded = now;
    this.frozen = 0;
    this.empty = 0;
  }

  control(word: u32, now: u64): void {
    const format = (word >> 4) & 3;
    if (format == 0) {
      this.latch(now);
      return;
    }
    const mode = (word >> 1) & 7;
    this.mode = mode > 5 ? mode & 3 : mode;
    this.format = format;
    this.bcd = word & 1;
    this.empty = 1;
    this.lowWritten = 0;
    this.highNext = 0;
    this.latchedBytes = 0;
    this.statusLatched = 0;
  }

  latch(now: u64): void {
    if (this.latchedBytes > 0) return;
    this.latched = this.value(now);
    this.latchedBytes = this.format == Format.Both ? 2 : 1;
  }

  latchStatus(now: u64): void {
    if (this.statusLatched) return;
    this.statusLatched = 1;
    this.status =
      (this.output(now) ? 0x80 : 0) | (this.empty ? 0x40 : 0) | (this.format << 4) | (this.mode << 1) | this.bcd;
  }

  read(now: u64): u32 {
    if (this.statusLatched) {
      this.statusLatched = 0;
      return this.status;
    }
    const value = this.latchedBytes > 0 ? this.latched : this.value(now);
    let high = this.format == Format.High;
    if (this.format == Format.Both) {
      high = this.highNext != 0;
      this.highNext ^= 1;
    }
    if (this.latchedBytes > 0) this.latchedBytes--;
    return high ? value >> 8 : value & 0xff;
  }

  write(value: u32, now: u64): void {
    if (this.format == Format.Low) {
      this.load(value, now);
    } else if (this.format == Format.High) {
      this.load(value << 8, now);
    } else if (!this.lowWritten) {
      this.low = value;
      this.lowWritten = 1;
      if (this.mode == 0) this.empty = 1; // the first byte stops the count
    } else {
      this.lowWritten = 0;
      this.load((value << 8) | this.low, now);
    }
  }
}

function toBcd(n: u32): u32 {
  return ((n / 1000) << 12) | ((n / 100) % 10 << 8) | ((n / 10) % 10 << 4) | (n % 10);
}

function fromBcd(n: u32): u32 {
  return (n >> 12) * 1000 + ((n >> 8) & 15) * 100 + ((n >> 4) & 15) * 10 + (n & 15);
}

@unmanaged
class Pit {
  /** Port 61h, bits 0 and 1. */
  speaker: u32;
  padding: u32;
  /** When counter 0's output next rises. */
  rise: u64;
}

const counters = memory.data(240, 8);
const pit = changetype<Pit>(memory.data(16, 8));

function counter(n: u32): Counter {
  return changetype<Counter>(counters + <usize>n * offsetof<Counter>());
}

/** After reset: no counter counts. */
export function resetPit(): void {
  for (let n: u32 = 0; n < 3; n++) {
    counter(n).empty = 1;
    counter(n).gate = n < 2 ? 1 : 0;
    counter(n).format = Format.Both;
    counter(n).count = 0x10000;
  }
  pit.rise = NEVER;
}

/** When the timer interrupt is due, in timer clocks; ~0 for never. */
export function nextTimerInterrupt(): u64 {
  return pit.rise;
}

/** Whether the timer's output has risen since the last call: an edge for the interrupt controller. */
export function takeTimerInterrupt(now: u64): bool {
  if (pit.rise > now) return false;
  pit.rise = counter(0).nextRise(now);
  return true;
}

export function readPit(offset: u32, now: u64): u32 {
  return offset < 3 ? counter(offset).read(now) : 0xff;
}

function readBack(word: u32, now: u64): void {
  for (let n: u32 = 0; n < 3; n++) {
    if (!(word & (2 << n))) continue;
    if (!(word & 0x20)) counter(n).latch(now);
    if (!(word & 0x10)) counter(n).latchStatus(now);
  }
}

/** The caller takes an interrupt that is due first: a new count forgets it. */
export function writePit(offset: u32, value: u32, now: u64): void {
  if (offset < 3) counter(offset).write(value, now);
  else if (value >> 6 == 3) readBack(value, now);
  else counter(value >> 6).control(value, now);
  if (offset == 0 || (offset == 3 && value >> 6 == 0)) pit.rise = counter(0).nextRise(now);
}

/** Port 61h: bits 1:0 as written, 4 toggles with the refresh request (every 15 us), 5 is counter 2's output. */
export function readSpeaker(now: u64): u32 {
  const refresh: u32 = (now / 18) & 1 ? 0x10 : 0;
  return pit.speaker | refresh | (counter(2).output(now) ? 0x20 : 0);
}

export function writeSpeaker(value: u32, now: u64): void {
  counter(2).setGate(value & 1, now);
  pit.speaker = value & 3;
}

if (offsetof<Counter>() > 80) ERROR("three counters do not fit their memory");
