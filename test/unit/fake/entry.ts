/**
 * What a VM entry checks of the guest's state, written down rule by rule from SDM Vol. 3C 27.3.1 (Checks on the Guest State
 * Area) and, for the event to deliver, 27.2.1.3 (VM-Entry Control Fields): for the controls that the hypervisor uses, and
 * with unrestricted guest.
 */

/** The CPU, as far as the rules look at it. */
export interface EntryCpu {
  physicalBits: number;
  linearBits: number;
  fixed: { cr0: [zero: bigint, one: bigint]; cr4: [zero: bigint, one: bigint] };
  /** The activity states that there are besides "active". */
  activities: number[];
  sgx?: boolean;
  rtm?: boolean;
}

export const entryCpu: EntryCpu = {
  physicalBits: 39,
  linearBits: 48,
  fixed: { cr0: [0x80000021n, 0xffffffffn], cr4: [0x2000n, 0x376fffn] },
  activities: [1, 2, 3],
};

type Fields = (field: number) => bigint;

const bit = (value: bigint, n: number) => ((value >> BigInt(n)) & 1n) === 1n;
const field = (value: bigint, high: number, low: number) =>
  Number((value >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n));
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const implies = (condition: boolean, then: boolean) => !condition || then;

/** A segment register. */
class Segment {
  readonly selector: bigint;
  readonly base: bigint;
  readonly limit: bigint;
  readonly rights: bigint;

  constructor(get: Fields, n: number) {
    this.selector = get(0x800 + n * 2);
    this.base = get(0x6806 + n * 2);
    this.limit = get(0x4800 + n * 2);
    this.rights = get(0x4814 + n * 2);
  }

  get type() {
    return field(this.rights, 3, 0);
  }
  get system() {
    return !bit(this.rights, 4);
  }
  get dpl() {
    return field(this.rights, 6, 5);
  }
  get present() {
    return bit(this.rights, 7);
  }
  get usable() {
    return !bit(this.rights, 16);
  }
  get reserved() {
    return [...range(8, 11), ...range(17, 31)].some((n) => bit(this.rights, n));
  }
  get granular() {
    const g = bit(this.rights, 15);
    if (range(0, 11).some((n) => !bit(this.limit, n)) && g) return false;
    return !(range(20, 31).some((n) => bit(this.limit, n)) && !g);
  }
}

/** The guest's state as the rules speak of it. */
class GuestState {
  /** ES, CS, SS, DS, FS, GS, LDTR, TR. */
  readonly segments: Segment[];

  constructor(
    readonly get: Fields,
    readonly cpu: EntryCpu,
  ) {
    this.segments = range(0, 7).map((n) => new Segment(get, n));
  }

  get cr0() {
    return this.get(0x6800);
  }
  get cr3() {
    return this.get(0x6802);
  }
  get cr4() {
    return this.get(0x6804);
  }
  get efer() {
    return this.get(0x2806);
  }
  get rflags() {
    return this.get(0x6820);
  }
  get rip() {
    return this.get(0x681e);
  }
  get debugctl() {
    return this.get(0x2802);
  }
  get activity() {
    return Number(this.get(0x4826));
  }
  get blocking() {
    return this.get(0x4824);
  }
  get pending() {
    return this.get(0x6822);
  }
  get event() {
    return this.get(0x4016);
  }
  get cs() {
    return this.segments[1]!;
  }
  get ss() {
    return this.segments[2]!;
  }
  get ldtr() {
    return this.segments[6]!;
  }
  get tr() {
    return this.segments[7]!;
  }
  get ia32e() {
    return bit(this.get(0x4012), 9);
  }
  get loadsDebug() {
    return bit(this.get(0x4012), 2);
  }
  get pg() {
    return bit(this.cr0, 31);
  }
  get pe() {
    return bit(this.cr0, 0);
  }
  get v86() {
    return bit(this.rflags, 17);
  }
  get code64() {
    return this.ia32e && bit(this.cs.rights, 13);
  }
  /** ES, DS, FS and GS, those that are usable. */
  get data() {
    return [0, 3, 4, 5].map((n) => this.segments[n]!).filter((s) => s.usable);
  }
  get type() {
    return bit(this.event, 31) ? field(this.event, 10, 8) : -1;
  }
  get vector() {
    return field(this.event, 7, 0);
  }
  get sti() {
    return bit(this.blocking, 0);
  }
  get movSs() {
    return bit(this.blocking, 1);
  }

