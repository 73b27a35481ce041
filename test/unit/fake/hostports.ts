/** The bare machine's devices behind ports: UARTs, PIT, PM timer, clock of day, PCI configuration space, reset. */

export interface PortOptions {
  tscHz: bigint;
  /** TSC ticks of one port access. */
  portTicks: bigint;
  /** UARTs that the machine has, of COM1 and COM2. */
  uarts?: [boolean, boolean];
  /** A UART anywhere else: its first register, and how far it is to the next in memory; 0 for ports. */
  otherUart?: { at: number; stride: 0 | 1 | 4 };
  /** Whether bytes take the time that the UARTs' divisors say; else they are sent at once. */
  uartsTakeTime?: boolean;
  /** An 8042 with a keyboard; nothing answers unless told. */
  keyboard?: HostKeyboard;
  /** The PM timer at port 608h. */
  pmTimer?: "counts" | "stands still" | "absent";
  pit?: "counts" | "stands still";
  /** The clock of day: registers 0 to 13. */
  cmos?: number[];
  /** Configuration space: a function's registers by 8 * bus * 32 + 8 * device + function. */
  pci?: Map<number, number[]>;
  /** Registers of what else there is, by their ports. */
  registers?: Map<number, HostRegister>;
}

/** A register behind a port, which is accessed in its own width only. */
export interface HostRegister {
  size: 1 | 2 | 4;
  read(): number;
  write(value: number): void;
}

/** An 8042 (IBM PC/AT Technical Reference) as firmware leaves it, if it does not answer or take commands. */
export class HostKeyboard {
  readonly bytes: { byte: number; mouse: boolean }[] = [];
  configuration: number;
  readonly commands: number[] = [];
  private awaits = 0;
  interrupt: () => void = () => {};

  constructor(
    configuration = 0x30,
    private readonly deaf: false | "answers nothing" | "takes nothing" = false,
  ) {
    this.configuration = configuration;
  }

  /** Scan codes come in. */
  press(...codes: number[]): void {
    this.bytes.push(...codes.map((byte) => ({ byte, mouse: false })));
    if (this.configuration & 1) this.interrupt();
  }

  moveMouse(...codes: number[]): void {
    this.bytes.push(...codes.map((byte) => ({ byte, mouse: true })));
  }

  in(port: number): number {
    if (port === 0x60) return this.bytes.shift()?.byte ?? 0;
    const next = this.bytes[0];
    return (next ? 1 : 0) | (next?.mouse ? 0x20 : 0) | (this.deaf === "takes nothing" ? 2 : 0);
  }

  out(port: number, value: number): void {
    if (port === 0x64) {
      this.commands.push(value);
      this.awaits = value;
      if (value === 0x20 && !this.deaf) this.bytes.push({ byte: this.configuration, mouse: false });
    } else if (this.awaits === 0x60) this.configuration = value;
  }
}

/** A PC16550D. */
class HostUart {
  sent = "";
  readonly received: number[] = [];
  divisor = 0;
  /** Nothing answers any more. */
  isGone = false;
  interruptEnable = 0;
  private lineControl = 0;
  private scratch = 0;
  private modemControl = 0;
  private transmitterEmptied = false;
  /** TSC value at which the transmitter's FIFO is empty. */
  private emptyAt = 0n;
  /** Bytes were written, and the transmitter has not said yet that it is empty. */
  private waits = false;

  constructor(
    private readonly clock: { tsc: bigint },
    /** TSC ticks of a bit at 115200 baud. */
    private readonly bitTicks: bigint,
    private readonly interrupt: () => void,
  ) {}

  in(register: number): number {
    if (this.isGone) return 0xff;
    if (register < 2 && this.lineControl & 0x80) return (this.divisor >> (register * 8)) & 0xff;
    switch (register) {
      case 0:
        return this.received.shift() ?? 0;
      case 1:
        return this.interruptEnable;
      case 2:
        if (this.interruptEnable & 1 && this.received.length > 0) return 0xc4;
        if (!(this.interruptEnable & 2) || !this.transmitterEmptied) return 0xc1;
        this.transmitterEmptied = false;
        return 0xc2;
      case 3:
        return this.lineControl;
      case 4:
        return this.modemControl;
      case 5:
        return (this.clock.tsc >= this.emptyAt ? 0x60 : 0) | (this.received.length > 0 ? 1 : 0);
      case 7:
        return this.scratch;
      default:
        return 0;
    }
  }

