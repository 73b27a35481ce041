/**
 * An HPET as its specification tells it (IA-PC HPET 1.0a, 2.3), one clock after the other and nothing computed in advance:
 * an oracle for the monitor's own. Its first two timers have the places of the 8254 and of the clock, or none.
 */
const ONES = (1n << 64n) - 1n;

class Timer {
  comparator = ONES;
  period = 0n;
  level = false;
  enabled = false;
  periodic = false;
  valueSet = false;
  half = false;
  route = 0n;

  get width(): bigint {
    return this.half ? 0xffffffffn : ONES;
  }

  get configuration(): bigint {
    const bits = [
      false,
      this.level,
      this.enabled,
      this.periodic,
      true,
      true,
      this.valueSet,
      false,
      this.half,
    ];
    return (
      bits.reduce((sum, bit, n) => sum | (bit ? 1n << BigInt(n) : 0n), 0n) |
      (this.route << 9n) |
      (0xf00000n << 32n)
    );
  }

  set configuration(value: bigint) {
    const bit = (n: number) => ((value >> BigInt(n)) & 1n) === 1n;
    [this.level, this.enabled, this.periodic, this.half] = [bit(1), bit(2), bit(3), bit(8)];
    this.valueSet = bit(6) && this.periodic;
    const route = (value >> 9n) & 31n;
    if (route >= 20n && route <= 23n) this.route = route;
    this.comparator &= this.width;
    this.period &= this.width;
  }
}

export class ModelHpet {
  counter = 0n;
  running = false;
  legacy = false;
  status = 0n;
  readonly timers = [new Timer(), new Timer(), new Timer()];
  /** What interrupts 0 and 8 have seen and not delivered yet, and which level holds each up. */
  readonly requests = [false, false];
  private readonly held = [false, false];

  pulse(): void {
    if (!this.running) return;
    this.counter = (this.counter + 1n) & ONES;
    this.timers.forEach((t, n) => {
      if ((this.counter & t.width) !== t.comparator) return;
      if (t.level) this.status |= 1n << BigInt(n);
      else if (t.enabled && this.legacy && n < 2) this.requests[n] = true;
      if (t.periodic) t.comparator = (t.comparator + t.period) & t.width;
    });
    this.wire();
  }

  private wire(): void {
    for (const n of [0, 1]) {
      const t = this.timers[n]!;
      const set = ((this.status >> BigInt(n)) & 1n) === 1n;
      const level = this.running && this.legacy && t.level && t.enabled && set;
      if (level !== this.held[n]) this.requests[n] = level;
      this.held[n] = level;
    }
  }

  /** The register of 64 bits at a multiple of 8. */
  read(offset: number): bigint {
    const t = this.timers[(offset - 0x100) >> 5];
    if (offset === 0) return (10_000_000n << 32n) | 0x8086a201n;
    if (offset === 0x10) return (this.running ? 1n : 0n) | (this.legacy ? 2n : 0n);
    if (offset === 0x20) return this.status;
    if (offset === 0xf0) return this.counter;
    if (offset < 0x100 || !t || offset % 0x20 > 8) return 0n;
    return offset % 0x20 ? t.comparator : t.configuration;
  }

  /** Writes the bits in `mask` of that register. */
  write(offset: number, value: bigint, mask: bigint): void {
    const merge = (old: bigint) => (old & ~mask) | (value & mask);
    const t = this.timers[(offset - 0x100) >> 5];
    if (offset === 0x10) {
      const config = merge(this.read(offset));
      if (this.legacy !== ((config & 2n) !== 0n)) {
        this.requests.fill(false);
        this.held.fill(false);
      }
      [this.running, this.legacy] = [(config & 1n) !== 0n, (config & 2n) !== 0n];
    } else if (offset === 0x20) {
      this.status &= ~(value & mask);
    } else if (offset === 0xf0) {
      this.counter = merge(this.counter);
    } else if (offset >= 0x100 && t && offset % 0x20 === 0 && mask & 0xffffffffn) {
      t.configuration = merge(t.configuration);
      if (!t.level) this.status &= ~(1n << BigInt((offset - 0x100) >> 5));
    } else if (offset >= 0x100 && t && offset % 0x20 === 8) {
      if (t.periodic) t.period = merge(t.period) & t.width;
      if (!t.periodic || t.valueSet) t.comparator = merge(t.comparator) & t.width;
      t.valueSet = false;
    }
    this.wire();
  }
}
