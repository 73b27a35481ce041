/**
 * A 16550A UART (National Semiconductor PC16550D) whose line ends in two byte rings that root empties and fills. It sends
 * as fast as root takes; while the ring is full the transmitter is busy.
 */
import { CONSOLE_RING } from "../abi/address";
import {
  CONSOLE_IN_OFFSET,
  CONSOLE_IN_SIZE,
  CONSOLE_OUT_OFFSET,
  CONSOLE_OUT_SIZE,
  ConsoleRings,
} from "../abi/console";

namespace Reg {
  export const RBR_THR: u32 = 0; // r: receive buffer   w: transmit holding   (DLAB: rw divisor, low)
  export const IER: u32 = 1; //     rw interrupt enable                       (DLAB: rw divisor, high)
  export const IIR_FCR: u32 = 2; // r: interrupt identification   w: FIFO control
  export const LCR: u32 = 3; //     rw line control
  export const MCR: u32 = 4; //     rw modem control
  export const LSR: u32 = 5; //     r  line status
  export const MSR: u32 = 6; //     r  modem status
  export const SCR: u32 = 7; //     rw scratch
}

const IER_RECEIVED: u32 = 1;
const IER_EMPTY: u32 = 2;
const IER_MODEM: u32 = 8;
const IIR_NONE: u32 = 1;
const IIR_MODEM: u32 = 0;
const IIR_EMPTY: u32 = 2;
const IIR_RECEIVED: u32 = 4;
const IIR_FIFOS: u32 = 0xc0;
const FCR_ENABLE: u32 = 1;
const FCR_CLEAR_RECEIVED: u32 = 2;
const LCR_DLAB: u32 = 0x80;
const MCR_OUT2: u32 = 8;
const MCR_LOOP: u32 = 0x10;
const LSR_DATA: u32 = 1;
const LSR_OVERRUN: u32 = 2;
const LSR_EMPTY: u32 = 0x60; // THRE and TEMT
/** The other end is always there: CTS, DSR, DCD. */
const MSR_PRESENT: u32 = 0xb0;
const LINE_FEED: u32 = 10;

@unmanaged
class Uart {
  ier: u32;
  fcr: u32;
  lcr: u32;
  mcr: u32;
  scratch: u32;
  divisor: u32;
  /** The transmitter got empty and nobody has been told yet. */
  emptyPending: u32;
  /** Changes of the modem inputs, in loop mode only: bits 3:0 of MSR. */
  modemChanges: u32;
  /** What the guest sees when the modem outputs loop back. */
  modem: u32;
  /** The byte that loops back, and whether it waits to be read. */
  looped: u32;
  loopedFull: u32;
  overrun: u32;
  /** Root should empty the ring soon. */
  wantsDrain: u32;
}

const uart = changetype<Uart>(memory.data(52, 4));
const rings = changetype<ConsoleRings>(CONSOLE_RING);

export function resetUart(): void {
  uart.divisor = 1;
  uart.modem = MSR_PRESENT;
}

function canSend(): bool {
  return rings.outHead - rings.outTail < CONSOLE_OUT_SIZE;
}

function hasData(): bool {
  return uart.mcr & MCR_LOOP ? uart.loopedFull != 0 : rings.inHead != rings.inTail;
}

/** What interrupts, by priority: received data, transmitter empty, modem status. */
function cause(): u32 {
  if (uart.ier & IER_RECEIVED && hasData()) return IIR_RECEIVED;
  if (uart.ier & IER_EMPTY && uart.emptyPending && canSend()) return IIR_EMPTY;
  if (uart.ier & IER_MODEM && uart.modemChanges) return IIR_MODEM;
  return IIR_NONE;
}

/** The interrupt line. On a PC, OUT2 gates it. */
export function uartLine(): bool {
  return cause() != IIR_NONE && (uart.mcr & MCR_OUT2) != 0 && !(uart.mcr & MCR_LOOP);
}

/** Whether root should take the output now: a line is complete, or the ring is half full. Asked once. */
export function takeDrainWish(): bool {
  const wants = uart.wantsDrain != 0;
  uart.wantsDrain = 0;
  return wants;
}

