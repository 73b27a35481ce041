/** What the tables say of IOMMUs, whoever's they are. */

export namespace IommuKind {
  export const None: u32 = 0;
  export const Vtd: u32 = 1;
  export const AmdVi: u32 = 2;
}


@unmanaged
class Iommu {
  /** One of IommuKind. */
  kind: u32;
  units: u32;
  /** Bits of a physical address in what they translate. */
  width: u32;
  /** Ranges of memory that firmware's devices go on using. */
  reserved: u32;
  /** Firmware asks for no x2APIC. */
  forbidsX2apic: bool;
}
export const iommu = changetype<Iommu>(memory.data(20, 4));
