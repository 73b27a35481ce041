/**
 * A table of the firmware's (ACPI 6.4 5.2.6, System Description Table Header): nothing in it is believed before its length
 * and checksum are. What cannot be is left aside, and one line says so.
 */
import { Text } from "../../lib/text";
import { load32, load8 } from "../../machine/phys";
import { say, warning } from "../log";
import { ensureWindow } from "../space";

export const HEADER: u32 = 36;
/** No firmware's DSDT is as long. */
const LENGTH_MAX: u32 = 1 << 20;
/** What is wrong with tables without end is told so often. */
const WARNINGS_MAX: u32 = 8;


@unmanaged
class Warnings {
  count: u32;
}
const warnings = changetype<Warnings>(memory.data(4));

/** Forgets how many warnings there were: for a list that is read from its start. */
export function forgetWarnings(): void {
  warnings.count = 0;
}

/** How much was wrong. */
export function warningCount(): u32 {
  return warnings.count;
}

/** Says what is not used: the four letters at `at`, or `name`; `why` is what was expected. */
export function ignore(at: u64, name: string | null, why: string): void {
  const n = warnings.count++;
  if (n > WARNINGS_MAX) return;
  const out = warning().str("ACPI: ");
  if (n == WARNINGS_MAX) {
    say(out.str("more is wrong, and not told"));
    return;
  }
  if (name == null) nameOf(at, out);
  else out.str(name);
  say(out.str(" at ").hex(at).str(": ").str(why).str(", ignored"));
}

function nameOf(at: u64, out: Text): void {
  for (let i: u32 = 0; i < 4; i++) out.printable(load8(at + i));
}

export function signature(at: u64): u32 {
  return load32(at);
}

/** Whether `length` bytes add up to 0 (5.2.6, System Description Table Header). */
export function isWhole(at: u64, length: u32): bool {
  let sum: u32 = 0;
  for (let i: u32 = 0; i < length; i++) sum += load8(at + i);
  return (sum & 0xff) == 0;
}

/** Makes a table readable; its length, or 0 when it is not one, of which a line tells. `list` names who points there. */
export function tableLength(table: u64, list: string): u32 {
  if (!ensureWindow(table, HEADER)) {
    ignore(table, list, "pointer past memory");
    return 0;
  }
  const length = load32(table + 4);
  if (length < HEADER || length >= LENGTH_MAX) {
    ignore(table, null, "expected a length of 36 bytes to 1 MiB");
    return 0;
  }
  if (ensureWindow(table, length)) return length;
  ignore(table, null, "runs past memory");
  return 0;
}

/** Whether the table is what its checksum says; if not, a line tells. */
export function isSound(table: u64, length: u32): bool {
  if (isWhole(table, length)) return true;
  ignore(table, null, "bad checksum");
  return false;
}
