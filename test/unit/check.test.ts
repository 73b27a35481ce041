/** Root's explanation of a VM entry that the CPU refused (kernel/vmx/check.ts), by the rules of SDM Vol. 3C 27.3.1. */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { brokenRules, entryCpu, ruleNames } from "./fake/entry.ts";
import { FakeHost, type HostOptions, vmxMsrs, vtxCpuid } from "./fake/host.ts";
import { abi, projectDirectory } from "./fake/layout.ts";
import { Random, effort } from "./fake/pc.ts";
import { Field, type Fields, type Mode, guestState, modes, randomState } from "./fake/state.ts";

const ENTRY_REFUSED = 5n;
const INVALID_GUEST_STATE = 0x80000021n;
/** Without HLT, shutdown and wait-for-SIPI there would be little to check of the activity state. */
const msrs = { 0x485: vmxMsrs()[0x485]! | 0x1c0n, 0x489: 0xb767ffn };
const cpu = {
  ...entryCpu,
  fixed: { cr0: entryCpu.fixed.cr0, cr4: [0x2000n, 0xb767ffn] as [bigint, bigint] },
};
const rounds = Math.ceil(effort / 5);
const NOTHING = "none of the rules of SDM 27.3.1 that are known here is broken";

/** What root says of each of these states, of which each is a VM's whose first entry the CPU refuses. */
function explain(states: Fields[], options: HostOptions = {}, reason = INVALID_GUEST_STATE): string[] {
  const answers: string[] = [];
  for (let from = 0; from < states.length; from += 60) {
    const part = states.slice(from, from + 60);
    const host = new FakeHost({
      commandLine: "loglvl=error",
      msrs,
      modules: part.map(() => ({ bytes: new Uint8Array(16), text: "kernel memory=4M" })),
      run: (vcpu) => {
        const fields = vcpu.host.fields();
        // VPIDs count VMs from 1.
        for (const [field, value] of part[Number(fields.get(0)!) - 1]!) fields.set(field, value);
        fields.set(0x4402, reason);
        vcpu.setRunArea("STOP_REASON", ENTRY_REFUSED);
        return abi("LEAVE_STOP");
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

const UNCANONICAL = 1n << 47n;

/** Each rule, and a state that breaks it and no other. */
const cases: [rule: string, mode: Mode, changes: [field: number, value: bigint][]][] = [
  ["CR0: a bit differs from IA32_VMX_CR0_FIXED", "protected", [[0x6800, 0x11n]]],
  ["CR0: PG without PE", "real", [[0x6800, 0x80000030n]]],
  ["CR4: a bit differs from IA32_VMX_CR4_FIXED", "protected", [[0x6804, 0x0n]]],
  ["CR4: CET without CR0.WP", "protected", [[0x6804, 0x802000n]]],
  ["IA32_DEBUGCTL: a reserved bit", "protected", [[0x2802, 0x8n]]],
  ["IA-32e mode guest: CR0.PG or CR4.PAE is 0", "64-bit", [[0x6804, 0x2000n]]],
  ["CR4: PCIDE outside IA-32e mode", "PAE", [[0x6804, 0x22020n]]],
  ["CR3: beyond the physical address width", "64-bit", [[0x6802, 1n << 39n]]],
  ["DR7: bits 63:32", "64-bit", [[0x681a, 0x100000400n]]],
  ["IA32_SYSENTER_ESP: not canonical", "64-bit", [[0x6824, UNCANONICAL]]],
  ["IA32_SYSENTER_EIP: not canonical", "64-bit", [[0x6826, UNCANONICAL]]],
  ["IA32_PAT: a reserved memory type", "64-bit", [[0x2804, 0x0207040600070406n]]],
  ["IA32_EFER: a reserved bit", "64-bit", [[0x2806, 0x1d01n]]],
  ["IA32_EFER.LMA: not the IA-32e mode guest control", "protected", [[0x2806, 0x400n]]],
  ["IA32_EFER: LMA and LME differ with paging", "64-bit", [[0x2806, 0x400n]]],
  ["TR: its selector is in the LDT", "64-bit", [[Field.selector(7), 0x24n]]],
  [
    "LDTR: its selector is in the LDT",
    "64-bit",
    [
      [Field.selector(6), 0x24n],
      [Field.rights(6), 0x82n],
    ],
  ],
  ["FS, GS or TR: base not canonical", "64-bit", [[Field.base(5), UNCANONICAL]]],
  [
    "LDTR: base not canonical",
    "64-bit",
    [
      [Field.base(6), UNCANONICAL],
      [Field.rights(6), 0x82n],
    ],
  ],
  ["CS: base above 4 GiB", "64-bit", [[Field.base(1), 1n << 32n]]],
  ["ES, SS or DS: base above 4 GiB", "64-bit", [[Field.base(3), 1n << 32n]]],
  ["virtual-8086: a base is not its selector * 16", "virtual-8086", [[Field.base(4), 0x1010n]]],
  ["virtual-8086: a limit is not FFFFh", "virtual-8086", [[Field.limit(0), 0xffffffffn]]],
  ["virtual-8086: access rights are not F3h", "virtual-8086", [[Field.rights(2), 0x93n]]],
  ["CS: type is not that of accessed code", "protected", [[Field.rights(1), 0xc09an]]],
  ["CS: S or P is 0", "protected", [[Field.rights(1), 0xc01bn]]],
  ["CS: DPL is not 0 with a data type", "protected", [[Field.rights(1), 0xc0f3n]]],
  ["CS: DPL is not that of SS", "protected", [[Field.rights(1), 0xc0fbn]]],
  ["CS: DPL is above that of SS", "protected", [[Field.rights(1), 0xc0bfn]]],
  ["CS: L and D are both 1", "64-bit", [[Field.rights(1), 0xe09bn]]],
  ["CS: G does not fit the limit", "64-bit", [[Field.rights(1), 0x209bn]]],
  ["CS: reserved access rights", "64-bit", [[Field.rights(1), 0xa29bn]]],
  ["SS: type is not that of writable data", "protected", [[Field.rights(2), 0xc091n]]],
  ["SS: S or P is 0", "protected", [[Field.rights(2), 0xc083n]]],
  ["SS: G does not fit the limit", "protected", [[Field.limit(2), 0xfffffffen]]],
  ["SS: reserved access rights", "protected", [[Field.rights(2), 0x2c093n]]],
  [
    "SS: DPL is not 0 in real mode or with CS of a data type",
    "real",
    [
      [Field.rights(1), 0xfbn],
      [Field.rights(2), 0xf3n],
    ],
  ],
  ["a data segment: not accessed", "protected", [[Field.rights(3), 0xc092n]]],
  ["a data segment: code that is not readable", "protected", [[Field.rights(0), 0xc099n]]],
  ["a data segment: S or P is 0", "protected", [[Field.rights(4), 0xc013n]]],
  [
    "a data segment: G does not fit the limit",
    "protected",
    [
      [Field.limit(5), 0xffff0fffn],
      [Field.rights(5), 0x4093n],
    ],
  ],
  ["a data segment: reserved access rights", "protected", [[Field.rights(3), 0xc193n]]],
  ["TR: type is not that of a busy TSS", "64-bit", [[Field.rights(7), 0x83n]]],
  ["TR: not a usable system segment", "64-bit", [[Field.rights(7), 0x1008bn]]],
  ["TR: G does not fit the limit", "64-bit", [[Field.rights(7), 0x808bn]]],
  ["TR: reserved access rights", "64-bit", [[Field.rights(7), 0x48bn]]],
  ["LDTR: not an LDT", "64-bit", [[Field.rights(6), 0x8bn]]],
  ["LDTR: G does not fit the limit", "64-bit", [[Field.rights(6), 0x8082n]]],
  ["LDTR: reserved access rights", "64-bit", [[Field.rights(6), 0x80000082n]]],
  ["GDTR: base not canonical", "64-bit", [[0x6816, UNCANONICAL]]],
  ["IDTR: base not canonical", "64-bit", [[0x6818, UNCANONICAL]]],
  ["GDTR: limit above FFFFh", "64-bit", [[0x4810, 0x10000n]]],
  ["IDTR: limit above FFFFh", "64-bit", [[0x4812, 0x10000n]]],
  ["RIP: above 4 GiB outside 64-bit mode", "compatibility", [[0x681e, 1n << 32n]]],
  ["RIP: beyond the linear address width", "64-bit", [[0x681e, 1n << 48n]]],
  ["RFLAGS: a reserved bit", "64-bit", [[0x6820, 0x20an]]],
  [
    "RFLAGS: VM in IA-32e or real mode",
    "virtual-8086",
    [[0x6800, 0x30n], ...[0, 1, 2, 3, 4, 5].map((n): [number, bigint] => [Field.rights(n), 0xf3n])],
  ],
  [
    "RFLAGS: IF is 0 with an external interrupt to deliver",
    "64-bit",
    [
      [0x4016, 0x80000020n],
      [0x6820, 2n],
    ],
  ],
  ["activity state: not one that this CPU has", "64-bit", [[0x4826, 4n]]],
  ["activity state: HLT at a CPL above 0", "virtual-8086", [[0x4826, 1n]]],
  [
    "activity state: not active with blocking by STI or MOV SS",
    "64-bit",
    [
      [0x4826, 2n],
      [0x4824, 1n],
    ],
  ],
  [
    "activity state: one that blocks the event to deliver",
    "64-bit",
    [
      [0x4826, 1n],
      [0x4016, 0x80000306n],
    ],
  ],
  ["interruptibility: a reserved bit", "64-bit", [[0x4824, 0x20n]]],
  ["interruptibility: blocking by STI and by MOV SS", "64-bit", [[0x4824, 3n]]],
  [
    "interruptibility: blocking by STI with IF 0",
    "64-bit",
    [
      [0x4824, 1n],
      [0x6820, 2n],
    ],
  ],
  [
    "interruptibility: blocking with an external interrupt to deliver",
    "64-bit",
    [
      [0x4824, 1n],
      [0x4016, 0x80000020n],
    ],
  ],
  [
    "interruptibility: blocking by MOV SS with an NMI to deliver",
    "64-bit",
    [
      [0x4824, 2n],
      [0x4016, 0x80000202n],
    ],
  ],
  ["interruptibility: blocking by SMI outside of system-management mode", "64-bit", [[0x4824, 4n]]],
  [
    "interruptibility: blocking by NMI with an NMI to deliver",
    "64-bit",
    [
      [0x4824, 8n],
      [0x4016, 0x80000202n],
    ],
  ],
  [
    "interruptibility: an interrupted enclave without SGX or with blocking by MOV SS",
    "64-bit",
    [[0x4824, 16n]],
  ],
  ["pending debug exceptions: a reserved bit", "64-bit", [[0x6822, 0x10n]]],
  [
    "pending debug exceptions: BS is not what TF and IA32_DEBUGCTL.BTF say",
    "64-bit",
    [
      [0x4824, 1n],
      [0x6820, 0x302n],
    ],
  ],
  ["pending debug exceptions: RTM without its transaction", "64-bit", [[0x6822, 0x11000n]]],
  ["VMCS link pointer: not all ones", "64-bit", [[0x2800, 0x1000n]]],
  ["PDPTE: a reserved bit", "PAE", [[0x280c, 0x5003n]]],
];

function withChanges(mode: Mode, changes: [number, bigint][]): Fields {
  return new Map([...guestState(mode), ...changes]);
}

test("A state that breaks one rule is explained by that rule", () => {
  const states = cases.map(([, mode, changes]) => withChanges(mode, changes));
  // The cases themselves: by the manual they break that rule and no other.
  expect(states.map((fields) => brokenRules((f) => fields.get(f) ?? 0n, cpu))).toEqual(
    cases.map(([rule]) => [rule]),
  );
  expect(explain(states)).toEqual(cases.map(([rule]) => rule));
});

test("There is a case for every rule that root knows, and a rule for every case", () => {
  const folder = join(projectDirectory, "kernel/vmx");
  const source = readdirSync(folder)
    .filter((file) => file.startsWith("check"))
    .map((file) => readFileSync(join(folder, file), "utf8"))
    .join("");
  const known = Array.from(source.matchAll(/must\(.*?"([^"]+)",?\s*\);/gs), ([, rule]) => rule!);
  expect(cases.map(([rule]) => rule).sort()).toEqual(known.sort());
  expect([...ruleNames].sort()).toEqual(known);
});

test("Of a state that a VM entry takes no rule is said to be broken", () => {
  const random = new Random(1);
  const usual = modes.map(guestState);
  const others = Array.from({ length: 53 * rounds }, (_, i) => randomState(modes[i % modes.length]!, random));
  const states = [...usual, ...others];
  expect(states.flatMap((fields) => brokenRules((f) => fields.get(f) ?? 0n, cpu))).toEqual([]);
  expect(explain(states)).toEqual(states.map(() => NOTHING));
});

test("Of a state with random faults the rule that root names is broken, and if it names none, none is", () => {
  const random = new Random(2);
  const states = Array.from({ length: 120 * rounds }, (_, i) => {
    const fields = randomState(modes[i % modes.length]!, random);
    for (let flips = 1 + random.below(3); flips > 0; flips--) {
      const field = random.pick([...fields.keys()]);
      fields.set(field, fields.get(field)! ^ (1n << BigInt(random.below(width(field)))));
    }
    if (random.below(3) === 0) {
      const type = random.pick([0, 2, 3, 4, 6]);
      const vector = type === 2 ? 2 : random.pick([1, 6, 18]);
      fields.set(0x4016, BigInt(0x80000000 + type * 256 + vector));
      fields.set(0x4826, BigInt(random.below(4)));
    }
    return fields;
  });
  const answers = explain(states);
  states.forEach((fields, i) => {
    const broken = brokenRules((f) => fields.get(f) ?? 0n, cpu);
    if (broken.length === 0) expect(answers[i]).toBe(NOTHING);
    else expect(broken).toContain(answers[i]);
  });
});

/** Bits of a field, by its encoding (SDM Vol. 3D Appendix B). */
function width(field: number): number {
  return [16, 64, 32, 64][field >> 13]!;
}

test("Widths of addresses are the CPU's", () => {
  const wide: HostOptions = {
    cpuid: (leaf, subleaf) => (leaf >>> 0 === 0x80000008 ? [0x3934, 0, 0, 0] : vtxCpuid(leaf, subleaf)),
  };
  const states = [
    withChanges("64-bit", [[0x6802, 1n << 51n]]),
    withChanges("64-bit", [[0x6824, 0xffffff8000000000n]]),
    withChanges("64-bit", [[0x6824, 0xff00000000000000n]]),
    withChanges("64-bit", [[0x681e, 1n << 56n]]),
    withChanges("64-bit", [[0x6824, 1n << 56n]]),
    withChanges("64-bit", [[0x6802, 1n << 52n]]),
  ];
  expect(explain(states, wide)).toEqual([
    NOTHING,
    NOTHING,
    NOTHING,
    NOTHING,
    "IA32_SYSENTER_ESP: not canonical",
    "CR3: beyond the physical address width",
  ]);
});

test("What only some CPUs have is a rule only on the others", () => {
  const states = [
    withChanges("64-bit", [[0x4824, 0x10n]]),
    withChanges("64-bit", [[0x6822, 0x11000n]]),
    withChanges("64-bit", [[0x6802, 3n << 61n]]),
    withChanges("64-bit", [[0x4826, 1n]]),
  ];
  const sgxRtmMasking: HostOptions = {
    cpuid: (leaf, subleaf) => {
      const answer = vtxCpuid(leaf, subleaf);
      if (leaf === 7 && subleaf === 0) return [1, answer[1] | (1 << 2) | (1 << 11), answer[2], answer[3]];
      if (leaf === 7 && subleaf === 1) return [1 << 26, 0, 0, 0];
      return answer;
    },
  };
  expect(explain(states, sgxRtmMasking)).toEqual(states.map(() => NOTHING));
  expect(explain(states, { msrs: { 0x485: vmxMsrs()[0x485]! } })).toEqual([
    "interruptibility: an interrupted enclave without SGX or with blocking by MOV SS",
    "pending debug exceptions: RTM without its transaction",
    "CR3: beyond the physical address width",
    "activity state: not one that this CPU has",
  ]);
});

test("When no known rule is broken, what the CPU says is passed on", () => {
  const good = guestState("64-bit");
  const qualified = [2n, 3n, 4n, 0n].map((qualification) => new Map([...good, [0x6400, qualification]]));
  expect(explain(qualified)).toEqual([
    "the CPU says that it is the PDPTEs",
    "the CPU says that it delivers no NMI with blocking by STI",
    "the CPU says that it is the VMCS link pointer",
    NOTHING,
  ]);
  expect(explain([good], {}, 0x80000022n)).toEqual(["loading MSRs failed"]);
  expect(explain([good], {}, 0x80000029n)).toEqual(["a machine check during VM entry"]);
  expect(explain([good], {}, 0x8000002an)).toEqual(["for a reason that is not known, 42"]);
  expect(explain([good], {}, 10n)).toEqual(["so its monitor says, but the last exit's reason is 10"]);
});
