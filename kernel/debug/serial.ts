/** The debugger's line: an 8250 that root has set up, polled. Its interrupts are root's business. */
import { in8, out8 } from "../machine/port";
import { tsc } from "../machine/time";

namespace Reg {
  export const RBR_THR: u32 = 0; // r: receive buffer  w: transmit holding
  export const LSR: u32 = 5; //     r  line status
}

const LSR_DATA: u32 = 1;
const LSR_THRE: u32 = 0x20;
/** A transmitter that is not ready for so many polls and ticks is given up: an emulator's waits for its reader. */
const POLLS: u32 = 200000;
const TICKS: u64 = 1 << 31;
/** How often to look for the next byte at least, where somebody may have none to send. */
const PATIENCE: u32 = 20000;

/** What get() returns when there is no byte. */
export const SILENCE: i32 = -1;


@unmanaged
class Line {
  port: u32;
  /** Nonzero: the packet's rest is not sent, for the transmitter has been given up. */
  broken: u32;
  /** Nonzero: get() does not wait for ever. */
  hasty: u32;
  /** 1 + a byte that has been read too far; 0 for none. */
  pushed: i32;
  /** TSC ticks that get() waits at least. */
  patience: u64;
}
export const line = changetype<Line>(memory.data(24, 8));

export function openLine(port: u32, patience: u64): void {
  line.port = port;
  line.patience = patience;
  line.hasty = 0;
  line.pushed = 0;
}

function status(): u32 {
  return in8(line.port + Reg.LSR);
}

/** The next byte. */
export function get(): i32 {
  const pushed = line.pushed;
  line.pushed = 0;
  if (pushed != 0) return pushed - 1;
  const end = line.hasty ? tsc() + line.patience : 0;
  for (let polls: u32 = 0; !(status() & LSR_DATA); polls++) {
    if (line.hasty && polls >= PATIENCE && tsc() >= end) return SILENCE;
  }
  return <i32>(in8(line.port + Reg.RBR_THR) & 255);
}

/** get() returns this one next. */
export function pushBack(byte: i32): void {
  line.pushed = byte + 1;
}

export function put(byte: u32): void {
  if (line.broken) return;
  const end = tsc() + TICKS;
  for (let polls: u32 = 0; !(status() & LSR_THRE); polls++) {
    if (polls < POLLS || tsc() < end) continue;
    line.broken = 1;
    return;
  }
  out8(line.port + Reg.RBR_THR, byte);
}
