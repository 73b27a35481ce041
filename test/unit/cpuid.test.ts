import { describe, expect, test } from "vitest";
import { vendors } from "./fake/cpu.ts";
import { Gpr, Next } from "./fake/exit.ts";
import { startGuest } from "./fake/guest.ts";
import { hostCpuid } from "./fake/monitor.ts";

describe.each(vendors)("On %s:", (vendor) => {
  test("CPUID leaf 0 keeps the host's vendor and skips the instruction", () => {
    const { machine, cpu } = startGuest({ vendor });
    const rip = cpu.rip;
    expect(cpu.cpuid(0)).toBe(Next.Resume);
    expect(machine.gpr(Gpr.rbx)).toBe(0x756e6547n);
    expect(cpu.rip).toBe(rip + 2n);
    expect(machine.exits("CPUID")).toBe(1n);
  });

  test("CPUID leaf 1 hides VMX and MONITOR, and shows APIC, x2APIC, TSC deadline and a hypervisor", () => {
    const { machine, cpu } = startGuest({ vendor });
    cpu.cpuid(1);
    const ecx = Number(machine.gpr(Gpr.rcx));
    expect(ecx & (1 << 5)).toBe(0);
    expect(ecx & (1 << 3)).toBe(0);
    expect((ecx >>> 21) & 1).toBe(1);
    expect((ecx >>> 24) & 1).toBe(1);
    expect(ecx >>> 31).toBe(1);
    expect((Number(machine.gpr(Gpr.rdx)) >>> 9) & 1).toBe(1);
    cpu.cpuid(6);
    expect(machine.gpr(Gpr.rax)).toBe(4n); // ARAT
  });

  test("CPUID leaf 15h gives the TSC's frequency as that of a crystal", () => {
    const { machine, cpu } = startGuest({ vendor, tscHz: 2_400_000_000n });
    cpu.cpuid(0x15);
    expect([machine.gpr(Gpr.rax), machine.gpr(Gpr.rbx), machine.gpr(Gpr.rcx)]).toEqual([
      1n,
      1n,
      2_400_000_000n,
    ]);
  });

  test("CPUID leaf Dh sizes the XSAVE area, in both formats, by what XCR0 enables", () => {
    // A CPU with AVX-512 and protection keys: the latter are not offered, so their component is never there.
    const components: Record<number, [number, number, number, number]> = {
      0: [0x2e7, 2696, 2696, 0],
      1: [0xf, 2568, 0, 0],
      2: [256, 576, 0, 0],
      5: [64, 1088, 0, 0],
      6: [512, 1152, 0, 0],
      7: [1024, 1664, 0, 0],
      9: [8, 2688, 0, 0],
    };
    const { machine, cpu } = startGuest({
      vendor,
      cpuid: (leaf, subleaf) =>
        leaf === 0xd ? (components[subleaf] ?? [0, 0, 0, 0]) : hostCpuid(leaf, subleaf),
    });
    const sizes = () =>
      [0, 1].map((subleaf) => {
        cpu.cpuid(0xd, subleaf);
        return Number(machine.gpr(Gpr.rbx));
      });
    cpu.cpuid(0xd, 0);
    expect([Gpr.rax, Gpr.rcx, Gpr.rdx].map((r) => machine.gpr(r))).toEqual([0xe7n, 2688n, 0n]);
    expect(sizes()).toEqual([576, 576]);
    cpu.xsetbv(7n);
    expect(sizes()).toEqual([832, 832]);
    cpu.xsetbv(0xe7n);
    expect(sizes()).toEqual([2688, 576 + 256 + 64 + 512 + 1024]);
  });

  test("CPUID of a leaf that nobody knows is all zeros", () => {
    const { machine, cpu } = startGuest({ vendor });
    for (const leaf of [0x1f, 0x20, 0x3fffffff, 0x40000011, 0x7fffffff, 0x80000009, 0xc0000000, 0xffffffff]) {
      cpu.cpuid(leaf, 0);
      const answer = [Gpr.rax, Gpr.rbx, Gpr.rcx, Gpr.rdx].map((r) => machine.gpr(r));
      expect(answer, `leaf ${leaf.toString(16)}`).toEqual([0n, 0n, 0n, 0n]);
    }
  });
});
