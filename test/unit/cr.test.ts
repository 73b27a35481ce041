/** Control registers (SDM Vol. 2B, MOV to and from Control Registers; Vol. 3A 2.5), as a guest's instructions see them. */
import { describe, expect, test } from "vitest";
import {
  CD,
  GuestCpu,
  LMA,
  LME,
  MCE,
  NE,
  NW,
  OSXSAVE,
  PAE,
  PCIDE,
  PE,
  PG,
  PGE,
  PSE,
  type Platform,
  type Registers,
  SMEP,
  VMXE,
  WP,
  masks,
  moveToCr,
} from "./fake/cr.ts";
import { Gpr, Next } from "./fake/exit.ts";
import { startGuest } from "./fake/guest.ts";
import { abi } from "./fake/layout.ts";
import { hostCpuid } from "./fake/monitor.ts";
import { Random, effort } from "./fake/pc.ts";
import { type Mode, guestState } from "./fake/state.ts";
import { Field } from "./fake/vtx.ts";

const MAP = 0x300000n; // CR3
const RF = 1n << 16n;
const mask = masks();

/** A host with everything that the monitor offers, and a guest in a mode. */
function guestOf(mode: Mode, ...off: [leaf: number, register: number, bit: number][]) {
  const guest = startGuest({
    cpuid: (leaf, subleaf) => {
      const answer = hostCpuid(leaf, subleaf);
      if (leaf === 7 && subleaf === 0) answer[2] |= 4; // UMIP
      if (leaf === 1) answer[2] |= 1 << 17; // PCID
      for (const [l, register, bit] of off) if (l === leaf) answer[register]! &= ~(1 << bit);
      return answer;
    },
  });
  const { machine, cpu } = guest;
  const fields = guestState(mode);
  for (const [field, value] of fields) cpu.set(field, value);
  cpu.cr0 = fields.get(0x6800)!;
  cpu.cr4 = fields.get(0x6804)! & ~(VMXE | PCIDE);
  cpu.set(Field.GUEST_CR3, MAP);
  for (let i = 0; i < 4; i++) machine.ram.store(MAP + BigInt(i * 8), 8, BigInt(0x4001 + i * 0x1000));
  const answer = (leaf: number) => {
    cpu.cpuid(leaf);
    return [Gpr.rax, Gpr.rbx, Gpr.rcx, Gpr.rdx].map((r) => machine.gpr(r));
  };
  // SDM Vol. 3A 2.5: what CR4 has without asking CPUID for more than every CPU has, and what a feature brings.
  let cr4 = 0x7bfn & ~(1n << 6n);
  const feature = (leaf: number, register: number, bit: number, brings: number) => {
    if ((answer(leaf)[register]! >> BigInt(bit)) & 1n) cr4 |= 1n << BigInt(brings);
  };
  feature(1, 2, 17, 17); // PCIDE
  feature(1, 2, 26, 18); // OSXSAVE
  feature(7, 1, 0, 16); // FSGSBASE
  feature(7, 1, 7, 20); // SMEP
  feature(7, 1, 20, 21); // SMAP
  feature(7, 2, 2, 11); // UMIP
  const platform: Platform = { cr4, physicalBits: 39, load: (at) => machine.ram.load(at, 8) };
  return { machine, cpu, platform, guest: new GuestCpu(machine, cpu, mask, platform) };
}

/** The registers of a CPU without a hypervisor in the same state. */
function plain({ cpu, guest }: ReturnType<typeof guestOf>): Registers {
  const rights = cpu.get(Field.CS_RIGHTS);
  const [cr3, efer] = [cpu.get(Field.GUEST_CR3), cpu.get(Field.GUEST_EFER)];
  const tss16 = (cpu.get(Field.TR_RIGHTS) & 15n) === 3n;
  const long = (rights & 0x2000n) !== 0n;
  return { cr0: guest.cr0, cr3, cr4: guest.cr4, efer, long, tss16, pdptes: guest.pdptes };
}

const pagingModes = ["real", "protected", "32-bit paging", "PAE", "compatibility", "64-bit"] as const;

