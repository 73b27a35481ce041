import { describe, expect, test } from "vitest";
import { FakeHost, type HostOptions, type RunningVcpu, amdCpuid, vendors, vmxMsrs } from "./fake/host.ts";
import { RootField } from "./fake/hostvtx.ts";
import { abi } from "./fake/layout.ts";
import { PhysicalMemory } from "./fake/physical.ts";
import { type Invalidation, PageFault, StaleTranslation, Tlb } from "./fake/tlb.ts";
import { ordinaryTables } from "./fake/firmware.ts";
import { MIB, kernel, kernels } from "./fake/vms.ts";

/** A CPU without VPID. */
const withoutVpid = { msrs: { 0x48c: vmxMsrs()[0x48c]! & ~(1n << 32n) } };

/** Where the last entry of an address is in the monitor's tables. */
function entryOf(vcpu: RunningVcpu, address: bigint): bigint {
  let table = vcpu.cr3;
  for (let level = 4; level > 1; level--) {
    const at = table + ((address >> BigInt(12 + 9 * (level - 1))) & 511n) * 8n;
    table = vcpu.host.memory.load(at, 8) & 0x000ffffffffff000n;
  }
  return table + ((address >> 12n) & 511n) * 8n;
}

describe.each(vendors)("on %s", (vendor) => {
  /** Three VMs that run in turn; each starts over twice, at another time than the others. */
  function busy(options: HostOptions = {}): FakeHost {
    return new FakeHost({
      vendor,
      modules: [kernel("memory=4M"), kernel("memory=8M"), kernel("memory=4M")],
      run: (vcpu) => {
        if (vcpu.runs < 2 + vcpu.vm) return vcpu.useSlice();
        return vcpu.stop(vcpu.life < 3 ? "RESET" : "POWERED_OFF");
      },
      ...options,
    });
  }

  describe("Root invalidates what it must", () => {
    test("VMs that take turns, end, and start again never meet a stale translation", () => {
      const log = busy().boot();
      expect(log.filter((l) => l.endsWith("restarts: reset")).length).toBe(6);
      expect(log.slice(-2)).toEqual(["done", "halts"]);
    });

    test("nor do they with a full machine whose every frame is used again", () => {
      const ram: [bigint, bigint][] = [
        [0n, 0xa0000n],
        [0x100000n, 42n * MIB],
      ];
      expect(busy({ ram }).boot()).toContain("vm1: ended: powered off");
    });

    if (vendor === "VT-x")
      test("nor do they on a CPU without VPID", () => {
        expect(busy(withoutVpid).boot().slice(-2)).toEqual(["done", "halts"]);
      });

    test("nor does root itself when it maps firmware's tables and devices", () => {
      const log = busy({ firmware: ordinaryTables, ioapicInputs: 24 }).boot();
      expect(log.slice(-2)).toEqual(["done", "halts"]);
    });

    test.each<[Invalidation, RegExp, HostOptions]>(
      vendor === "VT-x"
        ? [
            ["INVEPT", /^vm\d's guest: \d+ is cached as/, {}],
            ["INVVPID", /^vm\d's guest, VPID \d: linear address 400000 is cached as/, {}],
            ["MOV CR3", /^(root|vm\d's monitor|a new monitor): \w+ is cached as/, {}],
            ["VM entry and exit", /VPID 0: linear address 400000 is cached as/, withoutVpid],
          ]
        : [
            ["MOV CR3", /^(root|vm\d's monitor|a new monitor): \w+ is cached as/, {}],
            ["TLB_CONTROL", /^vm\d's guest, ASID 1: \d+ is cached as/, { cpuid: amdCpuid({ asids: 2 }) }],
          ],
    )("With %s ignored by the CPU, each of these would meet one", (ignored, message, options) => {
      const host = busy({ ...options, ignores: [ignored] });
      expect(() => host.boot()).toThrow(StaleTranslation);
      expect(() => busy({ ...options, ignores: [ignored] }).boot()).toThrow(message);
    });

    test("Frames come back to a guest that starts again, at other addresses: a stale translation would be wrong", () => {
      const frames: number[][] = [];
      busy({
        run: (vcpu) => {
          if (vcpu.vm === 1 && vcpu.runs === 0)
            frames.push(Array.from({ length: 4 }, (_, i) => vcpu.guestAccess(i * 0x200000)!));
          return vcpu.stop(vcpu.life < 3 ? "RESET" : "POWERED_OFF");
        },
      }).boot();
      const [first, second] = frames;
      expect(second).not.toEqual(first);
      expect([...second!].sort()).toEqual([...first!].sort());
    });
  });

  describe("Address spaces", () => {
    test("Root runs under its own CR3, the monitor under that of HOST_CR3, and between two monitors CR3 is root's", () => {
      const spaces: [vm: number, cr3: bigint][] = [];
      const seen = new Set<bigint>();
      const host = busy({
        run: (vcpu) => {
          expect(vcpu.host.cr[3]).toBe(vcpu.cr3);
          if (vendor === "VT-x") expect(vcpu.host.fields().get(RootField.HOST_CR3)).toBe(vcpu.cr3);
          spaces.push([vcpu.vm, vcpu.cr3]);
          seen.add(vcpu.cr3);
          return vcpu.runs < 4 ? vcpu.useSlice() : vcpu.stop("POWERED_OFF");
        },
      });
      host.boot();
      expect(seen.size).toBe(3);
      expect(seen.has(host.cr[3]!)).toBe(false);
      expect(host.cr3Loads.filter((load) => load.by === "root").length).toBe(1);
      // Every change of spaces goes through root's: the loads alternate.
      const loads = host.cr3Loads.filter((load) => load.by !== "root").map((load) => load.value);
      expect(loads.length).toBe(2 * spaces.length);
      loads.forEach((value, i) => expect(value).toBe(i % 2 === 0 ? spaces[i >> 1]![1] : host.cr[3]));
    });

    test("A page that differs between spaces must not be global: then MOV CR3 would not be enough", () => {
      const host = busy({
        run: (vcpu) => {
          const stack = vcpu.host.context(vcpu.context, "STACK") - 8n;
          const entry = entryOf(vcpu, stack);
          vcpu.host.memory.store(entry, 8, vcpu.host.memory.load(entry, 8) | 0x100n);
          vcpu.host.tlb.changeOfPge();
          vcpu.host.hostAccess(Number(BigInt.asUintN(48, stack) >> 12n), "store", "a monitor");
          return vcpu.useSlice();
        },
      });
      expect(() => host.boot()).toThrow(StaleTranslation);
    });

    test("Of what root and monitors share, text and read-only data alone are global, and they are the same for all", () => {
      let compared = 0;
      busy({
        run: (vcpu) => {
          const { host, cr3 } = vcpu;
          for (const leaf of host.leaves(cr3)) {
            const isShared = leaf.hpa >= 0x200000n && leaf.hpa < 0x214000n;
            expect((leaf.flags & 0x100n) !== 0n, leaf.address.toString(16)).toBe(isShared);
            if (!isShared) continue;
            expect(host.translate(host.cr3Loads[0]!.value, leaf.address)).toEqual(
              host.translate(cr3, leaf.address),
            );
            compared++;
          }
          return vcpu.stop("POWERED_OFF");
        },
      }).boot();
      expect(compared).toBe(3 * 0x14);
    });
  });

  test("A frame is no one's twice: the model sees a VM that is given another one's", () => {
    const host = busy({
      modules: kernels(2),
      run: (vcpu) => {
        if (vcpu.runs > 0) return vcpu.stop("POWERED_OFF");
        const other = abi("VM_INFO");
        expect(vcpu.load(other + abi("VMINFO_ID"))).toBe(BigInt(vcpu.vm));
        return vcpu.useSlice();
      },
    });
    // The first VM to run is vm1; by then vm0's tables exist and have not run yet.
    const stolen = { done: false };
    const born = host.frameOwners.born.bind(host.frameOwners);
    host.frameOwners.born = (machine, vm, context, control) => {
      const nested = machine.extension.nestedTop(control);
      if (vm === 0 && !stolen.done) {
        stolen.done = true;
        const directory = machine.memory.load(machine.memory.load(nested, 8) & ~0xfffn, 8) & ~0xfffn;
        machine.memory.store(directory + 8n, 8, machine.memory.load(directory, 8));
      }
      born(machine, vm, context, control);
    };
    expect(() => host.boot()).toThrow(/share frame/);
  });
});

describe("The model", () => {
  /** A page of each: top table at 1000h, ... , page table at 4000h that maps page 5 to the frame at 10000h. */
  function tables(flags: bigint): PhysicalMemory {
    const memory = new PhysicalMemory();
    for (const [table, next] of [
      [0x1000, 0x2000],
      [0x2000, 0x3000],
      [0x3000, 0x4000],
    ] as const)
      // prettier-ignore
      memory.store(table, 8, BigInt(next) | 7n);
    memory.store(0x4000 + 5 * 8, 8, 0x10000n | flags);
    return memory;
  }
  const remap = (memory: PhysicalMemory, flags: bigint) => memory.store(0x4000 + 5 * 8, 8, 0x20000n | flags);

  // SDM Vol. 3A 4.10.4.1, Operations that Invalidate TLBs and Paging-Structure Caches.
  test("MOV CR3 drops host translations but for global ones, which a change of CR4.PGE drops", () => {
    for (const [global, isStale] of [
      [0n, false],
      [0x100n, true],
    ] as const) {
      // prettier-ignore
      const memory = tables(3n | global);
      const tlb = new Tlb(memory, 40);
      expect(tlb.host(0x1000, 5, "load", "a test").hpa).toBe(0x10000);
      remap(memory, 3n | global);
      expect(() => tlb.host(0x1000, 5, "load", "a test")).toThrow(StaleTranslation);
      tlb.moveToCr3(true);
      if (isStale) expect(() => tlb.host(0x1000, 5, "load", "a test")).toThrow(StaleTranslation);
      else expect(tlb.host(0x1000, 5, "load", "a test").hpa).toBe(0x20000);
      tlb.changeOfPge();
      expect(tlb.host(0x1000, 5, "load", "a test").hpa).toBe(0x20000);
    }
  });

  test("What was not mapped is not cached, and what loses a right is stale", () => {
    const memory = tables(0n);
    memory.store(0x4000 + 5 * 8, 8, 0n);
    const tlb = new Tlb(memory, 40);
    expect(() => tlb.host(0x1000, 5, "load", "a test")).toThrow(PageFault);
    remap(memory, 3n);
    expect(tlb.host(0x1000, 5, "store", "a test").hpa).toBe(0x20000);
    remap(memory, 1n);
    expect(() => tlb.host(0x1000, 5, "load", "a test")).toThrow(StaleTranslation);
  });

  // SDM Vol. 3C 29.4.3.1, Operations that Invalidate Cached Mappings.
  test("INVEPT drops what has the EPTP's tag, INVVPID what has the VPID, and neither what has another", () => {
    const memory = tables(7n);
    const tlb = new Tlb(memory, 40);
    expect(tlb.nested(0x101en, 0x5008, "a test")).toBe(0x10008);
    tlb.linear(1, 0x7000, 0x5000, "a test");
    tlb.linear(2, 0x7000, 0x6000, "a test");
    remap(memory, 7n);
    tlb.invept(0x201en);
    tlb.invvpid(1);
    expect(() => tlb.nested(0x101en, 0x5000, "a test")).toThrow(StaleTranslation);
    tlb.invept(0x101en);
    expect(tlb.nested(0x101en, 0x5000, "a test")).toBe(0x20000);
    tlb.linear(1, 0x7000, 0x6000, "a test");
    expect(() => tlb.linear(2, 0x7000, 0x5000, "a test")).toThrow(StaleTranslation);
  });

  // APM Vol. 2 15.16.1, TLB Flush, and 15.25.5, Nested Table Walk.
  test("TLB_CONTROL drops what has the ASID, or everything; nested pages are a user's", () => {
    const memory = tables(7n);
    const tlb = new Tlb(memory, 40, [], "ASID");
    const look = (asid: number) => tlb.nestedOfAsid(asid, 0x1000n, 0x5008, "a test");
    expect([look(1), look(2)]).toEqual([0x10008, 0x10008]);
    tlb.linear(1, 0x7000, 0x5000, "a test");
    tlb.linear(2, 0x7000, 0x6000, "a test");
    remap(memory, 7n);
    expect(() => look(1)).toThrow(StaleTranslation);
    tlb.flushAsid(1);
    expect(look(1)).toBe(0x20008);
    tlb.linear(1, 0x7000, 0x6000, "a test");
    expect(() => look(2)).toThrow(StaleTranslation);
    expect(() => tlb.linear(2, 0x7000, 0x5000, "a test")).toThrow("ASID 2: linear address 7000");
    tlb.flushAll();
    expect(look(2)).toBe(0x20008);
    tlb.linear(2, 0x7000, 0x5000, "a test");
    remap(memory, 3n);
    tlb.flushAll();
    expect(() => look(1)).toThrow(PageFault);
  });
});
