/** The state in which a vCPU starts, from the neutral form to the VMCS. */
import { CR0_WATCHED } from "../vcpu/cr";
import { Seg } from "../vcpu/system";
import { Vcpu } from "../vcpu/vcpu";
import { Cr0, Cr4 } from "../x86/cr";
import * as F from "./field";

const DR7_RESET: u64 = 0x400;
const PAT_RESET: u64 = 0x0007040600070406;

/** Writes all of v.system, RIP, RSP and RFLAGS to the VMCS. */
export function storeSystem(v: Vcpu): void {
  const s = v.system;
  for (let n: u32 = 0; n < Seg.Count; n++) {
    const segment = s.segment(n);
    changetype<F.Field16>(F.GUEST_ES_SELECTOR.encoding + n * 2).write(segment.selector);
    changetype<F.Field32>(F.GUEST_ES_LIMIT.encoding + n * 2).write(segment.limit);
    changetype<F.Field32>(F.GUEST_ES_RIGHTS.encoding + n * 2).write(segment.rights);
    changetype<F.Field64>(F.GUEST_ES_BASE.encoding + n * 2).write(segment.base);
  }
  F.GUEST_GDTR_BASE.write(s.gdtrBase);
  F.GUEST_GDTR_LIMIT.write(s.gdtrLimit);
  F.GUEST_IDTR_BASE.write(s.idtrBase);
  F.GUEST_IDTR_LIMIT.write(s.idtrLimit);
  F.GUEST_CR0.write((s.cr0 & ~CR0_WATCHED) | Cr0.NE);
  F.CR0_SHADOW.write(s.cr0);
  F.GUEST_CR3.write(s.cr3);
  F.GUEST_CR4.write(s.cr4 | Cr4.VMXE);
  F.CR4_SHADOW.write(s.cr4);
  F.GUEST_EFER.write(s.efer);
  F.GUEST_PAT.write(PAT_RESET);
  F.GUEST_DR7.write(DR7_RESET);
  F.GUEST_SYSENTER_CS.write(0);
  F.GUEST_SYSENTER_ESP.write(0);
  F.GUEST_SYSENTER_EIP.write(0);
  F.GUEST_RIP.write(v.rip);
  F.GUEST_RSP.write(v.rsp);
  F.GUEST_RFLAGS.write(v.rflags);
}
