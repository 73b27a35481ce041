/** Root's explanation of a VMRUN that the CPU refused (kernel/svm/check.ts), by the rules of APM Vol. 2 15.5.1. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { FakeHost, type HostOptions, amdCpuid } from "./fake/host.ts";
import { projectDirectory } from "./fake/layout.ts";
import { Random, effort } from "./fake/pc.ts";
import { Vmcb } from "./fake/vmcb.ts";
import { kernels } from "./fake/vms.ts";
import { type Load, brokenVmrunRules, vmrunRules } from "./fake/vmrunrules.ts";

const NOTHING = "none of the rules of APM Vol. 2 15.5.1 that are known here is broken";
const rounds = Math.ceil(effort / 5);

/** Words of a VMCB by their offsets. */
type Words = Map<number, bigint>;

/** CR0, CR4, EFER, and the word of CS. Paged real mode is one that only VMRUN can enter (15.19). */
const modes = {
  real: [0x10n, 0n, 0x1000n, 0xffff_009b_f000n],
  "paged real": [0x80000010n, 0n, 0x1000n, 0xffff_009b_f000n],
  protected: [0x11n, 0n, 0x1000n, 0xffffffff_0c9b_0008n],
  PAE: [0x80010033n, 0x20n, 0x1800n, 0xffffffff_0c9b_0008n],
  "long mode enabled, not active": [0x11n, 0x20n, 0x1100n, 0xffffffff_0c9b_0008n],
  compatibility: [0x80050033n, 0x200a0n, 0x1d01n, 0xffffffff_0c9b_0008n],
  "64-bit": [0x80050033n, 0x200a0n, 0x1d01n, 0xffffffff_0a9b_0010n],
} as const;
type Mode = keyof typeof modes;
const modeNames = Object.keys(modes) as Mode[];

function stateOf(mode: Mode, changes: [offset: number, value: bigint][] = []): Words {
  const [cr0, cr4, efer, cs] = modes[mode];
  return new Map([
    [Vmcb.ASID, 1n],
    [Vmcb.EVENT_INJECTION, 0n],
    [Vmcb.CR0, cr0],
    [Vmcb.CR3, 0x1000n],
    [Vmcb.CR4, cr4],
    [Vmcb.EFER, efer],
    [Vmcb.CS, cs],
    [Vmcb.DR6, 0xffff0ff0n],
    [Vmcb.DR7, 0x400n],
    [Vmcb.PAT, 0x0007040600070406n],
    ...changes,
  ]);
}

const loadOf =
  (words: Words): Load =>
  (offset, size = 8) =>
    BigInt.asUintN(size * 8, (words.get(offset & ~7) ?? 0n) >> BigInt((offset & 7) * 8));
const broken = (words: Words) => brokenVmrunRules(loadOf(words));

/** What root says of each of these states, of which each is a VM's whose first entry the CPU refuses. */
function explain(states: Words[], options: HostOptions = {}, code = (1n << 64n) - 1n): string[] {
  const answers: string[] = [];
  for (let from = 0; from < states.length; from += 60) {
    const part = states.slice(from, from + 60);
    const host = new FakeHost({
      vendor: "AMD-V",
      commandLine: "loglvl=error",
      modules: kernels(part.length),
      run: (vcpu) => {
        const left = vcpu.refuseEntry();
        for (const [offset, value] of part[vcpu.vm]!) host.svm.store(vcpu.control, offset, value);
        host.svm.store(vcpu.control, Vmcb.EXIT_CODE, code);
        return left;
      },
      ...options,
    });
    for (const line of host.boot()) {
      const match = /^vm(\d+): ended: the CPU refused its state: (.*)$/.exec(line);
      if (match) answers[from + Number(match[1])] = match[2]!;
    }
  }
  return answers;
}

