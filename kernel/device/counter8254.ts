/**
 * One counter of an 8254 (Intel 8254 data sheet, "Operational Description" and "Mode Definitions"), computed from when
 * it was loaded instead of clock by clock. A count is written at one clock pulse and loaded by the next; until then the
 * counting element and the output are what they were.
 */

export const NEVER: u64 = ~(<u64>0);

namespace Format {
  export const Latch: u32 = 0;
  export const High: u32 = 2;
  export const Both: u32 = 3;
}

const STATUS_OUTPUT: u32 = 0x80;
const STATUS_NULL_COUNT: u32 = 0x40;


@unmanaged
export class Counter {
  /** The clock pulse that loaded the count, or will. */
  loaded: u64;
  /** Pulses counted when the gate went low. */
  frozen: u64;
  /** The pulse that will load `next`: a period's or a half period's end. */
  due: u64;
  /** The count that is counted down: 1 to 65536, in BCD to 10000. */
  count: u32;
  /** A count that waits to be loaded, or 0. */
  next: u32;
  /** A count has been loaded since the control word. */
  counting: u32;
  /** The count register's count has not been loaded, as far as noteLoad() knows. */
  nullCount: u32;
  /** The counting element and the output until the load. */
  valueBefore: u32;
  outputBefore: u32;
  /** Mode 3: what of a period the first one lacks, when a new count came with the low half. */
  phase: u32;
  gate: u32;
  /** Bits 5:0 of the control word. */
  control: u32;
  /** Writing: the first of two bytes. */
  low: u32;
  lowWritten: u32;
  /** Reading: the next byte is the second one. */
  highNext: u32;
  /** Latched count: bytes left to read, and the value. */
  latchedBytes: u32;
  latched: u32;
  statusLatched: u32;
  status: u32;

  /** 0 to 5; 6 and 7 are other ways to write 2 and 3. */
  get mode(): u32 {
    const m = (this.control >> 1) & 7;
    return m > 5 ? m & 3 : m;
  }

  get format(): u32 {
    return this.control >> 4;
  }

  get bcd(): bool {
    return (this.control & 1) != 0;
  }

  get modulus(): u32 {
    return this.bcd ? 10000 : 0x10000;
  }

  get periodic(): bool {
    return (this.mode & 2) != 0;
  }

  /** Modes 1 and 5 wait for the gate's rise and then count whatever it does. */
  get triggered(): bool {
    return (this.mode & 3) == 1;
  }

  /** As firmware leaves it: in mode 3, here without a count. */
  reset(gate: u32): void {
    this.gate = gate;
    this.control = (Format.Both << 4) | (3 << 1);
    this.nullCount = 1;
  }

  /** A count was written, or the gate rose, and the pulse that loads has not come. */
  loading(now: u64): bool {
    return this.counting != 0 && now < this.loaded;
  }

  noteLoad(now: u64): void {
    if (this.counting && now >= this.loaded && this.next == 0) this.nullCount = 0;
  }

  /** Pulses counted since the load. */
  elapsed(now: u64): u64 {
    if (!this.gate && !this.triggered) return this.frozen;
    return now > this.loaded ? now - this.loaded : 0;
  }

  /** Modes 2 and 3: pulses since the period's start. */
  position(now: u64): u32 {
    return <u32>((this.elapsed(now) + this.phase) % this.count);
  }

  /** Mode 3: length of the high half. */
  get highHalf(): u32 {
    return (this.count + 1) >> 1;
  }

  /** Loads a new count whose time has come. Everything else wants this done. */
  settle(now: u64): void {
    if (this.next == 0 || now < this.due) return;
    const intoLow = this.mode == 3 && this.position(this.due) != 0;
    this.loaded = this.due;
    this.count = this.next;
    this.phase = intoLow ? this.highHalf : 0;
    this.next = 0;
  }

  /** The next pulse loads `count`. */
  start(count: u32, now: u64): void {
    const before = this.value(now);
    // In mode 0 a new count takes the output down at once.
    this.outputBefore = this.mode != 0 && this.output(now) ? 1 : 0;
    this.valueBefore = before;
    this.loaded = now + 1;
    this.frozen = 0;
    this.count = count;
    this.next = 0;
    this.phase = 0;
    this.counting = 1;
  }

  setGate(up: u32, now: u64): void {
    if (up == this.gate) return;
    this.settle(now);
    this.noteLoad(now);
    if (!up) {
      this.frozen = this.elapsed(now);
      this.due = NEVER;
    } else if (this.periodic || this.triggered) {
      if (this.next) this.start(this.next, now);
      else if (this.counting) this.start(this.count, now);
    } else {
      this.loaded = max(this.loaded, now - this.frozen);
    }
    this.gate = up;
  }

