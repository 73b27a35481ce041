/** Root on a CPU with AMD-V: what it refuses, what it says of the extension, and all that a VM is bound to. */
import { describe, expect, test } from "vitest";
import {
  FakeHost,
  type HostOptions,
  type RunningVcpu,
  amdCpuid,
  image,
  svmFeatures,
  svmMsrs,
} from "./fake/host.ts";
import type { SvmCpu } from "./fake/hostcpu.ts";
import { abi } from "./fake/layout.ts";
import { Vmcb } from "./fake/vmcb.ts";
import { kernel, kernels } from "./fake/vms.ts";

const VM_CR = 0xc0010114;
const VM_HSAVE_PA = 0xc0010117;
const EFER = 0xc0000080;

const amd = (options: HostOptions = {}) => new FakeHost({ vendor: "AMD-V", ...options });
const without = (...bits: number[]) => bits.reduce((features, n) => features & ~(1 << n), svmFeatures);

/** A CPUID with some words of some leaves changed. */
function changed(
  changes: Record<number, (answer: [number, number, number, number]) => void>,
  cpu = amdCpuid(),
) {
  return (leaf: number, subleaf: number) => {
    const answer = cpu(leaf, subleaf);
    changes[leaf >>> 0]?.(answer);
    return answer;
  };
}

describe("Refused", () => {
  const refusal = (options: HostOptions) =>
    amd(options)
      .boot()
      .find((line) => line.startsWith("refused: "))
      ?.slice("refused: ".length);

  test("is nothing but a missing guest on a CPU that has everything", () => {
    expect(refusal({})).toBe("modules: no kernel");
  });

  // APM Vol. 2 15.30.1, VM_CR MSR: SVMDIS is bit 4, LOCK bit 3.
  test.each([
    [0x18n, "AMD-V disabled by firmware: VM_CR = 0x18"],
    [0x1fn, "AMD-V disabled by firmware: VM_CR = 0x1f"],
    [0x0fn, "modules: no kernel"],
    // Not locked: it is for the operating system to decide.
    [0x10n, "modules: no kernel"],
  ])("with VM_CR of %d: %s", (value, text) => {
    expect(refusal({ msrs: { [VM_CR]: value } })).toBe(text);
  });

  test.each([0x80000001, 0x80000008, 0x80000009])("is a CPU whose highest leaf is %d", (highest) => {
    const cpuid = changed({ 0x80000000: (answer) => void (answer[0] = highest | 0) });
    expect(refusal({ cpuid })).toBe("AMD-V's features (CPUID 8000000Ah): not told by this CPU");
  });

  test("is a CPU without nested paging", () => {
    expect(refusal({ cpuid: amdCpuid({ features: without(0) }) })).toBe(
      "nested paging (NPT): not offered by this CPU",
    );
  });

  test.each([0, 1])("is a CPU with %d ASIDs", (asids) => {
    expect(refusal({ cpuid: amdCpuid({ asids }) })).toBe(
      "address space identifiers for guests: not offered by this CPU",
    );
  });

  test.each([
    ["ECX bit 2 of the leaf is 0", { 0x80000001: (a: number[]) => void (a[2]! &= ~4) }],
    ["there are no extended leaves", { 0x80000000: (a: number[]) => void (a[0] = 0) }],
  ])("is a CPU with neither extension: %s", (_, changes) => {
    expect(refusal({ cpuid: changed(changes) })).toBe("neither VT-x nor AMD-V: not offered by this CPU");
  });

  test("is one with nothing of it changed", () => {
    const host = amd({ msrs: { [VM_CR]: 0x18n } });
    host.boot();
    expect(host.msrWrites).toEqual([]);
    expect(host.cr[3]).toBe(0n);
  });
});

test("A CPU that has both extensions runs its guests with VT-x", () => {
  const cpuid = (leaf: number, subleaf: number) => {
    const answer = amdCpuid()(leaf, subleaf);
    if (leaf === 1) answer[2] |= 1 << 5;
    return answer;
  };
  const log = new FakeHost({ cpuid, modules: kernels(1) }).boot();
  expect(log.find((l) => l.startsWith("VT-x: "))).toBeDefined();
  expect(log).toContain("vm0: ended: powered off");
});

