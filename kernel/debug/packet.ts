/**
 * Packets on the line: "$contents#checksum", "+" and "-" (GDB manual, Appendix E.1, Remote Protocol Overview). What is not
 * within a packet is passed over.
 */
import { Text } from "../lib/text";
import { Input, digit } from "./input";
import { SILENCE, get, line, pushBack, put } from "./serial";

/** The most that a packet holds, in either direction. */
export const CAPACITY: u32 = 4096;
/** How often a packet is sent again that does not arrive. */
const RETRIES: u32 = 8;
/** In the place of a length: the packet has not arrived as it was sent; there was none. */
const BROKEN: u32 = 0xffffffff;
const QUIET: u32 = 0xfffffffe;

export const INTERRUPT: i32 = 3;
const PLUS: i32 = 43;
const MINUS: i32 = 45;
const DOLLAR: i32 = 36;
const HASH: i32 = 35;
const BRACE: u32 = 125;
const STAR: u32 = 42;


@unmanaged
class Link {
  /** Nonzero: nobody acknowledges anything. */
  noAck: u32;
  /** Nonzero: a Ctrl-C came while the machine stood. GDB may send it before the resume that it is meant for. */
  interrupted: u32;
}
export const link = changetype<Link>(memory.data(8, 4));

const received = memory.data(4096);
const sent = memory.data(4096);
const reply = changetype<Text>(memory.data(16, 4));
const input = changetype<Input>(memory.data(16, 4));

/** The packet to answer with, empty at first. */
export function answer(): Text {
  return reply.over(sent, CAPACITY);
}

export function ok(): void {
  answer().str("OK");
}

export function error(code: u32): void {
  answer().byte(69).rawHex(code, 2);
}

/** EFAULT: what is there cannot be read, or not be written. */
export const FAULT: u32 = 0x0e;
export const INVALID: u32 = 0x01;
/** ENOSPC as the manual has it for breakpoints. */
export const FULL: u32 = 0x16;

function transmit(): void {
  let sum: u32 = 0;
  line.broken = 0;
  put(DOLLAR);
  for (let i: u32 = 0; i < reply.length; i++) {
    const c = <u32>load<u8>(sent + i);
    sum += c;
    put(c);
  }
  put(HASH);
  put(hexDigit(sum >> 4));
  put(hexDigit(sum));
}

function hexDigit(value: u32): u32 {
  value &= 15;
  return value < 10 ? 48 + value : 87 + value;
}

/** Sends the answer, and again when it is asked for. Whoever starts a new packet has got it. */
export function send(): void {
  transmit();
  for (let tries: u32 = 0; !link.noAck && !line.broken && tries < RETRIES;) {
    const c = get();
    if (c == PLUS || c == SILENCE) return;
    if (c == DOLLAR) {
      pushBack(c);
      return;
    }
    if (c == INTERRUPT) link.interrupted = 1;
    if (c != MINUS) continue;
    tries++;
    transmit();
  }
}

/** Reads what is between "$" and the checksum to `received`, and checks it. */
function readPacket(): u32 {
  let length: u32 = 0;
  let sum: u32 = 0;
  let c = get();
  while (c != HASH && c != SILENCE) {
    if (c == DOLLAR) {
      length = 0;
      sum = 0;
    } else {
      sum += c;
      if (length < CAPACITY) store<u8>(received + length, <u8>c);
      if (length <= CAPACITY) length++;
    }
    c = get();
  }
  const high = c == SILENCE ? SILENCE : get();
  const low = high == SILENCE ? SILENCE : get();
  if (low == SILENCE) return QUIET;
  const right = digit(high) << 4 == (sum & 0xf0) && digit(low) == (sum & 15);
  return right && length <= CAPACITY ? length : BROKEN;
}

/** Whether yet another packet comes at once. */
function isFollowed(): bool {
  const hasty = line.hasty;
  line.hasty = 1;
  let c = get();
  while (c != DOLLAR && c != SILENCE) c = get();
  line.hasty = hasty;
  if (c == DOLLAR) pushBack(c);
  return c == DOLLAR;
}

/** The next packet with a right checksum; null on silence. */
export function receive(): Input | null {
  let length = BROKEN;
  while (length == BROKEN) {
    let c = get();
    while (c != DOLLAR && c != SILENCE) {
      if (c == INTERRUPT) link.interrupted = 1;
      c = get();
    }
    length = c == SILENCE ? QUIET : readPacket();
    if (length == QUIET) return null;
    // Who says hello has not heard of what was agreed on with somebody else.
    const hello = length != BROKEN && input.over(received, length).word("qSupported");
    if (hello) link.noAck = 0;
    if (!link.noAck) {
      line.broken = 0;
      put(length == BROKEN ? MINUS : PLUS);
    } else if (length == BROKEN) {
      error(INVALID);
      send();
    }
    // It has been said again and again while nobody listened, and is to be answered once.
    if (hello && isFollowed()) length = BROKEN;
  }
  return input.over(received, length);
}

/** Bytes as two digits each. */
export function hexBytes(out: Text, from: usize, length: u32): void {
  for (let i: u32 = 0; i < length; i++) out.rawHex(load<u8>(from + i), 2);
}

/** The lowest `size` bytes of a value, the lowest first. */
export function littleHex(out: Text, value: u64, size: u32): void {
  for (let i: u32 = 0; i < size; i++) {
    out.rawHex(value & 255, 2);
    value >>= 8;
  }
}

/** A part of a document, and whether it is the last one (E.14, General Query Packets, qXfer). */
export function part(document: Text, offset: u64, length: u64): void {
  const out = answer();
  const start = min(offset, <u64>document.length);
  // Escaped, a byte takes two.
  const count = min(min(length, CAPACITY / 2 - 1), document.length - start);
  out.byte(start + count < document.length ? 109 : 108);
  for (let i: u64 = 0; i < count; i++) {
    const c = <u32>load<u8>(document.start + <usize>(start + i));
    if (c == HASH || c == DOLLAR || c == BRACE || c == STAR) out.byte(BRACE).byte(c ^ 32);
    else out.byte(c);
  }
}

/** Undoes the escapes of what is left of a packet, in place; returns its new length. */
export function unescape(packet: Input): u32 {
  let to = packet.at;
  for (let from = packet.at; from < packet.end; from++) {
    let c = <u32>load<u8>(from);
    if (c == BRACE) {
      from++;
      // An escape of nothing.
      if (from == packet.end) packet.bad = 1;
      else c = load<u8>(from) ^ 32;
    }
    store<u8>(to++, <u8>c);
  }
  return <u32>(to - packet.at);
}

/** Text for the person at GDB: an O packet of its own. */
export function print(text: Text): void {
  const out = answer().byte(79);
  hexBytes(out, text.start, min(text.length, CAPACITY / 2 - 2));
  out.str("0a");
  send();
}