  /** The counting element, as it is read. */
  value(now: u64): u32 {
    if (!this.counting || now < this.loaded) return this.valueBefore;
    let left: u32;
    if (this.mode == 3) {
      // Two a pulse, from an even number; of an odd count the high half takes one pulse more.
      const p = this.position(now);
      left = (this.count & ~1) - (p < this.highHalf ? p : p - this.highHalf) * 2;
    } else if (this.mode == 2) {
      left = this.count - this.position(now);
    } else {
      left = this.count + this.modulus - <u32>(this.elapsed(now) % this.modulus);
    }
    return this.bcd ? toBcd(left % 10000) : left & 0xffff;
  }

  output(now: u64): bool {
    const mode = this.mode;
    if (!this.counting) return mode != 0;
    if (now < this.loaded) return this.outputBefore != 0;
    if (mode < 2) return this.elapsed(now) >= this.count;
    if (mode > 3) return this.elapsed(now) != this.count;
    if (!this.gate) return true;
    const p = this.position(now);
    return mode == 3 ? p < this.highHalf : p != this.count - 1;
  }

  /** The period's next end after `now`. */
  periodEnd(now: u64): u64 {
    return max(now, this.loaded) + this.count - this.position(now);
  }

  /** When a new count is loaded: in mode 3 a half period's end will do. */
  nextLoad(now: u64): u64 {
    if (!this.gate || this.triggered) return NEVER;
    const p = this.position(now);
    return this.mode == 3 && p < this.highHalf ? now + this.highHalf - p : this.periodEnd(now);
  }

  /** When the output next rises by itself, after `now`. For counters whose gate is always high. */
  nextRise(now: u64): u64 {
    if (!this.counting) return NEVER;
    if (!this.periodic) {
      const rise = this.loaded + this.count + (this.mode == 4 ? 1 : 0);
      return rise > now ? rise : NEVER;
    }
    // A count that waits takes over at a rise, or with a low half.
    if (this.next)
      return this.mode == 3 && this.position(this.due) != 0 ? this.due + (this.next >> 1) : this.due;
    // With a count of 1, which the data sheet forbids, the output stands still.
    return this.count == 1 ? NEVER : this.periodEnd(now);
  }

  /** A control word, or the counter latch command. */
  command(word: u32, now: u64): void {
    if (((word >> 4) & 3) == Format.Latch) {
      this.latch(now);
      return;
    }
    this.valueBefore = this.value(now);
    this.control = word & 0x3f;
    this.counting = 0;
    this.next = 0;
    this.nullCount = 1;
    this.lowWritten = 0;
    this.highNext = 0;
    this.latchedBytes = 0;
    this.statusLatched = 0;
  }

  /** A byte of a new count. */
  write(byte: u32, now: u64): void {
    this.noteLoad(now);
    let value = byte;
    if (this.format == Format.High) {
      value = byte << 8;
    } else if (this.format == Format.Both) {
      this.lowWritten ^= 1;
      if (this.lowWritten) {
        this.low = byte;
        if (this.mode == 0) {
          // The first byte stops the counting, and takes the output down.
          this.valueBefore = this.value(now);
          this.counting = 0;
        }
        return;
      }
      value = (byte << 8) | this.low;
    }
    // Digits above 9 are no BCD: any count in range will do.
    const binary = this.bcd ? fromBcd(value) % 10000 : value;
    const count = binary == 0 ? this.modulus : binary;
    this.nullCount = 1;
    if (this.loading(now) || !(this.triggered || (this.periodic && this.counting))) {
      this.start(count, now);
    } else {
      this.due = this.nextLoad(now);
      this.next = count;
    }
  }

  latch(now: u64): void {
    if (this.latchedBytes > 0) return;
    this.latched = this.value(now);
    this.latchedBytes = this.format == Format.Both ? 2 : 1;
  }

  latchStatus(now: u64): void {
    if (this.statusLatched) return;
    this.noteLoad(now);
    this.statusLatched = 1;
    this.status =
      this.control | (this.output(now) ? STATUS_OUTPUT : 0) | (this.nullCount ? STATUS_NULL_COUNT : 0);
  }

  read(now: u64): u32 {
    if (this.statusLatched) {
      this.statusLatched = 0;
      return this.status;
    }
    this.settle(now);
    let value = this.latched;
    if (this.latchedBytes > 0) this.latchedBytes--;
    else value = this.value(now);
    let high = this.format == Format.High;
    if (this.format == Format.Both) {
      high = this.highNext != 0;
      this.highNext ^= 1;
    }
    return high ? value >> 8 : value & 0xff;
  }
}

function toBcd(n: u32): u32 {
  return ((n / 1000) << 12) | (((n / 100) % 10) << 8) | (((n / 10) % 10) << 4) | (n % 10);
}

function fromBcd(n: u32): u32 {
  return (n >> 12) * 1000 + ((n >> 8) & 15) * 100 + ((n >> 4) & 15) * 10 + (n & 15);
}