function receive(): u32 {
  if (uart.mcr & MCR_LOOP) {
    uart.loopedFull = 0;
    return uart.looped;
  }
  if (rings.inHead == rings.inTail) return 0;
  const byte = load<u8>(CONSOLE_RING + CONSOLE_IN_OFFSET + (rings.inTail & (CONSOLE_IN_SIZE - 1)));
  rings.inTail++;
  return byte;
}

function send(byte: u32): void {
  uart.emptyPending = 1;
  if (uart.mcr & MCR_LOOP) {
    if (uart.loopedFull) uart.overrun = 1;
    uart.looped = byte;
    uart.loopedFull = 1;
    return;
  }
  if (!canSend()) return; // written to a busy transmitter: lost, as on the wire
  store<u8>(CONSOLE_RING + CONSOLE_OUT_OFFSET + (rings.outHead & (CONSOLE_OUT_SIZE - 1)), <u8>byte);
  rings.outHead++;
  if (byte == LINE_FEED || rings.outHead - rings.outTail >= CONSOLE_OUT_SIZE / 2) uart.wantsDrain = 1;
}

export function readUart(offset: u32): u32 {
  switch (offset) {
    case Reg.RBR_THR:
      return uart.lcr & LCR_DLAB ? uart.divisor & 255 : receive();
    case Reg.IER:
      return uart.lcr & LCR_DLAB ? uart.divisor >> 8 : uart.ier;
    case Reg.IIR_FCR: {
      const why = cause();
      if (why == IIR_EMPTY) uart.emptyPending = 0;
      return why | (uart.fcr & FCR_ENABLE ? IIR_FIFOS : 0);
    }
    case Reg.LCR:
      return uart.lcr;
    case Reg.MCR:
      return uart.mcr;
    case Reg.LSR: {
      const status = (hasData() ? LSR_DATA : 0) | (uart.overrun ? LSR_OVERRUN : 0) | (canSend() ? LSR_EMPTY : 0);
      uart.overrun = 0;
      if (!canSend()) uart.wantsDrain = 1;
      return status;
    }
    case Reg.MSR: {
      const status = uart.modem | uart.modemChanges;
      uart.modemChanges = 0;
      return status;
    }
    default:
      return uart.scratch;
  }
}

/** In loop mode the modem outputs DTR, RTS, OUT1, OUT2 are the inputs DSR, CTS, RI, DCD. */
function updateModem(): void {
  const m = uart.mcr;
  const now = m & MCR_LOOP ? ((m & 1) << 5) | ((m & 2) << 3) | ((m & 4) << 4) | ((m & 8) << 4) : MSR_PRESENT;
  const changed = now ^ uart.modem;
  // A change of RI counts when it goes away.
  uart.modemChanges |= ((changed >> 4) & 0xb) | ((uart.modem & ~now & 0x40) >> 4);
  uart.modem = now;
}

export function writeUart(offset: u32, value: u32): void {
  switch (offset) {
    case Reg.RBR_THR:
      if (uart.lcr & LCR_DLAB) uart.divisor = (uart.divisor & 0xff00) | value;
      else send(value);
      break;
    case Reg.IER:
      if (uart.lcr & LCR_DLAB) {
        uart.divisor = (uart.divisor & 0xff) | (value << 8);
      } else {
        // Enabling the interrupt while the transmitter is empty raises it.
        if (value & IER_EMPTY && !(uart.ier & IER_EMPTY)) uart.emptyPending = 1;
        uart.ier = value & 15;
      }
      break;
    case Reg.IIR_FCR:
      uart.fcr = value & FCR_ENABLE;
      if (value & FCR_CLEAR_RECEIVED) uart.loopedFull = 0;
      break;
    case Reg.LCR:
      uart.lcr = value;
      break;
    case Reg.MCR:
      uart.mcr = value & 0x1f;
      updateModem();
      break;
    case Reg.SCR:
      uart.scratch = value;
      break;
  }
}
