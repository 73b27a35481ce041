/**
 * A PS/2 keyboard behind an 8042 (IBM PC/AT Technical Reference, Keyboard Controller), or a USB keyboard that firmware makes look
 * like one. Nothing is reset or tested: firmware that emulates it may not come back from that.
 */
import { in8, out8 } from "../../machine/port";
import { fadt } from "../acpi/fadt";
import { scancodes } from "./scancode";

const DATA: u32 = 0x60;
const STATUS: u32 = 0x64;
const OUTPUT_FULL: u32 = 1;
const INPUT_FULL: u32 = 2;
/** The byte is the mouse's. */
const FROM_MOUSE: u32 = 0x20;

namespace Command {
  export const ReadConfiguration: u32 = 0x20;
  export const WriteConfiguration: u32 = 0x60;
  export const EnableKeyboard: u32 = 0xae;
}

namespace Configuration {
  export const KeyboardInterrupt: u32 = 1;
  export const MouseInterrupt: u32 = 2;
  export const KeyboardDisabled: u32 = 0x10;
  /** From scan code set 2 to set 1. */
  export const Translated: u32 = 0x40;
}

/** Looks at the status until it counts as broken: some tens of milliseconds. */
const POLLS: u32 = 50000;


@unmanaged
class Keyboard {
  isOpen: bool;
  /** It has no interrupt. */
  isPolled: bool;

  /** Null, or why there is no keyboard. */
  open(): string | null {
    this.isOpen = false;
    if (fadt.lacksI8042) return "no PS/2 controller";
    if (in8(STATUS) == 0xff) return "no PS/2 controller";
    scancodes.reset();
    // What was typed before is nobody's.
    for (let i: u32 = 0; i < 16 && in8(STATUS) & OUTPUT_FULL; i++) in8(DATA);
    if (!send(STATUS, Command.ReadConfiguration)) return "its controller takes no command";
    const was = answer();
    if (was < 0) return "its controller does not answer";
    const wanted =
      (was & ~(Configuration.KeyboardDisabled | Configuration.MouseInterrupt)) |
      Configuration.KeyboardInterrupt |
      Configuration.Translated;
    if (
      !send(STATUS, Command.WriteConfiguration) ||
      !send(DATA, wanted) ||
      !send(STATUS, Command.EnableKeyboard)
    )
      return "its controller takes no command";
    this.isOpen = true;
    return null;
  }

  /** Takes what has come from the keyboard; false when nothing has. What was typed by it is in `typed`. */
  receive(): bool {
    if (!this.isOpen) return false;
    const status = in8(STATUS);
    if (status == 0xff || !(status & OUTPUT_FULL)) return false;
    const byte = in8(DATA);
    if (status & FROM_MOUSE) scancodes.typed = 0;
    else scancodes.take(byte);
    return true;
  }

  get typed(): u32 {
    return scancodes.typed;
  }

  typedAt(i: u32): u32 {
    return scancodes.typedAt(i);
  }
}

/** Writes as soon as the controller takes it. False when it does not. */
function send(port: u32, value: u32): bool {
  for (let i: u32 = 0; i < POLLS; i++) {
    if (in8(STATUS) & INPUT_FULL) continue;
    out8(port, value);
    return true;
  }
  return false;
}

/** The controller's answer, or -1. */
function answer(): i32 {
  for (let i: u32 = 0; i < POLLS; i++) if (in8(STATUS) & OUTPUT_FULL) return in8(DATA);
  return -1;
}

export const keyboard = changetype<Keyboard>(memory.data(4));
