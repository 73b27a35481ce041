import { describe, expect, test } from "vitest";
import { vendors } from "./fake/cpu.ts";
import { Gpr, Next } from "./fake/exit.ts";
import { startGuest } from "./fake/guest.ts";

describe.each(vendors)("On %s:", (vendor) => {
  test("RDMSR and WRMSR of an unknown register are #GP, counted, and do not skip the instruction", () => {
    const { machine, cpu } = startGuest({ vendor });
    const rip = cpu.rip;
    expect(cpu.rdmsr(0x4b564d02)).toBe(Next.Resume);
    expect(cpu.takeInjected()).toEqual({ vector: 13, type: 3, error: 0 });
    expect(cpu.wrmsr(0xc0011029, 2n)).toBe(Next.Resume);
    expect(cpu.takeInjected()).toEqual({ vector: 13, type: 3, error: 0 });
    expect(cpu.rip).toBe(rip);
    expect(machine.refusals("UNKNOWN_MSR")).toBe(2n);
  });

  test("IA32_TSC_ADJUST and the TSC move each other", () => {
    const { machine, cpu } = startGuest({ vendor });
    cpu.wrmsr(0x3b, 1000n);
    cpu.rdmsr(0x10);
    const before = machine.gpr(Gpr.rax);
    cpu.wrmsr(0x10, before + 5000n);
    cpu.rdmsr(0x3b);
    expect(machine.gpr(Gpr.rax)).toBe(6000n);
  });

  test("EFER.LME cannot change while paging is on", () => {
    const { cpu } = startGuest({ vendor });
    cpu.wrmsr(0xc0000080, 0n);
    expect(cpu.takeInjected()).toEqual({ vector: 13, type: 3, error: 0 });
  });
});
