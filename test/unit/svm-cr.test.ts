/**
 * Writes to CR0 and accesses to CR4 under AMD-V (APM Vol. 2 15.8.1; 15.9, selective CR0 writes): they do what they do on a
 * CPU without a hypervisor, but that machine checks stay on.
 */
import { describe, expect, test } from "vitest";
import { CodeGuest, type CodeOptions, Seg, UNCLAIMED } from "./fake/code.ts";
import {
  CD,
  ET,
  LMA,
  LME,
  MCE,
  NW,
  OSXSAVE,
  PAE,
  PCIDE,
  PE,
  PG,
  PGE,
  TS,
  VMXE,
  moveToCr,
} from "./fake/cr.ts";
import type { Outcome, Platform, Registers } from "./fake/cr.ts";
import { Gpr, Next } from "./fake/exit.ts";
import { hostCpuid } from "./fake/monitor.ts";
import { P, RW } from "./fake/paging.ts";
import { Random, effort } from "./fake/pc.ts";
import { Code, FakeSvm, type SvmOptions, Word } from "./fake/svm.ts";

const GP = { type: 3, vector: 13, error: 0 };
const TR = 7;
const TOLD = 1n << 63n;
const TABLES = 0x800000n;
const DATA = 0x600000n;

const processors: [string, SvmOptions][] = [
  ["with next RIP and decode assists", { nextRip: true, assists: true }],
  ["with next RIP alone", { nextRip: true }],
  ["without either", { nextRip: false }],
];

const modes: CodeOptions[] = [
  { size: 32 },
  { size: 32, paging: "32-bit" },
  { size: 32, paging: "PAE" },
  { size: 32, paging: "4-level" },
  { size: 64 },
];

/** A host with everything that the monitor offers. */
function cpuid(leaf: number, subleaf: number): [number, number, number, number] {
  const answer = hostCpuid(leaf, subleaf);
  if (leaf === 7 && subleaf === 0) answer[2] |= 4; // UMIP
  if (leaf === 1) answer[2] |= 1 << 17; // PCID
  return answer;
}

/** Every CR4 bit that a guest may set on it. */
const CR4 = 0x3f0fbfn & ~(1n << 19n) & ~(0xfn << 12n);

class ControlGuest extends CodeGuest<FakeSvm> {
  readonly platform: Platform;

  constructor(options: CodeOptions, has: SvmOptions = {}) {
    super({ cpuid, ...options }, new FakeSvm(has));
    this.cpu.cr0 |= ET;
    this.cpu.setSegment(TR, { rights: 0x8b });
    // SMEP is to hold.
    this.tables?.map(this.rip, this.rip, 2, P | RW);
    this.platform = { cr4: CR4 | 0x30000n, physicalBits: 39, load: (at) => this.machine.ram.load(at, 8) };
  }

  /** What MOV looks at, and changes. */
  get registers(): Registers {
    const { cpu } = this;
    return {
      ...{ cr0: cpu.cr0, cr3: cpu.cr3, cr4: cpu.cr4, efer: cpu.efer },
      long: (cpu.segment(Seg.CS).rights & 0x2000) !== 0,
      tss16: (cpu.segment(TR).rights & 15) === 3,
      pdptes: [],
    };
  }

  /** An instruction that exits. */
  run(code: number, bytes: number[], info1 = 0n): Outcome {
    const { cpu } = this;
    this.put(bytes);
    const flushes = cpu.flushes;
    expect(cpu.exit(code, { length: bytes.length, info1: cpu.has.assists ? info1 : 0n })).toBe(Next.Resume);
    const injected = cpu.takeInjected();
    if (injected) {
      expect([injected, this.moved]).toEqual([GP, 0n]);
      return "#GP";
    }
    expect(this.moved).toBe(BigInt(bytes.length));
    return { flush: cpu.flushes > flushes ? "all" : "none" };
  }

