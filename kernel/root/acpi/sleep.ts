/**
 * The values that switch the machine off: \_S5 in the DSDT or an SSDT (ACPI 6.4 7.4.2, \_Sx). That is AML, of which only this is
 * understood: a name, a package, and two small numbers (20.2.5.1, Namespace Modifier Objects Encoding; 20.2.5.4, Type 2 Opcodes).
 */
import { load32, load8 } from "../../machine/phys";
import { HEADER } from "./table";

const S5: u32 = 0x5f35535f;
const NAME_OP: u32 = 0x08;
const ROOT_CHAR: u32 = 0x5c;
const PACKAGE_OP: u32 = 0x12;
const BYTE_PREFIX: u32 = 0x0a;
/** What SLP_TYPx has room for (4.8.3.2.1, PM1 Control Registers). */
const TYPE_MAX: u32 = 7;


@unmanaged
class Sleep {
  /** It was found. */
  found: bool;
  typeA: u32;
  typeB: u32;
}

export const sleep = changetype<Sleep>(memory.data(12, 4));

/** Where the next element is, after a number at `at`; 0 when there is none. Its value is in `number`. */
@unmanaged
class Element {
  value: u32;
}
const element = changetype<Element>(memory.data(4));

/** ZeroOp, OneOp, or a byte. Returns the address behind it, 0 when it is something else, or too large, or cut off. */
function readElement(at: u64, end: u64): u64 {
  if (at >= end) return 0;
  const first = load8(at);
  element.value = first;
  if (first <= 1) return at + 1;
  if (first != BYTE_PREFIX || at + 2 > end) return 0;
  element.value = load8(at + 1);
  return element.value <= TYPE_MAX ? at + 2 : 0;
}

/** The package behind the name at `at`: its end must be within the table (20.2.4, Package Length Encoding). */
function readPackage(at: u64, end: u64): bool {
  if (at + 3 > end || load8(at) != PACKAGE_OP) return false;
  const lead = load8(at + 1);
  const more = lead >> 6;
  if (at + 3 + more > end) return false;
  let length: u64 = more == 0 ? lead & 0x3f : lead & 0x0f;
  for (let i: u32 = 0; i < more; i++) length |= (<u64>load8(at + 2 + i)) << (4 + 8 * i);
  const stop = at + 1 + length;
  if (stop > end) return false;
  const count = load8(at + 2 + more);
  const second = readElement(at + 3 + more, stop);
  if (count < 1 || second == 0) return false;
  sleep.typeA = element.value;
  // Some have one number for both.
  if (count > 1 && readElement(second, stop) == 0) return false;
  sleep.typeB = element.value;
  return true;
}

/** Looks for it in a table whose checksum is right. */
export function findSleep(table: u64, length: u32): void {
  const end = table + length;
  for (let at = table + HEADER + 1; at + 8 <= end && !sleep.found; at++) {
    if (load8(at) != 0x5f || load32(at) != S5) continue;
    const named = load8(at - 1) == NAME_OP || (load8(at - 1) == ROOT_CHAR && load8(at - 2) == NAME_OP);
    sleep.found = named && readPackage(at + 4, end);
  }
}
