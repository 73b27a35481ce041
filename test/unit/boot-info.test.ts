import { describe, expect, test } from "vitest";
import { FakeHost, type HostOptions, image } from "./fake/host.ts";
import { abi } from "./fake/layout.ts";
import { type BootInfo, INFO, type Region, type Tag, multiboot1, multiboot2, tagsOf } from "./fake/loader.ts";
import { Random, effort } from "./fake/pc.ts";
import { MIB, kernel, kernels } from "./fake/vms.ts";

const MAGIC1 = 0x2badb002;
const MAGIC2 = 0x36d76289;
const RAM = 1;
const RESERVED = 2;

const region = (base: bigint, end: bigint, kind = RAM): Region => ({ base, length: end - base, kind });

/** Boots with the loader's information changed. */
function bootWith(change: (info: BootInfo) => void, options: HostOptions = {}): string[] {
  return new FakeHost({ modules: kernels(1), ...options, loader: (info) => void change(info) }).boot();
}

/** The line of a boot that was refused: there is one, and only the banner before it. */
function refusalOf(log: string[]): string | undefined {
  const lines = log.filter((l) => l.startsWith("refused: "));
  expect(log.slice(-2)).toEqual([lines[0], "halts"]);
  expect(lines.length).toBe(1);
  return lines[0]!.slice("refused: ".length);
}

const ranWell = (log: string[]) => {
  expect(log).toContain("vm0: ended: powered off");
  expect(log.slice(-2)).toEqual(["done", "halts"]);
};

/** What root says that it has, in KiB. */
function memoryOf(log: string[]): number {
  const [, n, unit] = /^memory (\d+) (KiB|MiB), /.exec(log.find((l) => l.startsWith("memory "))!)!;
  return Number(n) * (unit === "MiB" ? 1024 : 1);
}

/** All of 1 MiB to `end` MiB but the image, a kernel of two pages and its string, and the loader's own below 1 MiB. */
const KERNEL_KIB = 8;
const usable = (end: number) => (end - 1) * 1024 - Number(image.end - image.start) / 1024 - KERNEL_KIB;