/** Each rule, and states that break it and no other. */
const cases: Record<string, [mode: Mode, offset: number, value: bigint][]> = {
  "ASID: not one that this CPU has": [
    ["64-bit", Vmcb.ASID, 0n],
    ["64-bit", Vmcb.ASID, 16n],
    ["real", Vmcb.ASID, 0x80000001n],
  ],
  "EFER: SVME is 0": [
    ["64-bit", Vmcb.EFER, 0xd01n],
    ["real", Vmcb.EFER, 0n],
  ],
  "EFER: a reserved bit": [
    ["64-bit", Vmcb.EFER, 0x1d03n],
    ["real", Vmcb.EFER, 0x1200n],
    ["protected", Vmcb.EFER, (1n << 63n) | 0x1000n],
  ],
  "CR0: NW without CD": [["real", Vmcb.CR0, 0x20000010n]],
  "CR0: bits 63:32": [
    ["64-bit", Vmcb.CR0, 0x1_80050033n],
    ["real", Vmcb.CR0, (1n << 63n) | 0x10n],
  ],
  "CR3: beyond the physical address width": [
    ["64-bit", Vmcb.CR3, 1n << 39n],
    ["compatibility", Vmcb.CR3, 1n << 63n],
  ],
  "CR4: a reserved bit": [
    ["64-bit", Vmcb.CR4, 0x220a0n],
    ["real", Vmcb.CR4, 1n << 15n],
    ["real", Vmcb.CR4, 1n << 19n],
    ["real", Vmcb.CR4, 1n << 24n],
    ["real", Vmcb.CR4, 1n << 63n],
  ],
  "CR4: CET without CR0.WP": [["protected", Vmcb.CR4, 1n << 23n]],
  "DR6: bits 63:32": [["64-bit", Vmcb.DR6, 0x1_ffff0ff0n]],
  "DR7: bits 63:32": [["64-bit", Vmcb.DR7, (1n << 63n) | 0x400n]],
  "EFER.LME and CR0.PG without CR4.PAE": [["compatibility", Vmcb.CR4, 0x80n]],
  "EFER.LME and CR0.PG without CR0.PE": [["compatibility", Vmcb.CR0, 0x80050032n]],
  "CS: L and D are both 1 in long mode": [["64-bit", Vmcb.CS, 0xffffffff_0e9b_0010n]],
  "the event to deliver: a reserved type": [1n, 5n, 6n, 7n].map((type) => [
    "64-bit",
    Vmcb.EVENT_INJECTION,
    0x80000000n | (type << 8n) | 14n,
  ]),
  "the event to deliver: no exception has this vector": [2n, 32n, 255n].map((vector) => [
    "protected",
    Vmcb.EVENT_INJECTION,
    0x80000300n | vector,
  ]),
  "PAT: a reserved memory type": [
    ["64-bit", Vmcb.PAT, 0x0207040600070406n],
    ["real", Vmcb.PAT, 0x0007040600070403n],
    ["real", Vmcb.PAT, 0x0007040800070406n],
    ["real", Vmcb.PAT, 0x8007040600070406n],
  ],
};

test("A state that breaks one rule is explained by that rule", () => {
  const all = Object.entries(cases).flatMap(([rule, states]) =>
    states.map(([mode, offset, value]) => ({ rule, words: stateOf(mode, [[offset, value]]) })),
  );
  // The cases themselves: by the manual they break that rule and no other.
  expect(all.map(({ words }) => broken(words))).toEqual(all.map(({ rule }) => [rule]));
  expect(explain(all.map(({ words }) => words))).toEqual(all.map(({ rule }) => rule));
});