test("EFER.SVME is on and VM_HSAVE_PA is a page that is no VM's, before the first guest runs", () => {
  const host = amd({
    modules: kernels(2),
    run: (vcpu) => {
      const save = vcpu.host.msrs[VM_HSAVE_PA]!;
      expect(vcpu.host.msrs[EFER]).toBe(0x1d00n);
      expect(save % 4096n).toBe(0n);
      expect(save).toBeGreaterThan(0n);
      for (const leaf of [...vcpu.host.leaves(vcpu.cr3), ...vcpu.host.leaves(vcpu.nestedTop)])
        expect(save >= leaf.hpa && save < leaf.hpa + leaf.size).toBe(false);
      return vcpu.stop("POWERED_OFF");
    },
  });
  expect(host.boot()).toContain("vm1: ended: powered off");
  expect(host.msrs[VM_CR]).toBe(svmMsrs()[VM_CR]);
});

describe("The log says what is used of AMD-V", () => {
  const words = (features: number, asids = 16) =>
    amd({ cpuid: amdCpuid({ features, asids }) })
      .boot()
      .find((l) => l.startsWith("AMD-V: "))!
      .slice("AMD-V: ".length)
      .split(/, (?!not used)/);

  test("all of it, and the number of ASIDs", () => {
    expect(words(svmFeatures, 32768)).toEqual([
      ...["32768 ASIDs", "next RIP", "decode assists", "clean bits", "flush by ASID", "pause filter"],
      ...["LBR virtualization", "AVIC", "virtual GIF"].map((name) => `${name} (present, not used)`),
    ]);
  });

  test("nothing but ASIDs if that is all", () => {
    expect(words(1, 2)).toEqual(["2 ASIDs"]);
  });

  // APM Vol. 3 Appendix E, CPUID Fn8000_000A EDX.
  test.each([
    [1, "LBR virtualization (present, not used)"],
    [3, "next RIP"],
    [4, "TSC ratio (present, not used)"],
    [5, "clean bits"],
    [6, "flush by ASID"],
    [7, "decode assists"],
    [10, "pause filter"],
    [13, "AVIC (present, not used)"],
    [16, "virtual GIF (present, not used)"],
  ])("feature bit %d by its name: %s", (n, name) => {
    expect(words(1 | (1 << n))).toEqual(["16 ASIDs", name]);
    expect(words(without(n))).not.toContain(name);
  });
});

/** What a VMCB has before its guest's first entry, and the vCPU that it is of. */
function fresh(cpu: Partial<SvmCpu>, look: (vcpu: RunningVcpu) => void, options: HostOptions = {}): FakeHost {
  let looked = 0;
  const host = amd({
    cpuid: amdCpuid(cpu),
    modules: kernels(1),
    monitor: (vcpu) => {
      if (vcpu.runs > 0) return undefined;
      looked++;
      look(vcpu);
      return undefined;
    },
    ...options,
  });
  expect(host.boot()).toContain("vm0: ended: powered off");
  expect(looked).toBeGreaterThan(0);
  return host;
}

interface Intercept {
  offset: number;
  bit: number;
  /** What would happen without it, or why it is there. */
  why: string;
  /** Only on a CPU for which this holds. */
  on?: (cpu: SvmCpu) => boolean;
}

const hasFeature = (n: number) => (cpu: SvmCpu) => (cpu.features & (1 << n)) !== 0;
const hasMore = (n: number) => (cpu: SvmCpu) => (cpu.more & (1 << n)) !== 0;

