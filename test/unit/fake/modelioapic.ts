/** An I/O APIC as the 82093AA's data sheet tells it, and what its messages are, without anybody to take them. An oracle for the monitor's. */
export interface Sent {
  input: number;
  vector: number;
  mode: number;
}

class Redirection {
  vector = 0;
  mode = 0;
  logical = false;
  activeLow = false;
  remoteIrr = false;
  level = false;
  masked = true;
  destination = 0;
  /** Whether the line is at a high voltage. */
  pin = false;

  get low(): number {
    return (
      this.vector |
      (this.mode << 8) |
      (this.logical ? 0x800 : 0) |
      (this.activeLow ? 0x2000 : 0) |
      (this.remoteIrr ? 0x4000 : 0) |
      (this.level ? 0x8000 : 0) |
      (this.masked ? 0x10000 : 0)
    );
  }

  set low(value: number) {
    this.vector = value & 0xff;
    this.mode = (value >> 8) & 7;
    this.logical = (value & 0x800) !== 0;
    this.activeLow = (value & 0x2000) !== 0;
    this.level = (value & 0x8000) !== 0;
    this.masked = (value & 0x10000) !== 0;
    if (!this.level) this.remoteIrr = false;
  }

  get active(): boolean {
    return this.pin !== this.activeLow;
  }
}

export class ModelIoApic {
  readonly inputs = Array.from({ length: 24 }, () => new Redirection());
  index = 0;
  id = 0;
  sent: Sent[] = [];

  /** `taken`: whether an APIC takes a message. */
  constructor(private readonly taken: (entry: Redirection) => boolean) {
    for (let n = 16; n < 24; n++) this.inputs[n]!.pin = true;
  }

  private send(n: number): boolean {
    const entry = this.inputs[n]!;
    const taken = this.taken(entry);
    if (taken) this.sent.push({ input: n, vector: entry.vector, mode: entry.mode });
    return taken;
  }

  private look(n: number): void {
    const entry = this.inputs[n]!;
    if (!entry.level || entry.mode > 1 || entry.masked || entry.remoteIrr || !entry.active) return;
    if (this.send(n)) entry.remoteIrr = true;
  }

  drive(n: number, high: boolean): void {
    const entry = this.inputs[n]!;
    const was = entry.active;
    entry.pin = high;
    if (entry.level && entry.mode <= 1) this.look(n);
    else if (!was && entry.active && !entry.masked) this.send(n);
  }

  eoi(vector: number): void {
    this.inputs.forEach((entry, n) => {
      if (!entry.remoteIrr || entry.vector !== vector) return;
      entry.remoteIrr = false;
      this.look(n);
    });
  }

  read(): number {
    if (this.index === 0 || this.index === 2) return this.id << 24;
    if (this.index === 1) return 0x00170020;
    const entry = this.inputs[(this.index - 0x10) >> 1];
    if (!entry) return 0;
    return this.index & 1 ? (entry.destination << 24) >>> 0 : entry.low;
  }

  write(value: number): void {
    if (this.index === 0) this.id = (value >>> 24) & 15;
    const entry = this.index < 0x10 ? undefined : this.inputs[(this.index - 0x10) >> 1];
    if (!entry) return;
    if (this.index & 1) {
      entry.destination = value >>> 24;
    } else {
      entry.low = value;
      this.look((this.index - 0x10) >> 1);
    }
  }
}
