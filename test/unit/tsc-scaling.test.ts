/** A VM whose TSC has a frequency of its own: root's description of it, and what its guest is told and waits for. */
import { describe, expect, test } from "vitest";
import { Apics } from "./fake/apics.ts";
import { Gpr, Next } from "./fake/exit.ts";
import { startGuest } from "./fake/guest.ts";
import { FakeHost, type HostOptions, amdCpuid, vmxMsrs } from "./fake/host.ts";
import { svmFeatures } from "./fake/hostcpu.ts";
import type { RunningVcpu } from "./fake/hostvcpu.ts";
import { RootField } from "./fake/hostvtx.ts";
import { abi } from "./fake/layout.ts";
import { kernel } from "./fake/vms.ts";
import type { FakeVtx } from "./fake/vtx.ts";

const SCALING = 1n << 25n;
const PM_TIMER = 0x608;
/** Of the fake host, by CPUID 15h. */
const HOST_KHZ = 50_000n;

describe("Root", () => {
  interface Seen {
    secondary: bigint;
    multiplier: bigint | undefined;
    offset: bigint;
    hz: bigint;
    guestHz: bigint;
    toldMultiplier: bigint;
    inverse: bigint;
    base: bigint;
  }

  const boot = (words: string, options: HostOptions = {}) => {
    const seen: Seen[] = [];
    const info = (vcpu: RunningVcpu, field: string) =>
      BigInt.asUintN(64, vcpu.load(abi("VM_INFO") + abi(`VMINFO_${field}`), 8));
    const host = new FakeHost({
      modules: [kernel(words)],
      run: (vcpu) => {
        if (vcpu.host.vendor === "VT-x") {
          const fields = vcpu.host.fields();
          seen.push({
            secondary: fields.get(RootField.SECONDARY_CONTROLS)!,
            multiplier: fields.get(RootField.TSC_MULTIPLIER),
            offset: fields.get(RootField.TSC_OFFSET)!,
            hz: info(vcpu, "TSC_HZ"),
            guestHz: info(vcpu, "GUEST_TSC_HZ"),
            toldMultiplier: info(vcpu, "TSC_MULTIPLIER"),
            inverse: info(vcpu, "TSC_INVERSE"),
            base: info(vcpu, "TSC_BASE"),
          });
        }
        return vcpu.stop(vcpu.life < 2 ? "RESET" : "POWERED_OFF");
      },
      ...options,
    });
    return { log: host.boot(), seen };
  };
  const refusal = (log: string[]) => log.find((line) => line.startsWith("refused: "));
  const without = { msrs: { 0x48b: vmxMsrs()[0x48b]! & ~(SCALING << 32n) } };

  test.each([25_000n, 49_999n, 50_001n, 1000n, 8_000_000n])(
    "tells the CPU and the monitor what to multiply by: %i kHz on a host of 50000",
    (khz) => {
      const { log, seen } = boot(`memory=4M tsckhz=${khz}`);
      const multiplier = (khz << 48n) / HOST_KHZ;
      expect(seen.length).toBe(2); // and again when it is restarted
      for (const vm of seen) {
        expect(vm).toMatchObject({
          multiplier,
          toldMultiplier: multiplier,
          hz: HOST_KHZ * 1000n,
          guestHz: khz * 1000n,
          inverse: ((1n << 96n) + multiplier - 1n) / multiplier,
        });
        expect(vm.secondary & SCALING).toBe(SCALING);
        // The guest's TSC was 0 when the VM started.
        expect(BigInt.asUintN(64, ((vm.base * multiplier) >> 48n) + vm.offset)).toBe(0n);
      }
      expect(log.find((line) => line.startsWith("vm0: started"))).toContain(
        `, memory 4 MiB, TSC ${khz} kHz, at`,
      );
    },
  );

  test.each([
    ["memory=4M", {}],
    ["memory=4M", without],
    [`memory=4M tsckhz=${HOST_KHZ}`, {}],
    [`memory=4M tsckhz=${HOST_KHZ}`, without],
  ])("scales nothing for %j", (words, options) => {
    const { log, seen } = boot(words, options);
    expect(seen.length).toBe(2);
    for (const vm of seen) {
      expect(vm).toMatchObject({ multiplier: undefined, toldMultiplier: 0n, inverse: 0n, guestHz: vm.hz });
      expect(vm.secondary & SCALING).toBe(0n);
      expect(vm.offset).toBe(BigInt.asUintN(64, -vm.base));
    }
    expect(log.find((line) => line.startsWith("vm0: started"))).not.toContain("TSC");
  });

  test("names TSC scaling in its log where the CPU has it", () => {
    const line = (log: string[]) => log.find((l) => l.startsWith("VT-x: "));
    expect(line(boot("memory=4M").log)).toMatch(/, TSC scaling(,|$)/);
    expect(line(boot("memory=4M", without).log)).not.toContain("TSC scaling");
  });

  test("refuses another frequency than the host's by name where the CPU cannot scale", () => {
    expect(refusal(boot("memory=4M tsckhz=25000", without).log)).toBe(
      "refused: module 0: tsckhz=25000: expected 50000, the host's; TSC scaling: not offered by this CPU",
    );
  });

  test.each([
    ["not offered by this CPU", svmFeatures],
    ["present, not used", svmFeatures | (1 << 4)],
  ])("on AMD-V refuses it too, and says of the TSC ratio: %s", (what, features) => {
    // CPUID 15h is Intel's: here the hypervisor below says it.
    const cpuid: NonNullable<HostOptions["cpuid"]> = (leaf, subleaf) =>
      leaf === 0x15 ? [1, 1, 50_000_000, 0] : amdCpuid({ features })(leaf, subleaf);
    const options: HostOptions = { vendor: "AMD-V", cpuid };
    expect(refusal(boot("memory=4M tsckhz=25000", options).log)).toBe(
      `refused: module 0: tsckhz=25000: expected 50000, the host's; TSC ratio: ${what}`,
    );
    expect(boot("memory=4M tsckhz=50000", options).log).toContain("vm0: ended: powered off");
  });
});