  out(register: number, value: number): void {
    if (register < 2 && this.lineControl & 0x80) {
      this.divisor = register === 0 ? (this.divisor & 0xff00) | value : (this.divisor & 0xff) | (value << 8);
    } else if (register === 0) {
      this.sent += String.fromCharCode(value);
      const from = this.emptyAt > this.clock.tsc ? this.emptyAt : this.clock.tsc;
      this.emptyAt = from + 10n * this.bitTicks * BigInt(this.divisor);
      this.waits = true;
      this.poll();
    } else if (register === 1) {
      this.interruptEnable = value;
      if (value & 2) {
        this.waits = true;
        this.poll();
      }
    } else if (register === 3) this.lineControl = value;
    else if (register === 4) this.modemControl = value;
    else if (register === 7) this.scratch = value;
  }

  receive(text: string): void {
    this.received.push(...Buffer.from(text, "latin1"));
    if (this.interruptEnable & 1) this.interrupt();
  }

  /** When the transmitter's interrupt comes, if one will. */
  get next(): bigint | undefined {
    return this.waits && this.interruptEnable & 2 ? this.emptyAt : undefined;
  }

  /** "Transmitter holding register empty" becomes a cause of interrupt once, when it does. */
  poll(): void {
    if (!this.waits || this.clock.tsc < this.emptyAt) return;
    this.waits = false;
    this.transmitterEmptied = true;
    if (this.interruptEnable & 2) this.interrupt();
  }
}

export class HostPorts {
  readonly uarts: [HostUart, HostUart];
  /** It has no interrupt. */
  readonly otherUart: HostUart;
  /** What was written to the reset control register and to the keyboard controller. */
  readonly resets: [port: number, value: number][] = [];
  /** NMIs are masked by bit 7 of port 70h (82371AB). */
  nmiMasked = false;
  readonly cmos: number[];
  private accesses = 0;
  private cmosIndex = 0;
  private pciAddress = 0;
  readonly picMasks = [0, 0];
  /** Registers of VGA's CRT controller. */
  readonly crtc: number[] = [];
  private crtcIndex = 0;
  private pitControl = 0;
  private pitCount: number[] = [];
  private pitStarted = 0n;
  private gate = 0;

  constructor(
    private readonly options: PortOptions,
    private readonly clock: { tsc: bigint },
    interrupt: (irq: number) => void,
  ) {
    const bit = options.uartsTakeTime ? options.tscHz / 115200n : 0n;
    this.uarts = [new HostUart(clock, bit, () => interrupt(4)), new HostUart(clock, bit, () => interrupt(3))];
    this.otherUart = new HostUart(clock, bit, () => {});
    if (options.keyboard) options.keyboard.interrupt = () => interrupt(1);
    this.cmos = options.cmos ?? [0, 0, 0, 0, 0x12, 0, 0, 1, 1, 0x24, 0x26, 2, 0, 0x80];
  }

  /** Lets devices say that time has passed. */
  poll(): void {
    for (const uart of this.uarts) uart.poll();
  }

  /** TSC value at which a device interrupts next. */
  get next(): bigint | undefined {
    const times = this.uarts.map((uart) => uart.next).filter((at) => at !== undefined);
    return times.length > 0 ? times.reduce((a, b) => (a < b ? a : b)) : undefined;
  }

  private uartOf(port: number): HostUart | undefined {
    const other = this.options.otherUart;
    if (other?.stride === 0 && port >= other.at && port < other.at + 8) return this.otherUart;
    const n = port >> 3 === 0x3f8 >> 3 ? 0 : port >> 3 === 0x2f8 >> 3 ? 1 : undefined;
    return n !== undefined && (this.options.uarts?.[n] ?? true) ? this.uarts[n] : undefined;
  }

  /** How many periods of a clock have passed since a TSC value. */
  private periods(hz: bigint, since: bigint): bigint {
    return ((this.clock.tsc - since) * hz) / this.options.tscHz;
  }

