/** The system registers, between their neutral form and the VMCS. */
import { CR0_WATCHED, CR4_FREE } from "../vcpu/cr";
import { longMode } from "../machine/vmcs";
import { Seg } from "../vcpu/system";
import { Vcpu } from "../vcpu/vcpu";
import { Cr0, Efer } from "../x86/cr";
import { DR7_RESET } from "../x86/dr";
import { CR4_FORCED } from "./control";
import * as F from "./field";

const PAT_RESET: u64 = 0x0007040600070406;

/** Field n of an array of them whose encodings are 2 apart. */
function at16(first: F.Field16, n: u32): F.Field16 {
  return changetype<F.Field16>(first.encoding + n * 2);
}
function at32(first: F.Field32, n: u32): F.Field32 {
  return changetype<F.Field32>(first.encoding + n * 2);
}
function at64(first: F.Field64, n: u32): F.Field64 {
  return changetype<F.Field64>(first.encoding + n * 2);
}

/** Reads what checks of CR and EFER need. */
export function loadControls(v: Vcpu): void {
  const s = v.system;
  s.cr0 = (F.GUEST_CR0.read() & ~CR0_WATCHED) | (F.CR0_SHADOW.read() & CR0_WATCHED);
  s.cr3 = F.GUEST_CR3.read();
  s.cr4 = (F.GUEST_CR4.read() & CR4_FREE) | (F.CR4_SHADOW.read() & ~CR4_FREE);
  s.efer = F.GUEST_EFER.read();
}

/** Reads a segment's access rights: those of SS say the CPL, those of CS the mode. */
export function loadRights(v: Vcpu, n: u32): void {
  v.system.segment(n).rights = at32(F.GUEST_ES_RIGHTS, n).read();
}

/** Reads the PDPTEs where there are any. Needs what loadControls() reads. */
export function loadPdptes(v: Vcpu): void {
  const s = v.system;
  if (s.usesPdptes) for (let n: u32 = 0; n < 4; n++) s.setPdpte(n, at64(F.GUEST_PDPTE0, n).read());
}

export function storePdptes(v: Vcpu): void {
  const s = v.system;
  if (s.usesPdptes) for (let n: u32 = 0; n < 4; n++) at64(F.GUEST_PDPTE0, n).write(s.pdpte(n));
}

/** Reads all of v.system, and RSP: for exits whose instruction has to be looked at. */
export function loadSystem(v: Vcpu): void {
  const s = v.system;
  loadControls(v);
  for (let n: u32 = 0; n < Seg.Count; n++) {
    const base = at64(F.GUEST_ES_BASE, n).read();
    s.segment(n).set(
      at16(F.GUEST_ES_SELECTOR, n).read(),
      base,
      at32(F.GUEST_ES_LIMIT, n).read(),
      at32(F.GUEST_ES_RIGHTS, n).read(),
    );
  }
  s.gdtrBase = F.GUEST_GDTR_BASE.read();
  s.gdtrLimit = F.GUEST_GDTR_LIMIT.read();
  s.idtrBase = F.GUEST_IDTR_BASE.read();
  s.idtrLimit = F.GUEST_IDTR_LIMIT.read();
  loadPdptes(v);
  v.rsp = F.GUEST_RSP.read();
}

/** Writes all of v.system, RIP, RSP and RFLAGS to the VMCS. */
export function storeSystem(v: Vcpu): void {
  const s = v.system;
  for (let n: u32 = 0; n < Seg.Count; n++) {
    const segment = s.segment(n);
    at16(F.GUEST_ES_SELECTOR, n).write(segment.selector);
    at32(F.GUEST_ES_LIMIT, n).write(segment.limit);
    at32(F.GUEST_ES_RIGHTS, n).write(segment.rights);
    at64(F.GUEST_ES_BASE, n).write(segment.base);
  }
  F.GUEST_GDTR_BASE.write(s.gdtrBase);
  F.GUEST_GDTR_LIMIT.write(s.gdtrLimit);
  F.GUEST_IDTR_BASE.write(s.idtrBase);
  F.GUEST_IDTR_LIMIT.write(s.idtrLimit);
  F.GUEST_CR0.write((s.cr0 & ~CR0_WATCHED) | Cr0.NE);
  F.CR0_SHADOW.write(s.cr0);
  F.GUEST_CR3.write(s.cr3);
  F.GUEST_CR4.write(s.cr4 | CR4_FORCED);
  F.CR4_SHADOW.write(s.cr4);
  F.GUEST_EFER.write(s.efer);
  longMode((s.efer & Efer.LMA) != 0);
  F.GUEST_PAT.write(PAT_RESET);
  if (!v.debug) F.GUEST_DR7.write(DR7_RESET);
  F.GUEST_SYSENTER_CS.write(0);
  F.GUEST_SYSENTER_ESP.write(0);
  F.GUEST_SYSENTER_EIP.write(0);
  F.GUEST_RIP.write(v.rip);
  F.GUEST_RSP.write(v.rsp);
  F.GUEST_RFLAGS.write(v.rflags);
}
