/** What the stubs and the intrinsics know of a vCPU while it runs. */
@unmanaged
export class Running {
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
  /** How many vCPUs the VM has; the APIC ids of the CPUs where they live follow, two a word. */
  siblings: u32;
  /** 1: no other vCPU lives on its CPU. */
  alone: u32;
  apicIds01: u64;
  apicIds23: u64;
  apicIds45: u64;
  apicIds67: u64;
  apicIds89: u64;
  apicIds1011: u64;
  apicIds1213: u64;
  apicIds1415: u64;
}

/**
 * What root hands to run_vcpu, which copies the first part to the CPU's block. It is in root's memory: what the stubs
 * trust is never a monitor's to write.
 */
@unmanaged
export class VcpuContext extends Running {
  /** Physical address of the monitor's top page table. */
  cr3: u64;
  /** Tells the vCPU apart from all others. */
  number: u32;
  padding: u32;

  setApicId(n: u32, id: u32): void {
    store<u32>(changetype<usize>(this) + ((<usize>n) << 2), id, offsetof<Running>("apicIds01"));
  }
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
