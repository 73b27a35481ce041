/**
 * A 16550A as its data sheet tells it (PC16550D, 8.0 Registers), on a line on which nothing takes time: what is written
 * is sent before the next access, and the FIFO's timeout is over at once. Its receiver is as deep as the other end
 * likes; only what loops back can overrun it.
 */
type Cause = "line" | "received" | "empty" | "modem";

export class Model16550 {
  /** What went out. */
  readonly sent: number[] = [];
  /** The request that the rise of INTR leaves in an edge-triggered interrupt controller. */
  request = false;
  private divisor = [1, 0];
  private ier = 0;
  private lcr = 0;
  private mcr = 0;
  private scratch = 0;
  private fifos = false;
  private trigger = 1;
  /** Received by looping back, and from the other end. */
  private looped: number[] = [];
  private line: number[] = [];
  private overrun = false;
  private empty = false;
  private deltas = 0;
  private pin = false;

  private get loop(): boolean {
    return (this.mcr & 0x10) !== 0;
  }

  private get count(): number {
    return this.looped.length + (this.loop ? 0 : this.line.length);
  }

  private get triggered(): boolean {
    return this.fifos && this.count >= this.trigger;
  }

  /** Table IV, "Interrupt Control Functions": by priority. */
  private causes(...without: Cause[]): Cause[] {
    const all: [Cause, number, boolean][] = [
      ["line", 4, this.overrun],
      ["received", 1, this.count > 0],
      ["empty", 2, this.empty],
      ["modem", 8, this.deltas !== 0],
    ];
    return all
      .filter(([name, enable, is]) => is && (this.ier & enable) !== 0 && !without.includes(name))
      .map(([name]) => name);
  }

  /** What INTR is now. On a PC it passes a gate that OUT2 opens, and in loop mode OUT2 is inactive. */
  private settle(...without: Cause[]): void {
    const up = (this.mcr & 0x18) === 8 && this.causes(...without).length > 0;
    if (up !== this.pin) this.request = up;
    this.pin = up;
  }

  /** CTS, DSR, RI, DCD: the other end is there, or MCR's RTS, DTR, OUT1, OUT2. */
  private inputs(): boolean[] {
    const output = (n: number) => (this.mcr & n) !== 0;
    return this.loop ? [output(2), output(1), output(4), output(8)] : [true, true, false, true];
  }

  /** The other end sends. */
  give(bytes: number[]): void {
    this.line.push(...bytes);
    this.settle();
  }

  private transmit(byte: number): void {
    this.empty = false;
    this.settle();
    if (!this.loop) {
      this.sent.push(byte);
    } else if (this.looped.length < (this.fifos ? 16 : 1)) {
      this.looped.push(byte);
    } else {
      this.overrun = true;
      if (!this.fifos) this.looped = [byte];
    }
    this.empty = true;
    this.settle();
  }

  private receive(): number {
    const from = this.looped.length > 0 || this.loop ? this.looped : this.line;
    const byte = from.shift() ?? 0;
    // Reading resets the interrupt, but for a FIFO that is still at its trigger level. Then the next byte comes.
    if (!this.triggered) this.settle("received");
    return byte;
  }

  private identification(): number {
    const [first] = this.causes();
    const code = { line: 6, received: this.fifos && !this.triggered ? 12 : 4, empty: 2, modem: 0, none: 1 };
    if (first === "empty") this.empty = false;
    return code[first ?? "none"] | (this.fifos ? 0xc0 : 0);
  }

  private lineStatus(): number {
    const status = 0x60 | (this.overrun ? 2 : 0) | (this.count > 0 ? 1 : 0);
    this.overrun = false;
    return status;
  }

  private modemStatus(): number {
    const status = this.inputs().reduce((sum, up, n) => sum | (up ? 0x10 << n : 0), this.deltas);
    this.deltas = 0;
    return status;
  }

  read(offset: number): number {
    const latch = (this.lcr & 0x80) !== 0 && offset < 2;
    const value = latch ? this.divisor[offset]! : this.readRegister(offset);
    this.settle();
    return value;
  }

  private readRegister(offset: number): number {
    switch (offset) {
      case 0:
        return this.receive();
      case 1:
        return this.ier;
      case 2:
        return this.identification();
      case 3:
        return this.lcr;
      case 4:
        return this.mcr;
      case 5:
        return this.lineStatus();
      case 6:
        return this.modemStatus();
      default:
        return this.scratch;
    }
  }

  write(offset: number, value: number): void {
    if ((this.lcr & 0x80) !== 0 && offset < 2) this.divisor[offset] = value;
    else this.writeRegister(offset, value);
    this.settle();
  }

  private writeRegister(offset: number, value: number): void {
    switch (offset) {
      case 0:
        this.transmit(value);
        break;
      case 1:
        if ((value & ~this.ier & 2) !== 0) this.empty = true;
        this.ier = value & 0x0f;
        break;
      case 2:
        this.controlFifos(value);
        break;
      case 3:
        this.lcr = value;
        break;
      case 4:
        this.controlModem(value & 0x1f);
        break;
      case 7:
        this.scratch = value;
    }
  }

  private controlFifos(value: number): void {
    const on = (value & 1) !== 0;
    if (on !== this.fifos || (on && (value & 2) !== 0)) {
      this.looped = [];
      this.line = [];
    }
    this.fifos = on;
    if (on) this.trigger = [1, 4, 8, 14][value >> 6]!;
  }

  private controlModem(value: number): void {
    const before = this.inputs();
    this.mcr = value;
    this.inputs().forEach((up, n) => {
      // Of RI only the trailing edge counts.
      if (up !== before[n] && (n !== 2 || !up)) this.deltas |= 1 << n;
    });
  }
}
