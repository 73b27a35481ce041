/**
 * A 16550A UART (National Semiconductor PC16550D) whose line ends in two byte rings that root empties and fills: they
 * are its FIFOs, deeper than the real ones. It sends as fast as root takes; while the ring has no room for a whole FIFO
 * the transmitter is busy.
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
const IER_LINE: u32 = 4;
const IER_MODEM: u32 = 8;
const IIR_NONE: u32 = 1;
const IIR_MODEM: u32 = 0;
const IIR_EMPTY: u32 = 2;
const IIR_RECEIVED: u32 = 4;
const IIR_LINE: u32 = 6;
const IIR_TIMEOUT: u32 = 12;
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
const FIFO: u32 = 16;
/** Receive trigger levels, by bits 7:6 of FCR. */
const TRIGGERS: u32 = 0x0e080401;


@unmanaged
export class Uart {
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
  /** What looped back and waits to be read: where it starts in `looped`, how many bytes. */
  loopStart: u32;
  loopCount: u32;
  overrun: u32;
  /** Signal bits. */
  signals: u32;
}

/** What an access to a register may have changed for others. */
export namespace Signal {
  /** The interrupt line. */
  export const Line: u32 = 1 << 0;
  /** Root should empty the ring: a line is complete, the ring is half full, or the guest waits for room. */
  export const Drain: u32 = 1 << 1;
  /** With Line: the line has been low since, whatever it is now. */
  export const Fall: u32 = 1 << 2;
}

const uart = changetype<Uart>(memory.data(52, 4));
const looped = memory.data(16);
const rings = changetype<ConsoleRings>(CONSOLE_RING);

export function resetUart(): void {
  uart.divisor = 1;
  uart.modem = MSR_PRESENT;
}

function looping(): bool {
  return (uart.mcr & MCR_LOOP) != 0;
}

function room(): u32 {
  return CONSOLE_OUT_SIZE - (rings.outHead - rings.outTail);
}

/** Whether the guest may send, which to some means as much as the FIFO takes. */
function canSend(): bool {
  return looping() || room() >= FIFO;
}

function received(): u32 {
  return uart.loopCount + (looping() ? 0 : rings.inHead - rings.inTail);
}

/** Whether a FIFO with so many bytes has reached its trigger level. */
function triggers(count: u32): bool {
  return uart.fcr != 0 && count >= ((TRIGGERS >> ((uart.fcr >> 6) * 8)) & 255);
}

/** What interrupts of what `ier` enables, by priority (table IV, "Interrupt Control Functions"). @noinline */
function cause(ier: u32): u32 {
  if (ier & IER_LINE && uart.overrun) return IIR_LINE;
  if (ier & IER_RECEIVED) {
    const count = received();
    // Less than the trigger level interrupts too, when it has waited: here at once.
    if (count > 0) return uart.fcr && !triggers(count) ? IIR_TIMEOUT : IIR_RECEIVED;
  }
  if (ier & IER_EMPTY && uart.emptyPending && canSend()) return IIR_EMPTY;
  if (ier & IER_MODEM && uart.modemChanges) return IIR_MODEM;
  return IIR_NONE;
}

