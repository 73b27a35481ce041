/** Instructions that exit whatever the guest does, and are neither I/O nor accesses of registers that it has. */
import { describe, expect, test } from "vitest";
import { vendors } from "./fake/cpu.ts";
import { Gpr, Next } from "./fake/exit.ts";
import { startGuest } from "./fake/guest.ts";
import { hostCpuid } from "./fake/monitor.ts";
import { Random, effort } from "./fake/pc.ts";

const UD = { vector: 6, type: 3 };

describe.each(vendors)("On %s:", (vendor) => {
  const GP = { vector: 13, type: 3, error: 0 };
  const RF = 1n << 16n;

  /** A guest on a host whose XCR0 can have these bits. */
  function guestOf(xcr0: number) {
    return startGuest({
      vendor,
      cpuid: (leaf, subleaf) =>
        leaf === 0xd && subleaf === 0 ? [xcr0, 2696, 2696, 0] : hostCpuid(leaf, subleaf),
    });
  }

  /** SDM Vol. 1 13.3, Enabling the XSAVE Feature Set and XSAVE-Enabled Features; `offered` is what CPUID says. */
  function isGood(value: bigint, offered: bigint): boolean {
    const bit = (n: number) => (value >> BigInt(n)) & 1n;
    const avx512 = bit(5) + bit(6) + bit(7);
    if ((value & ~offered) !== 0n || !bit(0)) return false;
    if (bit(2) && !bit(1)) return false;
    return avx512 === 0n || (avx512 === 3n && bit(2) === 1n);
  }

  describe("XSETBV", () => {
    test.each([
      ["x87 alone", 1],
      ["SSE", 3],
      ["AVX", 7],
      ["MPX, AVX-512, protection keys and AMX", 0x602ff],
    ])("takes what the manual allows of what CPUID offers, on a host with %s", (_, host) => {
      const { machine, cpu } = guestOf(host);
      const random = new Random(1);
      cpu.cpuid(0xd, 0);
      const offered = machine.gpr(Gpr.rax) | (machine.gpr(Gpr.rdx) << 32n);
      expect(offered & ~BigInt(host)).toBe(0n);
      const values = Array.from({ length: 256 }, (_, low) => BigInt(low));
      for (let i = 0; i < 100 * effort; i++)
        values.push((7n ^ (1n << BigInt(random.below(64)))) | (random.below(2) ? 0xe0n : 0n));
      for (const value of values) {
        const [rip, xcr0] = [cpu.rip, machine.xcr0];
        expect(cpu.xsetbv(value)).toBe(Next.Resume);
        if (isGood(value, offered)) {
          expect([machine.xcr0, cpu.rip, cpu.takeInjected()], value.toString(16)).toEqual([
            value,
            rip + 3n,
            undefined,
          ]);
        } else {
          expect([machine.xcr0, cpu.rip, cpu.takeInjected()], value.toString(16)).toEqual([xcr0, rip, GP]);
        }
      }
      expect(machine.exits("SET_XCR")).toBe(BigInt(values.length));
    });

    test("is of EDX:EAX and the register that ECX names; there is only XCR0", () => {
      const { machine, cpu } = guestOf(7);
      const garbage = 0xdeadbeefn << 32n;
      for (const [rcx, good] of [
        [garbage, true],
        [1n, false],
        [garbage | 0x80000000n, false],
      ] as const) {
        machine.setGpr(Gpr.rcx, rcx);
        machine.setGpr(Gpr.rax, garbage | (good ? 7n : 3n));
        machine.setGpr(Gpr.rdx, garbage);
        cpu.xsetbv();
        expect(cpu.takeInjected()).toEqual(good ? undefined : GP);
        expect(machine.xcr0).toBe(7n);
      }
    });

    test("is #GP above CPL 0", () => {
      const { machine, cpu } = guestOf(7);
      cpu.setSegment(2, { rights: 0xc0f3 });
      cpu.xsetbv(7n);
      expect(cpu.takeInjected()).toEqual(GP);
      expect(machine.xcr0).toBe(1n);
    });
  });

  test.each([
    ["INVD", "invd", 2],
    ["WBINVD", "wbinvd", 2],
    ["WBNOINVD", "wbnoinvd", 3],
  ] as const)("%s does nothing", (_, instruction, length) => {
    const { machine, cpu } = startGuest({ vendor });
    const rip = cpu.rip;
    expect(cpu[instruction]()).toBe(Next.Resume);
    expect(cpu.rip).toBe(rip + BigInt(length));
    expect(cpu.injecting).toBe(false);
    expect(machine.exits("CACHE_CONTROL")).toBe(1n);
  });

  test("RDPMC is #GP, for there are no counters", () => {
    const { machine, cpu } = startGuest({ vendor });
    const rip = cpu.rip;
    expect(cpu.rdpmc()).toBe(Next.Resume);
    expect(cpu.takeInjected()).toEqual(GP);
    expect(cpu.rip).toBe(rip);
    expect(machine.exits("READ_COUNTER")).toBe(1n);
  });

  test("The handler of a fault returns to an instruction whose breakpoint has been hit: RF is set", () => {
    // SDM Vol. 3B 18.3.1.1, Instruction-Breakpoint Exception Condition; an exit for an instruction clears RF.
    for (const fault of ["#UD", "#GP"]) {
      const { cpu } = startGuest({ vendor });
      if (fault === "#UD") cpu.vmcall();
      else cpu.rdmsr(0x12345);
      expect(cpu.rflags, fault).toBe(2n | RF);
    }
    const { cpu } = startGuest({ vendor });
    cpu.cpuid(0);
    expect(cpu.rflags & RF).toBe(0n);
  });
});

/** SDM Vol. 3D Appendix C: instructions of extensions that CPUID does not offer. */
const undefinedReasons: [name: string, reason: number][] = [
  ["GETSEC", 11],
  ["VMCALL", 18],
  ["VMCLEAR", 19],
  ["VMLAUNCH", 20],
  ["VMPTRLD", 21],
  ["VMPTRST", 22],
  ["VMREAD", 23],
  ["VMRESUME", 24],
  ["VMWRITE", 25],
  ["VMXOFF", 26],
  ["VMXON", 27],
  ["MWAIT", 36],
  ["MONITOR", 39],
  ["INVEPT", 50],
  ["INVVPID", 53],
  ["INVPCID", 58],
  ["VMFUNC", 59],
  ["ENCLS", 60],
  ["ENCLV", 70],
  ["SEAMCALL", 76],
  ["TDCALL", 77],
];

test.each(undefinedReasons)("On VT-x: %s is #UD, counted, and the guest's RIP stays", (_, reason) => {
  for (const rights of [0xc093, 0xc0f3]) {
    const { machine, cpu } = startGuest();
    cpu.setSegment(2, { rights });
    const rip = cpu.rip;
    expect(cpu.exit(reason, { EXIT_LENGTH: 3 })).toBe(Next.Resume);
    expect(cpu.takeInjected()).toEqual(UD);
    expect(cpu.rip).toBe(rip);
    expect([machine.exits("UNDEFINED"), machine.refusals("UNDEFINED")]).toEqual([1n, 1n]);
  }
});