describe.each([1, 2] as const)("Regions, by Multiboot %d:", (multiboot) => {
  const boot = (regions: Region[], options: HostOptions = {}) =>
    bootWith((info) => void (info.regions = regions), { multiboot, ...options });
  const low = region(0n, 0xa0000n);

  test.each<[string, Region[], number]>([
    ["the plain case", [region(MIB, 64n * MIB)], 64],
    ["two that are the same", [region(MIB, 64n * MIB), region(MIB, 64n * MIB)], 64],
    ["one within another", [region(MIB, 64n * MIB), region(20n * MIB, 30n * MIB)], 64],
    ["one around another", [region(20n * MIB, 30n * MIB), region(MIB, 64n * MIB)], 64],
    ["some that overlap, in no order", [region(40n * MIB, 64n * MIB), region(MIB, 30n * MIB), region(25n * MIB, 50n * MIB)], 64], // prettier-ignore
    ["some that touch", [region(30n * MIB, 64n * MIB), region(MIB, 30n * MIB)], 64],
    [
      "parts of pages at the ends",
      [region(MIB + 1n, 64n * MIB + 4095n), region(MIB - 5n, MIB + 4095n)],
      64 - 4 / 1024,
    ],
    ["empty ones", [region(5n * MIB, 5n * MIB), region(MIB, 64n * MIB), region(1n << 60n, 1n << 60n)], 64],
  ])("%s: each frame counts once", (_, regions, end) => {
    const log = boot([low, ...regions], { ram: [[0n, 0xa0000n], [MIB - 5n, 65n * MIB]] }); // prettier-ignore
    ranWell(log);
    expect(memoryOf(log)).toBe(usable(end));
  });

  test("overlapping ones never make two VMs share a frame", () => {
    const regions = [region(MIB, 40n * MIB), region(20n * MIB, 44n * MIB), region(8n * MIB, 44n * MIB)];
    const log = boot([low, ...regions], {
      modules: [...kernels(5)],
      run: (vcpu) => (vcpu.runs < 2 ? vcpu.useSlice() : vcpu.stop("POWERED_OFF")),
    });
    // 6 MiB each of what is above 8 MiB, without the modules' 2 MiB.
    expect(log.filter((l) => l.endsWith("ended: powered off")).length).toBe(5);
  });

  test.each([RESERVED, 3, 4, 5, 77])("what is also of kind %d is no RAM", (kind) => {
    const log = boot([region(30n * MIB, 40n * MIB, kind), low, region(MIB, 64n * MIB)], {
      ram: [[0n, 0xa0000n], [MIB, 30n * MIB], [40n * MIB, 64n * MIB]], // prettier-ignore
    });
    ranWell(log);
    expect(memoryOf(log)).toBe(usable(64) - 10 * 1024);
  });

  test.each<[string, Region]>([
    ["wraps around", { base: 64n * MIB, length: (1n << 64n) - MIB, kind: RAM }],
    ["ends at 2^64", { base: 1n << 63n, length: 1n << 63n, kind: RAM }],
    ["is beyond the CPU's addresses", { base: 1n << 39n, length: MIB, kind: RAM }],
    ["goes beyond the CPU's addresses", { base: 1n << 38n, length: 1n << 39n, kind: RAM }],
  ])("RAM that %s is refused with its place", (_, bad) => {
    const text = `is 0x${bad.length.toString(16)} bytes at 0x${bad.base.toString(16)}`;
    expect(refusalOf(boot([low, region(MIB, 64n * MIB), bad]))).toBe(
      `the boot loader: memory region 2: expected to end within the 39 address bits of this CPU, ${text}`,
    );
  });

  test("one of another kind that wraps or lies beyond everything does no harm", () => {
    const odd = [1n << 39n, 1n << 44n, (1n << 64n) - 1n].map((base) => ({
      base,
      length: 1n << 63n,
      kind: RESERVED,
    }));
    const log = boot([...odd, low, region(MIB, 64n * MIB)]);
    ranWell(log);
    expect(memoryOf(log)).toBe(usable(64));
  });

  test("RAM beyond root's window is left alone, on a CPU that has such addresses", () => {
    const wide = (leaf: number, subleaf: number) =>
      leaf >>> 0 === 0x80000008
        ? ([0x3034, 0, 0, 0] as [number, number, number, number])
        : plain.cpuid(leaf, subleaf);
    const plain = new FakeHost();
    const log = boot([low, region(MIB, 64n * MIB), region(1n << 44n, (1n << 44n) + MIB)], { cpuid: wide });
    ranWell(log);
    expect(memoryOf(log)).toBe(usable(64));
  });

  test("up to 128 fit, and one more is refused", () => {
    const many = (n: number) => Array.from({ length: n }, (_, i) => region(BigInt(64 + 2 * i) * MIB, BigInt(65 + 2 * i) * MIB)); // prettier-ignore
    const all: [bigint, bigint][] = [[0n, 1024n * MIB]];
    ranWell(boot([low, region(MIB, 64n * MIB), ...many(126)], { ram: all }));
    expect(refusalOf(boot([low, region(MIB, 64n * MIB), ...many(127)]))).toBe(
      "the boot loader: more than 128 memory regions",
    );
  });

  test("none, or no RAM that is large enough, is refused", () => {
    expect(refusalOf(boot([], { modules: [] }))).toBe("the boot loader: no memory map");
    expect(refusalOf(boot([low], { modules: [] }))).toBe("memory: too small");
    expect(refusalOf(boot([region(MIB, 64n * MIB, RESERVED)], { modules: [] }))).toBe("memory: too small");
  });
});

