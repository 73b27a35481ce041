/** VMCS fields as the kernel has them. */
import { vmread, vmwrite } from "./vmcs";
@unmanaged
export class Field32 {
  read(): u32 {
    return <u32>vmread(<u32>changetype<usize>(this));
  }
  write(value: u32): void {
    vmwrite(<u32>changetype<usize>(this), value);
  }
}
@unmanaged
export class Field64 {
  read(): u64 {
    return vmread(<u32>changetype<usize>(this));
  }
  write(value: u64): void {
    vmwrite(<u32>changetype<usize>(this), value);
  }
}
export const EXIT_REASON = changetype<Field32>(0x4402);
export const EXIT_INSTRUCTION_LENGTH = changetype<Field32>(0x440c);
export const GUEST_INTERRUPTIBILITY = changetype<Field32>(0x4824);
export const EXIT_QUALIFICATION = changetype<Field64>(0x6400);
export const GUEST_RIP = changetype<Field64>(0x681e);
