/** The state that PVH and multiboot start a kernel in: 32-bit protected mode, flat segments, no paging. */
import { Seg } from "../vcpu/system";
import { Vcpu } from "../vcpu/vcpu";
import { Cr0 } from "../x86/cr";
import { CODE_SELECTOR, START_INFO } from "./layout";

/** EBX points to what the kernel is told. */
export function startProtected(v: Vcpu, entry: u64): void {
  const s = v.system;
  s.cr0 = Cr0.ET | Cr0.PE;
  s.cr3 = 0;
  s.cr4 = 0;
  s.efer = 0;
  s.segment(Seg.CS).set(CODE_SELECTOR, 0, 0xffffffff, 0xc09b);
  v.rip = entry;
  v.rsp = 0;
  v.rbx = START_INFO;
}