  private mov(opcode: number, n: number, register: Gpr): number[] {
    const rex = register >= Gpr.r8 ? [0x41] : [];
    return [...rex, 0x0f, opcode, 0xc0 | (n << 3) | (register & 7)];
  }

  /** MOV to CR0 or CR4 from a general register. */
  move(n: 0 | 4, value: bigint, register = Gpr.rax): Outcome {
    this.set(register, value);
    return this.run(
      n ? Code.WRITE_CR4 : Code.WRITE_CR0,
      this.mov(0x22, n, register),
      TOLD | BigInt(register),
    );
  }

  /** MOV from CR4. */
  read(register = Gpr.rax): bigint {
    this.set(register, 0xdead_0000_0000n);
    expect(this.run(Code.READ_CR4, this.mov(0x20, 4, register), TOLD | BigInt(register))).not.toBe("#GP");
    return this.get(register);
  }
}

describe.each(processors)("On a CPU %s", (_, has) => {
  test("MOV to CR0 and CR4 does what it does on a CPU without a hypervisor", () => {
    const random = new Random(1);
    for (let round = 0; round < 60 * Math.ceil(effort / 3); round++) {
      const options = modes[round % modes.length]!;
      const guest = new ControlGuest(options, has);
      const { cpu, machine } = guest;
      if (random.below(2) && !(cpu.cr0 & PG)) cpu.efer |= LME;
      if (!(cpu.cr0 & PG) && random.below(4) === 0) cpu.setSegment(TR, { rights: 0x83 });
      for (let step = 0; step < 12; step++) {
        // Of the PDPTEs all but the one for the code change.
        const bad = random.below(5) ? 0 : random.pick([2, 0x20, 0x100]);
        const entry = BigInt(0x4001 + random.below(256) * 4096 + bad) | (random.below(9) ? 0n : 1n << 39n);
        if (!cpu.efer) machine.ram.store(TABLES + BigInt(8 + random.below(3) * 8), 8, entry);
        const n = random.pick([0, 4] as const);
        let value = n === 0 ? cpu.cr0 : cpu.cr4;
        for (let flips = 1 + random.below(3); flips > 0; flips--) {
          const common = n === 0 ? [0, 5, 29, 30, 31] : [4, 5, 7, 8, 17, 18, 20];
          value ^= 1n << BigInt(random.below(8) ? random.pick(common) : random.below(64));
        }
        const what = `round ${round}.${step}, CR${n}: ${value.toString(16)}`;
        // With other paging the code would be elsewhere.
        const pages = n === 0 ? PG : options.paging === "none" || !options.paging ? 0n : PAE | 0x10n;
        if (!has.nextRip && (value ^ (n === 0 ? cpu.cr0 : cpu.cr4)) & pages) continue;
        const expected = guest.registers;
        const wanted = moveToCr(expected, n, value, guest.platform);
        const registers = options.size === 64 ? [Gpr.rax, Gpr.rsp, Gpr.r12] : [Gpr.rax, Gpr.rsp, Gpr.rdi];
        const before = { ...guest.registers };
        const outcome = guest.move(n, value, random.pick(registers));
        expect(guest.registers, what).toEqual({ ...expected, pdptes: [] });
        if (wanted === "#GP" || outcome === "#GP") expect(outcome, what).toBe(wanted);
        else if (wanted.flush !== "none") expect(outcome.flush, what).toBe("all");
        expect(cpu.get(Word.CR4) & MCE, what).toBe(MCE);
        cpu.cpuid(1);
        if (!cpu.takeInjected())
          expect((machine.gpr(Gpr.rcx) >> 27n) & 1n, "CPUID.OSXSAVE").toBe((cpu.cr4 & OSXSAVE) >> 18n);
        // Back to where the code is.
        if ((before.cr0 ^ cpu.cr0) & PG || (before.cr4 ^ cpu.cr4) & (PAE | 0x10n) || !(cpu.cr0 & PE)) break;
      }
    }
  });

  test("MOV from CR4 gives what the guest has written, and what it writes is read back", () => {
    const guest = new ControlGuest({ size: 64 }, has);
    expect(guest.read()).toBe(PAE);
    for (const register of [Gpr.rax, Gpr.rbx, Gpr.rsp, Gpr.rdi, Gpr.r8, Gpr.r12, Gpr.r15]) {
      expect(guest.move(4, PAE | PGE, register), Gpr[register]).toEqual({ flush: "all" });
      expect(guest.read(register), Gpr[register]).toBe(PAE | PGE);
      expect(guest.move(4, PAE, register), Gpr[register]).toEqual({ flush: "all" });
      expect(guest.read(register), Gpr[register]).toBe(PAE);
    }
    expect(guest.machine.exits("CONTROL_REGISTER")).toBe(29n);
  });

  test("A CR4 that does not change flushes nothing", () => {
    const guest = new ControlGuest({ size: 64 }, has);
    expect(guest.move(4, PAE)).toEqual({ flush: "none" });
  });

  test.each<[string, CodeOptions, bigint]>([
    ["without PAE in long mode", { size: 64 }, 0n],
    ["with MCE, which CPUID does not offer", { size: 64 }, PAE | MCE],
    ["with VMXE", { size: 64 }, PAE | VMXE],
    ["with PCIDE outside long mode", { size: 32 }, PCIDE],
    ["with a bit above 31", { size: 64 }, PAE | (1n << 32n)],
    ...[12, 13, 14, 15, 19, 22, 23, 24, 31].map((n): [string, CodeOptions, bigint] => [
      `with bit ${n}`,
      { size: 64 },
      PAE | (1n << BigInt(n)),
    ]),
  ])("A CR4 %s is #GP, and nothing has changed", (_, options, value) => {
    const guest = new ControlGuest(options, has);
    const before = [guest.registers, guest.cpu.flushes];
    expect(guest.move(4, value)).toBe("#GP");
    expect([guest.registers, guest.cpu.flushes]).toEqual(before);
  });

  test("PCIDE can be set while CR3 names PCID 0", () => {
    const guest = new ControlGuest({ size: 64 }, has);
    guest.cpu.cr3 |= 1n;
    expect(guest.move(4, PAE | PCIDE)).toBe("#GP");
    guest.cpu.cr3 &= ~1n;
    expect(guest.move(4, PAE | PCIDE)).not.toBe("#GP");
  });

  test("Outside 64-bit mode the operand has 32 bits, whatever is above them", () => {
    for (const options of modes.slice(0, 4)) {
      const guest = new ControlGuest(options, has);
      const value = guest.cpu.cr4 | PGE;
      expect(guest.move(4, value | (0xabcn << 32n))).not.toBe("#GP");
      expect(guest.cpu.cr4).toBe(value);
      const cr0 = guest.cpu.cr0 ^ TS ^ CD;
      expect(guest.move(0, cr0 | (0xabcn << 32n))).not.toBe("#GP");
      expect(guest.cpu.cr0).toBe(cr0);
    }
  });
});

