/** Where the firmware's tables begin (ACPI 6.4 5.2.5, Root System Description Pointer). */
import { load16, load32, load8 } from "../../machine/phys";
import { boot } from "../boot";
import { ignore, isWhole } from "./table";

const LOW: u32 = 0x20445352; // "RSD "
const HIGH: u32 = 0x20525450; // "PTR "
/** Bytes of revision 0, and of what came later. */
const FIRST: u32 = 20;
const ALL: u32 = 36;
/** Where BIOSes leave the EBDA's segment. */
const EBDA_SEGMENT: u64 = 0x40e;

/** From revision 2 on there is a checksum of all of it besides that of its first 20 bytes (5.2.5.3, RSDP Structure). */
function isRsdp(at: u64): bool {
  if (load32(at) != LOW || load32(at + 4) != HIGH) return false;
  if (isWhole(at, FIRST) && (!isExtended(at) || isWhole(at, ALL))) return true;
  ignore(at, "RSDP", "bad checksum");
  return false;
}

/** Whether it has the XSDT's address. */
export function isExtended(rsdp: u64): bool {
  return load8(rsdp + 15) >= 2;
}

/**
 * The copy that the boot loader gives, which with EFI is the only one; else 5.2.5.1, Finding the RSDP on IA-PC Systems: the first
 * KiB of the EBDA, then E0000h to FFFFFh, on 16-byte boundaries. 0 when there is none.
 */
export function findRsdp(): u64 {
  if (boot.rsdp != 0 && isRsdp(boot.rsdp)) return boot.rsdp;
  const ebda = (<u64>load16(EBDA_SEGMENT)) << 4;
  if (ebda >= 0x80000 && ebda < 0xa0000) {
    for (let at = ebda; at < ebda + 1024; at += 16) if (isRsdp(at)) return at;
  }
  for (let at: u64 = 0xe0000; at < 0x100000; at += 16) if (isRsdp(at)) return at;
  return 0;
}
