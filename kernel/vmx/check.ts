/**
 * The checks that a VM entry makes of the guest's state (SDM Vol. 3C 27.3.1, Checks on the Guest State Area), in code,
 * to name the rule that a refused entry broke. Root runs it on the current VMCS after such an entry. Of controls that the
 * hypervisor never sets there are no checks.
 */
import { bit, bits } from "../lib/bits";
import { Text } from "../lib/text";
import { read } from "../machine/vmx";
import { Cr0, Cr4, Efer, Rflags } from "../x86/cr";
import { capability } from "./capability";
import { checkSegments } from "./checksegment";
import { checkState } from "./checkstate";
import * as F from "./field";
import { CS, EXTERNAL, check, delivers, isCanonical, isExtended, must, rights, startCheck } from "./rule";

/** Basic exit reasons of entries that fail late, and their bit of the exit reason. */
const INVALID_GUEST_STATE: u64 = 33;
const MSR_LOADING: u64 = 34;
const MACHINE_CHECK: u64 = 41;
const ENTRY_FAILURE: u64 = 0x80000000;

const DEBUGCTL_RESERVED: u64 = ~(<u64>0xffc7);

/** 27.3.1.1, Checks on Guest Control Registers, Debug Registers, and MSRs. */
function controlRegisters(): void {
  const cr0 = check.cr0;
  const cr4 = check.cr4;
  // Unrestricted guest: PE and PG may be 0.
  const fixed0 = capability.cr0Fixed0 & ~(Cr0.PE | Cr0.PG);
  const free = Cr0.NW | Cr0.CD;
  must(
    ((cr0 & fixed0) ^ fixed0) == 0 && (cr0 & ~capability.cr0Fixed1 & ~free) == 0,
    "CR0: a bit differs from IA32_VMX_CR0_FIXED",
  );
  must(!(cr0 & Cr0.PG) || (cr0 & Cr0.PE) != 0, "CR0: PG without PE");
  must(
    (cr4 & capability.cr4Fixed0) == capability.cr4Fixed0 && (cr4 & ~capability.cr4Fixed1) == 0,
    "CR4: a bit differs from IA32_VMX_CR4_FIXED",
  );
  must(!(cr4 & Cr4.CET) || (cr0 & Cr0.WP) != 0, "CR4: CET without CR0.WP");
  must(
    !check.long || ((cr0 & Cr0.PG) != 0 && (cr4 & Cr4.PAE) != 0),
    "IA-32e mode guest: CR0.PG or CR4.PAE is 0",
  );
  must(check.long != 0 || !(cr4 & Cr4.PCIDE), "CR4: PCIDE outside IA-32e mode");
  must(
    (read(F.GUEST_CR3.encoding) & ~check.cr3Masks) >> check.physicalBits == 0,
    "CR3: beyond the physical address width",
  );
  if (check.debugControls) {
    must((check.debugctl & DEBUGCTL_RESERVED) == 0, "IA32_DEBUGCTL: a reserved bit");
    must(read(F.GUEST_DR7.encoding) >> 32 == 0, "DR7: bits 63:32");
  }
  must(isCanonical(read(F.GUEST_SYSENTER_ESP.encoding)), "IA32_SYSENTER_ESP: not canonical");
  must(isCanonical(read(F.GUEST_SYSENTER_EIP.encoding)), "IA32_SYSENTER_EIP: not canonical");
  const pat = read(F.GUEST_PAT.encoding);
  for (let i: u32 = 0; i < 8; i++) {
    const type = bits(pat, i * 8 + 7, i * 8);
    must(type < 8 && type != 2 && type != 3, "IA32_PAT: a reserved memory type");
  }
  const efer = check.efer;
  must((efer & ~(Efer.SCE | Efer.LME | Efer.LMA | Efer.NXE)) == 0, "IA32_EFER: a reserved bit");
  must(((efer & Efer.LMA) != 0) == (check.long != 0), "IA32_EFER.LMA: not the IA-32e mode guest control");
  must(
    !(cr0 & Cr0.PG) || ((efer & Efer.LMA) != 0) == ((efer & Efer.LME) != 0),
    "IA32_EFER: LMA and LME differ with paging",
  );
}

