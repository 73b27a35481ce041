/** MSRs that Intel's CPUs have, beside those of both vendors (SDM Vol. 4 2.1, Architectural MSRs). */
import { VM_INFO } from "../abi/address";
import { VmInfo } from "../abi/vminfo";
import { answerMsr, onReadMsr, onWriteMsr, takeMsr } from "../vcpu/msr";
import { Vcpu } from "../vcpu/vcpu";
import * as Msr from "../x86/msr";

/** IA32_FEATURE_CONTROL: locked, VMX off. */
const FEATURE_CONTROL: u64 = 1;

export function readMsr(v: Vcpu): u32 {
  switch (<u32>v.rcx) {
    case Msr.IA32_FEATURE_CONTROL:
      return answerMsr(v, FEATURE_CONTROL);
    case Msr.IA32_MISC_ENABLE:
      return answerMsr(v, changetype<VmInfo>(VM_INFO).miscEnable);
    default:
      return onReadMsr(v);
  }
}

/** IA32_MISC_ENABLE is as on a PC whose bits are all fixed: writes are accepted and not kept. */
export function writeMsr(v: Vcpu): u32 {
  return <u32>v.rcx == Msr.IA32_MISC_ENABLE ? takeMsr(v) : onWriteMsr(v);
}
