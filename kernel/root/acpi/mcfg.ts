/** PCI Firmware 3.3 4.1.2, MCFG Table Description: where configuration space is in memory. Reported; root uses ports. */
import { load16, load64, load8 } from "../../machine/phys";
import { isRam } from "../boot";
import { ignore } from "./table";

const FIRST: u32 = 44;
const ENTRY: u32 = 16;


@unmanaged
class Mcfg {
  /** Where bus 0 of segment 0 is, 0 for nowhere. */
  base: u64;
  /** The segments' ranges that it lists. */
  ranges: u32;
  lastBus: u32;
}
export const mcfg = changetype<Mcfg>(memory.data(16, 8));

export function readMcfg(table: u64, length: u32): void {
  for (let at = table + FIRST; at + ENTRY <= table + length; at += ENTRY) {
    const base = load64(at);
    const first = load8(at + 10);
    const last = load8(at + 11);
    if (base == 0 || (base & 0xfffff) != 0 || first > last || isRam(base)) {
      ignore(at, "MCFG: entry", "expected buses in order, on 1 MiB and outside of RAM");
      continue;
    }
    mcfg.ranges++;
    if (load16(at + 8) != 0 || first != 0) continue;
    mcfg.base = base;
    mcfg.lastBus = last;
  }
}