/** 27.3.1.3 and 27.3.1.4: descriptor tables, RIP, RFLAGS. */
function tablesAndFlags(): void {
  must(isCanonical(read(F.GUEST_GDTR_BASE.encoding)), "GDTR: base not canonical");
  must(isCanonical(read(F.GUEST_IDTR_BASE.encoding)), "IDTR: base not canonical");
  must(read(F.GUEST_GDTR_LIMIT.encoding) >> 16 == 0, "GDTR: limit above FFFFh");
  must(read(F.GUEST_IDTR_LIMIT.encoding) >> 16 == 0, "IDTR: limit above FFFFh");
  const rip = read(F.GUEST_RIP.encoding);
  const code64 = check.long != 0 && bit(rights(CS), 13);
  must(code64 || rip >> 32 == 0, "RIP: above 4 GiB outside 64-bit mode");
  // It may be just beyond the canonical addresses: the highest bit that the CPU has need not be extended.
  must(!code64 || isExtended(rip, check.linearBits), "RIP: beyond the linear address width");
  const flags = check.rflags;
  must((flags & ~(<u64>0x3f7fd5)) == 2, "RFLAGS: a reserved bit");
  must(
    !(flags & Rflags.VM) || (!check.long && (check.cr0 & Cr0.PE) != 0),
    "RFLAGS: VM in IA-32e or real mode",
  );
  must(
    !delivers(EXTERNAL) || (flags & Rflags.IF) != 0,
    "RFLAGS: IF is 0 with an external interrupt to deliver",
  );
}

/** 27.3.1.6, Checks on Guest Page-Directory-Pointer-Table Entries. */
function pageDirectoryPointers(): void {
  if (!(check.cr0 & Cr0.PG) || !(check.cr4 & Cr4.PAE) || check.long) return;
  const reserved = 0x1e6 | (~(<u64>0) << check.physicalBits);
  for (let n: u32 = 0; n < 4; n++) {
    const entry = read(F.GUEST_PDPTE0.encoding + n * 2);
    must(!bit(entry, 0) || (entry & reserved) == 0, "PDPTE: a reserved bit");
  }
}

/** The first rule that the current VMCS breaks, or null. */
function brokenRule(): string | null {
  startCheck();
  controlRegisters();
  checkSegments();
  tablesAndFlags();
  checkState();
  pageDirectoryPointers();
  return check.rule;
}

/** The qualification says where to look, for three of the rules. */
function explainGuestState(out: Text): void {
  const rule = brokenRule();
  const qualification = read(F.QUALIFICATION.encoding);
  if (rule != null) out.str(rule);
  else if (qualification == 2) out.str("the CPU says that it is the PDPTEs");
  else if (qualification == 3) out.str("the CPU says that it delivers no NMI with blocking by STI");
  else if (qualification == 4) out.str("the CPU says that it is the VMCS link pointer");
  else out.str("none of the rules of SDM 27.3.1 that are known here is broken");
}

/** Why the last entry with the current VMCS failed (27.8, VM-Entry Failures During or After Loading Guest State). */
export function explainEntry(out: Text): void {
  const reason = read(F.EXIT_REASON.encoding);
  const basic = reason & 0xffff;
  if (!(reason & ENTRY_FAILURE)) out.str("so its monitor says, but the last exit's reason is ").dec(basic);
  else if (basic == INVALID_GUEST_STATE) explainGuestState(out);
  else if (basic == MSR_LOADING) out.str("loading MSRs failed");
  else if (basic == MACHINE_CHECK) out.str("a machine check during VM entry");
  else out.str("for a reason that is not known, ").dec(basic);
}