  canonical(address: bigint) {
    const top = range(this.cpu.linearBits - 1, 63).map((n) => bit(address, n));
    return new Set(top).size === 1;
  }
  /** Whether the control register has no bit that VMX operation does not allow, but for `free` ones. */
  fits(value: bigint, [zero, one]: [bigint, bigint], free: number[]) {
    return range(0, 63).every((n) => free.includes(n) || (bit(value, n) ? bit(one, n) : !bit(zero, n)));
  }
  get injectable() {
    const exception = (n: number) => this.type === 3 && this.vector === n;
    switch (this.activity) {
      case 1:
        return (
          [0, 2].includes(this.type) ||
          exception(1) ||
          exception(18) ||
          (this.type === 7 && this.vector === 0)
        );
      case 2:
        return this.type === 2 || exception(18);
      default:
        return this.activity === 0;
    }
  }
}

/** What must hold, by the words with which root says that it does not. */
const rules: Record<string, (g: GuestState) => boolean> = {
  // 27.3.1.1, Checks on Guest Control Registers, Debug Registers, and MSRs
  "CR0: a bit differs from IA32_VMX_CR0_FIXED": (g) => g.fits(g.cr0, g.cpu.fixed.cr0, [0, 29, 30, 31]),
  "CR0: PG without PE": (g) => implies(g.pg, g.pe),
  "CR4: a bit differs from IA32_VMX_CR4_FIXED": (g) => g.fits(g.cr4, g.cpu.fixed.cr4, []),
  "CR4: CET without CR0.WP": (g) => implies(bit(g.cr4, 23), bit(g.cr0, 16)),
  "IA32_DEBUGCTL: a reserved bit": (g) =>
    implies(g.loadsDebug, ![...range(3, 5), ...range(16, 63)].some((n) => bit(g.debugctl, n))),
  "IA-32e mode guest: CR0.PG or CR4.PAE is 0": (g) => implies(g.ia32e, g.pg && bit(g.cr4, 5)),
  "CR4: PCIDE outside IA-32e mode": (g) => implies(!g.ia32e, !bit(g.cr4, 17)),
  "CR3: beyond the physical address width": (g) => !range(g.cpu.physicalBits, 63).some((n) => bit(g.cr3, n)),
  "DR7: bits 63:32": (g) => implies(g.loadsDebug, field(g.get(0x681a), 63, 32) === 0),
  "IA32_SYSENTER_ESP: not canonical": (g) => g.canonical(g.get(0x6824)),
  "IA32_SYSENTER_EIP: not canonical": (g) => g.canonical(g.get(0x6826)),
  "IA32_PAT: a reserved memory type": (g) =>
    range(0, 7).every((n) => [0, 1, 4, 5, 6, 7].includes(field(g.get(0x2804), n * 8 + 7, n * 8))),
  "IA32_EFER: a reserved bit": (g) =>
    range(0, 63).every((n) => [0, 8, 10, 11].includes(n) || !bit(g.efer, n)),
  "IA32_EFER.LMA: not the IA-32e mode guest control": (g) => bit(g.efer, 10) === g.ia32e,
  "IA32_EFER: LMA and LME differ with paging": (g) => implies(g.pg, bit(g.efer, 10) === bit(g.efer, 8)),

  // 27.3.1.2, Checks on Guest Segment Registers
  "TR: its selector is in the LDT": (g) => !bit(g.tr.selector, 2),
  "LDTR: its selector is in the LDT": (g) => implies(g.ldtr.usable, !bit(g.ldtr.selector, 2)),
  "FS, GS or TR: base not canonical": (g) => [4, 5, 7].every((n) => g.canonical(g.segments[n]!.base)),
  "LDTR: base not canonical": (g) => implies(g.ldtr.usable, g.canonical(g.ldtr.base)),
  "CS: base above 4 GiB": (g) => field(g.cs.base, 63, 32) === 0,
  "ES, SS or DS: base above 4 GiB": (g) =>
    [0, 2, 3].every((n) => implies(g.segments[n]!.usable, field(g.segments[n]!.base, 63, 32) === 0)),
  ...everySegment86({
    "virtual-8086: a base is not its selector * 16": (s) => s.base === s.selector * 16n,
    "virtual-8086: a limit is not FFFFh": (s) => s.limit === 0xffffn,
    "virtual-8086: access rights are not F3h": (s) => s.rights === 0xf3n,
  }),
  ...outside86({
    "CS: type is not that of accessed code": (g) => [3, 9, 11, 13, 15].includes(g.cs.type),
    "CS: S or P is 0": (g) => !g.cs.system && g.cs.present,
    "CS: DPL is not 0 with a data type": (g) => implies(g.cs.type === 3, g.cs.dpl === 0),
    "CS: DPL is not that of SS": (g) => implies([9, 11].includes(g.cs.type), g.cs.dpl === g.ss.dpl),
    "CS: DPL is above that of SS": (g) => implies([13, 15].includes(g.cs.type), g.cs.dpl <= g.ss.dpl),
    "CS: L and D are both 1": (g) => !(g.code64 && bit(g.cs.rights, 14)),
    "CS: G does not fit the limit": (g) => g.cs.granular,
    "CS: reserved access rights": (g) => !g.cs.reserved,
    "SS: type is not that of writable data": (g) => implies(g.ss.usable, [3, 7].includes(g.ss.type)),
    "SS: S or P is 0": (g) => implies(g.ss.usable, !g.ss.system && g.ss.present),
    "SS: G does not fit the limit": (g) => implies(g.ss.usable, g.ss.granular),
    "SS: reserved access rights": (g) => implies(g.ss.usable, !g.ss.reserved),
    "SS: DPL is not 0 in real mode or with CS of a data type": (g) =>
      implies(g.cs.type === 3 || !g.pe, g.ss.dpl === 0),
    "a data segment: not accessed": (g) => g.data.every((s) => bit(s.rights, 0)),
    "a data segment: code that is not readable": (g) =>
      g.data.every((s) => implies(bit(s.rights, 3), bit(s.rights, 1))),
    "a data segment: S or P is 0": (g) => g.data.every((s) => !s.system && s.present),
    "a data segment: G does not fit the limit": (g) => g.data.every((s) => s.granular),
    "a data segment: reserved access rights": (g) => g.data.every((s) => !s.reserved),
  }),
  "TR: type is not that of a busy TSS": (g) => (g.ia32e ? [11] : [3, 11]).includes(g.tr.type),
  "TR: not a usable system segment": (g) => g.tr.system && g.tr.present && g.tr.usable,
  "TR: G does not fit the limit": (g) => g.tr.granular,
  "TR: reserved access rights": (g) => !g.tr.reserved,
  "LDTR: not an LDT": (g) => implies(g.ldtr.usable, g.ldtr.type === 2 && g.ldtr.system && g.ldtr.present),
  "LDTR: G does not fit the limit": (g) => implies(g.ldtr.usable, g.ldtr.granular),
  "LDTR: reserved access rights": (g) => implies(g.ldtr.usable, !g.ldtr.reserved),

  // 27.3.1.3, Checks on Guest Descriptor-Table Registers
  "GDTR: base not canonical": (g) => g.canonical(g.get(0x6816)),
  "IDTR: base not canonical": (g) => g.canonical(g.get(0x6818)),
  "GDTR: limit above FFFFh": (g) => field(g.get(0x4810), 31, 16) === 0,
  "IDTR: limit above FFFFh": (g) => field(g.get(0x4812), 31, 16) === 0,

  // 27.3.1.4, Checks on Guest RIP, RFLAGS, and SSP
  "RIP: above 4 GiB outside 64-bit mode": (g) => implies(!g.code64, field(g.rip, 63, 32) === 0),
  "RIP: beyond the linear address width": (g) =>
    implies(g.code64, new Set(range(g.cpu.linearBits, 63).map((n) => bit(g.rip, n))).size === 1),
  "RFLAGS: a reserved bit": (g) =>
    bit(g.rflags, 1) && ![3, 5, 15, ...range(22, 63)].some((n) => bit(g.rflags, n)),
  "RFLAGS: VM in IA-32e or real mode": (g) => implies(g.ia32e || !g.pe, !g.v86),
  "RFLAGS: IF is 0 with an external interrupt to deliver": (g) => implies(g.type === 0, bit(g.rflags, 9)),

  // 27.3.1.5, Checks on Guest Non-Register State
  "activity state: not one that this CPU has": (g) => [0, ...g.cpu.activities].includes(g.activity),
  "activity state: HLT at a CPL above 0": (g) => implies(g.activity === 1, g.ss.dpl === 0),
  "activity state: not active with blocking by STI or MOV SS": (g) =>
    implies(g.sti || g.movSs, g.activity === 0),
  "activity state: one that blocks the event to deliver": (g) => implies(g.type >= 0, g.injectable),
  "interruptibility: a reserved bit": (g) => field(g.blocking, 31, 5) === 0,
  "interruptibility: blocking by STI and by MOV SS": (g) => !(g.sti && g.movSs),
  "interruptibility: blocking by STI with IF 0": (g) => implies(g.sti, bit(g.rflags, 9)),
  "interruptibility: blocking with an external interrupt to deliver": (g) =>
    implies(g.type === 0, !g.sti && !g.movSs),
  "interruptibility: blocking by MOV SS with an NMI to deliver": (g) => implies(g.type === 2, !g.movSs),
  "interruptibility: blocking by SMI outside of system-management mode": (g) => !bit(g.blocking, 2),
  "interruptibility: blocking by NMI with an NMI to deliver": (g) =>
    implies(g.type === 2, !bit(g.blocking, 3)),
  "interruptibility: an interrupted enclave without SGX or with blocking by MOV SS": (g) =>
    implies(bit(g.blocking, 4), !!g.cpu.sgx && !g.movSs),
  "pending debug exceptions: a reserved bit": (g) =>
    ![...range(4, 11), 13, 15, ...range(17, 63)].some((n) => bit(g.pending, n)),
  "pending debug exceptions: BS is not what TF and IA32_DEBUGCTL.BTF say": (g) =>
    implies(
      g.sti || g.movSs || g.activity === 1,
      bit(g.pending, 14) === (bit(g.rflags, 8) && !bit(g.debugctl, 1)),
    ),
  "pending debug exceptions: RTM without its transaction": (g) =>
    implies(bit(g.pending, 16), g.pending === 0x11000n && !!g.cpu.rtm && !g.movSs),
  "VMCS link pointer: not all ones": (g) => g.get(0x2800) === 0xffffffffffffffffn,

  // 27.3.1.6, Checks on Guest Page-Directory-Pointer-Table Entries
  "PDPTE: a reserved bit": (g) =>
    implies(
      g.pg && bit(g.cr4, 5) && !g.ia32e,
      range(0, 3)
        .map((n) => g.get(0x280a + n * 2))
        .every((e) =>
          implies(
            bit(e, 0),
            ![1, 2, ...range(5, 8), ...range(g.cpu.physicalBits, 63)].some((n) => bit(e, n)),
          ),
        ),
    ),
};

