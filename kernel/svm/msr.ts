/** MSRs that AMD's CPUs have, beside those of both vendors (APM Vol. 2 Appendix A). */
import * as Msr from "../x86/msr";
import { answerMsr, onReadMsr, onWriteMsr, takeMsr } from "../vcpu/msr";
import { Vcpu } from "../vcpu/vcpu";

/** HWCR.TscFreqSel: the TSC counts at the frequency of P0. */
const TSC_FREQ_SEL: u64 = 1 << 24;

/** Whether the MSR is one whose bits configure what a virtual machine does not have: it reads 0 and keeps nothing. */
function isEmpty(index: u32): bool {
  return index == Msr.SYSCFG || index == Msr.NB_CFG || index == Msr.INT_PENDING_MSG;
}

export function readMsr(v: Vcpu): u32 {
  const index = <u32>v.rcx;
  if (index == Msr.HWCR) return answerMsr(v, TSC_FREQ_SEL);
  return isEmpty(index) ? answerMsr(v, 0) : onReadMsr(v);
}

export function writeMsr(v: Vcpu): u32 {
  const index = <u32>v.rcx;
  return index == Msr.HWCR || isEmpty(index) ? takeMsr(v) : onWriteMsr(v);
}
