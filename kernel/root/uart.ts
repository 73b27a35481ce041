/** A host UART (National Semiconductor PC16550D): polled or by interrupt, with a ring for what waits to be sent. */
import { in8, out8 } from "../machine/port";
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


@unmanaged
export class Uart {
  port: u32;
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

  /** Sets the line to 8N1. False when there is no UART at the port: its scratch register does not hold a value. */
  open(port: u32, irq: u32, baud: u32): bool {
    this.port = port;
    this.irq = irq;
    this.head = 0;
    this.tail = 0;
    this.byInterrupt = false;
    this.last = 10;
    out8(port + Reg.SCR, 0x5a);
    if (in8(port + Reg.SCR) != 0x5a) return false;
    const divisor = CLOCK / baud;
    out8(port + Reg.IER, 0);
    out8(port + Reg.LCR, 0x80);
    out8(port + Reg.RBR_THR, divisor & 255);
    out8(port + Reg.IER, divisor >> 8);
    out8(port + Reg.LCR, 3);
    out8(port + Reg.IIR_FCR, 7);
    out8(port + Reg.MCR, 0xb);
    this.enabled = true;
    return true;
  }

  /** From now on the interrupt says when to go on. */
  useInterrupts(): void {
    this.byInterrupt = true;
    out8(this.port + Reg.IER, IER_RECEIVED | IER_EMPTY);
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
    if (!(in8(this.port + Reg.LSR) & LSR_THRE)) return;
    for (let i: u32 = 0; i < FIFO && this.tail != this.head; i++, this.tail++) {
      out8(this.port, load<u8>(this.ring + (this.tail & (RING - 1))));
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
    return this.enabled && in8(this.port + Reg.LSR) & LSR_DATA ? <i32>in8(this.port) : -1;
  }

  /** Whether a cause of interrupt is pending; reading it acknowledges "transmitter empty". */
  interrupted(): bool {
    return this.enabled && !(in8(this.port + Reg.IIR_FCR) & IIR_NONE);
  }
}


@unmanaged
class Wait {
  ticks: u64;
}

/** How long flush() waits at least, in TSC ticks: an emulator's UART is ready when somebody reads what it sent. */
export const wait = changetype<Wait>(memory.data(8, 8));
const uarts = memory.data(80, 8);
const rings = memory.data(131072, 16);

export const UARTS: u32 = 2;

/** UART 0 is COM1, 1 is COM2. */
export function uart(n: u32): Uart {
  const u = changetype<Uart>(uarts + <usize>n * 40);
  u.ring = rings + <usize>n * RING;
  return u;
}

export function comPort(n: u32): u32 {
  return n == 0 ? 0x3f8 : 0x2f8;
}

export function comIrq(n: u32): u32 {
  return n == 0 ? 4 : 3;
}
