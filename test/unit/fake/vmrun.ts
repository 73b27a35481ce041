/**
 * What VMRUN checks of the guest's state, written down rule by rule from APM Vol. 2 15.5.1 (Canonicalization and Consistency
 * Checks) and 15.20 (Event Injection), for what a monitor can set; and what it does not check, though no guest can be in
 * such a state.
 */

type Words = (offset: number) => bigint;

const bit = (value: bigint, n: number) => ((value >> BigInt(n)) & 1n) === 1n;
const bits = (value: bigint, high: number, low: number) =>
  (value >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n);
const implies = (condition: boolean, then: boolean) => !condition || then;

const PHYSICAL_BITS = 39;
/** VME to OSXMMEXCPT, UMIP, LA57, FSGSBASE, PCIDE, OSXSAVE, SMEP, SMAP, PKE, CET. */
const CR4_DEFINED = 0xf71fffn;
/** SCE, LME, LMA, NXE, SVME, LMSLE, FFXSR, TCE. */
const EFER_DEFINED = 0xfd01n;
/** CF, 1, PF, AF, ZF, SF, TF, IF, DF, OF, IOPL, NT, RF, VM, AC, VIF, VIP, ID. */
const RFLAGS_DEFINED = 0x3f7fd7n;

class State {
  constructor(readonly get: Words) {}

  get cr0() {
    return this.get(0x558);
  }
  get cr4() {
    return this.get(0x548);
  }
  get efer() {
    return this.get(0x4d0);
  }
  get rflags() {
    return this.get(0x570);
  }
  get cs() {
    return this.get(0x410) >> 16n;
  }
  get event() {
    return this.get(0xa8);
  }
  get pg() {
    return bit(this.cr0, 31);
  }
  get pe() {
    return bit(this.cr0, 0);
  }
  get long() {
    return bit(this.efer, 8) && this.pg;
  }
  get type() {
    return Number(bits(this.event, 10, 8));
  }
  get vector() {
    return Number(bits(this.event, 7, 0));
  }
  get hasError() {
    return bit(this.event, 11);
  }
}

/** What must hold. */
const state: Record<string, (s: State) => boolean> = {
  "EFER: SVME": (s) => bit(s.efer, 12),
  "EFER: reserved bits": (s) => (s.efer & ~EFER_DEFINED) === 0n,
  "EFER: LMA is what LME and PG make it": (s) => bit(s.efer, 10) === s.long,
  "CR0: NW without CD": (s) => implies(bit(s.cr0, 29), bit(s.cr0, 30)),
  "CR0: bits 63:32": (s) => s.cr0 >> 32n === 0n,
  "CR0: PG without PE": (s) => implies(s.pg, s.pe),
  "CR3: beyond the physical address": (s) => implies(s.long, s.get(0x550) >> BigInt(PHYSICAL_BITS) === 0n),
  "CR4: reserved bits": (s) => (s.cr4 & ~CR4_DEFINED) === 0n,
  "CR4: MCE": (s) => bit(s.cr4, 6),
  "long mode without PAE": (s) => implies(s.long, bit(s.cr4, 5)),
  "long mode with CS.L and CS.D": (s) => implies(s.long, !(bit(s.cs, 9) && bit(s.cs, 10))),
  "DR6: bits 63:32": (s) => s.get(0x568) >> 32n === 0n,
  "DR7: bits 63:32": (s) => s.get(0x560) >> 32n === 0n,
  "RFLAGS: reserved bits": (s) => bit(s.rflags, 1) && (s.rflags & ~RFLAGS_DEFINED) === 0n,
  "RIP: above 4 GiB outside 64-bit mode": (s) =>
    implies(!(s.long && bit(s.cs, 9)), s.get(0x578) >> 32n === 0n),
  "PAT: a reserved memory type": (s) =>
    Array.from({ length: 8 }, (_, i) => bits(s.get(0x668), i * 8 + 7, i * 8)).every((type) =>
      [0n, 1n, 4n, 5n, 6n, 7n].includes(type),
    ),
};

/** Exceptions with an error code: #DF, #TS, #NP, #SS, #GP, #PF, #AC. */
const WITH_ERROR = [8, 10, 11, 12, 13, 14, 17];

const event: Record<string, (s: State, handlesNmi: boolean) => boolean> = {
  "event: reserved type": (s) => [0, 2, 3, 4].includes(s.type),
  "event: no exception has this vector": (s) => implies(s.type === 3, s.vector < 32 && s.vector !== 2),
  "event: reserved bits": (s) => bits(s.event, 30, 12) === 0n,
  // The CPU would do it.
  "event: an error code, or none, where there is none, or one": (s) =>
    s.hasError === (s.type === 3 && s.pe && WITH_ERROR.includes(s.vector)),
  "event: an error code that is none": (s) => implies(!s.hasError, s.event >> 32n === 0n),
  "event: an interrupt while IF is 0": (s) => implies(s.type === 0, bit(s.rflags, 9)),
  "event: in an interrupt shadow": (s) => s.get(0x68) === 0n,
  "event: an instruction's": (s) => s.type !== 4 && !(s.type === 3 && [3, 4].includes(s.vector)),
  "event: an NMI while one is handled": (s, handlesNmi) => implies(s.type === 2, !handlesNmi),
};

/** The rules of the guest's state that the VMCB breaks. */
export function brokenState(get: Words): string[] {
  const s = new State(get);
  return Object.keys(state).filter((name) => !state[name]!(s));
}

/** The rules of the event to deliver, if there is one, that the VMCB breaks. */
export function brokenEvent(get: Words, handlesNmi: boolean): string[] {
  const s = new State(get);
  if (!bit(s.event, 31)) return [];
  return Object.keys(event).filter((name) => !event[name]!(s, handlesNmi));
}
