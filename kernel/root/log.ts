/**
 * The hypervisor's log: lines that start with "(tv) ", to the console that the command line names. A line is built in
 * a buffer and sent at once, so that what two sources say never mixes within a line.
 */
import { Text } from "../lib/text";
import { screen } from "./screen/screen";
import { uart } from "./uart";

export namespace Level {
  export const Error: u32 = 0;
  export const Warning: u32 = 1;
  export const Info: u32 = 2;
  export const Debug: u32 = 3;
}

/** Which UART the log goes to; NONE for none. */
export const NONE: u32 = 0xffffffff;


@unmanaged
class Settings {
  level: u32;
  uart: u32;
  screen: bool;
}

/** What was logged last. */
@unmanaged
class Ring {
  /** Bytes that were logged. */
  head: u32;

  get start(): usize {
    return bytes;
  }
  get size(): u32 {
    return RING;
  }
  put(byte: u32): void {
    store<u8>(bytes + (this.head++ & (RING - 1)), <u8>byte);
  }
}

const RING: u32 = 4096;
const bytes = memory.data(4096);
export const ring = changetype<Ring>(memory.data(4));

const CAPACITY: u32 = 512;
const line = changetype<Text>(memory.data(16));
const muted = changetype<Text>(memory.data(16));
const buffer = memory.data(512);
export const settings = changetype<Settings>(memory.data(12));

function begin(level: u32): Text {
  if (level > settings.level) return muted.over(0, 0);
  return line.over(buffer, CAPACITY).str("(tv) ");
}

export function error(): Text {
  return begin(Level.Error);
}
export function warning(): Text {
  return begin(Level.Warning);
}
export function info(): Text {
  return begin(Level.Info);
}
export function debug(): Text {
  return begin(Level.Debug);
}

/** Sends the line. */
export function say(text: Text): void {
  if (text.capacity == 0) return;
  // A guest's line may be open on the same UART.
  if (settings.uart != NONE && uart(settings.uart).last != 10) {
    uart(settings.uart).put(13);
    uart(settings.uart).put(10);
  }
  if (settings.screen) screen.beginLine();
  for (let i: u32 = 0; i < text.length; i++) put(load<u8>(text.start + i));
  put(13);
  put(10);
  if (settings.screen) screen.endLine();
  if (settings.uart != NONE) {
    const u = uart(settings.uart);
    if (u.byInterrupt) u.send();
    else u.flush();
  }
}

function put(byte: u32): void {
  ring.put(byte);
  if (settings.uart != NONE) uart(settings.uart).put(byte);
  if (settings.screen) screen.put(byte);
}
