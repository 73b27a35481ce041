/**
 * kernel/svm/asid.ts: more vCPUs than ASIDs. The fake CPU keeps every translation under its ASID until a VMRUN's TLB_CONTROL
 * drops it, and fails on one that no longer holds.
 */
import { describe, expect, test } from "vitest";
import { FakeHost, type HostOptions, type RunningVcpu, amdCpuid, svmFeatures } from "./fake/host.ts";
import { abi } from "./fake/layout.ts";
import { Random, effort } from "./fake/pc.ts";
import { StaleTranslation } from "./fake/tlb.ts";
import { kernels } from "./fake/vms.ts";

const FLUSH_BY_ASID = 1 << 6;
const FLUSH_ALL = 1;

/** CPUs by their number of ASIDs, the host's included, with flush by ASID and without. */
const cpus = [2, 3, 16].flatMap((asids) =>
  [svmFeatures, svmFeatures & ~FLUSH_BY_ASID].map((features): [number, string, number] => [
    asids,
    features & FLUSH_BY_ASID ? "with" : "without",
    features,
  ]),
);

/** Notes each entry, and what ASIDs and flushes it needs by the manual: of that, and nothing else, root must take care. */
class Ledger {
  private readonly given = new Map<string, number>();
  /** Flushes that could not be avoided. */
  needed = 0;
  private first = true;

  constructor(private readonly asids: number) {}

  /** A life of a VM entered its guest with an ASID. */
  enter({ vm, life, tag }: RunningVcpu): void {
    const key = `${vm}.${life}`;
    expect(tag).toBeGreaterThanOrEqual(1);
    expect(tag).toBeLessThan(this.asids);
    const known = this.given.get(key);
    if (known !== undefined) {
      expect(tag, `vm${key} keeps its ASID`).toBe(known);
      return;
    }
    // Nobody knows what the TLB had before the first entry.
    if (this.first || this.given.size === this.asids - 1) {
      this.needed++;
      this.given.clear();
      this.first = false;
    }
    expect([...this.given.values()], `vm${key} gets an ASID that none has`).not.toContain(tag);
    this.given.set(key, tag);
  }
}

type Behaviour = HostOptions & Required<Pick<HostOptions, "run">>;

/** Boots VMs on a CPU; the ledger compares what was flushed. */
function boot(asids: number, features: number, count: number, options: Behaviour) {
  const ledger = new Ledger(asids);
  const host = new FakeHost({
    vendor: "AMD-V",
    cpuid: amdCpuid({ asids, features }),
    modules: kernels(count),
    ...options,
    run: (vcpu) => {
      if (!options.monitor && !options.refuses) ledger.enter(vcpu);
      return options.run(vcpu);
    },
  });
  return { host, ledger, log: host.boot() };
}

const allDone = (log: string[], count: number) => {
  expect(log.slice(-2)).toEqual(["done", "halts"]);
  expect(log.filter((l) => l.endsWith("ended: powered off")).length).toBe(count);
};

