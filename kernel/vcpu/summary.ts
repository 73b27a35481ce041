/** The registers of a vCPU that the hardware keeps, for reports. */
@unmanaged
export class GuestSummary {
  rip: u64;
  rsp: u64;
  rflags: u64;
  cr0: u64;
  cr3: u64;
  cr4: u64;
  efer: u64;
  cs: u64;
}