describe.each([1, 2] as const)("Modules, by Multiboot %d:", (multiboot) => {
  const boot = (change: (modules: BootInfo["modules"]) => void, options: HostOptions = {}) =>
    bootWith((info) => change(info.modules), { multiboot, modules: kernels(2), ...options });
  const at = (n: number, start: bigint, end: bigint) =>
    boot((modules) => Object.assign(modules[n]!, { start, end }));

  test.each([
    ["outside of RAM", 0xe0000000n, 0xe0001000n],
    ["partly outside of RAM", 511n * MIB, 513n * MIB],
    ["across a gap", 0x9f000n, 0x101000n],
    ["over the image", image.start + 0x1000n, image.start + 0x2000n],
    ["that ends in the image", MIB, image.start + 1n],
    ["that starts in root's memory", image.end - 1n, image.end + 0x1000n],
    ["around the image", MIB, 16n * MIB],
    ["that ends before it starts", 20n * MIB, 19n * MIB],
  ])("one %s is refused with its place", (_, start, end) => {
    expect(refusalOf(at(1, start, end))).toBe(
      "the boot loader: module 1: expected in RAM and apart from the hypervisor, " +
        `is from 0x${start.toString(16)} to 0x${end.toString(16)}`,
    );
  });

  test("one in RAM that the map has in two pieces is accepted", () => {
    const regions = [region(0n, 0xa0000n), region(17n * MIB, 64n * MIB), region(MIB, 17n * MIB)];
    ranWell(
      bootWith((info) => void (info.regions = regions), {
        multiboot,
        modules: [{ ...kernel(), at: 17n * MIB - 0x1000n }],
      }),
    );
  });

  test("two at the same place are accepted, and so is one of no size: its monitor says what it is", () => {
    const same = boot((modules) =>
      Object.assign(modules[1]!, { start: modules[0]!.start, end: modules[0]!.end }),
    );
    ranWell(same);
    expect(same).toContain("vm1: ended: powered off");
    ranWell(at(1, 0n, 0n));
  });

  test("up to 130 fit, and one more is refused", () => {
    const many = (n: number) => [kernel(), ...Array.from({ length: n - 1 }, () => ({ bytes: new Uint8Array(8), text: "lines" }))]; // prettier-ignore
    ranWell(new FakeHost({ multiboot, modules: many(130) }).boot());
    expect(refusalOf(new FakeHost({ multiboot, modules: many(131) }).boot())).toBe(
      "the boot loader: more than 130 modules",
    );
  });
});

describe("Modules' strings", () => {
  /** The guest's command line in each of three lives, which fill all the memory that they have. */
  function commandLines(loader: (info: BootInfo, host: FakeHost) => number): string[] {
    const lines: string[] = [];
    const host = new FakeHost({
      modules: [kernel("memory=16M -- a guest's words")],
      ram: [[0n, 0xa0000n], [MIB, 40n * MIB]], // prettier-ignore
      loader,
      run: (vcpu) => {
        const at = abi("VM_INFO");
        const length = Number(vcpu.load(at + abi("VMINFO_COMMAND_LINE_LENGTH")));
        const bytes = Array.from({ length }, (_, i) =>
          Number(vcpu.load(at + abi("COMMAND_LINE_OFFSET") + i, 1)),
        );
        lines.push(String.fromCharCode(...bytes));
        for (let gpa = 0; gpa < 16 << 20; gpa += 8) vcpu.host.memory.store(vcpu.guestAccess(gpa)!, 8, ~0n);
        return vcpu.stop(vcpu.life < 3 ? "RESET" : "POWERED_OFF");
      },
    });
    ranWell(host.boot());
    return lines;
  }
  const words = Array.from({ length: 3 }, () => "a guest's words");

  test.each([
    ["where root takes its frames from", 40n * MIB - 0x1000n],
    ["in the middle of memory", 30n * MIB + 0x800n],
    ["where no RAM is", 0xe0000000n],
    ["before the end of 4 GiB", (1n << 32n) - 64n],
  ])("stay what they are while guests run, with Multiboot 1 also %s", (_, at) => {
    const lines = commandLines((info, host) => {
      multiboot1(host.memory, info, at);
      return MAGIC1;
    });
    expect(lines).toEqual(words);
  });

  test("stay what they are with Multiboot2's information anywhere", () => {
    const lines = commandLines((info, host) => {
      multiboot2(host.memory, tagsOf(info));
      return MAGIC2;
    });
    expect(lines).toEqual(words);
  });
});

