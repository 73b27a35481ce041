/**
 * An 8254 as its data sheet tells it, one clock pulse after the other. Slow, and nothing in it is computed in advance:
 * an oracle for the monitor's own.
 */
class Counter {
  mode = 3;
  format = 3;
  bcd = false;
  word = 0x36;
  /** The count register: what was last written. */
  register = 0;
  /** The counting element; before a reload it may hold 10000h. */
  element = 0;
  /** The count of the half period, or period, that is counted. */
  loadedCount = 0;
  out = true;
  nullCount = true;
  written = false;
  counting = false;
  /** The next pulse loads. */
  loads = false;
  strobed = false;
  low: number | undefined;
  readsHigh = false;
  latch: number[] = [];
  status: number | undefined;
  /** Rises of the output since the last look. */
  rises = 0;

  constructor(public gate: boolean) {}

  private setOut(up: boolean): void {
    if (up && !this.out) this.rises++;
    this.out = up;
  }

  private get top(): number {
    return this.bcd ? 10000 : 65536;
  }

  private load(): void {
    this.element = this.loadedCount = this.register;
    if (this.mode === 3) this.element &= ~1;
    this.nullCount = false;
    this.loads = false;
  }

  pulse(): void {
    if (this.loads) {
      this.load();
      this.counting = true;
      this.strobed = false;
      if (this.mode === 1) this.setOut(false);
      if (this.mode >= 2) this.setOut(true);
      return;
    }
    const wantsGate = this.mode !== 1 && this.mode !== 5;
    if (!this.counting || (wantsGate && !this.gate)) return;
    if (this.mode === 2) this.pulseRate();
    else if (this.mode === 3) this.pulseSquare();
    else this.pulseOnce();
  }

  private pulseOnce(): void {
    this.element = (this.element + this.top - 1) % this.top;
    if (this.mode >= 4 && !this.out) this.setOut(true);
    if (this.element !== 0 || this.strobed) return;
    this.strobed = true;
    this.setOut(this.mode < 2);
  }

  private pulseRate(): void {
    if (this.element === 1) {
      this.load();
      this.setOut(true);
    } else {
      this.element--;
      if (this.element === 1) this.setOut(false);
    }
  }

  private pulseSquare(): void {
    const odd = (this.loadedCount & 1) !== 0;
    const expired = this.element === 0;
    if (!expired) this.element -= 2;
    // Of an odd count the high half ends one pulse after the element has expired.
    if (odd && this.out ? !expired : this.element !== 0) return;
    this.load();
    this.setOut(!this.out);
  }

  control(word: number): void {
    this.word = word & 0x3f;
    this.format = (word >> 4) & 3;
    const mode = (word >> 1) & 7;
    this.mode = mode > 5 ? mode - 4 : mode;
    this.element = this.shown();
    this.bcd = (word & 1) !== 0;
    this.setOut(this.mode !== 0);
    this.nullCount = true;
    this.written = this.counting = this.loads = false;
    this.low = this.status = undefined;
    this.readsHigh = false;
    this.latch = [];
    this.raw = this.lastShown;
  }

  /** What the element showed when the control word came: undefined by the data sheet until a count is loaded. */
  raw: number | undefined = 0;
  private lastShown = 0;

  private shown(): number {
    if (this.raw !== undefined && !this.counting) return (this.lastShown = this.raw);
    const n = this.element % this.top;
    const digits =
      ((((n / 1000) % 10) | 0) << 12) |
      ((((n / 100) % 10) | 0) << 8) |
      ((((n / 10) % 10) | 0) << 4) |
      (n % 10);
    return (this.lastShown = this.bcd ? digits : n);
  }

  write(byte: number): void {
    let value = byte;
    if (this.format === 2) value = byte << 8;
    if (this.format === 3) {
      if (this.low === undefined) {
        this.low = byte;
        if (this.mode === 0) {
          this.raw = this.shown();
          this.counting = this.loads = false;
          this.setOut(false);
        }
        return;
      }
      value = (byte << 8) | this.low;
      this.low = undefined;
    }
    const digit = (n: number) => (value >> n) & 15;
    const count = this.bcd ? digit(12) * 1000 + digit(8) * 100 + digit(4) * 10 + digit(0) : value;
    this.register = count % this.top || this.top;
    this.nullCount = true;
    this.written = true;
    if (this.mode === 0) this.setOut(false);
    if (this.mode === 0 || this.mode === 4) this.loads = true;
    if ((this.mode === 2 || this.mode === 3) && !this.counting) this.loads = true;
  }

  setGate(up: boolean): void {
    const rose = up && !this.gate;
    this.gate = up;
    if (this.mode === 2 || this.mode === 3) {
      if (!up) this.setOut(true);
      if (rose && this.written) this.loads = true;
    } else if (rose && this.written && (this.mode === 1 || this.mode === 5)) {
      this.loads = true;
    }
  }

  latchCount(): void {
    if (this.latch.length > 0) return;
    const value = this.shown();
    if (this.format === 1) this.latch = [value & 255];
    else if (this.format === 2) this.latch = [value >> 8];
    else this.latch = this.readsHigh ? [value >> 8, value & 255] : [value & 255, value >> 8];
  }

  latchStatus(): void {
    this.status ??= (this.out ? 0x80 : 0) | (this.nullCount ? 0x40 : 0) | this.word;
  }

  read(): number {
    if (this.status !== undefined) {
      const status = this.status;
      this.status = undefined;
      return status;
    }
    const high = this.format === 2 || (this.format === 3 && this.readsHigh);
    if (this.format === 3) this.readsHigh = !this.readsHigh;
    return this.latch.shift() ?? (high ? this.shown() >> 8 : this.shown() & 255);
  }
}

export class Model8254 {
  readonly counters = [new Counter(true), new Counter(true), new Counter(false)];

  pulses(n: number): void {
    for (const counter of this.counters) for (let i = 0; i < n; i++) counter.pulse();
  }

  write(port: number, value: number): void {
    if (port === 0x61) this.counters[2]!.setGate((value & 1) !== 0);
    else if (port < 0x43) this.counters[port & 3]!.write(value);
    else if (value >> 6 < 3) this.command(this.counters[value >> 6]!, value);
    else this.readBack(value);
  }

  private command(counter: Counter, word: number): void {
    if (word & 0x30) counter.control(word);
    else counter.latchCount();
  }

  private readBack(word: number): void {
    this.counters.forEach((counter, n) => {
      if (!(word & (2 << n))) return;
      if (!(word & 0x20)) counter.latchCount();
      if (!(word & 0x10)) counter.latchStatus();
    });
  }

  read(port: number): number {
    return this.counters[port & 3]!.read();
  }
}