/** Of each of CS, SS, DS, ES, FS and GS, in virtual-8086 mode. */
function everySegment86(of: Record<string, (s: Segment) => boolean>): typeof rules {
  const entries = Object.entries(of).map(
    ([name, holds]) =>
      [name, (g: GuestState) => implies(g.v86, g.segments.slice(0, 6).every(holds))] as const,
  );
  return Object.fromEntries(entries);
}

function outside86(of: typeof rules): typeof rules {
  return Object.fromEntries(
    Object.entries(of).map(([name, holds]) => [name, (g: GuestState) => implies(!g.v86, holds(g))]),
  );
}

export const ruleNames = Object.keys(rules);

/** The rules that the guest's state breaks. */
export function brokenRules(get: Fields, cpu: EntryCpu = entryCpu): string[] {
  const state = new GuestState(get, cpu);
  return ruleNames.filter((name) => !rules[name]!(state));
}

/** What is wrong with the event to deliver (27.2.1.3): such an entry fails before it looks at the guest's state. */
export function brokenInjection(get: Fields): string[] {
  const g = new GuestState(get, entryCpu);
  if (g.type < 0) return [];
  const broken: string[] = [];
  const must = (holds: boolean, what: string) => void (holds || broken.push(what));
  must(g.type !== 1 && g.type !== 7, "a reserved type, or one that is not used");
  must(g.type !== 2 || g.vector === 2, "an NMI of another vector");
  must(g.type !== 3 || g.vector < 32, "a hardware exception of a vector above 31");
  const hasError = g.pe && g.type === 3 && [8, 10, 11, 12, 13, 14, 17].includes(g.vector);
  must(bit(g.event, 11) === hasError, "an error code where there is none, or none where there is one");
  must(field(g.event, 30, 12) === 0, "a reserved bit");
  if (hasError) must(field(g.get(0x4018), 31, 16) === 0, "an error code of more than 16 bits");
  if (g.type >= 4) must(g.get(0x401a) >= 1n && g.get(0x401a) <= 15n, "an instruction length that is none");
  return broken;
}