describe("Multiboot2's tags:", () => {
  const boot = (change: (tags: Tag[]) => Tag[], totalSize?: number) =>
    new FakeHost({
      modules: kernels(1),
      loader: (info, host) => {
        multiboot2(host.memory, change(tagsOf(info)), totalSize);
        return MAGIC2;
      },
    }).boot();
  const insert = (...tags: Tag[]) => boot((all) => [all[0]!, ...tags, ...all.slice(1)]);

  test("unknown ones are passed over", () => {
    ranWell(
      insert(
        { kind: 77, body: new Uint8Array(100).fill(0xff) },
        { kind: 0xffffffff, body: new Uint8Array(0) },
      ),
    );
  });

  test.each([0, 1, 7, 0xfffffff8, 0xfffffff9, 0xffffffff, 0x10000])(
    "one that says it is %d bytes is refused",
    (size) => {
      expect(refusalOf(insert({ kind: 9, body: new Uint8Array(8), size }))).toMatch(
        new RegExp(`^the boot loader: its tag of type 9: expected a size of 8 to \\d+, has ${size}$`),
      );
    },
  );

  test.each([
    ["a command line", { kind: 1, body: Buffer.from("loglvl=debug") }, "its command line: expected to end with 0 within its tag"],
    ["an empty command line", { kind: 1, body: new Uint8Array(0) }, "its command line: expected to end with 0 within its tag"],
    ["a module", { kind: 3, body: Buffer.from("startendkernel") }, "module 0: expected a string that ends with 0 within its tag"],
    ["a module without any string", { kind: 3, body: new Uint8Array(8) }, "module 0: expected a string that ends with 0 within its tag"],
    ["a module that is cut off", { kind: 3, body: new Uint8Array(3) }, "module 0: expected a string that ends with 0 within its tag"],
    ["a map with entries of no size", { kind: 6, body: new Uint8Array(32) }, "its memory map: expected entries of 24 bytes or more, has 0"],
    ["a map with small entries", { kind: 6, body: Buffer.from([23, 0, 0, 0, 0, 0, 0, 0]) }, "its memory map: expected entries of 24 bytes or more, has 23"],
    ["a map that is cut off", { kind: 6, body: new Uint8Array(4) }, "its memory map: expected entries of 24 bytes or more, has 0"],
  ])("%s without what belongs to it is refused", (_, tag, text) => {
    expect(refusalOf(insert(tag))).toBe(`the boot loader: ${text}`);
  }); // prettier-ignore

  test("an RSDP that is cut off is none", () => {
    ranWell(insert({ kind: 15, body: Buffer.from("RSD PTR ") }, { kind: 14, body: new Uint8Array(19) }));
  });

  test("they end where the information does, also without an end tag", () => {
    ranWell(boot((all) => all.slice(0, -1)));
    expect(refusalOf(boot((all) => all, 0))).toBe("the boot loader: no memory map");
    expect(refusalOf(boot((all) => all, 8))).toBe("the boot loader: no memory map");
  });

  test("a size of the whole that is too large costs no memory", () => {
    const log = boot((all) => all, 0xffffffff);
    ranWell(log);
    expect(memoryOf(log)).toBe(usable(512));
  });
});