  /** Channel 2's output in mode 0: high n + 1 clocks after the count was written (8254, Mode 0). */
  private pitOutput(): boolean {
    if (this.options.pit === "stands still" || this.pitCount.length < 2 || !(this.gate & 1)) return false;
    const count = this.pitCount[0]! | (this.pitCount[1]! << 8);
    return this.periods(1193182n, this.pitStarted) > BigInt(count === 0 ? 0x10000 : count);
  }

  in(port: number, size: number): number {
    if (++this.accesses > 20_000_000) throw new Error("root polls for ever");
    this.clock.tsc += this.options.portTicks;
    const { pmTimer = "counts" } = this.options;
    const register = this.registers(port, size);
    if (register) return register.read();
    const uart = this.uartOf(port);
    if (uart && size === 1) return uart.in(port & 7);
    if (this.options.keyboard && (port === 0x60 || port === 0x64)) return this.options.keyboard.in(port);
    if (port === 0x61) return (this.gate & 3) | (this.pitOutput() ? 0x20 : 0);
    if (port === 0x21) return this.picMasks[0]!;
    if (port === 0xa1) return this.picMasks[1]!;
    if (port === 0x71) return this.cmos[this.cmosIndex] ?? 0xff;
    if (port === 0x608 && size === 4 && pmTimer !== "absent")
      return pmTimer === "stands still" ? 0x123456 : Number(this.periods(3579545n, 0n) & 0xffffffn);
    if (port === 0xcfc && size === 4 && this.pciAddress & 0x80000000)
      return this.pciFunction()?.[(this.pciAddress & 0xfc) >> 2] ?? 0xffffffff;
    return size === 4 ? 0xffffffff : size === 2 ? 0xffff : 0xff;
  }

  /** An access to a UART in memory, if one is there. */
  memory(at: number, size: number, value?: number): number | undefined {
    const other = this.options.otherUart;
    if (!other || other.stride === 0 || at < other.at || at >= other.at + 8 * other.stride) return undefined;
    const register = (at - other.at) / other.stride;
    if (size !== other.stride || register % 1)
      throw new Error(`a UART's register of ${size} bytes at ${at.toString(16)}`);
    this.clock.tsc += this.options.portTicks;
    if (value === undefined) return this.otherUart.in(register);
    this.otherUart.out(register, value & 0xff);
    return 0;
  }

  private registers(port: number, size: number): HostRegister | undefined {
    const register = this.options.registers?.get(port);
    return register?.size === size ? register : undefined;
  }

  private pciFunction(): number[] | undefined {
    return this.options.pci?.get((this.pciAddress >> 8) & 0xffff);
  }

  out(port: number, value: number, size: number): void {
    this.clock.tsc += this.options.portTicks;
    const register = this.registers(port, size);
    const uart = this.uartOf(port);
    if (register) register.write(value);
    else if (uart && size === 1) uart.out(port & 7, value & 0xff);
    else if (port === 0x61) this.gate = value;
    else if (port === 0x43) {
      this.pitControl = value;
      this.pitCount = [];
    } else if (port === 0x42 && this.pitControl === 0xb0) {
      if (this.pitCount.push(value & 0xff) === 2) this.pitStarted = this.clock.tsc;
    } else if (port === 0x21) this.picMasks[0] = value & 0xff;
    else if (port === 0xa1) this.picMasks[1] = value & 0xff;
    else if (port === 0x70) {
      this.nmiMasked = (value & 0x80) !== 0;
      this.cmosIndex = value & 0x7f;
    } else if (port === 0xcf9 || (port === 0x64 && value >= 0xf0)) this.resets.push([port, value]);
    else if (port === 0x60 || port === 0x64) this.options.keyboard?.out(port, value & 0xff);
    else if (port === 0x3d4) this.crtcIndex = value & 0xff;
    else if (port === 0x3d5) this.crtc[this.crtcIndex] = value & 0xff;
    else if (port === 0xcf8 && size === 4) this.pciAddress = value >>> 0;
    else if (port === 0xcfc && size === 4) this.pciWrite(value >>> 0);
  }

  /** Registers other than command and status are read-only here; bits of the status are cleared by ones. */
  private pciWrite(value: number): void {
    const registers = this.pciFunction();
    if (!registers || (this.pciAddress & 0xfc) !== 4) return;
    registers[1] = ((registers[1]! & ~value & 0xffff0000) | (value & 0xffff)) >>> 0;
  }
}