test("MOV to CR0 and CR4 does what it does on a CPU without a hypervisor", () => {
  const random = new Random(1);
  for (let round = 0; round < 60 * Math.ceil(effort / 3); round++) {
    const all = guestOf(pagingModes[round % pagingModes.length]!);
    const { machine, cpu, guest, platform } = all;
    if (random.below(2)) cpu.set(Field.GUEST_EFER, cpu.get(Field.GUEST_EFER) | (guest.cr0 & PG ? 0n : LME));
    if (!(guest.cr0 & PG) && random.below(4) === 0) cpu.set(Field.TR_RIGHTS, 0x83);
    for (let step = 0; step < 12; step++) {
      // The PDPTEs and CR3 change too: an instruction that reads them shows.
      if (random.below(3) === 0) cpu.set(Field.GUEST_CR3, MAP | BigInt(random.below(4) ? 0 : 0x18));
      const entry = BigInt(
        0x4001 + random.below(256) * 4096 + (random.below(5) ? 0 : random.pick([2, 0x20, 0x100])),
      );
      machine.ram.store(MAP + BigInt(random.below(4) * 8), 8, entry | (random.below(9) ? 0n : 1n << 39n));
      const n = random.pick([0, 4] as const);
      let value = n === 0 ? guest.cr0 : guest.cr4;
      for (let flips = 1 + random.below(3); flips > 0; flips--) {
        const common = n === 0 ? [0, 5, 29, 30, 31] : [4, 5, 7, 8, 17, 18, 20];
        value ^= 1n << BigInt(random.below(8) ? random.pick(common) : random.below(64));
      }
      const registers = plain(all);
      const expected = moveToCr(registers, n, value, platform);
      const what = `${n}: ${value.toString(16)}`;
      const outcome = guest.move(n, value, random.pick([Gpr.rax, Gpr.rsp, Gpr.rdi]));
      if (expected === "#GP" || outcome === "#GP") expect(outcome, what).toBe(expected);
      else {
        const order = ["none", "pcid", "all"];
        expect(order.indexOf(outcome.flush), what).toBeGreaterThanOrEqual(order.indexOf(expected.flush));
      }
      expect(plain(all), what).toEqual(registers);
      // What VMX operation wants, what would slow the host, and that machine checks exit.
      expect(cpu.get(Field.GUEST_CR0), what).toBe((registers.cr0 | NE) & ~(CD | NW));
      expect(cpu.get(Field.GUEST_CR4), what).toBe(registers.cr4 | VMXE | MCE);
      cpu.cpuid(1);
      expect((machine.gpr(Gpr.rcx) >> 27n) & 1n, "CPUID.OSXSAVE").toBe((registers.cr4 & OSXSAVE) >> 18n);
    }
  }
});

describe("MOV to CR0 is #GP", () => {
  const cases: [string, Mode, (cr0: bigint) => bigint][] = [
    ["with a bit above 31", "64-bit", (cr0) => cr0 | (1n << 32n) | CD],
    ["with NW and not CD", "64-bit", (cr0) => cr0 | NW],
    ["with PG and not PE", "protected", (cr0) => (cr0 | PG | CD) & ~PE],
    ["without PG in 64-bit mode", "64-bit", (cr0) => (cr0 | CD) & ~PG],
    ["with PG, LME and without PAE", "protected", (cr0) => cr0 | PG | CD],
  ];
  test.each(cases)("%s, and nothing has changed", (_, mode, change) => {
    const { guest, cpu } = guestOf(mode);
    if (mode === "protected") cpu.set(Field.GUEST_EFER, LME);
    const before = [guest.cr0, cpu.rip];
    expect(guest.move(0, change(guest.cr0))).toBe("#GP");
    expect([guest.cr0, cpu.rip]).toEqual(before);
  });

  test("without PG while PCIDs are on", () => {
    const { guest } = guestOf("compatibility");
    guest.move(4, guest.cr4 | PCIDE);
    expect(guest.move(0, (guest.cr0 | CD) & ~PG)).toBe("#GP");
    guest.move(4, guest.cr4 & ~PCIDE);
    expect(guest.move(0, (guest.cr0 | CD) & ~PG)).not.toBe("#GP");
    expect(guest.cr0 & (CD | PG)).toBe(CD);
  });

  test("when it starts IA-32e mode with a 16-bit TSS", () => {
    const { guest, cpu } = guestOf("protected");
    cpu.set(Field.GUEST_EFER, LME);
    guest.move(4, PAE);
    cpu.set(Field.TR_RIGHTS, 0x83);
    expect(guest.move(0, guest.cr0 | PG | CD)).toBe("#GP");
    cpu.set(Field.TR_RIGHTS, 0x8b);
    expect(guest.move(0, guest.cr0 | PG | CD)).not.toBe("#GP");
    expect(cpu.get(Field.GUEST_EFER)).toBe(LME | LMA);
  });
});