/** From APM Vol. 2 Appendix B and 15.7 to 15.14, and from what a guest may not do. */
const intercepts: Record<string, Intercept> = {
  "read of CR4": { offset: 0x00, bit: 4, why: "MCE is on, whatever the guest has written" },
  "read of CR8": { offset: 0x00, bit: 8, why: "it is the local APIC's" },
  "write of CR8": { offset: 0x00, bit: 24, why: "as its read: what TPR held back may be due" },
  "write of CR4": { offset: 0x00, bit: 20, why: "MCE stays on: a machine check is the host's" },
  "#DB": { offset: 0x08, bit: 1, why: "it can be raised within its own delivery for ever" },
  "#AC": { offset: 0x08, bit: 17, why: "as #DB" },
  "#MC": { offset: 0x08, bit: 18, why: "the host's" },
  INTR: { offset: 0x0c, bit: 0, why: "the host's interrupts" },
  NMI: { offset: 0x0c, bit: 1, why: "the host's" },
  INIT: { offset: 0x0c, bit: 3, why: "the host's" },
  VINTR: { offset: 0x0c, bit: 4, why: "the interrupt window" },
  "selective write of CR0": { offset: 0x0c, bit: 5, why: "values that no CPU takes" },
  RDPMC: { offset: 0x0c, bit: 15, why: "the host's counters" },
  CPUID: { offset: 0x0c, bit: 18, why: "the virtual CPU's" },
  INVD: { offset: 0x0c, bit: 22, why: "it loses what others have written" },
  PAUSE: { offset: 0x0c, bit: 23, why: "a guest that spins", on: hasFeature(10) },
  HLT: { offset: 0x0c, bit: 24, why: "the CPU is for others meanwhile" },
  INVLPGA: { offset: 0x0c, bit: 26, why: "it takes any ASID" },
  "I/O": { offset: 0x0c, bit: 27, why: "the host's ports" },
  MSR: { offset: 0x0c, bit: 28, why: "the host's MSRs" },
  "FERR#": { offset: 0x0c, bit: 30, why: "the guest would wait for an interrupt that none raises" },
  shutdown: { offset: 0x0c, bit: 31, why: "it would be the host's" },
  VMRUN: { offset: 0x10, bit: 0, why: "VMRUN wants it" },
  VMMCALL: { offset: 0x10, bit: 1, why: "#UD" },
  VMLOAD: { offset: 0x10, bit: 2, why: "it takes host-physical addresses" },
  VMSAVE: { offset: 0x10, bit: 3, why: "as VMLOAD" },
  STGI: { offset: 0x10, bit: 4, why: "the host's GIF" },
  CLGI: { offset: 0x10, bit: 5, why: "with it nothing could stop the guest" },
  SKINIT: { offset: 0x10, bit: 6, why: "it would take the machine over" },
  ICEBP: { offset: 0x10, bit: 8, why: "#DB that is not an exception's exit" },
  WBINVD: { offset: 0x10, bit: 9, why: "it holds the CPU up, and all caches" },
  MONITOR: { offset: 0x10, bit: 10, why: "guests have none" },
  MWAIT: { offset: 0x10, bit: 11, why: "the CPU would wait for the guest" },
  "MWAIT, armed": { offset: 0x10, bit: 12, why: "as MWAIT" },
  XSETBV: { offset: 0x10, bit: 13, why: "XCR0 is checked" },
  RDPRU: { offset: 0x10, bit: 14, why: "the host's counters", on: hasMore(4) },
  INVLPGB: { offset: 0x14, bit: 0, why: "it reaches other CPUs, and any ASID", on: hasMore(3) },
  "INVLPGB, illegal": { offset: 0x14, bit: 1, why: "as INVLPGB", on: hasMore(3) },
  MCOMMIT: { offset: 0x14, bit: 3, why: "guests have none", on: hasMore(8) },
  TLBSYNC: { offset: 0x14, bit: 4, why: "as INVLPGB", on: hasMore(3) },
};

/** Names of the intercepts that are on, and of bits that have none. */
function interceptsOf(load: (offset: number) => number): string[] {
  const names: string[] = [];
  for (let offset = 0; offset < 0x18; offset += 4)
    for (let bit = 0; bit < 32; bit++) {
      if (!((load(offset) >>> bit) & 1)) continue;
      const known = Object.entries(intercepts).find(([, i]) => i.offset === offset && i.bit === bit);
      names.push(known?.[0] ?? `bit ${bit} of ${offset}`);
    }
  return names;
}

