/** What root tells a monitor about its VM before the first entry. One page at VM_INFO. */
@unmanaged
export class VmInfo {
  id: u32;
  vcpus: u32;
  /** Guest RAM is [0, ramLow) and [4 GiB, ramHigh). */
  ramLow: u64;
  ramHigh: u64;
  /** Of the host's TSC, and of the guest's. */
  tscHz: u64;
  guestTscHz: u64;
  /** Factors (lib/scale.ts) from the host's TSC to the guest's and back; both 0 when they count alike. */
  tscMultiplier: u64;
  tscInverse: u64;
  /** The host's TSC value that the guest sees as 0. */
  tscBase: u64;
  /** Seconds since 1970 at tscBase, from the host's clock. */
  bootTime: u64;
  /** Guest-physical places of the raw kernel file and the initrd, and their sizes in bytes. */
  kernelAddress: u64;
  kernelSize: u64;
  initrdAddress: u64;
  initrdSize: u64;
  /** IA32_MISC_ENABLE as the guest reads it. */
  miscEnable: u64;
  commandLineLength: u32;
  /** Bits of VmFeature. */
  features: u32;
  /** How often the operator has pressed the power button: root counts while the VM runs. */
  powerPresses: u32;
  padding: u32;
}

/** What the virtualization extension lets a guest use. */
export namespace VmFeature {
  export const Rdtscp: u32 = 1 << 0;
  export const Invpcid: u32 = 1 << 1;
  /** VT-x: CR8 is the TPR of the local APIC's page without an exit, but where it falls below the threshold. */
  export const TprShadow: u32 = 1 << 2;
  /** VT-x: modes that a monitor may ask for (ApicMode). */
  export const ApicRegisters: u32 = 1 << 3;
  export const VirtualInterrupts: u32 = 1 << 4;
  /** AMD-V: the guest's interrupts are to be virtual ones, for injected ones do not come as they should (root/quirk.ts). */
  export const NoInjection: u32 = 1 << 5;
}

/** Where the command line starts in the page, and how long it may be. */
export const COMMAND_LINE_OFFSET: u32 = 256;
export const COMMAND_LINE_MAX: u32 = 2048;
