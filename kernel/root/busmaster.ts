/**
 * Devices that firmware has left able to write to memory: root turns bus mastering off in every PCI function that nobody uses.
 * What keeps it is listed in the log with loglvl=debug, and why.
 */
import { boot } from "./boot";
import { debug, say } from "./log";
import { NO_FUNCTION, firstFunction, headerType, nameFunction, nextFunction, read, write } from "./pci";

const COMMAND: u32 = 4;
const MASTER: u32 = 4;
const CLASS: u32 = 8;
/** Class codes: base class, subclass, interface (PCI Code and ID Assignment 1.11, 1.3 and 1.13). */
const USB: u32 = 0x0c03;
const UHCI: u32 = 0x0c0300;
/** UHCI Design Guide 1.1, 5.2.1, Legacy Support Register: what of the keyboard's ports or of the controller raises an SMI. */
const LEGACY_SUPPORT: u32 = 0xc0;
const LEGACY_SMIS: u32 = 0x1f;

/** Why a function keeps it; null when it does not. `kind` is its class code, of 24 bits. */
function exception(bdf: u32, header: u32, kind: u32): string | null {
  // What is behind a bridge could not be used either; itself it asks for nothing.
  if (header != 0) return "a bridge";
  // A USB keyboard behind the ports of an old one: the firmware's SMI handler works the controller. UEFI lets go of it before
  // the boot loader ends.
  if (boot.isUefi || kind >> 8 != USB) return null;
  if (kind == UHCI && !(read(bdf, LEGACY_SUPPORT) & LEGACY_SMIS)) return null;
  return "a USB controller, which the BIOS may make a keyboard of";
}

/** Turns bus mastering off in every function but the exceptions; returns how many had it on. */
export function clearBusMasters(): u32 {
  let cleared: u32 = 0;
  for (let bdf = firstFunction(); bdf != NO_FUNCTION; bdf = nextFunction(bdf)) {
    const command = read(bdf, COMMAND);
    if (!(command & MASTER)) continue;
    const why = exception(bdf, headerType(bdf), read(bdf, CLASS) >> 8);
    if (why == null) {
      write(bdf, COMMAND, command & 0xffff & ~MASTER);
      cleared++;
    } else {
      say(nameFunction(debug(), bdf).str(": keeps bus mastering: ").str(why));
    }
  }
  return cleared;
}
