/** Root's physical memory: where it is handed out from, and that all of it comes back. */
import { describe, expect, test } from "vitest";
import { FakeHost, type HostOptions, cpuidOf, vendors, vmxMsrs } from "./fake/host.ts";
import { Random, effort } from "./fake/pc.ts";
import { MIB, kernel, kernels } from "./fake/vms.ts";

const GIB = 1n << 30n;
const low: [bigint, bigint] = [0n, 0xa0000n];

describe.each(vendors)("on %s", (vendor) => {
  /** What root had in use before it made its VMs, and after the last of them: as it says itself. */
  function useOf(log: string[]): [string, string] {
    const lines = log.filter((l) => l.startsWith("memory in use: "));
    expect(lines.length).toBe(2);
    return [lines[0]!, lines[1]!];
  }

  function boot(options: HostOptions): string[] {
    const host = new FakeHost({ vendor, commandLine: "loglvl=debug", ...options });
    const log = host.boot();
    expect(log.filter((l) => l.startsWith("panic"))).toEqual([]);
    expect(host.strays).toEqual([]);
    return log;
  }

  describe("Running out of memory", () => {
    /**
     * A machine with so many 2 MiB frames for the VM, and so many 4 KiB frames for tables. The image and the module take
     * the regions that they are in.
     */
    const machine = (large: number, small: number): HostOptions => ({
      ram: [
        low,
        [2n * MIB, 6n * MIB],
        [16n * MIB, 16n * MIB + 0x2000n],
        [20n * MIB, 20n * MIB + BigInt(large) * 2n * MIB],
        [64n * MIB, 64n * MIB + BigInt(small) * 0x1000n],
      ],
      modules: [{ ...kernel("memory=6M"), at: 16n * MIB }],
    });

    // Home and three frames of RAM: with fewer something is missing early, with more only tables can be.
    test.each([0, 1, 2, 3, 4])(
      "at any point, with %d large frames, root or the VM is refused and nothing lost",
      (large) => {
        const results = new Set<string>();
        for (let small = 0; small < 60; small++) {
          const log = boot(machine(large, small));
          expect(log.at(-1)).toBe("halts");
          const refused = log.find((l) => l.startsWith("refused: "));
          results.add(refused ?? "ran");
          if (refused === "refused: memory: too small" || refused?.startsWith(`refused: ${vendor}`)) continue;
          if (refused)
            expect(refused).toBe("refused: vm0: memory: 6 MiB: the machine has not that much left");
          const [before, after] = useOf(log);
          expect(after, `${small} small frames`).toBe(before);
        }
        expect(results.has("ran")).toBe(large === 4);
        expect(results.has("refused: vm0: memory: 6 MiB: the machine has not that much left")).toBe(true);
      },
    );
  });

  const seeds = Array.from({ length: 6 * effort }, (_, i) => i + 1);

  test.each(seeds)("VMs of any size that come, go and come again leave memory as it was: seed %d", (seed) => {
    const random = new Random(seed);
    const sizes = Array.from({ length: 1 + random.below(5) }, () => 2 * (2 + random.below(8)));
    const lives = sizes.map(() => 1 + random.below(5));
    const log = boot({
      ram: [low, [MIB, BigInt(24 + sizes.reduce((a, b) => a + b + 4, 0)) * MIB]],
      modules: sizes.map((size) => kernel(`memory=${size}M`)),
      run: (vcpu) => {
        if (random.below(3) > 0) return vcpu.useSlice();
        return vcpu.stop(vcpu.life < lives[vcpu.vm]! ? "RESET" : "POWERED_OFF");
      },
    });
    expect(log.filter((l) => l.endsWith("ended: powered off")).length).toBe(sizes.length);
    expect(log.filter((l) => l.endsWith("restarts: reset")).length).toBe(
      lives.reduce((a, b) => a + b - 1, 0),
    );
    const [before, after] = useOf(log);
    expect(after).toBe(before);
  });

  describe("Memory above 4 GiB", () => {
    test("is used for guests, and not by root before it has mapped it", () => {
      const places: bigint[] = [];
      const log = boot({
        ram: [low, [MIB, 64n * MIB], [4n * GIB, 5n * GIB]],
        modules: kernels(2),
        run: (vcpu) => {
          places.push(BigInt(vcpu.guestAccess(0)!));
          return vcpu.stop("POWERED_OFF");
        },
      });
      expect(useOf(log)[1]).toBe(useOf(log)[0]);
      expect(places.every((hpa) => hpa >= 4n * GIB)).toBe(true);
    });

    test("is where a guest's memory is above 3 GiB, in pages as large as fit", () => {
      const pages: Record<string, bigint[]> = {};
      const log = boot({
        commandLine: "loglvl=debug bootscrub=no",
        ram: [
          [0n, 0xa0000n],
          [MIB, 64n * MIB],
          [4n * GIB, 10n * GIB],
        ],
        modules: [kernel("memory=4098M")],
        run: (vcpu) => {
          const { host, nestedTop } = vcpu;
          for (const leaf of host.leaves(nestedTop))
            (pages[leaf.size.toString(16)] ??= []).push(leaf.address);
          const window = host.translate(vcpu.cr3, 0xffff8000_00000000n + 4n * GIB)!;
          expect(window.hpa).toBe(host.translate(nestedTop, 4n * GIB)!.hpa);
          expect(host.translate(nestedTop, 3n * GIB)).toBeUndefined();
          return 2;
        },
      });
      expect(pages["40000000"]!.sort()).toEqual([0n, GIB, 2n * GIB, 4n * GIB].sort());
      expect(pages["200000"]).toEqual([5n * GIB]);
      expect(log).toContain("vm0: ended: unknown reason (0x0)");
    });

    /** CPUID 80000001h, EDX bit 26: of AMD's nested tables too. */
    const withoutHugePages = (leaf: number, subleaf: number) => {
      const answer = cpuidOf(vendor)(leaf, subleaf);
      if (leaf >>> 0 === 0x80000001) answer[3] &= ~(1 << 26);
      return answer;
    };

    test("and without 1 GiB pages of nested tables a guest has 2 MiB pages", () => {
      let sizes = new Set<bigint>();
      boot({
        commandLine: "loglvl=debug bootscrub=no",
        ...(vendor === "VT-x"
          ? { msrs: { 0x48c: vmxMsrs()[0x48c]! & ~(1n << 17n) } }
          : { cpuid: withoutHugePages }),
        ram: [low, [MIB, 64n * MIB], [4n * GIB, 7n * GIB]],
        modules: [kernel("memory=1G")],
        run: (vcpu) => {
          sizes = new Set([...vcpu.host.leaves(vcpu.nestedTop)].map((leaf) => leaf.size));
          return vcpu.stop("POWERED_OFF");
        },
      });
      expect([...sizes]).toEqual([2n * MIB]);
    });
  });
});