/** Host and guest, in Hz. */
const ratios: [bigint, bigint][] = [
  [2_000_000_000n, 1_000_000_000n],
  [1_000_000_000n, 3_000_000_000n],
  [2_903_999_123n, 2_400_000_000n],
  [50_000_000n, 1_000_000n],
  [50_000_000n, 7_999_999_000n],
];

describe.each(ratios)("On a host of %i Hz a guest of %i Hz", (tscHz, guestTscHz) => {
  const MSR_TSC = 0x10;
  const MSR_ADJUST = 0x3b;
  const start = () => {
    const { machine, cpu } = startGuest({ tscHz, guestTscHz });
    const rdmsr = (index: number) => {
      cpu.rdmsr(index);
      return (machine.gpr(Gpr.rdx) << 32n) | machine.gpr(Gpr.rax);
    };
    return { machine, cpu, rdmsr };
  };

  test("has a TSC that starts at 0 and counts so fast, by RDTSC and by RDMSR", () => {
    const { machine, cpu, rdmsr } = start();
    expect(cpu.rdtsc()).toBe(0n);
    for (let n = 0; n < 100; n++) {
      machine.tsc += tscHz * 37n + BigInt(n * 12_345);
      expect(rdmsr(MSR_TSC)).toBe(cpu.rdtsc());
    }
    const seconds = Number(machine.tsc - 1_000_000n) / Number(tscHz);
    expect(Math.abs(Number(cpu.rdtsc()) / Number(guestTscHz) / seconds - 1)).toBeLessThan(1e-9);
  });

  test("moves it in its own ticks", () => {
    const { machine, cpu, rdmsr } = start();
    machine.tsc += tscHz;
    cpu.wrmsr(MSR_TSC, 1234n);
    expect([cpu.rdtsc(), rdmsr(MSR_TSC)]).toEqual([1234n, 1234n]);
    const adjust = rdmsr(MSR_ADJUST);
    cpu.wrmsr(MSR_ADJUST, adjust + 1000n);
    expect([cpu.rdtsc(), rdmsr(MSR_TSC)]).toEqual([2234n, 2234n]);
  });

  test("is told so by CPUID: 15h, 16h and 40000010h", () => {
    const { machine, cpu } = start();
    const shift = guestTscHz > 0xffffffffn ? 1n : 0n;
    cpu.cpuid(0x15);
    expect([Gpr.rax, Gpr.rbx, Gpr.rcx].map((r) => machine.gpr(r))).toEqual([
      1n,
      1n << shift,
      guestTscHz >> shift,
    ]);
    cpu.cpuid(0x16);
    expect(machine.gpr(Gpr.rax)).toBe(guestTscHz / 1_000_000n);
    cpu.cpuid(0x40000010);
    expect(machine.gpr(Gpr.rax)).toBe(guestTscHz / 1000n);
    expect(machine.gpr(Gpr.rbx)).toBe((guestTscHz >> shift) / 1000n);
  });

  test("has KVM's clock that tells real time, also when it moves its TSC", () => {
    const { machine, cpu } = start();
    const page = 0x9000n;
    const nanoseconds = () => {
      const shift = Number(BigInt.asIntN(8, machine.ram.load(page + 28n, 1)));
      const ticks = BigInt.asUintN(64, cpu.rdtsc() - machine.ram.load(page + 8n, 8));
      const shifted = shift < 0 ? ticks >> BigInt(-shift) : ticks << BigInt(shift);
      return machine.ram.load(page + 16n, 8) + ((shifted * machine.ram.load(page + 24n, 4)) >> 32n);
    };
    cpu.wrmsr(0x4b564d01, page | 1n);
    machine.tsc += tscHz * 3600n;
    // A tick of 1 MHz is 1000 ns.
    const near = (time: bigint) => expect(Math.abs(Number(nanoseconds() - time))).toBeLessThan(3000);
    near(3_600_000_000_000n);
    cpu.wrmsr(MSR_TSC, 5n);
    near(3_600_000_000_000n);
    machine.tsc += tscHz;
    near(3_601_000_000_000n);
  });

  test("has a PM timer that counts real time", () => {
    const { machine, cpu } = start();
    const count = () => {
      cpu.in(PM_TIMER, 4);
      return machine.gpr(Gpr.rax) & 0xffffffffn;
    };
    const before = count();
    machine.tsc += tscHz;
    expect(Number(count() - before)).toBeCloseTo(3_579_545, -1);
  });

  /** The latest that a timer may be: a tick of each TSC. */
  const late = tscHz / guestTscHz + 2n;

  test("gets its TSC deadline's interrupt when its TSC has come so far: never earlier, at most a tick later", () => {
    const m = new Apics(1, "VT-x", { tscHz, guestTscHz });
    m.x2(0);
    m.wrmsr(0, 0x832, 0x40041n);
    const rdtsc = () => (m.cpus[0] as FakeVtx).rdtsc();
    for (const wait of [1n, 2n, 3n, 999n, 1_000_000n, 123_456_789_012n]) {
      m.machine.tsc += 77n;
      const deadline = rdtsc() + wait;
      m.wrmsr(0, 0x6e0, deadline);
      const due = m.deadlines[0]!;
      const set = m.machine.tsc;
      m.machine.tsc = due - 1n - late;
      if (m.machine.tsc > set) expect(rdtsc()).toBeLessThan(deadline);
      m.machine.tsc = due - 1n;
      m.external(0);
      if (rdtsc() < deadline) expect(m.interrupt(0)).toBeUndefined();
      m.machine.tsc = due;
      expect(rdtsc()).toBeGreaterThanOrEqual(deadline);
      m.external(0);
      expect(m.interrupt(0)).toBe(0x41);
      m.wrmsr(0, 0x80b, 0n);
    }
    // Further away than the host's TSC counts, if it is the faster one.
    m.wrmsr(0, 0x6e0, (1n << 64n) - 1n);
    expect(m.deadlines[0]!).toBeGreaterThan(1n << 56n);
  });

  test("has an APIC timer that counts its crystal, wherever its TSC is, and does not drift", () => {
    const m = new Apics(1, "VT-x", { tscHz, guestTscHz });
    m.x2(0);
    const shift = guestTscHz > 0xffffffffn ? 1n : 0n;
    const period = 100_003n;
    m.wrmsr(0, 0x83e, 0xbn);
    m.wrmsr(0, 0x832, 0x20040n); // periodic
    m.wrmsr(0, 0x838, period);
    const start = m.machine.tsc;
    m.wrmsr(0, 0x10, 987_654_321n);
    for (let n = 1n; n <= 200n; n++) {
      const due = m.deadlines[0]!;
      // The exact moment, rounded up.
      const exact = start + (n * (period << shift) * tscHz + guestTscHz - 1n) / guestTscHz;
      expect(due - exact).toBeGreaterThanOrEqual(-late);
      expect(due - exact).toBeLessThanOrEqual(late);
      m.machine.tsc = due - late - 1n;
      m.external(0);
      expect(m.interrupt(0)).toBeUndefined();
      m.machine.tsc = due;
      m.external(0);
      expect(m.interrupt(0)).toBe(0x40);
      m.wrmsr(0, 0x80b, 0n);
    }
    m.machine.tsc += (tscHz * 50_000n * (1n << shift)) / guestTscHz;
    expect(Math.abs(Number(m.rdmsr(0, 0x839)!) - 50_003)).toBeLessThan(3 + Number(guestTscHz / tscHz));
  });
});

test("A guest that halts is woken at the host's time of its deadline", () => {
  const { machine, cpu } = startGuest({ vendor: "VT-x", tscHz: 2_000_000_000n, guestTscHz: 1_000_000_000n });
  cpu.wrmsr(0x1b, 0xfee00d00n);
  cpu.wrmsr(0x832, 0x40041n);
  cpu.wrmsr(0x6e0, 5000n);
  cpu.interruptsOn = true;
  expect(cpu.hlt()).toBe(Next.Yield);
  expect(machine.request).toBe(abi("REQUEST_HALT"));
  expect(machine.wake).toBe(machine.tsc + 10_000n);
});
