/**
 * The checks that a VM entry makes of the guest's state (SDM Vol. 3C 27.3.1, Checks on the Guest State Area), in code,
 * to name the rule that a refused entry broke. Root runs it on the current VMCS after such an entry.
 */
import { bit, bits } from "../lib/bits";
import { Text } from "../lib/text";
import { read } from "../machine/vmx";
import { Cr0, Cr4, Efer, Rflags } from "../x86/cr";
import { capability } from "./capability";
import { Entry, Pin } from "./control";
import * as F from "./field";

const UNUSABLE: u64 = 1 << 16;
const VALID: u64 = 0x80000000;


@unmanaged
class Check {
  rule: string | null;
  long: u32;
  virtual8086: u32;
  cr0: u64;
  cr4: u64;
  efer: u64;
  rflags: u64;
}

const check = changetype<Check>(memory.data(48, 8));

/** Notes the first rule that does not hold. */
function must(holds: bool, rule: string): void {
  if (!holds && check.rule == null) check.rule = rule;
}

function isCanonical(address: u64): bool {
  const top = (<i64>address) >> 47;
  return top == 0 || top == -1;
}

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
  must(
    !check.long || ((cr0 & Cr0.PG) != 0 && (cr4 & Cr4.PAE) != 0),
    "IA-32e mode guest: CR0.PG or CR4.PAE is 0",
  );
  must(check.long != 0 || !(cr4 & Cr4.PCIDE), "CR4: PCIDE outside IA-32e mode");
  must(read(F.GUEST_CR3.encoding) >> 52 == 0, "CR3: beyond the physical address width");
  must(read(F.GUEST_DR7.encoding) >> 32 == 0, "DR7: bits 63:32");
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

function rights(n: u32): u64 {
  return read(F.GUEST_ES_RIGHTS.encoding + n * 2);
}
function limit(n: u32): u64 {
  return read(F.GUEST_ES_LIMIT.encoding + n * 2);
}
function base(n: u32): u64 {
  return read(F.GUEST_ES_BASE.encoding + n * 2);
}
function selector(n: u32): u64 {
  return read(F.GUEST_ES_SELECTOR.encoding + n * 2);
}

const CS: u32 = 1;
const SS: u32 = 2;
const LDTR: u32 = 6;
const TR: u32 = 7;

/** G and the limit fit: its low 12 bits are ones with G, its high 12 bits zeros without. */
function granularityFits(n: u32): bool {
  const g = bit(rights(n), 15);
  const l = limit(n);
  if ((l & 0xfff) != 0xfff && g) return false;
  return l >> 20 == 0 || g;
}

/** 27.3.1.2, Checks on Guest Segment Registers. */
function segments(): void {
  const cs = rights(CS);
  const ss = rights(SS);
  must((selector(TR) & 4) == 0, "TR: its selector is in the LDT");
  must((rights(LDTR) & UNUSABLE) != 0 || (selector(LDTR) & 4) == 0, "LDTR: its selector is in the LDT");
  must(
    isCanonical(base(4)) && isCanonical(base(5)) && isCanonical(base(TR)),
    "FS, GS or TR: base not canonical",
  );
  must(base(CS) >> 32 == 0, "CS: base above 4 GiB");
  for (let n: u32 = 0; n < 4; n++) {
    if (n != CS && !(rights(n) & UNUSABLE)) must(base(n) >> 32 == 0, "ES, SS or DS: base above 4 GiB");
  }
  if (check.virtual8086) {
    for (let n: u32 = 0; n < 6; n++) {
      must(base(n) == selector(n) << 4, "virtual-8086: a base is not its selector * 16");
      must(limit(n) == 0xffff, "virtual-8086: a limit is not FFFFh");
      must(rights(n) == 0xf3, "virtual-8086: access rights are not F3h");
    }
  } else {
    const type = cs & 15;
    const unpaged = (check.cr0 & Cr0.PE) == 0;
    // Unrestricted guest: 3 as well.
    must(
      type == 3 || type == 9 || type == 11 || type == 13 || type == 15,
      "CS: type is not that of accessed code",
    );
    must(bit(cs, 4) && bit(cs, 7), "CS: S or P is 0");
    const dpl = bits(cs, 6, 5);
    if (type == 3) must(dpl == 0, "CS: DPL is not 0 with a data type");
    if (type == 9 || type == 11) must(dpl == bits(ss, 6, 5), "CS: DPL is not that of SS");
    if (type == 13 || type == 15) must(dpl <= bits(ss, 6, 5), "CS: DPL is above that of SS");
    must(!(check.long != 0 && bit(cs, 13) && bit(cs, 14)), "CS: L and D are both 1");
    must(granularityFits(CS), "CS: G does not fit the limit");
    must((cs & 0xfffe0f00) == 0, "CS: reserved access rights");
    if (!(ss & UNUSABLE)) {
      const data = ss & 15;
      must(data == 3 || data == 7, "SS: type is not that of writable data");
      must(bit(ss, 4) && bit(ss, 7), "SS: S or P is 0");
      must(granularityFits(SS), "SS: G does not fit the limit");
    }
    if (type == 3 || unpaged) must(bits(ss, 6, 5) == 0, "SS: DPL is not 0 in real mode");
    for (let n: u32 = 0; n < 6; n++) {
      const r = rights(n);
      if (n == CS || n == SS || r & UNUSABLE) continue;
      must(bit(r, 0), "a data segment: not accessed");
      must(!bit(r, 3) || bit(r, 1), "a data segment: code that is not readable");
      must(bit(r, 4) && bit(r, 7), "a data segment: S or P is 0");
      must(granularityFits(n), "a data segment: G does not fit the limit");
    }
  }
  const tr = rights(TR);
  must((tr & 15) == 11 || (!check.long && (tr & 15) == 3), "TR: type is not that of a busy TSS");
  must(!bit(tr, 4) && bit(tr, 7) && !(tr & UNUSABLE), "TR: not a usable system segment");
  must(granularityFits(TR), "TR: G does not fit the limit");
  const ldtr = rights(LDTR);
  if (!(ldtr & UNUSABLE)) {
    must((ldtr & 15) == 2 && !bit(ldtr, 4) && bit(ldtr, 7), "LDTR: not an LDT");
    must(granularityFits(LDTR), "LDTR: G does not fit the limit");
    must(isCanonical(base(LDTR)), "LDTR: base not canonical");
  }
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
  must(!code64 || isCanonical(rip), "RIP: not canonical");
  const flags = check.rflags;
  must((flags & ~(<u64>0x3f7fd5)) == 2, "RFLAGS: a reserved bit");
  must(
    !(flags & Rflags.VM) || (!check.long && (check.cr0 & Cr0.PE) != 0),
    "RFLAGS: VM in IA-32e or real mode",
  );
  const event = read(F.ENTRY_INTERRUPTION.encoding);
  const external = (event & VALID) != 0 && bits(event, 10, 8) == 0;
  must(!external || (flags & Rflags.IF) != 0, "RFLAGS: IF is 0 with an external interrupt to deliver");
}

