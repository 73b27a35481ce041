/** Instructions and MSRs that AMD's guests do not have, and those that only they have (APM Vol. 2 15.9, Appendix A and C). */
import { describe, expect, test } from "vitest";
import { CodeGuest, type CodeOptions } from "./fake/code.ts";
import { Gpr, Next } from "./fake/exit.ts";
import { startSvm } from "./fake/guest.ts";
import { Code, FakeSvm, Word } from "./fake/svm.ts";

const GP = { vector: 13, type: 3, error: 0 };
const UD = { vector: 6, type: 3 };
const SVME = 1n << 12n;
const EFER = 0xc0000080;

/** Each may stand where its bytes cannot be fetched again: nobody looks. */
const undefinedCodes: [name: string, code: number][] = [
  ["VMRUN", Code.VMRUN],
  ["VMMCALL", Code.VMMCALL],
  ["VMLOAD", Code.VMLOAD],
  ["VMSAVE", Code.VMSAVE],
  ["STGI", Code.STGI],
  ["CLGI", Code.CLGI],
  ["SKINIT", Code.SKINIT],
  ["INVLPGA", Code.INVLPGA],
  ["MONITOR", Code.MONITOR],
  ["MWAIT", Code.MWAIT],
  ["MWAIT of an armed monitor", Code.MWAIT_ARMED],
  ["RDPRU", Code.RDPRU],
  ["INVLPGB", Code.INVLPGB],
  ["INVLPGB of what it may not", Code.INVLPGB_ILLEGAL],
  ["MCOMMIT", Code.MCOMMIT],
  ["TLBSYNC", Code.TLBSYNC],
];

test.each(undefinedCodes)("%s is #UD, counted, and the guest's RIP stays", (_, code) => {
  for (const cpl of [0, 3]) {
    for (const nextRip of [true, false]) {
      const { machine, cpu } = startSvm({ nextRip });
      cpu.cpl = cpl;
      cpu.rip = 0x123456789000n;
      expect(cpu.exit(code, { length: 3 })).toBe(Next.Resume);
      expect(cpu.takeInjected()).toEqual(UD);
      expect(cpu.rip).toBe(0x123456789000n);
      expect([machine.exits("UNDEFINED"), machine.refusals("UNDEFINED")]).toEqual([1n, 1n]);
    }
  }
});

describe("MSRs", () => {
  const guestOf = () => startSvm();
  const read = ({ machine, cpu }: ReturnType<typeof guestOf>, index: number) => {
    expect(cpu.rdmsr(index)).toBe(Next.Resume);
    return (machine.gpr(Gpr.rdx) << 32n) | machine.gpr(Gpr.rax);
  };

  test.each([
    ["HWCR says that the TSC counts at P0's frequency", 0xc0010015, 1n << 24n],
    ["SYSCFG is empty", 0xc0010010, 0n],
    ["NB_CFG is empty", 0xc001001f, 0n],
    ["INT_PENDING_MSG is empty", 0xc0010055, 0n],
  ] as const)("%s, and takes any write, and keeps none", (_, index, value) => {
    const guest = guestOf();
    const { rip } = guest.cpu;
    expect(read(guest, index)).toBe(value);
    expect(guest.cpu.wrmsr(index, 0xffffffffffffffffn)).toBe(Next.Resume);
    expect(read(guest, index)).toBe(value);
    expect([guest.cpu.injecting, guest.cpu.rip]).toEqual([false, rip + 6n]);
    expect(guest.machine.refusals("UNKNOWN_MSR")).toBe(0n);
  });

  test.each([
    ["Intel's FEATURE_CONTROL", 0x3a],
    ["Intel's MISC_ENABLE", 0x1a0],
    ["Intel's PLATFORM_ID", 0x17],
    ["VM_CR", 0xc0010114],
    ["VM_HSAVE_PA", 0xc0010117],
    ["a hypervisor's", 0x4b564d02],
    ["an IOPM trap", 0xc0010050],
  ])("%s is none: #GP, counted", (_, index) => {
    const { machine, cpu } = guestOf();
    const { rip } = cpu;
    cpu.rdmsr(index);
    expect(cpu.takeInjected()).toEqual(GP);
    cpu.wrmsr(index, 0n);
    expect(cpu.takeInjected()).toEqual(GP);
    expect([cpu.rip, machine.refusals("UNKNOWN_MSR")]).toEqual([rip, 2n]);
  });

  test("RDMSR and WRMSR are told apart by EXITINFO1, and counted apart", () => {
    const { machine, cpu } = guestOf();
    cpu.rdmsr(0x3b);
    cpu.rdmsr(0x3b);
    cpu.wrmsr(0x3b, 1n);
    expect([machine.exits("READ_MSR"), machine.exits("WRITE_MSR")]).toEqual([2n, 1n]);
  });

  test("The TSC's offset is the CPU's", () => {
    const { machine, cpu } = guestOf();
    cpu.wrmsr(0x10, 0n);
    expect(cpu.get(Word.TSC_OFFSET)).toBe(BigInt.asUintN(64, -machine.tsc));
    cpu.wrmsr(0x3b, 5n);
    const before = cpu.get(Word.TSC_OFFSET);
    cpu.wrmsr(0x3b, 12n);
    expect(cpu.get(Word.TSC_OFFSET)).toBe(BigInt.asUintN(64, before + 7n));
  });
});