test("There are cases for every rule that root knows, and a rule for every case", () => {
  const source = readFileSync(join(projectDirectory, "kernel/svm/check.ts"), "utf8");
  const known = Array.from(source.matchAll(/must\(.*?"([^"]+)",?\s*\);/gs), ([, rule]) => rule!);
  expect(Object.keys(cases).sort()).toEqual(known.sort());
  expect([...vmrunRules].sort()).toEqual(known);
});

test("What only long mode forbids is no rule elsewhere, and what is no event has no type", () => {
  const states = [
    stateOf("PAE", [[Vmcb.CR3, 1n << 39n]]),
    stateOf("PAE", [[Vmcb.CS, 0xffffffff_0e9b_0008n]]),
    stateOf("long mode enabled, not active", [[Vmcb.CR3, 1n << 63n]]),
    stateOf("long mode enabled, not active", [[Vmcb.CR4, 0n]]),
    stateOf("long mode enabled, not active", [[Vmcb.CS, 0xffffffff_0e9b_0008n]]),
    // EFER.LMA is VMRUN's to set: a stale one does not make it long mode.
    stateOf("PAE", [[Vmcb.EFER, 0x1c00n], [Vmcb.CR3, 1n << 39n]]), // prettier-ignore
    stateOf("real", [[Vmcb.EVENT_INJECTION, 0x7ffn]]),
    stateOf("real", [[Vmcb.EVENT_INJECTION, 0x12345678_80000803n]]),
  ];
  expect(states.flatMap(broken)).toEqual([]);
  expect(explain(states)).toEqual(states.map(() => NOTHING));
  // And long mode is what LME and PG make it.
  const long = stateOf("64-bit", [[Vmcb.EFER, 0x1901n], [Vmcb.CR3, 1n << 39n]]); // prettier-ignore
  expect(explain([long])).toEqual(["CR3: beyond the physical address width"]);
});

const widths: Partial<Record<number, number>> = { [Vmcb.ASID]: 32 };

/** A state of the mode with bits turned over. */
function randomState(random: Random, flips: number): Words {
  const words = stateOf(random.pick(modeNames));
  if (random.below(3) === 0) {
    const event = (random.below(8) << 8) | random.pick([0, 1, 2, 3, 14, 31, 32, 33, random.below(256)]);
    words.set(Vmcb.EVENT_INJECTION, BigInt(event + 0x80000000));
  }
  words.set(Vmcb.ASID, BigInt(random.pick([1, 2, 15, random.below(17)])));
  for (; flips > 0; flips--) {
    const offset = random.pick([...words.keys()]);
    // Low bits are those that mean something.
    const bit = random.below(random.pick([16, 32, widths[offset] ?? 64]));
    words.set(offset, words.get(offset)! ^ (1n << BigInt(bit)));
  }
  return words;
}

test("Of a state that VMRUN takes no rule is said to be broken", () => {
  const random = new Random(1);
  const some = Array.from({ length: 1200 * rounds }, () => randomState(random, random.below(4)));
  const states = [...modeNames.map((mode) => stateOf(mode)), ...some.filter((s) => broken(s).length === 0)];
  expect(states.length).toBeGreaterThan(100);
  expect(states.flatMap(broken)).toEqual([]);
  expect(explain(states)).toEqual(states.map(() => NOTHING));
});

test("Of a state with random faults the rule that root names is broken, and if it names none, none is", () => {
  const random = new Random(2);
  const states = Array.from({ length: 360 * rounds }, () => randomState(random, 1 + random.below(4)));
  const answers = explain(states);
  const seen = new Set<string>();
  states.forEach((words, i) => {
    const rules = broken(words);
    seen.add(answers[i]!);
    if (rules.length === 0) expect(answers[i]).toBe(NOTHING);
    else expect(rules).toContain(answers[i]);
  });
  expect(seen.size).toBeGreaterThan(10);
});

test("The width of addresses is the CPU's, and 36 where it does not say", () => {
  const cr3 = (n: bigint) => stateOf("64-bit", [[Vmcb.CR3, 1n << n]]);
  const answers = (states: Words[], bits: number) =>
    explain(states, {
      cpuid: (leaf, subleaf) => {
        const answer = amdCpuid()(leaf, subleaf);
        if (leaf >>> 0 === 0x80000008) answer[0] = 0x3000 | bits;
        return answer;
      },
    });
  const BEYOND = "CR3: beyond the physical address width";
  expect(answers([cr3(51n), cr3(52n)], 52)).toEqual([NOTHING, BEYOND]);
  expect(answers([cr3(39n), cr3(40n)], 40)).toEqual([NOTHING, BEYOND]);
});

test("ASIDs are as many as the CPU has", () => {
  const asid = (n: bigint) => stateOf("64-bit", [[Vmcb.ASID, n]]);
  expect(explain([asid(2n), asid(3n)], { cpuid: amdCpuid({ asids: 3 }) })).toEqual([
    NOTHING,
    "ASID: not one that this CPU has",
  ]);
});

test("A monitor that calls another exit a refusal is quoted, with the exit's code", () => {
  const states = [stateOf("64-bit", [[Vmcb.ASID, 0n]])];
  expect(explain(states, {}, 0x7bn)).toEqual(["so its monitor says, but the last exit's code is 0x7b"]);
  expect(explain(states, {}, 0x60n)).toEqual(["so its monitor says, but the last exit's code is 0x60"]);
});

// KVM below this hypervisor clears the upper half.
test("A refusal is known by the lower half of the exit's code", () => {
  const states = [stateOf("64-bit", [[Vmcb.ASID, 0n]])];
  expect(explain(states, {}, 0xffffffffn)).toEqual(["ASID: not one that this CPU has"]);
});
