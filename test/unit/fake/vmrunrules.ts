/**
 * What VMRUN checks of the guest's state and of the event to deliver, written down rule by rule from APM Vol. 2 15.5.1 (Basic
 * Operation: Canonicalization and Consistency Checks), 15.20 (Event Injection) and 15.25.4 (Nested Paging and
 * VMRUN/#VMEXIT): with nested paging, which the hypervisor always uses.
 */
import { Vmcb } from "./vmcb.ts";

export interface VmrunCpu {
  physicalBits: number;
  /** Number of ASIDs, the host's included. */
  asids: number;
  /** Bits that CR4 and EFER have on this CPU. */
  cr4: bigint;
  efer: bigint;
}

const range = (high: number, low: number) => ((1n << BigInt(high - low + 1)) - 1n) << BigInt(low);

/** Any AMD CPU: of CR4, bits 12:0 (LA57 the last), FSGSBASE to OSXSAVE, SMEP to CET; of EFER, SCE, LME, LMA to FFXSR. */
export const vmrunCpu: VmrunCpu = {
  physicalBits: 39,
  asids: 16,
  cr4: range(12, 0) | range(18, 16) | range(23, 20),
  efer: 1n | range(8, 8) | range(14, 10),
};

export type Load = (offset: number, size?: number) => bigint;

interface State {
  load: Load;
  cpu: VmrunCpu;
  cr0: { pe: boolean; pg: boolean; nw: boolean; cd: boolean; wp: boolean; high: bigint };
  lme: boolean;
  pae: boolean;
  event: { valid: boolean; type: number; vector: number };
}

const bit = (value: bigint, n: number) => ((value >> BigInt(n)) & 1n) !== 0n;

function stateOf(load: Load, cpu: VmrunCpu): State {
  const cr0 = load(Vmcb.CR0);
  const event = load(Vmcb.EVENT_INJECTION);
  return {
    load,
    cpu,
    cr0: {
      ...{ pe: bit(cr0, 0), pg: bit(cr0, 31), nw: bit(cr0, 29), cd: bit(cr0, 30), wp: bit(cr0, 16) },
      high: cr0 >> 32n,
    },
    lme: bit(load(Vmcb.EFER), 8),
    pae: bit(load(Vmcb.CR4), 5),
    event: { valid: bit(event, 31), type: Number((event >> 8n) & 7n), vector: Number(event & 0xffn) },
  };
}

const memoryTypes = [0, 1, 4, 5, 6, 7];

/** Each rule, by the name that root has for it, and whether the state breaks it. */
const rules: Record<string, (s: State) => boolean> = {
  "ASID: not one that this CPU has": ({ load, cpu }) => {
    const asid = load(Vmcb.ASID, 4);
    return asid === 0n || asid >= BigInt(cpu.asids);
  },
  "EFER: SVME is 0": ({ load }) => !bit(load(Vmcb.EFER), 12),
  "EFER: a reserved bit": ({ load, cpu }) => (load(Vmcb.EFER) & ~cpu.efer) !== 0n,
  "CR0: NW without CD": ({ cr0 }) => cr0.nw && !cr0.cd,
  "CR0: bits 63:32": ({ cr0 }) => cr0.high !== 0n,
  // Outside of long mode the upper half is not looked at: CR3 has 32 bits there.
  "CR3: beyond the physical address width": ({ load, cpu, lme, cr0 }) =>
    lme && cr0.pg && load(Vmcb.CR3) >> BigInt(cpu.physicalBits) !== 0n,
  "CR4: a reserved bit": ({ load, cpu }) => (load(Vmcb.CR4) & ~cpu.cr4) !== 0n,
  "CR4: CET without CR0.WP": ({ load, cr0 }) => bit(load(Vmcb.CR4), 23) && !cr0.wp,
  "DR6: bits 63:32": ({ load }) => load(Vmcb.DR6) >> 32n !== 0n,
  "DR7: bits 63:32": ({ load }) => load(Vmcb.DR7) >> 32n !== 0n,
  "EFER.LME and CR0.PG without CR4.PAE": ({ lme, cr0, pae }) => lme && cr0.pg && !pae,
  "EFER.LME and CR0.PG without CR0.PE": ({ lme, cr0 }) => lme && cr0.pg && !cr0.pe,
  // Attributes are in the segment's second word: L is bit 9 of them, D bit 10.
  "CS: L and D are both 1 in long mode": ({ load, lme, cr0, pae }) => {
    const attributes = load(Vmcb.CS + 2, 2);
    return lme && cr0.pg && pae && bit(attributes, 9) && bit(attributes, 10);
  },
  "the event to deliver: a reserved type": ({ event }) => event.valid && ![0, 2, 3, 4].includes(event.type),
  "the event to deliver: no exception has this vector": ({ event }) =>
    event.valid && event.type === 3 && (event.vector > 31 || event.vector === 2),
  "PAT: a reserved memory type": ({ load }) =>
    [0, 1, 2, 3, 4, 5, 6, 7].some((n) => !memoryTypes.includes(Number(load(Vmcb.PAT + n, 1)))),
};

export const vmrunRules = Object.keys(rules);

/** The rules that a VMCB breaks. */
export function brokenVmrunRules(load: Load, cpu: VmrunCpu = vmrunCpu): string[] {
  const state = stateOf((offset, size = 8) => load(offset, size), cpu);
  return vmrunRules.filter((rule) => rules[rule]!(state));
}