describe("MOV to CR0", () => {
  test.each<[string, CodeOptions, (cr0: bigint) => bigint]>([
    ["with a bit above 31", { size: 64 }, (cr0) => cr0 | (1n << 32n)],
    ["with NW and not CD", { size: 64 }, (cr0) => cr0 | NW],
    ["with PG and not PE", { size: 32 }, (cr0) => (cr0 | PG) & ~PE],
    ["without PG in 64-bit mode", { size: 64 }, (cr0) => cr0 & ~PG],
  ])("%s is #GP", (_, options, change) => {
    const guest = new ControlGuest(options);
    const { cr0 } = guest.cpu;
    expect(guest.move(0, change(cr0))).toBe("#GP");
    expect(guest.cpu.cr0).toBe(cr0);
  });

  test("switches long mode on and off, which shows in EFER, and all translations go", () => {
    const guest = new ControlGuest({ size: 32 });
    guest.cpu.efer = LME;
    guest.cpu.cr4 = PAE;
    expect(guest.move(0, guest.cpu.cr0 | PG)).toEqual({ flush: "all" });
    expect(guest.cpu.efer).toBe(LME | LMA);
    guest.cpu.cr0 &= ~PG;
    guest.cpu.efer = LME;
    guest.cpu.cr4 = 0n;
    expect(guest.move(0, guest.cpu.cr0 | PG), "without PAE").toBe("#GP");
    guest.cpu.cr4 = PAE;
    guest.cpu.setSegment(TR, { rights: 0x83 });
    expect(guest.move(0, guest.cpu.cr0 | PG), "with a 16-bit TSS").toBe("#GP");
    guest.cpu.setSegment(TR, { rights: 0x8b });
    const long = new ControlGuest({ size: 32, paging: "4-level" });
    expect(long.move(0, long.cpu.cr0 & ~PG)).toEqual({ flush: "all" });
    expect([long.cpu.efer, long.cpu.cr0 & PG]).toEqual([LME, 0n]);
  });

  test("ignores bits that there are none of, and keeps ET", () => {
    const guest = new ControlGuest({ size: 64 });
    const { cr0 } = guest.cpu;
    expect(guest.move(0, (cr0 & ~ET) | CD | 0xffc0n)).not.toBe("#GP");
    expect(guest.cpu.cr0).toBe(cr0 | CD);
  });
});