describe("Multiboot 1's fields:", () => {
  const boot = (...changes: [offset: number, value: number][]) =>
    new FakeHost({
      modules: kernels(1),
      loader: (info, host) => {
        multiboot1(host.memory, info);
        for (const [offset, value] of changes) host.memory.store(INFO + BigInt(offset), 4, BigInt(value));
        return MAGIC1;
      },
    }).boot();

  test.each<[string, [number, number][], string]>([
    ["no flags", [[0, 0]], "no memory map"],
    ["a huge number of modules", [[20, 0xffffffff]], "more than 130 modules"],
    ["modules at the end of memory", [[24, 0xfffffff8]], "its list of modules: expected below 4 GiB"],
    ["a memory map at the end of memory", [[48, 0xfffffff8]], "its memory map: expected below 4 GiB"],
    ["a huge memory map", [[44, 0xffffffff]], "its memory map: expected below 4 GiB"],
    ["an entry without a size", [[0x400, 0]], "its memory map: expected entries of 20 bytes or more, has one of 0"],
    ["an entry of 19 bytes", [[0x400, 19]], "its memory map: expected entries of 20 bytes or more, has one of 19"],
  ])("%s: refused by name", (_, changes, text) => {
    expect(refusalOf(boot(...changes))).toBe(`the boot loader: ${text}`);
  }); // prettier-ignore

  test("an entry whose size is nearly 2^32 is the last", () => {
    // It is the map's first: what is left is too little.
    expect(refusalOf(boot([0x400, 0xfffffffc]))).toContain("module 0: expected in RAM");
  });

  test("a command line at the very end of memory is read to there and no further", () => {
    expect(refusalOf(boot([16, 0xfffffffc]))).toContain("command line: ....: expected console=");
  });

  test("larger entries than needed are read as they say", () => {
    const log = bootWith((info) => void info, { multiboot: 1 });
    ranWell(log);
  });
});

test("A loader that speaks neither is refused with its magic number", () => {
  expect(refusalOf(new FakeHost({ loader: () => 0x12345678 }).boot())).toBe(
    "the boot loader: expected one of Multiboot or Multiboot2, its magic number is 0x12345678",
  );
});

describe("Seeded damage to the information never makes root fault", () => {
  const limits = [0, 1, 7, 8, 16, 20, 24, 0x7fffffff, 0x80000000, 0xfffffff0, 0xfffffff8, 0xffffffff];
  const runs = 60;
  const batches = Array.from({ length: 2 * effort }, (_, i): [1 | 2, number] => [
    i % 2 === 0 ? 1 : 2,
    i >> 1,
  ]);

  test.each(batches)("Multiboot %d, batch %d", (multiboot, batch) => {
    for (let seed = batch * runs; seed < (batch + 1) * runs; seed++) {
      const random = new Random(seed + multiboot * 1_000_000);
      const host = new FakeHost({
        modules: [kernel(), { bytes: new Uint8Array(5000), text: "initrd" }],
        // Memory is wherever the loader says.
        ram: [[0n, 1n << 39n]],
        run: (vcpu) => vcpu.stop(vcpu.life === 1 ? "RESET" : "POWERED_OFF"),
        loader: (info, machine) => {
          info.regions = [region(0n, 0xa0000n), region(MIB, 64n * MIB), region(0xf0000n, MIB, RESERVED)];
          const end =
            multiboot === 1 ? multiboot1(machine.memory, info) : multiboot2(machine.memory, tagsOf(info));
          info.modules.length = 0;
          for (let n = 1 + random.below(3); n > 0; n--) {
            const at = INFO + BigInt(random.below(Number(end - INFO)));
            if (random.below(2) === 0) machine.memory.store(at, 1, BigInt(random.below(256)));
            else machine.memory.store(at & ~3n, 4, BigInt(random.pick(limits)));
          }
          return multiboot === 1 ? MAGIC1 : MAGIC2;
        },
      });
      const log = host.boot();
      // A damaged command line may turn the log off.
      if (host.serial[0].length === 0) continue;
      expect(["halts", "reboots"], `seed ${seed}: ${log.join("\n")}`).toContain(log.at(-1));
      expect(log.filter((l) => l.startsWith("panic"))).toEqual([]);
      if (!log.includes("done")) expect(log.filter((l) => l.startsWith("refused: ")).length).toBe(1);
    }
  });
});
