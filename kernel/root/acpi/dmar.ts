/** Intel Virtualization Technology for Directed I/O 4.1, 8.1, DMA Remapping Reporting Structure: found and reported, not used. */
import { load16, load64, load8 } from "../../machine/phys";
import { bit } from "../../lib/bits";
import { isRam } from "../boot";
import { iommu, IommuKind } from "./iommu";
import { ignore } from "./table";

const STRUCTURES: u32 = 48;
/** 8.3, DMA Remapping Hardware Unit Definition Structure, and 8.4, Reserved Memory Region Reporting Structure. */
const DRHD: u32 = 0;
const RMRR: u32 = 1;

export function readDmar(table: u64, length: u32): void {
  if (length < STRUCTURES) {
    ignore(table, null, "expected 48 bytes or more");
    return;
  }
  iommu.kind = IommuKind.Vtd;
  iommu.width = load8(table + 36) + 1;
  iommu.forbidsX2apic = bit(load8(table + 37), 1);
  const end = table + length;
  for (let at: u64 = table + STRUCTURES; at + 4 <= end;) {
    const kind = load16(at);
    const size = load16(at + 2);
    if (size < 4 || at + size > end) {
      ignore(at, "DMAR: structure", "expected a size of 4 bytes to the table's end");
      return;
    }
    if (kind == DRHD && size >= 16) {
      const base = load64(at + 8);
      if (base == 0 || (base & 0xfff) != 0 || isRam(base))
        ignore(base, "DMAR: unit", "expected on 4 KiB and outside of RAM");
      else iommu.units++;
    } else if (kind == RMRR && size >= 24) {
      iommu.reserved++;
    }
    at += size;
  }
}
