/**
 * Local APICs as SDM Vol. 3A 11 tells them: register by register, bit by bit, messages delivered at once, with nothing computed in
 * advance. An oracle for the monitor's own.
 */
export const enum Mode {
  Disabled,
  XApic,
  X2,
}

interface Lvt {
  vector: number;
  mode: number;
  polarity: boolean;
  level: boolean;
  masked: boolean;
  /** Of the timer: one-shot, periodic, TSC deadline. */
  timer: number;
}

/** What the world around has. */
export interface Surroundings {
  /** Counts of the bus clock, and the guest's TSC. */
  bus(): bigint;
  tsc(): bigint;
  apics: ModelApic[];
}

const has = (bits: Set<number>) => (bits.size === 0 ? 0 : Math.max(...bits));
const word = (bits: Set<number>, n: number) => {
  let value = 0;
  for (const vector of bits) if (vector >> 5 === n) value |= 1 << (vector & 31);
  return value >>> 0;
};

/** Names of the registers that there are, by their number in x2APIC mode. */
const names: Record<number, string> = {
  0x02: "id",
  0x03: "version",
  0x08: "tpr",
  0x09: "apr",
  0x0a: "ppr",
  0x0b: "eoi",
  0x0c: "rrd",
  0x0d: "ldr",
  0x0e: "dfr",
  0x0f: "svr",
  0x28: "esr",
  0x30: "icr",
  0x31: "icr2",
  0x32: "timer",
  0x33: "thermal",
  0x34: "performance",
  0x35: "lint0",
  0x36: "lint1",
  0x37: "error",
  0x38: "initial",
  0x39: "current",
  0x3e: "divide",
  0x3f: "self",
};
for (let n = 0; n < 8; n++) {
  names[0x10 + n] = "isr";
  names[0x18 + n] = "tmr";
  names[0x20 + n] = "irr";
}
const lvts = ["timer", "thermal", "performance", "lint0", "lint1", "error"];

export class ModelApic {
  base: bigint;
  irr = new Set<number>();
  isr = new Set<number>();
  tmr = new Set<number>();
  tpr = 0;
  ldr = 0;
  dfr = 15;
  spurious = 0xff;
  enabled = false;
  suppressEoi = false;
  focus = false;
  esr = 0;
  errors = 0;
  icr = 0;
  icr2 = 0;
  lvt: Record<string, Lvt> = {};
  initial = 0;
  divide = 0;
  deadline = 0n;
  /** The countdown began at this count of the bus clock, with so much to go. */
  started = 0n;
  togo = 0n;
  nmis = 0;

  constructor(
    readonly number: number,
    private readonly world: Surroundings,
  ) {
    this.base = 0xfee00800n | (number === 0 ? 0x100n : 0n);
    this.reset();
    if (number === 0) {
      this.enabled = true;
      Object.assign(this.lvt["lint0"]!, { mode: 7, masked: false });
      Object.assign(this.lvt["lint1"]!, { mode: 4, masked: false });
    }
  }

  get mode(): Mode {
    if (!(this.base & 0x800n)) return Mode.Disabled;
    return this.base & 0x400n ? Mode.X2 : Mode.XApic;
  }

  reset(): void {
    for (const set of [this.irr, this.isr, this.tmr]) set.clear();
    this.tpr = 0;
    this.ldr = 0;
    this.dfr = 15;
    this.spurious = 0xff;
    this.enabled = this.suppressEoi = this.focus = false;
    this.esr = this.errors = this.icr = this.icr2 = this.initial = this.divide = 0;
    this.deadline = 0n;
    this.togo = 0n;
    for (const name of lvts)
      this.lvt[name] = { vector: 0, mode: 0, polarity: false, level: false, masked: true, timer: 0 };
  }

  get ppr(): number {
    const serving = has(this.isr) & 0xf0;
    return (this.tpr & 0xf0) >= serving ? this.tpr : serving;
  }

  /** The vector that the processor is asked to take. */
  get output(): number {
    const vector = has(this.irr);
    return this.mode !== Mode.Disabled && vector >> 4 > this.ppr >> 4 ? vector : 0;
  }

  take(): number {
    const vector = this.output;
    this.irr.delete(vector);
    this.isr.add(vector);
    return vector;
  }

  error(bit: number): void {
    this.errors |= bit;
    const { masked, vector } = this.lvt["error"]!;
    if (masked) return;
    if (vector < 16) this.errors |= 0x40;
    else this.request(vector, false);
  }

  private request(vector: number, level: boolean): void {
    this.irr.add(vector);
    if (level) this.tmr.add(vector);
    else this.tmr.delete(vector);
  }

  receive(vector: number, level: boolean): void {
    if (!this.enabled || this.mode === Mode.Disabled) return;
    if (vector < 16) this.error(0x40);
    else this.request(vector, level);
  }

  private get period(): bigint {
    const code = (this.divide & 3) | ((this.divide >> 1) & 4);
    return code === 7 ? 1n : 2n << BigInt(code);
  }

  private fireTimer(): void {
    const { masked, vector } = this.lvt["timer"]!;
    if (masked) return;
    if (vector < 16) this.error(0x40);
    else this.request(vector, false);
  }

