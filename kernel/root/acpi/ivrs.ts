/** AMD I/O Virtualization Technology 3.07, 5.2, I/O Virtualization Reporting Structure: found and reported, not used. */
import { bits } from "../../lib/bits";
import { load16, load32, load64, load8 } from "../../machine/phys";
import { isRam } from "../boot";
import { IommuKind, iommu } from "./iommu";
import { ignore } from "./table";

const BLOCKS: u32 = 48;

/** 5.2.2, I/O Virtualization Hardware Definition Block: types 10h, 11h and 40h, which may tell of one unit each. */
function isHardware(kind: u32): bool {
  return kind == 0x10 || kind == 0x11 || kind == 0x40;
}

export function readIvrs(table: u64, length: u32): void {
  if (length < BLOCKS) {
    ignore(table, null, "expected 48 bytes or more");
    return;
  }
  iommu.kind = IommuKind.AmdVi;
  // IVinfo: PASize.
  iommu.width = <u32>bits(load32(table + 36), 14, 8);
  const end = table + length;
  let last: u64 = 0;
  for (let at: u64 = table + BLOCKS; at + 4 <= end;) {
    const kind = load8(at);
    const size = load16(at + 2);
    if (size < 4 || at + size > end) {
      ignore(at, "IVRS: block", "expected a size of 4 bytes to the table's end");
      return;
    }
    if (isHardware(kind) && size >= 24) {
      const base = load64(at + 8);
      if (base == 0 || (base & 0xfff) != 0 || isRam(base))
        ignore(base, "IVRS: unit", "expected on 4 KiB and outside of RAM");
      // Blocks of a unit follow each other, oldest kind first.
      else if (base != last) iommu.units++;
      last = base;
    } else if ((kind & 0xf0) == 0x20 && kind <= 0x22) {
      iommu.reserved++;
    }
    at += size;
  }
}
