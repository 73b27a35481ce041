/**
 * A host UART (National Semiconductor PC16550D): polled or by interrupt, with a ring for what waits to be sent. Its registers are ports, or
 * memory, a byte or a double word each.
 */
import { in8, out8 } from "../machine/port";
import { load32, load8, store32, store8 } from "../machine/phys";
import { tsc } from "../machine/time";

const RING: u32 = 65536;

namespace Reg {
  export const RBR_THR: u32 = 0; // r: receive buffer  w: transmit holding  (DLAB: rw divisor, low)
  export const IER: u32 = 1; //     rw interrupt enable                     (DLAB: rw divisor, high)
  export const IIR_FCR: u32 = 2; // r: interrupt identification  w: FIFO control
  export const LCR: u32 = 3; //     rw line control
  export const MCR: u32 = 4; //     rw modem control
  export const LSR: u32 = 5; //     r  line status
  export const SCR: u32 = 7; //     rw scratch
}

const IER_RECEIVED: u32 = 1;
const IER_EMPTY: u32 = 2;
const IIR_NONE: u32 = 1;
const LSR_DATA: u32 = 1;
const LSR_THRE: u32 = 0x20;
const FIFO: u32 = 16;
const CLOCK: u32 = 115200;
/** How often to poll a transmitter before it counts as broken: 100 ms at the slowest port access seen. */
const POLLS: u32 = 200000;

/** Bytes from one register to the next: 0 for ports. */
export namespace Stride {
  export const Port: u32 = 0;
  export const Byte: u32 = 1;
  export const Word: u32 = 4;
}


@unmanaged
export class Uart {
  /** A port, or a physical address that root reaches uncached. */
  base: u64;
  stride: u32;
  irq: u32;
  ring: usize;
  head: u32;
  tail: u32;
  /** Bytes that found the ring full. */
  dropped: u32;
  byInterrupt: bool;
  enabled: bool;
  /** The last byte put: whether a line is open. */
  last: u32;

  private get(register: u32): u32 {
    const base = this.base;
    if (this.stride == Stride.Port) return in8(<u32>base + register);
    return this.stride == Stride.Byte ? load8(base + register) : load32(base + register * 4) & 255;
  }

  private set(register: u32, value: u32): void {
    const base = this.base;
    if (this.stride == Stride.Port) out8(<u32>base + register, value);
    else if (this.stride == Stride.Byte) store8(base + register, value);
    else store32(base + register * 4, value);
  }

  /**
   * Sets the line to 8N1, and to `baud` unless that is 0: then it has the speed that firmware has set. False when there is no UART: its scratch
   * register does not hold a value.
   */
  open(base: u64, stride: u32, irq: u32, baud: u32): bool {
    this.base = base;
    this.stride = stride;
    this.irq = irq;
    this.head = 0;
    this.tail = 0;
    this.byInterrupt = false;
    this.last = 10;
    this.set(Reg.SCR, 0x5a);
    if (this.get(Reg.SCR) != 0x5a) return false;
    this.set(Reg.IER, 0);
    if (baud != 0) {
      const divisor = CLOCK / baud;
      this.set(Reg.LCR, 0x80);
      this.set(Reg.RBR_THR, divisor & 255);
      this.set(Reg.IER, divisor >> 8);
    }
    this.set(Reg.LCR, 3);
    this.set(Reg.IIR_FCR, 7);
    this.set(Reg.MCR, 0xb);
    this.enabled = true;
    return true;
  }

  /** From now on the interrupt says when to go on. */
  useInterrupts(): void {
    this.byInterrupt = true;
    this.set(Reg.IER, IER_RECEIVED | IER_EMPTY);
  }

  /** Whether nobody says when to look at it. */
  get isPolled(): bool {
    return this.enabled && !this.byInterrupt;
  }

  get waiting(): u32 {
    return this.head - this.tail;
  }

  get space(): u32 {
    return RING - this.waiting;
  }

  put(byte: u32): void {
    if (!this.enabled) return;
    this.last = byte;
    if (this.waiting == RING) {
      if (this.byInterrupt) {
        this.dropped++;
        return;
      }
      this.flush();
    }
    store<u8>(this.ring + (this.head & (RING - 1)), <u8>byte);
    this.head++;
  }

  /** Sends what the transmitter takes now. */
  send(): void {
    if (!this.enabled || this.head == this.tail) return;
    if (!(this.get(Reg.LSR) & LSR_THRE)) return;
    for (let i: u32 = 0; i < FIFO && this.tail != this.head; i++, this.tail++) {
      this.set(Reg.RBR_THR, load<u8>(this.ring + (this.tail & (RING - 1))));
    }
  }

  /** Sends everything, polling. A transmitter that does not get ready for so long is given up. */
  flush(): void {
    let polls: u32 = 0;
    let end = tsc() + wait.ticks;
    while (this.enabled && this.head != this.tail && (polls < POLLS || tsc() < end)) {
      const before = this.tail;
      this.send();
      polls++;
      if (this.tail == before) continue;
      polls = 0;
      end = tsc() + wait.ticks;
    }
    this.tail = this.head;
  }

  /** A received byte, or -1. */
  receive(): i32 {
    return this.enabled && this.get(Reg.LSR) & LSR_DATA ? <i32>this.get(Reg.RBR_THR) : -1;
  }

  /** Whether a cause of interrupt is pending; reading it acknowledges "transmitter empty". */
  interrupted(): bool {
    return this.enabled && !(this.get(Reg.IIR_FCR) & IIR_NONE);
  }
}


@unmanaged
class Wait {
  ticks: u64;
}

/** How long flush() waits at least, in TSC ticks: an emulator's UART is ready when somebody reads what it sent. */
export const wait = changetype<Wait>(memory.data(8, 8));
const uarts = memory.data(144, 8);
const rings = memory.data(196608, 16);

export const UARTS: u32 = 3;
/** The number of the UART that is neither COM1 nor COM2 (serialport.ts). */
export const OTHER: u32 = 2;
/** In the place of an interrupt: there is none. */
export const NO_IRQ: u32 = 0xffffffff;

if (offsetof<Uart>() > 48) ERROR("UARTs do not fit");

/** UART 0 is COM1, 1 is COM2. */
export function uart(n: u32): Uart {
  const u = changetype<Uart>(uarts + <usize>n * 48);
  u.ring = rings + <usize>n * RING;
  return u;
}

/** Of COM1 and COM2. */
export function comPort(n: u32): u32 {
  return n == 0 ? 0x3f8 : 0x2f8;
}

export function comIrq(n: u32): u32 {
  return n == 0 ? 4 : 3;
}
