/** The system registers, between their neutral form and the VMCB. */
import { loadPhysical } from "../vcpu/bus";
import { Seg, Segment, UNUSABLE } from "../vcpu/system";
import { Vcpu } from "../vcpu/vcpu";
import { Efer } from "../x86/cr";
import { CR4_FORCED } from "./control";
import * as F from "./field";

const PRESENT: u32 = 1 << 7;
const DPL: u32 = 3 << 5;
const BUSY: u32 = 1 << 1;

/** The word of a segment register, of which Seg has the number. */
function wordOf(n: u32): F.Word {
  // GDTR is between GS and LDTR, and IDTR between LDTR and TR.
  const gap: u32 = n < Seg.LDTR ? 0 : n - Seg.GS;
  return changetype<F.Word>(F.ES.offset + (n + gap) * 16);
}

function baseOf(n: u32): F.Word {
  return changetype<F.Word>(wordOf(n).offset + 8);
}

/** The VMCB packs a descriptor's attributes into 12 bits, the neutral form is the VMCS's; of a null one P is 0. */
function rightsOf(attributes: u32): u32 {
  return (attributes & 0xff) | ((attributes & 0xf00) << 4) | (attributes & PRESENT ? 0 : UNUSABLE);
}

function attributesOf(rights: u32): u32 {
  return rights & UNUSABLE ? 0 : (rights & 0xff) | ((rights >> 4) & 0xf00);
}

/** Reads what checks of CR and EFER need. */
export function loadControls(v: Vcpu): void {
  const s = v.system;
  s.cr0 = F.CR0.read();
  s.cr3 = F.CR3.read();
  s.cr4 = F.CR4.read() & ~CR4_FORCED;
  s.efer = F.EFER.read() & ~Efer.SVME;
}

/** Reads a segment: those of SS say the CPL, which the VMCB has in a field of its own, those of CS the mode. */
export function loadSegment(v: Vcpu, n: u32): void {
  const word = wordOf(n).read();
  let rights = rightsOf((<u32>(word >> 16)) & 0xffff);
  if (n == Seg.SS) rights = (rights & ~DPL) | (((<u32>(F.CPL.read() >> 24)) & 3) << 5);
  // Some CPUs do not show that a task's state segment is busy.
  if (n == Seg.TR) rights |= BUSY;
  v.system.segment(n).set((<u32>word) & 0xffff, baseOf(n).read(), <u32>(word >> 32), rights);
}

/** Under nested paging the CPU reads the PDPTEs as any other entry (15.25.10, Legacy PAE Mode). Needs loadControls(). */
function loadPdptes(v: Vcpu): void {
  const s = v.system;
  if (!s.usesPdptes) return;
  for (let n: u32 = 0; n < 4; n++) s.setPdpte(n, loadPhysical(v, (s.cr3 & 0xffffffe0) + n * 8, 8));
}

/** Reads all of v.system, and RSP: for exits whose instruction has to be looked at. */
export function loadSystem(v: Vcpu): void {
  const s = v.system;
  loadControls(v);
  for (let n: u32 = 0; n < Seg.Count; n++) loadSegment(v, n);
  s.gdtrBase = F.GDTR_BASE.read();
  s.gdtrLimit = <u32>(F.GDTR.read() >> 32);
  s.idtrBase = F.IDTR_BASE.read();
  s.idtrLimit = <u32>(F.IDTR.read() >> 32);
  loadPdptes(v);
  v.rsp = F.RSP.read();
}

function storeSegment(n: u32, segment: Segment): void {
  const attributes = <u64>attributesOf(segment.rights);
  wordOf(n).write(segment.selector | (attributes << 16) | ((<u64>segment.limit) << 32));
  baseOf(n).write(segment.base);
}

/** Writes all of v.system, RIP, RSP and RFLAGS to the VMCB. The CPL stays 0. */
export function storeSystem(v: Vcpu): void {
  const s = v.system;
  for (let n: u32 = 0; n < Seg.Count; n++) storeSegment(n, s.segment(n));
  F.GDTR_BASE.write(s.gdtrBase);
  F.GDTR.write((<u64>s.gdtrLimit) << 32);
  F.IDTR_BASE.write(s.idtrBase);
  F.IDTR.write((<u64>s.idtrLimit) << 32);
  F.CR0.write(s.cr0);
  F.CR3.write(s.cr3);
  F.CR4.write(s.cr4 | CR4_FORCED);
  F.EFER.write(s.efer | Efer.SVME);
  F.RIP.write(v.rip);
  F.RSP.write(v.rsp);
  F.RFLAGS.write(v.rflags);
}