/** 27.3.1.5, Checks on Guest Non-Register State. */
function nonRegister(): void {
  const activity = read(F.GUEST_ACTIVITY.encoding);
  const blocking = read(F.GUEST_INTERRUPTIBILITY.encoding);
  const event = read(F.ENTRY_INTERRUPTION.encoding);
  const type = bits(event, 10, 8);
  must(activity <= 3, "activity state: above 3");
  must(activity == 0 || (blocking & 3) == 0, "activity state: not active with blocking by STI or MOV SS");
  must(activity != 1 || bits(rights(SS), 6, 5) == 0, "activity state: HLT at a CPL above 0");
  must((blocking & ~(<u64>0x1f)) == 0, "interruptibility: a reserved bit");
  must((blocking & 3) != 3, "interruptibility: blocking by STI and by MOV SS");
  must(!(blocking & 1) || (check.rflags & Rflags.IF) != 0, "interruptibility: blocking by STI with IF 0");
  if (event & VALID) {
    must(
      type != 0 || (blocking & 3) == 0,
      "interruptibility: blocking with an external interrupt to deliver",
    );
    must(type != 2 || !(blocking & 2), "interruptibility: blocking by MOV SS with an NMI to deliver");
    const virtualNmis = (capability.pin & Pin.VIRTUAL_NMIS) != 0;
    must(
      type != 2 || !virtualNmis || !(blocking & 8),
      "interruptibility: blocking by NMI with an NMI to deliver",
    );
  }
  const pending = read(F.GUEST_PENDING_DEBUG.encoding);
  must((pending & ~(<u64>0x1500f)) == 0, "pending debug exceptions: a reserved bit");
  if ((blocking & 3) != 0 || activity == 1) {
    must(
      bit(pending, 14) == ((check.rflags & Rflags.TF) != 0),
      "pending debug exceptions: BS is not RFLAGS.TF",
    );
  }
  must(read(F.LINK_POINTER.encoding) == ~(<u64>0), "VMCS link pointer: not all ones");
}

/** Writes the first rule that the current VMCS breaks. */
export function checkGuestState(out: Text): void {
  check.rule = null;
  check.long = read(F.ENTRY_CONTROLS.encoding) & Entry.IA32E_GUEST ? 1 : 0;
  check.rflags = read(F.GUEST_RFLAGS.encoding);
  check.virtual8086 = check.rflags & Rflags.VM ? 1 : 0;
  check.cr0 = read(F.GUEST_CR0.encoding);
  check.cr4 = read(F.GUEST_CR4.encoding);
  check.efer = read(F.GUEST_EFER.encoding);
  controlRegisters();
  segments();
  tablesAndFlags();
  nonRegister();
  const rule = check.rule;
  out.str(rule == null ? "no rule of SDM 27.3.1 is broken: PDPTEs or MSR loading" : rule);
}