test("The guest reads back CD, NW and NE as it wrote them; the CPU has NE alone", () => {
  const { guest, cpu } = guestOf("64-bit");
  guest.move(0, (guest.cr0 | CD | NW) & ~NE);
  expect(guest.cr0 & (CD | NW | NE)).toBe(CD | NW);
  expect(cpu.get(Field.GUEST_CR0) & (CD | NW | NE)).toBe(NE);
});

test("Reserved bits of CR0's low half are ignored", () => {
  const { guest } = guestOf("64-bit");
  const before = guest.cr0;
  expect(guest.move(0, before | CD | 0xffc0n)).not.toBe("#GP");
  expect(guest.cr0).toBe(before | CD);
});

test.each([
  ["OSXSAVE", 1, 2, 26, 18],
  ["PCIDE", 1, 2, 17, 17],
  ["FSGSBASE", 7, 1, 0, 16],
  ["SMEP", 7, 1, 7, 20],
  ["SMAP", 7, 1, 20, 21],
  ["UMIP", 7, 2, 2, 11],
] as const)(
  "CR4.%s can be set if CPUID offers it, and else is reserved",
  (_, leaf, register, bit, position) => {
    const set = (guest: GuestCpu) => guest.move(4, guest.cr4 | (1n << BigInt(position)));
    const { guest } = guestOf("64-bit");
    expect(set(guest)).not.toBe("#GP");
    expect(guest.cr4 & (1n << BigInt(position))).not.toBe(0n);
    const { guest: without } = guestOf("64-bit", [leaf, register, bit]);
    const before = without.cr4;
    expect(set(without)).toBe("#GP");
    expect(without.cr4).toBe(before);
  },
);

test("CR4 has no VMXE, SMXE, LA57, CET and protection keys for guests, and nothing above bit 31", () => {
  const { guest } = guestOf("64-bit");
  for (const bit of [12, 13, 14, 15, 19, 22, 23, 24, 25, 28, 32, 63])
    expect(guest.move(4, guest.cr4 | (1n << BigInt(bit))), `bit ${bit}`).toBe("#GP");
});

test("PCIDE needs IA-32e mode and a CR3 without a PCID to be set, and nothing to be cleared", () => {
  const { guest, cpu } = guestOf("64-bit");
  cpu.set(Field.GUEST_CR3, MAP | 1n);
  expect(guest.move(4, guest.cr4 | PCIDE)).toBe("#GP");
  cpu.set(Field.GUEST_CR3, MAP);
  expect(guest.move(4, guest.cr4 | PCIDE)).not.toBe("#GP");
  cpu.set(Field.GUEST_CR3, MAP | 5n);
  expect(guest.move(4, guest.cr4 & ~PCIDE)).toEqual({ flush: "all" });
  for (const mode of ["protected", "PAE"] as const) {
    const { guest: other } = guestOf(mode);
    expect(other.move(4, other.cr4 | PCIDE), mode).toBe("#GP");
  }
});

test("SMEP that is set drops translations; SMEP that is kept does not", () => {
  const { guest, cpu } = guestOf("64-bit");
  expect(guest.move(4, guest.cr4 | SMEP)).toEqual({ flush: "all" });
  const before = cpu.flushes;
  guest.move(4, guest.cr4 ^ OSXSAVE);
  expect(cpu.flushes).toBe(before);
});

test("With PAE paging a change of CD or SMEP reads the PDPTEs, and a reserved bit in one is #GP", () => {
  for (const n of [0, 4] as const) {
    const { guest, machine } = guestOf("PAE");
    const toggle = () => guest.move(n, n === 0 ? guest.cr0 ^ CD : guest.cr4 ^ SMEP);
    machine.ram.store(MAP + 8n, 8, 0x9001n);
    expect(toggle()).not.toBe("#GP");
    expect(guest.pdptes[1]).toBe(0x9001n);
    machine.ram.store(MAP + 16n, 8, 0x9003n);
    const before = [guest.cr0, guest.cr4, ...guest.pdptes];
    expect(toggle()).toBe("#GP");
    expect([guest.cr0, guest.cr4, ...guest.pdptes]).toEqual(before);
  }
});

test("Outside of 64-bit mode the operand is the register's low half", () => {
  for (const mode of ["protected", "compatibility"] as const) {
    const { guest } = guestOf(mode);
    expect(guest.move(0, guest.cr0 | CD | (0xdeadn << 32n)), mode).not.toBe("#GP");
    expect(guest.move(4, guest.cr4 | SMEP | (0xdeadn << 32n)), mode).not.toBe("#GP");
    expect([guest.cr0 & CD, guest.cr4 >> 20n]).toEqual([CD, 1n]);
  }
});

