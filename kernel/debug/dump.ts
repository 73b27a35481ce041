/** The control structures by the names of their fields: those that stand in a row in the structure do so here. */
import * as vmx from "../machine/vmx";
import * as S from "../svm/field";
import * as V from "../vmx/field";
import { wordAt } from "./features";
import { wrap } from "./inspect";
import { print } from "./packet";
import { fetch64 } from "./physical";
import { NONE } from "./session";
import { note } from "./note";
import { context, isSvm } from "./vm";

const DASH: u32 = 45;
const SEGMENTS = "es cs ss ds fs gs ldtr tr ";

/**
 * A line of fields from `place` on, `step` apart; "-" for one that is none of ours. The last name has a space behind it.
 */
function row(title: string, place: u32, step: u32, names: string): void {
  let out = note().str(title).str(":");
  const end = <u32>names.length;
  for (let at: u32 = 0; at < end; place += step) {
    if (load<u16>(changetype<usize>(names) + (at << 1)) == DASH) {
      at += 2;
      continue;
    }
    out = wrap(out);
    at = wordAt(out.str(" "), names, at);
    out.str(" ").hex(isSvm() ? fetch64(context.vmcb + place) : vmx.read(place));
  }
  print(out);
}

function isOther(svm: bool): bool {
  if (isSvm() == svm) return false;
  print(note().str(svm ? "VT-x has no VMCB" : "AMD-V has no VMCS"));
  return true;
}

/** Of the selected vCPU, unless there is none. */
export function dumpVmcs(thread: u32): void {
  if (thread == NONE || isOther(false)) return;
  row("exit", V.EXIT_REASON.encoding, 2, "reason interruption error vectoring vectoring_error length info ");
  row("exit", V.QUALIFICATION.encoding, 2, "qualification ");
  row("exit", V.GUEST_LINEAR.encoding, 2, "linear ");
  row("exit", V.GUEST_PHYSICAL.encoding, 2, "physical ");
  row("entry", V.ENTRY_CONTROLS.encoding, 2, "controls - interruption error length ");
  row("guest", V.GUEST_CR0.encoding, 2, "cr0 cr3 cr4 ");
  row("guest", V.CR0_MASK.encoding, 2, "cr0_mask cr4_mask cr0_shadow cr4_shadow ");
  row("guest", V.GUEST_DR7.encoding, 2, "dr7 rsp rip rflags pending_debug sysenter_esp sysenter_eip ");
  row("guest", V.LINK_POINTER.encoding, 2, "link debugctl pat efer - pdpte0 pdpte1 pdpte2 pdpte3 ");
  row("guest", V.GUEST_INTERRUPTIBILITY.encoding, 2, "interruptibility activity - sysenter_cs ");
  row("selectors", V.GUEST_ES_SELECTOR.encoding, 2, SEGMENTS);
  row("limits", V.GUEST_ES_LIMIT.encoding, 2, SEGMENTS);
  row("rights", V.GUEST_ES_RIGHTS.encoding, 2, SEGMENTS);
  row("bases", V.GUEST_ES_BASE.encoding, 2, SEGMENTS);
  row("limits", V.GUEST_GDTR_LIMIT.encoding, 2, "gdtr idtr ");
  row("bases", V.GUEST_GDTR_BASE.encoding, 2, "gdtr idtr ");
  row("controls", V.PIN_CONTROLS.encoding, 2, "pin processor exceptions pf_mask pf_match cr3_targets exit ");
  row("controls", V.SECONDARY_CONTROLS.encoding, 2, "secondary ");
  row("controls", V.IO_BITMAP_A.encoding, 2, "io_a io_b msr_bitmap - - - - - tsc_offset ");
  row("controls", V.EPT_POINTER.encoding, 2, "eptp ");
  row("host", V.HOST_CR0.encoding, 2, "cr0 cr3 cr4 fs gs tr gdtr idtr sysenter_esp sysenter_eip rsp rip ");
}

export function dumpVmcb(thread: u32): void {
  if (thread == NONE || isOther(true)) return;
  row("exit", S.EXIT_CODE.offset, 8, "code info1 info2 int_info ");
  row("exit", S.NEXT_RIP.offset, 8, "next_rip code_low code_high ");
  row("entry", S.EVENT_INJECTION.offset, 8, "event nested_cr3 - clean ");
  row("entry", S.VIRTUAL_INTERRUPT.offset, 8, "virtual_interrupt shadow ");
  row("guest", S.CR4.offset, 8, "cr4 cr3 cr0 dr7 dr6 rflags rip ");
  row("guest", S.RSP.offset, 8, "rsp - - - rax star lstar cstar sfmask kernel_gs_base - - - cr2 ");
  row("guest", S.CPL.offset, 8, "cpl efer ");
  row("guest", S.PAT.offset, 8, "pat ");
  const pairs = "es es_base cs cs_base ss ss_base ds ds_base fs fs_base gs gs_base ";
  row("segments", S.ES.offset, 8, pairs);
  row("segments", S.GDTR.offset, 8, "gdtr gdtr_base ldtr ldtr_base idtr idtr_base tr tr_base ");
  row("intercepts", S.INTERCEPT_CR.offset, 8, "cr exceptions_1 2_3 ");
  row("controls", S.PAUSE_FILTER.offset, 8, "pause iopm msrpm tsc_offset asid ");
  row("controls", S.NESTED_CONTROL.offset, 8, "nested ");
}