  /** What the timer has done by now. */
  update(): void {
    if (this.lvt["timer"]!.timer === 2) {
      if (this.deadline === 0n || this.world.tsc() < this.deadline) return;
      this.deadline = 0n;
      this.fireTimer();
      return;
    }
    if (this.togo === 0n) return;
    const end = () => this.started + this.togo * this.period;
    let fired = false;
    const now = this.world.bus();
    if (now >= end()) {
      fired = true;
      const { timer } = this.lvt["timer"]!;
      if (timer === 1 && this.initial !== 0) {
        this.started = end();
        this.togo = BigInt(this.initial);
        const whole = (now - this.started) / (this.togo * this.period);
        this.started += whole * this.togo * this.period;
      } else {
        this.togo = 0n;
      }
    }
    if (fired) this.fireTimer();
  }

  get current(): number {
    if (this.togo === 0n) return 0;
    return Number(this.togo - (this.world.bus() - this.started) / this.period);
  }

  /** Whether a message with this destination is for this APIC. */
  matches(destination: number, logical: boolean, wide: boolean): boolean {
    if (this.mode === Mode.Disabled) return false;
    const everybody = wide ? 0xffffffff : 0xff;
    if (!logical) return destination === everybody || destination === this.number;
    if (this.mode === Mode.X2) {
      if (wide && destination === everybody) return true;
      return destination >>> 16 === this.number >> 4 && ((destination >>> (this.number & 15)) & 1) === 1;
    }
    if (wide && destination === everybody) destination = 0xff;
    if (destination > 0xff) return false;
    if (this.dfr === 15) return (this.ldr & destination) !== 0;
    if (destination === 0xff) return true;
    return this.dfr === 0 && destination >> 4 === this.ldr >> 4 && (destination & this.ldr & 15) !== 0;
  }

  /** A command of the ICR. */
  private send(command: number, destination: number): void {
    const vector = command & 0xff;
    const mode = (command >> 8) & 7;
    const shorthand = (command >> 18) & 3;
    if (mode < 2 && vector < 16) return this.error(0x20);
    if (![0, 1, 4].includes(mode)) return; // no SMM; INIT and SIPI are not this model's
    const { apics } = this.world;
    const wide = this.mode === Mode.X2;
    let to: ModelApic[];
    if (shorthand === 0) to = apics.filter((a) => a.matches(destination, ((command >> 11) & 1) === 1, wide));
    else if (shorthand === 3) to = apics.filter((a) => a !== this && a.mode !== Mode.Disabled);
    else if (mode !== 0) return;
    else to = shorthand === 1 ? [this] : apics.filter((a) => a.mode !== Mode.Disabled);
    if (mode === 1 && shorthand === 0) {
      to = to.filter((a) => a.enabled);
      const lowest = Math.min(...to.map((a) => a.ppr));
      const order = (a: ModelApic) => (a.number - (vector % apics.length) + apics.length) % apics.length;
      to = to
        .filter((a) => a.ppr === lowest)
        .sort((a, b) => order(a) - order(b))
        .slice(0, 1);
    }
    for (const apic of to) {
      if (mode === 4) apic.nmis = 1;
      else apic.receive(vector, false);
    }
  }

  private readLvt(name: string): number {
    const { vector, mode, polarity, level, masked, timer } = this.lvt[name]!;
    let value = vector | (masked ? 1 << 16 : 0);
    if (name !== "timer" && name !== "error") value |= mode << 8;
    if (name.startsWith("lint")) value |= (polarity ? 1 << 13 : 0) | (level ? 1 << 15 : 0);
    return name === "timer" ? value | (timer << 17) : value;
  }

  private writeLvt(name: string, value: number): void {
    const old = this.lvt[name]!.timer;
    const timer = (value >> 17) & 3;
    this.lvt[name] = {
      vector: value & 0xff,
      mode: (value >> 8) & 7,
      polarity: ((value >> 13) & 1) === 1,
      level: ((value >> 15) & 1) === 1,
      masked: ((value >> 16) & 1) === 1 || !this.enabled,
      timer,
    };
    if (name === "timer" && old !== timer && (old === 2 || timer === 2)) {
      this.initial = 0;
      this.togo = 0n;
      this.deadline = 0n;
    }
  }

  /** A register's value; undefined for #GP, or, of the page, for an error. */
  private get(number: number): number | undefined {
    const name = names[number];
    const n = number & 7;
    switch (name) {
      case undefined:
        return undefined;
      case "id":
        return this.mode === Mode.X2 ? this.number : this.number << 24;
      case "version":
        return 0x01050014;
      case "tpr":
        return this.tpr;
      case "ppr":
        return this.ppr;
      case "ldr":
        if (this.mode === Mode.X2) return ((this.number >> 4) << 16) | (1 << (this.number & 15));
        return (this.ldr << 24) >>> 0;
      case "svr":
        return (
          this.spurious |
          (this.enabled ? 0x100 : 0) |
          (this.focus ? 0x200 : 0) |
          (this.suppressEoi ? 0x1000 : 0)
        );
      case "isr":
        return word(this.isr, n);
      case "tmr":
        return word(this.tmr, n);
      case "irr":
        return word(this.irr, n);
      case "esr":
        return this.esr;
      case "icr":
        return this.icr;
      case "initial":
        return this.initial;
      case "current":
        return this.current;
      case "divide":
        return this.divide;
      default:
        return lvts.includes(name) ? this.readLvt(name) : undefined;
    }
  }