describe("A VM's VMCB", () => {
  const cpus: [string, Partial<SvmCpu>][] = [
    ["everything", { more: 0x118 }],
    ["nothing that may be missing", { features: 1, more: 0, asids: 2 }],
    ["RDPRU", { more: 1 << 4 }],
    ["INVLPGB", { more: 1 << 3 }],
    ["MCOMMIT", { more: 1 << 8 }],
    ["all features but the pause filter", { features: without(10, 12) }],
  ];

  test.each(cpus)("has all intercepts on that there must be, and no others, on a CPU with %s", (_, some) => {
    const cpu: SvmCpu = { asids: 16, features: svmFeatures, more: 0, ...some };
    const wanted = Object.keys(intercepts).filter((name) => intercepts[name]!.on?.(cpu) ?? true);
    fresh(some, ({ host, control }) => {
      const on = interceptsOf((offset) => host.memory.load32(Number(control) + offset));
      expect(on.sort()).toEqual(wanted.sort());
    });
  });

  // APM Vol. 2 15.14.4, PAUSE Intercept and Pause-Filter: threshold at 3Ch, count at 3Eh.
  test.each([
    ["with the pause filter and its threshold", svmFeatures, true, true],
    ["without a threshold", without(12), true, false],
    ["without a pause filter", without(10), false, false],
  ])("counts PAUSEs %s", (_, features, hasCount, hasThreshold) => {
    fresh({ features }, ({ host, control }) => {
      expect(host.svm.load(control, Vmcb.PAUSE_COUNT, 2) > 0n).toBe(hasCount);
      expect(host.svm.load(control, Vmcb.PAUSE_THRESHOLD, 2) > 0n).toBe(hasThreshold);
    });
  });

  test("is zero but for what has a meaning there", () => {
    // Appendix B. What VMRUN is to find before the monitor has set the guest's state, and where.
    const expected: Record<number, bigint> = {
      [Vmcb.VIRTUAL_INTERRUPT]: 1n << 24n, // V_INTR_MASKING
      [Vmcb.NESTED_CONTROL]: 1n, // NP_ENABLE
      [Vmcb.EFER]: 0x1000n, // SVME
      [Vmcb.CR0]: 0x10n,
      [Vmcb.CR4]: 0x40n, // MCE
      [Vmcb.DR6]: 0xffff0ff0n,
      [Vmcb.DR7]: 0x400n,
      [Vmcb.RFLAGS]: 2n,
      [Vmcb.PAT]: 0x0007040600070406n,
    };
    const looked = [
      0x00,
      0x08,
      0x10,
      0x38,
      Vmcb.IOPM_BASE,
      Vmcb.MSRPM_BASE,
      Vmcb.TSC_OFFSET,
      Vmcb.ASID,
      Vmcb.NESTED_CR3,
    ];
    fresh({}, ({ host, control }) => {
      for (let offset = 0; offset < 4096; offset += 8) {
        if (looked.includes(offset)) continue;
        expect(host.svm.load(control, offset), `offset ${offset.toString(16)}`).toBe(expected[offset] ?? 0n);
      }
      expect(host.svm.load(control, 0x38, 4)).toBe(0n);
      expect(host.svm.load(control, Vmcb.ASID)).toBe(1n | (1n << 32n));
    });
  });

  test("is the same in each life, whatever the guest before had in it", () => {
    const seen: string[] = [];
    fresh(
      {},
      ({ host, control }) => {
        const bytes = host.memory.get(control, 4096).slice();
        // The TSC's offset, ASID and TLB_CONTROL, N_CR3.
        for (const [at, length] of [
          [0x50, 16],
          [0xb0, 8],
        ] as const)
          bytes.fill(0, at, at + length);
        seen.push(Buffer.from(bytes).toString("hex"));
      },
      {
        run: (vcpu) => {
          for (let offset = 0x400; offset < 0x1000; offset += 8)
            vcpu.host.svm.store(vcpu.control, offset, 0xdeadbeefn);
          vcpu.host.svm.store(vcpu.control, Vmcb.EVENT_INJECTION, 0x80000020n);
          return vcpu.stop(vcpu.life < 3 ? "RESET" : "POWERED_OFF");
        },
      },
    );
    expect(seen.length).toBe(3);
    expect(new Set(seen).size).toBe(1);
  });

  test("makes the guest's TSC start at 0", () => {
    fresh({}, ({ host, control }) => {
      const guest = BigInt.asUintN(64, host.tsc + host.svm.load(control, Vmcb.TSC_OFFSET));
      expect(guest).toBeLessThan(1_000_000n);
    });
  });
});