describe("LMSW", () => {
  /** LMSW of a register or memory; what CR0 is then. */
  function lmsw(guest: ControlGuest, bytes: number[]): bigint {
    expect(guest.run(Code.WRITE_CR0, bytes)).not.toBe("#GP");
    return guest.cpu.cr0;
  }

  test("writes four bits, and does not clear PE", () => {
    const guest = new ControlGuest({ size: 64 });
    const { cr0 } = guest.cpu;
    for (const low of [0xfn, 0n, 0xeaf4n, 0xffff_ffff_0000_0002n]) {
      guest.set(Gpr.rcx, low);
      expect(lmsw(guest, [0x0f, 0x01, 0xf1])).toBe((cr0 & ~15n) | (low & 15n) | PE);
    }
  });

  test("sets PE in real mode", () => {
    const guest = new ControlGuest({ size: 16 });
    guest.cpu.cr0 = ET;
    guest.set(Gpr.rax, 1);
    expect(lmsw(guest, [0x0f, 0x01, 0xf0])).toBe(ET | PE);
  });

  test("reads two bytes of memory, RAM or not", () => {
    const guest = new ControlGuest({ size: 64 });
    const { cr0 } = guest.cpu;
    guest.tables!.map(DATA, DATA);
    guest.tables!.map(DATA + 0x1000n, UNCLAIMED);
    guest.machine.ram.store(DATA + 8n, 2, 0xff02n);
    guest.set(Gpr.rbx, DATA);
    expect(lmsw(guest, [0x0f, 0x01, 0x73, 0x08])).toBe((cr0 & ~15n) | 2n | PE);
    guest.set(Gpr.rbx, DATA + 0x1000n);
    expect(lmsw(guest, [0x0f, 0x01, 0x33])).toBe(cr0 | 15n);
  });

  test("of memory that is not mapped is a page fault, and nothing has changed", () => {
    const guest = new ControlGuest({ size: 64 });
    const before = guest.registers;
    guest.set(Gpr.rbx, 0x900000n);
    guest.put([0x0f, 0x01, 0x33]);
    expect(guest.cpu.exit(Code.WRITE_CR0, { length: 3 })).toBe(Next.Resume);
    expect(guest.fault).toEqual({ type: 3, vector: 14, error: 0, address: 0x900000n });
    expect([guest.registers, guest.moved]).toEqual([before, 0n]);
  });
});