describe.each(cpus)("With %d ASIDs, %s flush by ASID,", (asids, _, features) => {
  test.each([1, 2, 3, 17])(
    "%d VMs that start over meet no stale translation, and no flush is wasted",
    (n) => {
      const { host, ledger, log } = boot(asids, features, n, {
        run: (vcpu) => {
          if (vcpu.runs < 2 + (vcpu.vm % 3)) return vcpu.useSlice();
          return vcpu.stop(vcpu.life < 4 ? "RESET" : "POWERED_OFF");
        },
      });
      allDone(log, n);
      expect(host.svm.flushes.every(({ control }) => control === FLUSH_ALL)).toBe(true);
      expect(host.svm.flushes.length).toBe(ledger.needed);
    },
  );

  test("a VM alone that runs on needs one flush, at its start", () => {
    const { host, log } = boot(asids, features, 1, {
      run: (vcpu) => (vcpu.runs < 50 ? vcpu.useSlice() : vcpu.stop("POWERED_OFF")),
    });
    allDone(log, 1);
    expect(host.svm.flushes).toEqual([{ control: FLUSH_ALL, asid: 1 }]);
  });

  test.each(Array.from({ length: 4 * effort }, (_, i) => i + 1))(
    "monitors that leave before they enter their guests take no flush from the others: seed %d",
    (seed) => {
      const random = new Random(seed);
      const { log } = boot(asids, features, 5, {
        monitor: (vcpu) => {
          switch (random.below(8)) {
            case 0:
              return abi("LEAVE_INTERRUPT");
            case 1:
              return vcpu.yield("PASS");
            case 2:
              return vcpu.yield("CONTINUE");
            case 3:
              return vcpu.haltUntil(vcpu.host.tsc + BigInt(random.below(100_000)));
            case 4:
              return vcpu.runs > 5 && vcpu.life < 6 ? vcpu.stop("RESET") : undefined;
            default:
              return undefined;
          }
        },
        run: (vcpu) => {
          if (random.below(2)) vcpu.flush();
          if (vcpu.runs < 8) return random.below(2) ? vcpu.useSlice() : vcpu.yield("PASS");
          return vcpu.stop(vcpu.life < 6 ? "RESET" : "POWERED_OFF");
        },
      });
      allDone(log, 5);
    },
  );

  test("a new generation whose first entry the CPU refuses begins with the next one", () => {
    const { log } = boot(asids, features, 20, {
      refuses: (vcpu) => vcpu.vm % 5 === 4 && vcpu.runs === vcpu.vm % 3,
      run: (vcpu) => {
        if (vcpu.runs < 4) return vcpu.useSlice();
        return vcpu.stop(vcpu.life < 3 ? "RESET" : "POWERED_OFF");
      },
    });
    allDone(log, 16);
    expect(log.filter((l) => l.includes("the CPU refused its state")).length).toBe(4);
  });

  test("what a monitor flushes are its guest's translations, with the next entry, once", () => {
    const { host, log } = boot(asids, features, 1, {
      run: (vcpu) => {
        if (vcpu.runs === 1) vcpu.flush();
        return vcpu.runs < 5 ? vcpu.useSlice() : vcpu.stop("POWERED_OFF");
      },
    });
    allDone(log, 1);
    expect(host.svm.flushes).toEqual([
      { control: FLUSH_ALL, asid: 1 },
      { control: features & FLUSH_BY_ASID ? 3 : FLUSH_ALL, asid: 1 },
    ]);
  });

  test("a flush that a monitor wants comes also when its vCPU has got another ASID", () => {
    const wanted = new Set<number>();
    const { log } = boot(asids, features, 20, {
      run: (vcpu) => {
        if (vcpu.runs === 0) vcpu.flush();
        else if (vcpu.runs === 1) wanted.add(vcpu.host.svm.entries.at(-1).control);
        return vcpu.runs < 3 ? vcpu.useSlice() : vcpu.stop("POWERED_OFF");
      },
    });
    allDone(log, 20);
    expect(wanted.has(0)).toBe(false);
  });
});

test("64 VMs with 2 ASIDs run, each entry after another VM's with a flush", () => {
  const { host, ledger, log } = boot(2, svmFeatures, 64, {
    run: (vcpu) => (vcpu.runs < 1 ? vcpu.useSlice() : vcpu.stop("POWERED_OFF")),
  });
  allDone(log, 64);
  expect(host.svm.flushes.length).toBe(128);
  expect(ledger.needed).toBe(128);
});

test("The fake CPU sees a flush that is missing: one that a monitor without an entry has used up", () => {
  const host = new FakeHost({
    vendor: "AMD-V",
    cpuid: amdCpuid({ asids: 3 }),
    modules: kernels(4),
    ignores: ["TLB_CONTROL"],
    run: (vcpu) => (vcpu.runs < 3 ? vcpu.useSlice() : vcpu.stop("POWERED_OFF")),
  });
  expect(() => host.boot()).toThrow(StaleTranslation);
});
