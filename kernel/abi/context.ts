/** What root hands to run_vcpu. It is in root's memory: what the stubs trust is never a monitor's to write. */
@unmanaged
export class VcpuContext {
  /** Physical address of the monitor's top page table. */
  cr3: u64;
  /** Top of the vCPU's own stack, in the monitor's address space. */
  stack: u64;
  /** Host virtual address of the vCPU's Gprs. */
  gprs: u64;
  /** Guest RAM is [0, ramLow) and [4 GiB, ramHigh). */
  ramLow: u64;
  ramHigh: u64;
  /** TSC value at which the slice ends. */
  sliceEnd: u64;
  /** Physical address of the VMCS or VMCB; on AMD-V the page behind it takes the host's state (VMSAVE). */
  vmcb: u64;
  /** Where the monitor has the VMCB, in its address space. */
  control: u64;
  /** Linear address of the vCPU's area in the monitor's memory. */
  vcpu: u32;
  /** Whether the VMCS has been launched (SDM Vol. 3C 25.1, Overview). */
  launched: u32;
  /** Tells the vCPU apart from all others. */
  number: u32;
  padding: u32;
}

/** What run_vcpu returns. The first three are what a monitor returns to its stub. */
export namespace Leave {
  /** Go on in the guest; never seen by root. */
  export const Resume: u32 = 0;
  /** The monitor has a request for root in its run area. */
  export const Yield: u32 = 1;
  /** The VM has ended, for the reason in its run area. */
  export const Stop: u32 = 2;
  /** A host interrupt wants root. */
  export const Interrupt: u32 = 3;
  export const Nmi: u32 = 4;
  export const MachineCheck: u32 = 5;
  /** The monitor faulted; the crash record says where. */
  export const Trap: u32 = 6;
  /** The monitor did not come back in time; the crash record says where it was. */
  export const Killed: u32 = 7;
  /** VMLAUNCH or VMRESUME failed before it looked at the guest's state. */
  export const EntryFailed: u32 = 8;
  /** The monitor returned what is none of a monitor's values. */
  export const Unknown: u32 = 9;
}