describe("EFER", () => {
  test("has SVME set, which the guest does not see, and cannot write", () => {
    const { machine, cpu } = startSvm();
    expect(cpu.get(Word.EFER)).toBe(0x500n | SVME);
    cpu.rdmsr(EFER);
    expect([machine.gpr(Gpr.rax), machine.gpr(Gpr.rdx)]).toEqual([0x500n, 0n]);
    cpu.wrmsr(EFER, 0x500n | SVME);
    expect(cpu.takeInjected()).toEqual(GP);
    expect(cpu.get(Word.EFER)).toBe(0x500n | SVME);
  });

  test("takes SCE and NXE, keeps LMA, and all translations go", () => {
    const { cpu, machine } = startSvm();
    const { flushes } = cpu;
    for (const value of [0x901n, 0xd01n, 0x900n]) {
      cpu.wrmsr(EFER, value);
      expect(cpu.injecting).toBe(false);
      expect(cpu.get(Word.EFER)).toBe(value | 0x400n | SVME);
      cpu.rdmsr(EFER);
      expect(machine.gpr(Gpr.rax)).toBe(value | 0x400n);
    }
    expect(cpu.flushes).toBe(flushes + 3);
  });

  test.each([
    ["SVME", 12],
    ["LMSLE", 13],
    ["FFXSR", 14],
    ["TCE", 15],
    ["a bit that there is none of", 9],
    ["a bit above 31", 40],
  ])("has no %s: #GP, and nothing has changed", (_, n) => {
    const { cpu } = startSvm();
    const { rip, flushes } = cpu;
    cpu.wrmsr(EFER, 0x500n | (1n << BigInt(n)));
    expect(cpu.takeInjected()).toEqual(GP);
    expect([cpu.get(Word.EFER), cpu.rip, cpu.flushes]).toEqual([0x500n | SVME, rip, flushes]);
  });

  test("has an LME that can change only while paging is off", () => {
    const on = startSvm().cpu;
    on.wrmsr(EFER, 1n);
    expect(on.takeInjected()).toEqual(GP);
    const options: CodeOptions = { size: 32 };
    const guest = new CodeGuest(options, new FakeSvm());
    guest.cpu.wrmsr(EFER, 0x100n);
    expect([guest.cpu.injecting, guest.cpu.efer]).toEqual([false, 0x100n]);
    guest.cpu.wrmsr(EFER, 0n);
    expect([guest.cpu.injecting, guest.cpu.efer]).toEqual([false, 0n]);
  });
});

test("XSETBV looks at the CPL that the VMCB has in a field of its own, and not at SS", () => {
  const { cpu, machine } = startSvm();
  cpu.setSegment(2, { rights: 0xc0f3 });
  cpu.cpl = 0;
  cpu.xsetbv(7n);
  expect([cpu.injecting, machine.xcr0]).toEqual([false, 7n]);
  cpu.setSegment(2, { rights: 0xc093 });
  cpu.cpl = 3;
  cpu.xsetbv(3n);
  expect([cpu.takeInjected(), machine.xcr0]).toEqual([GP, 7n]);
});