  /** Whether there is such a register to write to in both modes. */
  private put(number: number, value: number): boolean {
    const name = names[number] ?? "";
    switch (name) {
      case "tpr":
        this.tpr = value & 0xff;
        return true;
      case "eoi":
        this.isr.delete(has(this.isr));
        return true;
      case "svr":
        this.spurious = value & 0xff;
        this.enabled = (value & 0x100) !== 0;
        this.focus = (value & 0x200) !== 0;
        this.suppressEoi = (value & 0x1000) !== 0;
        if (!this.enabled) for (const entry of lvts) this.lvt[entry]!.masked = true;
        return true;
      case "esr":
        this.esr = this.errors;
        this.errors = 0;
        return true;
      case "initial":
        if (this.lvt["timer"]!.timer === 2) return true;
        this.initial = value >>> 0;
        this.started = this.world.bus();
        this.togo = BigInt(this.initial);
        return true;
      case "divide": {
        const left = BigInt(this.current);
        this.divide = value & 11;
        if (this.togo !== 0n) {
          this.started = this.world.bus();
          this.togo = left;
        }
        return true;
      }
      default:
        if (!lvts.includes(name)) return false;
        this.writeLvt(name, value);
        return true;
    }
  }

  rdmsr(number: number): bigint | undefined {
    if (this.mode !== Mode.X2) return undefined;
    this.update();
    const value = this.get(number);
    if (value === undefined) return undefined;
    return BigInt(value >>> 0) | (names[number] === "icr" ? BigInt(this.icr2) << 32n : 0n);
  }

  /** Whether it is taken: if not, #GP. */
  wrmsr(number: number, value: bigint): boolean {
    if (this.mode !== Mode.X2) return false;
    const allowed: Record<string, bigint> = {
      tpr: 0xffn,
      eoi: 0n,
      svr: 0x13ffn,
      esr: 0n,
      icr: 0xffffffff000ccfffn,
      timer: 0x710ffn,
      thermal: 0x117ffn,
      performance: 0x117ffn,
      lint0: 0x1f7ffn,
      lint1: 0x1f7ffn,
      error: 0x110ffn,
      initial: 0xffffffffn,
      divide: 11n,
      self: 0xffn,
    };
    const name = names[number] ?? "";
    const mask = allowed[name];
    if (mask === undefined || value & ~mask) return false;
    this.update();
    const low = Number(value & 0xffffffffn);
    if (name === "self") {
      this.send((1 << 18) | low, 0);
    } else if (name === "icr") {
      this.icr = low;
      this.icr2 = Number(value >> 32n);
      this.send(low, this.icr2);
    } else {
      this.put(number, low);
    }
    return true;
  }

  load(offset: number): number {
    this.update();
    const number = offset >> 4;
    const name = names[number];
    if (name === "dfr") return ((this.dfr << 28) | 0xfffffff) >>> 0;
    if (name === "icr2") return this.icr2;
    if (name === "apr") {
      const [task, requested, serving] = [this.tpr >> 4, has(this.irr) >> 4, has(this.isr) >> 4];
      return task >= requested && task > serving ? this.tpr : Math.max(task & serving, requested) << 4;
    }
    if (name === "eoi" || name === "rrd") return 0;
    const value = this.get(number);
    if (value !== undefined) return value >>> 0;
    this.error(0x80);
    return 0;
  }

  store(offset: number, value: number): void {
    this.update();
    const number = offset >> 4;
    const name = names[number];
    if (this.put(number, value)) return;
    if (name === "ldr") this.ldr = value >>> 24;
    else if (name === "dfr") this.dfr = value >>> 28;
    else if (name === "icr2") this.icr2 = ((value >>> 24) << 24) >>> 0;
    else if (name === "icr") {
      this.icr = value & 0xccfff;
      this.send(value, this.icr2 >>> 24);
    } else if (name === undefined || name === "self") this.error(0x80);
  }

  /** IA32_APIC_BASE. */
  writeBase(value: bigint): boolean {
    const was = this.mode;
    if (value & ~0x7ffffffd00n) return false;
    const on = (value & 0x800n) !== 0n;
    const x2 = (value & 0x400n) !== 0n;
    if (x2 && !on) return false;
    if (x2 && was === Mode.Disabled) return false;
    if (was === Mode.X2 && on && !x2) return false;
    this.base = value;
    if (this.mode === was) return true;
    if (this.mode === Mode.X2) this.icr2 = 0;
    else this.reset();
    return true;
  }

  writeDeadline(value: bigint): void {
    if (this.lvt["timer"]!.timer !== 2) return;
    this.update();
    this.deadline = value;
    this.update();
  }

  readDeadline(): bigint {
    this.update();
    return this.deadline;
  }
}
