/**
 * Two cascaded 8259As as their data sheet tells them: input by input, in order of priority, with nothing computed in
 * advance. An oracle for the monitor's own.
 */
class Chip {
  irr = new Array<boolean>(8).fill(false);
  isr = new Array<boolean>(8).fill(false);
  imr = new Array<boolean>(8).fill(true);
  pin = new Array<boolean>(8).fill(false);
  levelTriggered = new Array<boolean>(8).fill(false);
  lowest = 7;
  base = 0;
  words: string[] = [];
  autoEoi = false;
  rotateInAutoEoi = false;
  specialMask = false;
  specialNested = false;
  select: "IRR" | "ISR" = "IRR";
  polled = false;

  constructor(
    readonly master: boolean,
    private readonly fixedEdge: number[],
  ) {}

  /** Inputs from the highest priority to the lowest. */
  private order(): number[] {
    return [1, 2, 3, 4, 5, 6, 7, 8].map((n) => (this.lowest + n) % 8);
  }

  setPin(n: number, up: boolean): void {
    const rose = up && !this.pin[n];
    this.pin[n] = up;
    if (this.levelTriggered[n]) this.irr[n] = up;
    else if (rose) this.irr[n] = true;
    else if (!up) this.irr[n] = false;
  }

  /** The input that makes INT go high. */
  winner(): number | undefined {
    for (const n of this.order()) {
      if (this.irr[n] && !this.imr[n]) {
        const again = this.specialNested && this.master && n === 2;
        if (!this.isr[n] || again || (this.specialMask && this.imr[n])) return n;
      }
      // What is in service shuts out itself and all below, unless the special mask mode has it masked.
      if (this.isr[n] && !(this.specialMask && this.imr[n])) return undefined;
    }
    return undefined;
  }

  acknowledge(n: number): void {
    if (!this.levelTriggered[n]) this.irr[n] = false;
    if (!this.autoEoi) this.isr[n] = true;
    else if (this.rotateInAutoEoi) this.lowest = n;
  }

  private nonSpecific(): number | undefined {
    return this.order().find((n) => this.isr[n] && !(this.specialMask && this.imr[n]));
  }

  write(a0: number, value: number): void {
    if (a0) this.writeData(value);
    else if (value & 0x10) this.icw1(value);
    else if (value & 0x08) this.ocw3(value);
    else this.ocw2(value >> 5, value & 7);
  }

  private icw1(value: number): void {
    this.words = ["ICW2"];
    if (!(value & 2)) this.words.push("ICW3");
    if (value & 1) this.words.push("ICW4");
    this.imr.fill(false);
    this.isr.fill(false);
    this.irr = this.pin.map((up, n) => up && this.levelTriggered[n]!);
    this.lowest = 7;
    this.autoEoi = this.rotateInAutoEoi = this.specialMask = this.specialNested = this.polled = false;
    this.select = "IRR";
  }

  private writeData(value: number): void {
    const word = this.words.shift();
    if (word === "ICW2") this.base = value & 0xf8;
    else if (word === "ICW4") {
      this.autoEoi = (value & 2) !== 0;
      this.specialNested = (value & 16) !== 0;
    } else if (word === undefined) this.imr = this.imr.map((_, n) => ((value >> n) & 1) !== 0);
  }

  private ocw2(command: number, level: number): void {
    switch (command) {
      case 0b001:
      case 0b101: {
        const n = this.nonSpecific();
        if (n === undefined) return;
        this.isr[n] = false;
        if (command === 0b101) this.lowest = n;
        return;
      }
      case 0b011:
      case 0b111:
        this.isr[level] = false;
        if (command === 0b111) this.lowest = level;
        return;
      case 0b100:
        this.rotateInAutoEoi = true;
        return;
      case 0b000:
        this.rotateInAutoEoi = false;
        return;
      case 0b110:
        this.lowest = level;
    }
  }

  private ocw3(value: number): void {
    if (value & 0x40) this.specialMask = (value & 0x20) !== 0;
    if (value & 2) this.select = value & 1 ? "ISR" : "IRR";
    this.polled = (value & 4) !== 0;
  }

  writeElcr(value: number): void {
    for (let n = 0; n < 8; n++) {
      const level = ((value >> n) & 1) !== 0 && !this.fixedEdge.includes(n);
      if (level !== this.levelTriggered[n]) this.irr[n] = level && this.pin[n]!;
      this.levelTriggered[n] = level;
    }
  }
}

const number = (bits: boolean[]): number => bits.reduce((sum, bit, n) => sum | (bit ? 1 << n : 0), 0);

export class Model8259 {
  readonly master = new Chip(true, [0, 1, 2]);
  readonly slave = new Chip(false, [0, 5]);
  private readonly chips = [this.master, this.slave];

  /** The slave's INT is the master's pin 2. */
  private settle(): void {
    this.master.setPin(2, this.slave.winner() !== undefined);
  }

  setLine(n: number, up: boolean): void {
    this.chips[n >> 3]!.setPin(n & 7, up);
    this.settle();
  }

  /** INTA: the vector. */
  acknowledge(): number | undefined {
    const n = this.master.winner();
    if (n === undefined) return undefined;
    this.master.acknowledge(n);
    if (n !== 2) return this.master.base + n;
    const input = this.slave.winner()!;
    this.acknowledgeSlave(input);
    return this.slave.base + input;
  }

  private acknowledgeSlave(n: number): void {
    this.slave.acknowledge(n);
    this.master.setPin(2, false);
    this.settle();
  }

  write(port: number, value: number): void {
    if (port >= 0x4d0) this.chips[port & 1]!.writeElcr(value);
    else this.chips[port >> 7]!.write(port & 1, value);
    this.settle();
  }

  read(port: number): number {
    const chip = this.chips[port >= 0x4d0 ? port & 1 : port >> 7]!;
    if (port >= 0x4d0) return number(chip.levelTriggered);
    if (chip.polled) {
      chip.polled = false;
      const n = chip.winner();
      if (n === undefined) return 0;
      if (chip.master) chip.acknowledge(n);
      else this.acknowledgeSlave(n);
      return 0x80 | n;
    }
    if (port & 1) return number(chip.imr);
    return number(chip.select === "IRR" ? chip.irr : chip.isr);
  }
}