/** The interrupt line. On a PC, OUT2 gates it, and looping takes OUT2 away. */
export function uartLine(): bool {
  return (uart.mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2 && cause(uart.ier) != IIR_NONE;
}

/**
 * An access has reset a cause which is there again at once: the line has fallen in between, unless another one holds it.
 * A handler that serves one byte an interrupt waits for the edge.
 */
function renew(enable: u32): void {
  uart.signals |= cause(uart.ier & ~enable) == IIR_NONE ? Signal.Line | Signal.Fall : Signal.Line;
}

/** Whether root has not taken yet what the guest has sent. Without the VM's lock: who asks may be told a moment late. */
export function uartHasOutput(): bool {
  return rings.outHead != rings.outTail;
}

/** Whether an interrupt waits for nothing but room in the ring. */
export function uartWaitsForRoom(): bool {
  return uart.ier & IER_EMPTY && uart.emptyPending && !canSend();
}

/** Signal bits since takeSignals(). */
export function signals(): u32 {
  return uart.signals;
}

export function takeSignals(): u32 {
  const taken = uart.signals;
  uart.signals = 0;
  return taken;
}

/** @noinline */
function receive(): u32 {
  let byte: u32 = 0;
  if (uart.loopCount > 0) {
    byte = load<u8>(looped + uart.loopStart);
    uart.loopStart = (uart.loopStart + 1) % FIFO;
    uart.loopCount--;
  } else if (received() > 0) {
    byte = load<u8>(CONSOLE_RING + CONSOLE_IN_OFFSET + (rings.inTail & (CONSOLE_IN_SIZE - 1)));
    rings.inTail++;
  }
  if (triggers(received())) uart.signals |= Signal.Line;
  else renew(IER_RECEIVED);
  return byte;
}

/** What overruns a FIFO is lost; without FIFOs it takes the place of what was there. */
function loopBack(byte: u32): void {
  const depth: u32 = uart.fcr ? FIFO : 1;
  if (uart.loopCount >= depth) {
    uart.overrun = 1;
    if (uart.fcr) return;
    uart.loopCount = 0;
  }
  store<u8>(looped + ((uart.loopStart + uart.loopCount) % FIFO), <u8>byte);
  uart.loopCount++;
}

function send(byte: u32): void {
  uart.emptyPending = 1;
  if (uart.ier) renew(IER_EMPTY);
  if (looping()) {
    loopBack(byte);
    return;
  }
  const left = room();
  if (left == 0) return; // written to a busy transmitter: lost, as on the wire
  store<u8>(CONSOLE_RING + CONSOLE_OUT_OFFSET + (rings.outHead & (CONSOLE_OUT_SIZE - 1)), <u8>byte);
  rings.outHead++;
  if (byte == LINE_FEED || left <= CONSOLE_OUT_SIZE / 2) uart.signals |= Signal.Drain;
}

function lineStatus(): u32 {
  let status: u32 = received() > 0 ? LSR_DATA : 0;
  if (canSend()) status |= LSR_EMPTY;
  else uart.signals |= Signal.Drain;
  if (uart.overrun) {
    status |= LSR_OVERRUN;
    uart.overrun = 0;
    uart.signals |= Signal.Line;
  }
  return status;
}

export function readUart(offset: u32): u32 {
  // What guests poll goes first.
  if (offset == Reg.LSR) return lineStatus();
  switch (offset) {
    case Reg.RBR_THR:
      return uart.lcr & LCR_DLAB ? uart.divisor & 255 : receive();
    case Reg.IER:
      return uart.lcr & LCR_DLAB ? uart.divisor >> 8 : uart.ier;
    case Reg.IIR_FCR: {
      const why = cause(uart.ier);
      if (why == IIR_EMPTY) {
        uart.emptyPending = 0;
        uart.signals |= Signal.Line;
      }
      return why | (uart.fcr ? IIR_FIFOS : 0);
    }
    case Reg.LCR:
      return uart.lcr;
    case Reg.MCR:
      return uart.mcr;
    case Reg.MSR: {
      const status = uart.modem | uart.modemChanges;
      if (uart.modemChanges) {
        uart.modemChanges = 0;
        uart.signals |= Signal.Line;
      }
      return status;
    }
    default:
      return uart.scratch;
  }
}

/** FIFO control: without the enable bit the others are not taken, and its change clears the FIFOs. */
function writeFifoControl(value: u32): void {
  const fcr = value & FCR_ENABLE ? value & ~FCR_CLEAR_RECEIVED : 0;
  if ((fcr ^ uart.fcr) & FCR_ENABLE || (fcr && value & FCR_CLEAR_RECEIVED)) {
    uart.loopCount = 0;
    rings.inTail = rings.inHead;
  }
  uart.fcr = fcr;
}

/** In loop mode the modem outputs DTR, RTS, OUT1, OUT2 are the inputs DSR, CTS, RI, DCD. */
function updateModem(): void {
  const m = uart.mcr;
  const now = looping() ? ((m & 1) << 5) | ((m & 2) << 3) | ((m & 4) << 4) | ((m & 8) << 4) : MSR_PRESENT;
  const changed = now ^ uart.modem;
  // A change of RI counts when it goes away.
  uart.modemChanges |= ((changed >> 4) & 0xb) | ((uart.modem & ~now & 0x40) >> 4);
  uart.modem = now;
}

/** What may interrupt has changed. Root makes room if that is all that an interrupt waits for. */
function rewire(): void {
  uart.signals |= uartWaitsForRoom() ? Signal.Line | Signal.Drain : Signal.Line;
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
        rewire();
      }
      break;
    case Reg.IIR_FCR:
      writeFifoControl(value);
      uart.signals |= Signal.Line;
      break;
    case Reg.LCR:
      uart.lcr = value;
      break;
    case Reg.MCR:
      uart.mcr = value & 0x1f;
      updateModem();
      rewire();
      break;
    case Reg.SCR:
      uart.scratch = value;
      break;
  }
}

/** Where its state is, for the debugger. */
export function uartState(): usize {
  return changetype<usize>(uart);
}
