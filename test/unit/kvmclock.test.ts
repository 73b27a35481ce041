/** KVM's clock as a guest reads it: the page's arithmetic is the guest's own, here in BigInt. */
import { describe, expect, test } from "vitest";
import { vendors } from "./fake/cpu.ts";
import { Gpr, Next } from "./fake/exit.ts";
import { startGuest } from "./fake/guest.ts";

const SYSTEM = 0x4b564d01;
const WALL = 0x4b564d00;
const PAGE = 0x9000n;
const SECOND = 1_000_000_000n;

describe.each(vendors)("On %s:", (vendor) => {
  const start = (tscHz = 2_400_000_000n) => {
    const { machine, cpu } = startGuest({ vendor, tscHz });
    const u32 = (at: bigint) => machine.ram.load(at, 4);
    const u64 = (at: bigint) => machine.ram.load(at, 8);
    /** What a guest makes of the page (pvclock_vcpu_time_info). */
    const nanoseconds = (guestTsc: bigint, page = PAGE) => {
      const shift = Number(BigInt.asIntN(8, machine.ram.load(page + 28n, 1)));
      const ticks = guestTsc - u64(page + 8n);
      const shifted = shift < 0 ? ticks >> BigInt(-shift) : ticks << BigInt(shift);
      return u64(page + 16n) + ((shifted * u32(page + 24n)) >> 32n);
    };
    const guestTsc = () => {
      cpu.rdmsr(0x10);
      return (machine.gpr(Gpr.rdx) << 32n) | machine.gpr(Gpr.rax);
    };
    return { machine, cpu, u32, nanoseconds, guestTsc, gp: { vector: 13, type: 3, error: 0 } };
  };

  test("its leaves are behind the hypervisor's own, which go on to tell the frequency", () => {
    const { machine, cpu } = start();
    const text = (...registers: number[]) =>
      Buffer.concat(
        registers.map((r) => {
          const bytes = Buffer.alloc(4);
          bytes.writeUInt32LE(Number(machine.gpr(r)));
          return bytes;
        }),
      ).toString("latin1");
    cpu.cpuid(0x40000100);
    expect(text(Gpr.rbx, Gpr.rcx, Gpr.rdx)).toBe("KVMKVMKVM\0\0\0");
    expect(machine.gpr(Gpr.rax)).toBe(0x40000101n);
    cpu.cpuid(0x40000101);
    expect(machine.gpr(Gpr.rax)).toBe(0x0100000bn);
    cpu.cpuid(0x40000102);
    expect(machine.gpr(Gpr.rax)).toBe(0n);
    cpu.cpuid(0x40000000);
    expect(text(Gpr.rbx, Gpr.rcx, Gpr.rdx)).toBe("Typevisor\0\0\0");
    cpu.cpuid(0x40000010);
    expect(machine.gpr(Gpr.rax)).toBe(2_400_000n);
  });

  test.each([
    [1_000_000n],
    [999_999_999n],
    [SECOND],
    [1_000_000_001n],
    [2n * SECOND],
    [2_903_999_123n],
    [7_999_999_999n],
  ])("at %d Hz an hour of the TSC is an hour, to a microsecond", (tscHz) => {
    const { machine, cpu, nanoseconds, guestTsc, u32 } = start(tscHz);
    expect(cpu.wrmsr(SYSTEM, PAGE | 1n)).toBe(Next.Resume);
    const now = guestTsc();
    const hour = nanoseconds(now + 3600n * tscHz) - nanoseconds(now);
    expect(Math.abs(Number(hour - 3600n * SECOND))).toBeLessThan(2000);
    expect(u32(PAGE) & 1n).toBe(0n);
    expect(u32(PAGE)).not.toBe(0n);
    expect(machine.ram.load(PAGE + 29n, 1)).toBe(1n);
    cpu.rdmsr(SYSTEM);
    expect(machine.gpr(Gpr.rax)).toBe(PAGE | 1n);
  });

  test("a guest that moves its TSC does not move its clock", () => {
    const { cpu, nanoseconds, guestTsc } = start();
    cpu.wrmsr(SYSTEM, PAGE | 1n);
    const before = nanoseconds(guestTsc());
    cpu.wrmsr(0x3b, 123_456_789_000n);
    expect(nanoseconds(guestTsc())).toBe(before);
    cpu.wrmsr(0x10, 5n);
    expect(nanoseconds(guestTsc())).toBe(before);
    // The old pair of MSRs is the same clock.
    cpu.wrmsr(0x12, (PAGE + 64n) | 1n);
    expect(nanoseconds(guestTsc(), PAGE + 64n)).toBe(before);
    // Switched off, the page is the guest's again.
    cpu.wrmsr(SYSTEM, 0n);
    cpu.wrmsr(0x10, 1000n);
    expect(nanoseconds(1000n, PAGE + 64n)).not.toBe(before);
  });

  test("the time of day is that of the VM's start", () => {
    const { cpu, u32 } = start();
    cpu.wrmsr(WALL, PAGE);
    expect(u32(PAGE) & 1n).toBe(0n);
    expect(u32(PAGE + 4n)).toBe(1_700_000_000n);
    expect(u32(PAGE + 8n)).toBe(0n);
  });

  test("a page that is not RAM, or not aligned, is #GP", () => {
    const { machine, cpu, gp } = start();
    const size = BigInt(machine.ram.bytes.length);
    for (const [msr, value] of [
      [SYSTEM, 0xfee0_0001n],
      [SYSTEM, (size - 28n) | 1n],
      [SYSTEM, 0xffff_ffff_ffff_fff1n],
      [SYSTEM, PAGE | 3n],
      [0x12, 0xc000_0001n],
      [WALL, size - 8n],
      [WALL, PAGE + 2n],
      [0x11, 1n << 40n],
    ] as const) {
      expect(cpu.wrmsr(msr, value)).toBe(Next.Resume);
      expect(cpu.takeInjected(), `${msr.toString(16)}=${value.toString(16)}`).toEqual(gp);
    }
  });
});
