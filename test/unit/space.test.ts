import { describe, expect, test } from "vitest";
import { FakeHost, type RunningVcpu, vendors } from "./fake/host.ts";
import { abi } from "./fake/layout.ts";

const kernel = { bytes: new Uint8Array(5000).fill(0x90), text: "kernel memory=8M -- quiet" };
const initrd = { bytes: new Uint8Array(3000).fill(0x11), text: "initrd" };
const mib = 1n << 20n;

/** What the image keeps to itself: the fake's image.* addresses. */
const image = {
  start: 0x200000n,
  textEnd: 0x210000n,
  readOnlyEnd: 0x214000n,
  perCpuEnd: 0x21a000n,
  end: 0x600000n,
};
const writable = 2n;
const noExecute = 1n << 63n;
const user = 4n;

describe.each(vendors)("on %s", (vendor) => {
  /** Runs VMs until each has been seen once, and returns what each one's monitor space maps. */
  function spacesOf(modules: { bytes: Uint8Array; text: string }[]) {
    const spaces = new Map<bigint, ReturnType<FakeHost["leaves"]> extends Generator<infer T> ? T[] : never>();
    const contexts: RunningVcpu[] = [];
    const host = new FakeHost({
      vendor,
      modules,
      run: (vcpu) => {
        if (!spaces.has(vcpu.cr3)) {
          spaces.set(vcpu.cr3, [...vcpu.host.leaves(vcpu.cr3)]);
          contexts.push(vcpu);
          return abi("LEAVE_YIELD");
        }
        // The end of a slice: the next VM gets its turn before this one stops.
        vcpu.host.tsc += 1_000_000_000n;
        return spaces.size === modules.filter((m) => m.text.startsWith("kernel")).length
          ? vcpu.stop("POWERED_OFF")
          : abi("LEAVE_INTERRUPT");
      },
    });
    host.boot();
    return { host, spaces: [...spaces.values()], contexts };
  }

  test("A monitor's space maps the image's text read-only, its per-CPU pages, its own memory, and nothing else", () => {
    const { spaces } = spacesOf([kernel, initrd]);
    const [leaves] = spaces;
    for (const leaf of leaves!) {
      const what = `${leaf.address.toString(16)} -> ${leaf.hpa.toString(16)}`;
      expect(leaf.flags & user, `${what} is for supervisors only`).toBe(0n);
      if (leaf.hpa >= image.start && leaf.hpa < image.end) {
        expect(leaf.hpa, `${what} is not root's data`).toBeLessThan(image.perCpuEnd);
        if (leaf.hpa < image.textEnd) expect(leaf.flags & (writable | noExecute), what).toBe(0n);
        else if (leaf.hpa < image.readOnlyEnd)
          expect(leaf.flags & (writable | noExecute), what).toBe(noExecute);
        else expect(leaf.flags & (writable | noExecute), what).toBe(writable | noExecute);
      } else {
        expect(leaf.flags & noExecute, `${what} is never executable`).toBe(noExecute);
      }
    }
  });

  test("A monitor's linear memory starts with a page that is not mapped", () => {
    const { spaces } = spacesOf([kernel]);
    const base = BigInt(abi("LINEAR_BASE"));
    const linear = spaces[0]!.filter((l) => l.address >= base && l.address < base + 9n * 1024n * mib);
    expect(linear.find((l) => l.address === base)).toBeUndefined();
    expect(linear.map((l) => l.size).reduce((a, b) => a + b)).toBe(4n * 65536n - 4096n);
  });

  test("A vCPU's stack has a guard that is not mapped below it", () => {
    const { spaces, contexts, host } = spacesOf([kernel]);
    const top = host.context(contexts[0]!.context, "STACK");
    const size = BigInt(abi("STACK_SIZE"));
    const mapped = (address: bigint) =>
      spaces[0]!.some((l) => address >= l.address && address < l.address + l.size);
    expect(mapped(top - 8n)).toBe(true);
    expect(mapped(top - size)).toBe(true);
    expect(mapped(top - size - 8n)).toBe(false);
    expect(mapped(top)).toBe(false);
  });

  test("Nothing that one monitor can write is mapped for another", () => {
    const { spaces } = spacesOf([kernel, initrd, { ...kernel, text: "kernel memory=4M" }, kernel]);
    expect(spaces.length).toBe(3);
    const own = spaces.map((leaves) => leaves.filter((l) => l.hpa >= image.end || l.hpa < image.start));
    for (let a = 0; a < own.length; a++) {
      for (let b = a + 1; b < own.length; b++) {
        for (const x of own[a]!) {
          for (const y of own[b]!) {
            const overlap = x.hpa < y.hpa + y.size && y.hpa < x.hpa + x.size && x.hpa !== 0xfee00000n;
            expect(overlap, `VM ${a} and VM ${b} share ${x.hpa.toString(16)}`).toBe(false);
          }
        }
      }
    }
  });

  test("The guest's RAM is the same frames in its monitor's window and in its nested tables", () => {
    let compared = 0;
    const host = new FakeHost({
      vendor,
      modules: [kernel, initrd],
      run: (vcpu) => {
        const { nestedTop } = vcpu;
        const window = BigInt.asUintN(64, BigInt(abi("GUEST_WINDOW")));
        for (let gpa = 0n; gpa < 8n * mib; gpa += 2n * mib, compared++) {
          const nested = vcpu.host.translate(nestedTop, gpa)!;
          expect(nested.hpa).toBe(vcpu.host.translate(vcpu.cr3, window + gpa)!.hpa);
          // EPT: read, write, execute, write-back. NPT: present, writable, user, and executable.
          if (vendor === "VT-x") expect(nested.flags & 0x3fn).toBe(0x37n);
          else expect(nested.flags & 0x800000000000001fn).toBe(7n);
        }
        expect(vcpu.host.translate(nestedTop, 8n * mib)).toBeUndefined();
        expect(vcpu.host.translate(vcpu.cr3, window + 8n * mib)).toBeUndefined();
        return vcpu.stop("POWERED_OFF");
      },
    });
    host.boot();
    expect(compared).toBe(4);
  });

  test("A guest that resets itself again and again leaks nothing", () => {
    const host = new FakeHost({
      vendor,
      ram: [
        [0n, 0xa0000n],
        [0x100000n, 48n * mib],
      ],
      modules: [kernel, initrd],
      run: (vcpu) => {
        const done = vcpu.host.log.filter((l) => l.startsWith("vm0: restarts")).length >= 40;
        return vcpu.stop(done ? "POWERED_OFF" : "RESET");
      },
    });
    const log = host.boot();
    expect(log.filter((l) => l === "vm0: restarts: reset").length).toBe(40);
    expect(log).toContain("vm0: ended: powered off");
    expect(log.slice(-2)).toEqual(["done", "halts"]);
  });

  test("A guest without memory enough for its kernel and initrd is refused by name", () => {
    const log = new FakeHost({
      vendor,
      modules: [{ bytes: new Uint8Array(3 << 20), text: "kernel memory=4M" }],
    }).boot();
    expect(log).toContain("refused: vm0: memory: 4 MiB is too small for the kernel and the initrd");
  });

  test("A machine without memory enough for a guest says so by name and goes on with the others", () => {
    const log = new FakeHost({
      vendor,
      modules: [
        { bytes: new Uint8Array(100), text: "kernel memory=4G" },
        { bytes: new Uint8Array(100), text: "kernel memory=4M" },
      ],
      run: (vcpu) => {
        return vcpu.stop("POWERED_OFF");
      },
    }).boot();
    expect(log).toContain("refused: vm0: memory: 4 GiB: the machine has not that much left");
    expect(log).toContain("vm1: ended: powered off");
  });

  test.each([1, 2] as const)("Multiboot %d brings command line, memory and modules", (multiboot) => {
    const log = new FakeHost({
      vendor,
      multiboot,
      commandLine: "loglvl=debug reboot=no",
      modules: [kernel, initrd],
      run: (vcpu) => {
        return vcpu.stop("RESET");
      },
    }).boot();
    expect(log.find((l) => l.startsWith("vm0: started"))).toMatch(
      /^vm0: started, memory 8 MiB, at tick \d+$/,
    );
    expect(log).toContain("vm0: ended: reset");
  });
});