describe("The permission maps", () => {
  // APM Vol. 2 15.10.1: a bit a port, and three beyond the last for accesses of 4 bytes.
  test("have every port exit", () => {
    fresh({}, ({ host, control }) => {
      const map = host.rootMemory(host.svm.load(control, Vmcb.IOPM_BASE), 0x3000);
      expect(map.every((byte) => byte === 0xff)).toBe(true);
    });
  });

  // 15.11: two bits an MSR, of reads and of writes; in 2 KiB each 0 to 1FFFh, C0000000h and C0010000h on.
  const passing: [first: number, last: number, access: string][] = [
    [0x10, 0x10, "r"], // the TSC, with its offset
    [0x174, 0x176, "rw"], // SYSENTER's
    [0x277, 0x277, "rw"], // PAT
    [0xc0000081, 0xc0000084, "rw"], // SYSCALL's
    [0xc0000100, 0xc0000102, "rw"], // FS, GS, KERNEL_GS
  ];
  const hasNoRdtscp = changed({ 0x80000001: (answer) => void (answer[3] &= ~(1 << 27)) });

  test.each([
    ["with RDTSCP", amdCpuid(), [0xc0000103, 0xc0000103, "rw"] as const],
    ["without RDTSCP", hasNoRdtscp, undefined],
  ])("let guests at what is switched with them alone, on a CPU %s", (_, cpuid, tscAux) => {
    const expected = [...passing, ...(tscAux ? [tscAux] : [])];
    fresh(
      {},
      ({ host, control }) => {
        const map = host.rootMemory(host.svm.load(control, Vmcb.MSRPM_BASE), 0x2000);
        const found: string[] = [];
        [0, 0xc0000000, 0xc0010000].forEach((base, part) => {
          for (let n = 0; n < 0x2000; n++) {
            const bits = (map[part * 0x800 + (n >> 2)]! >> ((n & 3) * 2)) & 3;
            if (bits !== 3)
              found.push(`${(base + n).toString(16)} ${bits & 1 ? "" : "r"}${bits & 2 ? "" : "w"}`);
          }
        });
        const wanted = expected.flatMap(([first, last, access]) =>
          Array.from({ length: last - first + 1 }, (_, i) => `${(first + i).toString(16)} ${access}`),
        );
        expect(found).toEqual(wanted);
        expect(map.subarray(0x1800).every((byte) => byte === 0xff)).toBe(true);
      },
      { cpuid },
    );
  });

  test("are the same pages for all VMs, and in root's memory, where no monitor has them", () => {
    const places = new Set<string>();
    amd({
      modules: kernels(3),
      run: ({ host, control, cr3, ...vcpu }) => {
        const io = host.svm.load(control, Vmcb.IOPM_BASE);
        const msrs = host.svm.load(control, Vmcb.MSRPM_BASE);
        places.add(`${io} ${msrs}`);
        for (const leaf of host.leaves(cr3))
          expect(leaf.hpa + leaf.size <= image.rootMemory || leaf.hpa >= image.rootMemory + 0x200000n).toBe(
            true,
          );
        expect(vcpu.vm).toBeLessThan(3);
        return 2;
      },
    }).boot();
    expect(places.size).toBe(1);
  });
});