test("What the guest may change without an exit is all but NE, NW and CD, and the CR4 bits of features", () => {
  const { guest } = guestOf("64-bit");
  for (const bit of [1, 2, 3, 16, 18]) guest.move(0, guest.cr0 ^ (1n << BigInt(bit)));
  for (const bit of [0, 1, 2, 3, 4, 7, 8, 9, 10]) guest.move(4, guest.cr4 ^ (1n << BigInt(bit)));
  expect(guest.exits).toBe(0);
  // CLTS and LMSW exit for masked bits among the lowest four only (26.1.3).
  expect(mask.cr0 & 15n).toBe(0n);
  expect([mask.cr0 & (WP | PG), mask.cr4 & (PAE | PGE | PSE)]).toEqual([0n, 0n]);
  // Neither CR3-load exiting nor CR3-store exiting; MOV from CR0 and CR4 never exits.
  expect(mask.controls & (3n << 15n)).toBe(0n);
});

test("The second execution of a MOV to a control register does not hit the breakpoint that the first has hit", () => {
  const { guest, cpu, machine } = guestOf("64-bit");
  const rip = cpu.rip;
  machine.setGpr(Gpr.rax, guest.cr0 | CD);
  // An exit for an instruction clears RF (28.3.3, Saving RIP, RSP, RFLAGS, and SSP).
  expect(cpu.get(Field.GUEST_RFLAGS) & RF).toBe(0n);
  cpu.exit(28, { EXIT_LENGTH: 3, QUALIFICATION: 0 }); // to CR0 from RAX
  expect(cpu.takeInjected()).toBeUndefined();
  expect(cpu.get(Field.GUEST_RFLAGS) & RF).toBe(RF);
  expect(cpu.rip).toBe(rip);
});

describe("CR8", () => {
  const move = (cpu: GuestCpu["cpu"], read: boolean, register: Gpr) =>
    cpu.exit(28, { EXIT_LENGTH: 4, QUALIFICATION: 8 | (read ? 16 : 0) | (register << 8) });

  test("keeps what is written, for every register, RSP too", () => {
    const { machine, cpu } = guestOf("64-bit");
    for (let n = 0; n < 16; n++) {
      const [register, other] = [n as Gpr, ((n + 4) & 15) as Gpr];
      const value = BigInt((register * 7) % 16);
      if (register === Gpr.rsp) cpu.set(Field.GUEST_RSP, value);
      else machine.setGpr(register, value);
      const rip = cpu.rip;
      expect(move(cpu, false, register)).toBe(Next.Resume);
      const before = [cpu.get(Field.GUEST_RSP), cpu.get(Field.GUEST_RFLAGS)];
      expect(move(cpu, true, other)).toBe(Next.Resume);
      expect(cpu.rip).toBe(rip + 8n);
      expect(other === Gpr.rsp ? cpu.get(Field.GUEST_RSP) : machine.gpr(other), `register ${other}`).toBe(
        value,
      );
      if (other !== Gpr.rsp) expect(cpu.get(Field.GUEST_RSP)).toBe(before[0]);
      expect(cpu.get(Field.GUEST_RFLAGS)).toBe(before[1]);
    }
  });

  test("has four bits; a higher one is #GP and changes nothing", () => {
    const { machine, cpu } = guestOf("64-bit");
    machine.setGpr(Gpr.rbx, 9);
    move(cpu, false, Gpr.rbx);
    for (const value of [16n, 1n << 32n, 1n << 63n]) {
      machine.setGpr(Gpr.rbx, value);
      move(cpu, false, Gpr.rbx);
      expect(cpu.takeInjected()).toEqual({ vector: 13, type: 3, error: 0 });
    }
    move(cpu, true, Gpr.rcx);
    expect(machine.gpr(Gpr.rcx)).toBe(9n);
  });
});

test.each([
  ["MOV to CR3", 3],
  ["MOV from CR3", 0x13],
  ["CLTS", 0x20],
  ["LMSW", 0x30],
])("%s never exits here; if it does, the VM ends by name", (_, qualification) => {
  const { machine, cpu } = guestOf("64-bit");
  expect(cpu.exit(28, { EXIT_LENGTH: 3, QUALIFICATION: qualification })).toBe(Next.Stop);
  expect(machine.stop).toEqual({ reason: abi("STOPREASON_UNEXPECTED_EXIT"), detail: 28n });
});