describe("Nested tables", () => {
  // APM Vol. 2 15.25.5, Nested Table Walk: a guest's accesses are a user's, and the tables are the host's in format.
  test("let the guest read, write and execute at every level, accessed and dirty from the start", () => {
    let entries = 0;
    fresh(
      {},
      ({ host, nestedTop }) => {
        const visit = (table: bigint, level: number) => {
          for (let i = 0n; i < 512n; i++) {
            const entry = host.memory.load(table + i * 8n, 8);
            if (entry === 0n) continue;
            entries++;
            const isLeaf = level === 1 || (entry & 0x80n) !== 0n;
            expect(entry & ~0x000ffffffffff000n).toBe(isLeaf ? (level > 1 ? 0xe7n : 0x67n) : 7n);
            if (!isLeaf) visit(entry & 0x000ffffffffff000n, level - 1);
          }
        };
        visit(nestedTop, 4);
        expect([...host.leaves(nestedTop)].map(({ address, size }) => [address, size])).toEqual(
          [0n, 1n, 2n, 3n].map((n) => [n << 21n, 1n << 21n]),
        );
      },
      { modules: [kernel("memory=8M")] },
    );
    expect(entries).toBe(1 + 1 + 4);
  });
});

test("A VMCB is mapped for its own monitor alone, once; the host's state behind it for none", () => {
  let compared = 0;
  const vms: { control: bigint; cr3: bigint; at: bigint }[] = [];
  const host = amd({
    modules: kernels(4),
    monitor: (vcpu) => {
      if (vcpu.runs > 0) return undefined;
      vms.push({ control: vcpu.control, cr3: vcpu.cr3, at: vcpu.host.context(vcpu.context, "CONTROL") });
      return vcpu.yield("PASS");
    },
    run: (vcpu) => {
      expect(vms.length).toBe(4);
      // The first to run looks at all four, which are there still.
      if (compared > 0) return vcpu.stop("POWERED_OFF");
      for (const { cr3 } of vms)
        for (const owner of vms) {
          const found = [...vcpu.host.leaves(cr3)].filter(
            (leaf) => leaf.hpa < owner.control + 0x2000n && owner.control < leaf.hpa + leaf.size,
          );
          if (cr3 !== owner.cr3) {
            expect(found).toEqual([]);
            continue;
          }
          compared++;
          expect(found.map(({ address, hpa, size }) => ({ address, hpa, size }))).toEqual([
            { address: owner.at, hpa: owner.control, size: 4096n },
          ]);
          // Present, writable, a supervisor's, no execute; cached.
          expect(found[0]!.flags & 0x800000000000001fn).toBe(0x8000000000000003n);
          expect(owner.at).toBe(BigInt.asUintN(64, BigInt(abi("CONTROL_AREA"))));
        }
      return vcpu.stop("POWERED_OFF");
    },
  });
  expect(host.boot().filter((l) => l.endsWith("ended: powered off")).length).toBe(4);
  expect(compared).toBe(4);
});

describe("When vCPUs change", () => {
  test("root writes no MSR that VMLOAD and VMSAVE move, and TSC_AUX only where it is", () => {
    const run = (cpuid: HostOptions["cpuid"], msrs: HostOptions["msrs"]) => {
      const host = amd({
        ...{ cpuid, msrs },
        modules: kernels(3),
        run: (vcpu) => (vcpu.runs < 3 ? vcpu.useSlice() : vcpu.stop("POWERED_OFF")),
      });
      expect(host.boot().slice(-2)).toEqual(["done", "halts"]);
      return new Set(host.msrWrites);
    };
    const writes = run(amdCpuid(), {});
    for (const msr of [0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102])
      expect(writes.has(msr)).toBe(false);
    expect(writes.has(0xc0000103)).toBe(true);
    const none = changed({ 0x80000001: (answer) => void (answer[3] &= ~(1 << 27)) });
    expect(run(none, {}).has(0xc0000103)).toBe(false);
  });
});

test("A report has the guest's registers from where the VMCB has them", () => {
  const values = {
    ...{ [Vmcb.RIP]: 0x1111222233334444n, [Vmcb.RSP]: 0x5555666677778888n, [Vmcb.RFLAGS]: 0x40202n },
    ...{ [Vmcb.CR0]: 0x80050033n, [Vmcb.CR3]: 0x123456000n, [Vmcb.CR4]: 0x6f0n, [Vmcb.EFER]: 0x1d01n },
    [Vmcb.CS]: 0xffffffff_0a9b_0033n,
  };
  const log = amd({
    modules: kernels(1),
    run: (vcpu) => {
      for (const [offset, value] of Object.entries(values))
        vcpu.host.svm.store(vcpu.control, Number(offset), value);
      return vcpu.stop("HALTED_FOREVER");
    },
  }).boot();
  const at = log.indexOf("  guest registers:");
  expect(log[at + 1]).toBe("  rip 0x1111222233334444 rflags 0x00040202 rsp 0x5555666677778888");
  expect(log).toContain("  cr0 0x80050033 cr3 0x0000000123456000 cr4 0x000006f0 efer 0x1d01 cs 0x0033");
});

describe("The fake CPU", () => {
  /** Stores past what a monitor and root do: the next entry of the VM meets it. */
  const broken = (spoil: (vcpu: RunningVcpu) => void, cpu: Partial<SvmCpu> = {}) => {
    const host = amd({
      cpuid: amdCpuid(cpu),
      modules: kernels(2),
      run: (vcpu) => {
        if (vcpu.runs === 1) spoil(vcpu);
        return vcpu.runs < 3 ? vcpu.useSlice() : vcpu.stop("POWERED_OFF");
      },
    });
    return () => host.boot();
  };
  const store = (offset: number, value: bigint) => (vcpu: RunningVcpu) =>
    vcpu.host.memory.store(vcpu.control + BigInt(offset), 8, value);

  // APM Vol. 2 15.15.3, VMCB Clean Field.
  test.each([
    [0, Vmcb.TSC_OFFSET],
    [1, Vmcb.IOPM_BASE],
    [3, Vmcb.VIRTUAL_INTERRUPT],
    [4, Vmcb.PAT],
    [5, Vmcb.CR4],
    [6, Vmcb.DR7],
    [7, 0x480],
    [8, Vmcb.CS],
    [9, Vmcb.CR2],
  ])("fails on a field that has changed while its clean bit is set: %d", (bit, offset) => {
    const change = (vcpu: RunningVcpu) => {
      const value = vcpu.host.svm.load(vcpu.control, offset);
      store(offset, value ^ (offset === Vmcb.IOPM_BASE ? 0x1000n : 0x40n))(vcpu);
    };
    expect(broken(change)).toThrow(new RegExp(`clean bit ${bit} is set|a permission map|maps overlap`));
    if (bit !== 1) expect(broken(change, { features: without(5) })).not.toThrow(/clean/);
  });

  test.each([
    ["without the intercept of VMRUN", Vmcb.INTERCEPT_2, 0n, "VMRUN is not intercepted"],
    ["with nested paging off", Vmcb.NESTED_CONTROL, 0n, "nested paging is off"],
    ["with a permission map elsewhere", Vmcb.MSRPM_BASE, 0x1000000n, "a permission map at 1000000"],
    ["with N_CR3 beyond the physical addresses", Vmcb.NESTED_CR3, 1n << 40n, "N_CR3"],
    ["with a guest's state that VMRUN refuses", Vmcb.DR7, 1n << 32n, "clean bit 6|DR7"],
  ])("fails on an entry %s", (_, offset, value, message) => {
    expect(broken(store(offset, value))).toThrow(new RegExp(message));
  });

  test("fails on a TLB_CONTROL that it does not have", () => {
    const flush = (vcpu: RunningVcpu) => vcpu.host.memory.store(vcpu.control + 0x5cn, 1, 3n);
    expect(broken(flush)).not.toThrow();
    expect(broken(flush, { features: without(6) })).toThrow("TLB_CONTROL is 3");
  });

  test("fails when the page behind the VMCB is not kept for the host's state", () => {
    expect(
      broken((vcpu) => {
        const { touchAsGuest } = vcpu.host.svm as unknown as { touchAsGuest: (v: RunningVcpu) => void };
        Object.assign(vcpu.host.svm, {
          touchAsGuest: (v: RunningVcpu) => {
            touchAsGuest.call(vcpu.host.svm, v);
            v.host.memory.store(v.control + 0x1600n, 8, 1n);
          },
        });
      }),
    ).toThrow("the host's saved state has changed");
  });
});
