/** kernel/root/acpi and apic.ts: what firmware's tables say is checked (ACPI 6.4 5.2), and what is bad is left. */
import { describe, expect, test } from "vitest";
import {
  RSDP,
  fadt,
  fixChecksum,
  ioapic,
  madt,
  ordinaryTables,
  override,
  putTables,
  rsdp,
  rsdt,
  table,
  xsdt,
} from "./fake/firmware.ts";
import { FakeHost, type HostOptions, vtxCpuid } from "./fake/host.ts";
import { abi } from "./fake/layout.ts";
import { Random, effort } from "./fake/pc.ts";
import { kernels } from "./fake/vms.ts";

const IOAPIC = 0xfec00000;
const uartVector = abi("VECTOR_DEVICE") + 4;

/** A CPU that does not tell its frequency, so that root measures it: by the PM timer if it found one. */
const silent = (leaf: number, subleaf: number): [number, number, number, number] => {
  const answer = vtxCpuid(leaf, subleaf);
  if (leaf === 0) answer[0] = 0x14;
  return answer;
};

/** What root made of the tables: the source of time, where COM1's interrupt goes, and what it had to say. */
function read(firmware: (host: FakeHost) => void, options: HostOptions = {}) {
  const host = new FakeHost({ cpuid: silent, ioapicInputs: 24, modules: kernels(1), firmware, ...options });
  const log = host.boot();
  expect(log.slice(-2)).toEqual(["done", "halts"]);
  const entries = host.apic.redirections.filter((_, i) => i % 2 === 0);
  const input = entries.findIndex((low) => (low & 0x100ff) === uartVector);
  return {
    host,
    log,
    timer: / MHz from the (PM timer|PIT),/.exec(log.find((l) => l.startsWith("memory "))!)![1],
    input,
    mode: input >= 0 ? entries[input]! & ~0xff : undefined,
    warnings: log.filter((l) => l.startsWith("ACPI: ")).map((l) => l.slice("ACPI: ".length)),
    polled: log.includes("COM1: no interrupt line, it is served by the timer"),
  };
}

/** Nothing was found, so nothing is used. */
const nothing = { timer: "PIT", input: -1, polled: true };
const both = { timer: "PM timer", input: 4, polled: false };

describe("The tables", () => {
  test("of an ordinary PC give the I/O APIC and the PM timer", () => {
    expect(read(ordinaryTables)).toMatchObject({ ...both, warnings: [] });
    expect(read(() => {})).toMatchObject({ ...nothing, warnings: [] });
  });

  test.each([0xe0000, 0xe0010, 0xf8000, 0xffff0])("are found by an RSDP at %d", (at) => {
    const { timer } = read((host) => {
      const list = 0xe1000;
      const [fixed] = [0xe2000];
      host.memory.put(fixed, fadt(0x608));
      host.memory.put(list, rsdt(fixed));
      host.memory.put(at, rsdp(list));
    });
    expect(timer).toBe("PM timer");
  });

  test("are found by an RSDP in the first KiB of the EBDA, and not by one that is not on 16 bytes", () => {
    const place = (at: number) => (host: FakeHost) => {
      host.memory.store(0x40e, 2, 0x9fc0n);
      host.memory.put(0xe2000, fadt(0x608));
      host.memory.put(0xe1000, rsdt(0xe2000));
      host.memory.put(at, rsdp(0xe1000));
    };
    expect(read(place(0x9fc00)).timer).toBe("PM timer");
    expect(read(place(0x9fff0)).timer).toBe("PM timer");
    expect(read(place(0x9fc08)).timer).toBe("PIT");
    expect(read(place(0xe0008)).timer).toBe("PIT");
  });

  test.each([14, 15])("are found by the copy of the RSDP in a tag of type %d", (kind) => {
    const { timer, warnings } = read(
      (host) => {
        host.memory.put(0x1f000000, fadt(0x608));
        host.memory.put(0x1f001000, rsdt(0x1f000000));
        host.memory.put(0x1f002000, xsdt(0x1f000000n));
      },
      { loader: (info) => void (info.rsdp = kind === 14 ? rsdp(0x1f001000) : rsdp(0, 0x1f002000n)) },
    );
    expect({ timer, warnings }).toEqual({ timer: "PM timer", warnings: [] });
  });

  test("may be anywhere that the CPU can address, in memory that the map does not have", () => {
    const { timer } = read((host) => {
      const far = 0x70_0000_0ff0;
      host.memory.put(far, fadt(0x608));
      host.memory.put(0x60_0000_0000, xsdt(BigInt(far)));
      host.memory.put(RSDP, rsdp(0, 0x60_0000_0000n));
    });
    expect(timer).toBe("PM timer");
  });
});

describe("A bad checksum", () => {
  const damaged = (n: number) => (host: FakeHost) => {
    const tables = putTables(host, fadt(0x608), madt(ioapic(IOAPIC)));
    const at = tables[n]! + 40;
    host.memory.store(at, 1, host.memory.load(at, 1) ^ 1n);
  };

  test.each([
    ["the FADT", 0, "FACP", { timer: "PIT", input: 4, polled: false }],
    ["the MADT", 1, "APIC", { timer: "PM timer", input: -1, polled: true }],
  ])("in %s: it is ignored, with a warning", (_, n, signature, expected) => {
    const { host, warnings, ...found } = read(damaged(n));
    expect(found).toMatchObject(expected);
    expect(warnings).toEqual([
      expect.stringMatching(new RegExp(`^${signature} at 0xe1\\w{3}: bad checksum, ignored$`)),
    ]);
    expect(host.strays).toEqual([]);
  });

  test("in the RSDP: the next one is taken, or none", () => {
    const { timer, warnings } = read((host) => {
      ordinaryTables(host);
      host.memory.put(0xf0000, host.memory.get(RSDP, 36));
      host.memory.store(RSDP + 9, 1, 0x55n);
    });
    expect({ timer, warnings }).toEqual({
      timer: "PM timer",
      warnings: ["RSDP at 0xe0000: bad checksum, ignored"],
    });
    const none = read((host) => {
      ordinaryTables(host);
      host.memory.store(RSDP + 9, 1, 0x55n);
    });
    expect(none).toMatchObject({ ...nothing, warnings: ["RSDP at 0xe0000: bad checksum, ignored"] });
  });

  test("in the RSDP's later part counts from revision 2 on", () => {
    const change = (revision: number) => (host: FakeHost) => {
      ordinaryTables(host);
      const bytes = host.memory.get(RSDP, 36);
      bytes[15] = revision;
      fixChecksum(bytes, 8, 20);
      bytes[33] = 0x55;
      host.memory.put(RSDP, bytes);
    };
    expect(read(change(0))).toMatchObject(both);
    expect(read(change(2))).toMatchObject({
      ...nothing,
      warnings: ["RSDP at 0xe0000: bad checksum, ignored"],
    });
  });

  test("in the XSDT: the RSDT is taken", () => {
    let at = 0;
    const { timer, warnings } = read((host) => {
      ordinaryTables(host);
      at = Number(host.memory.load(RSDP + 24, 8));
      host.memory.store(at + 9, 1, host.memory.load(at + 9, 1) ^ 0xffn);
    });
    expect({ timer, warnings }).toEqual({
      timer: "PM timer",
      warnings: [`XSDT at 0x${at.toString(16)}: bad checksum, ignored`],
    });
  });

  test("in a table that root does not use is none of its business", () => {
    const { warnings, timer } = read((host) => {
      const other = table("SSDT", Buffer.from("abcd"));
      other[40] = 0;
      putTables(host, other, fadt(0x608), madt(ioapic(IOAPIC)));
    });
    expect({ timer, warnings }).toEqual({ timer: "PM timer", warnings: [] });
  });
});

describe("What the tables point at", () => {
  const list =
    (...pointers: bigint[]) =>
    (host: FakeHost) => {
      host.memory.put(0xe1000, fadt(0x608));
      host.memory.put(0xe2000, madt(ioapic(IOAPIC)));
      host.memory.put(0xe4000, xsdt(...pointers, 0xe1000n, 0xe2000n));
      host.memory.put(RSDP, rsdp(0, 0xe4000n));
    };

  test.each([
    ["nothing", 0n],
    ["the list itself", 0xe4000n],
    ["the RSDP", BigInt(RSDP)],
    ["a hole", 0x7f_0000_0000n],
    ["the last addresses of the CPU", (1n << 39n) - 4n],
    ["beyond the CPU's addresses", 1n << 39n],
    ["beyond root's window", 1n << 44n],
    ["the end of all addresses", (1n << 64n) - 1n],
    ["where adding a length wraps", (1n << 64n) - 36n],
    ["an odd place in a table", 0xe1001n],
  ])("may be %s: the others are found", (_, pointer) => {
    expect(read(list(pointer))).toMatchObject(both);
  });

  test("may be the same table many times: the first counts", () => {
    expect(read(list(...Array.from({ length: 100 }, () => 0xe2000n)))).toMatchObject({
      ...both,
      warnings: [],
    });
  });

  test.each([0, 1, 35, 0x100000, 0x7fffffff, 0xffffffff])(
    "may say that it is %d bytes long: it is ignored",
    (length) => {
      const { timer, input } = read((host) => {
        list(0xe6000n)(host);
        const odd = fadt(0x999);
        odd.writeUInt32LE(length, 4);
        host.memory.put(0xe6000, fixChecksum(odd, 9));
      });
      expect({ timer, input }).toEqual({ timer: "PM timer", input: 4 });
    },
  );

  test("may be too many: the first 256 are looked at, in little time", () => {
    const pointers = (n: number) => Array.from({ length: n }, (_, i) => BigInt(0x10_0000_0000 + 64 * i));
    expect(read(list(...pointers(254)))).toMatchObject(both);
    const many = read((host) => {
      const body = Buffer.alloc(130000 * 8);
      pointers(130000).forEach((at, i) => body.writeBigUInt64LE(at, i * 8));
      host.memory.put(0x20000000, table("XSDT", body));
      host.memory.put(RSDP, rsdp(0, 0x20000000n));
    });
    expect(many).toMatchObject(nothing);
    expect(many.host.strays.length).toBeLessThan(2000);
  });

  test("may be a list by another name: it is none", () => {
    const named = (wide: string, narrow: string) => (host: FakeHost) => {
      host.memory.put(0xe1000, fadt(0x608));
      host.memory.put(0xe2000, table(wide, Buffer.from([0, 0x10, 0xe, 0, 0, 0, 0, 0])));
      host.memory.put(0xe3000, table(narrow, Buffer.from([0, 0x10, 0xe, 0])));
      host.memory.put(RSDP, rsdp(0xe3000, 0xe2000n));
    };
    expect(read(named("XSDT", "OOPS")).timer).toBe("PM timer");
    expect(read(named("OOPS", "RSDT")).timer).toBe("PM timer");
    expect(read(named("RSDT", "XSDT")).timer).toBe("PIT");
  });
});

describe("The FADT", () => {
  test.each([
    ["without a timer", fadt(0, 0)],
    ["with a timer of another size than 4", fadt(0x608, 3)],
    ["with a port above FFFFh", fadt(0x10608)],
    ["with a port that is cut off by the end of the ports", fadt(0xfffd)],
  ])("%s: the PIT is used", (_, bytes) => {
    expect(read((host) => putTables(host, bytes, madt(ioapic(IOAPIC))))).toMatchObject({
      timer: "PIT",
      input: 4,
    });
  });

  test("that ends before the timer's size is as one without", () => {
    const short = table("FACP", fadt(0x608).subarray(36, 91));
    expect(read((host) => putTables(host, short)).timer).toBe("PIT");
    const enough = table("FACP", fadt(0x608).subarray(36, 92));
    expect(read((host) => putTables(host, enough)).timer).toBe("PM timer");
  });
});

describe("The MADT", () => {
  const withMadt = (...structures: Uint8Array[]) => read((host) => putTables(host, madt(...structures)));
  const other = (kind: number, size: number) => Buffer.concat([Buffer.from([kind, size]), Buffer.alloc(Math.max(size - 2, 0))]); // prettier-ignore

  test("may have structures that root does not know, before and after", () => {
    const found = withMadt(other(0, 8), other(9, 16), other(200, 2), ioapic(IOAPIC), other(255, 255));
    expect(found).toMatchObject({ input: 4, warnings: [] });
  });

  test.each([0, 1])("with a structure of %d bytes ends there", (size) => {
    expect(withMadt(other(7, size), ioapic(IOAPIC)).input).toBe(-1);
    expect(withMadt(ioapic(IOAPIC), other(7, size), override(4, 9, 0)).input).toBe(4);
  });

  test("with a structure that is cut off, or smaller than its kind, ends there or leaves it", () => {
    for (let length = 2; length < 12; length++) {
      const cut = ioapic(IOAPIC).subarray(0, length);
      expect(withMadt(cut).input).toBe(-1);
      const small = Buffer.from(cut);
      small[1] = length;
      expect(withMadt(small).input).toBe(-1);
    }
    expect(withMadt(ioapic(IOAPIC), override(4, 9, 0).subarray(0, 9)).input).toBe(4);
  });

  test("shorter than its head has nothing", () => {
    expect(read((host) => putTables(host, table("APIC", new Uint8Array(4)))).input).toBe(-1);
  });

  // 5.2.12.5: flags are polarity in bits 1:0 and trigger mode in bits 3:2; 82093AA 3.2.4: bits 13 and 15.
  test.each([
    ["as the bus has it", 0, 0],
    ["active high, edge", 5, 0],
    ["active low, edge", 7, 0x2000],
    ["active high, level", 0xd, 0x8000],
    ["active low, level", 0xf, 0xa000],
  ])("gives an interrupt's input, polarity and mode: %s", (_, flags, mode) => {
    expect(withMadt(ioapic(IOAPIC), override(4, 20, flags))).toMatchObject({
      input: 20,
      mode,
      polled: false,
    });
  });

  test("with an override of no ISA interrupt is read past it", () => {
    expect(withMadt(override(16, 4, 0xf), override(255, 4, 0xf), ioapic(IOAPIC))).toMatchObject({
      input: 4,
      mode: 0,
    });
  });

  test.each([24, 119, 120, 255, 0x10004, 0xffffffff])(
    "with an override to input %d, which is not there: polled",
    (gsi) => {
      const { host, polled, input } = withMadt(ioapic(IOAPIC), override(4, gsi, 0));
      expect({ polled, input }).toEqual({ polled: true, input: -1 });
      expect(host.ports.uarts[0].interruptEnable).toBe(0);
    },
  );

  test("with several I/O APICs: the one that serves interrupt 0 is used", () => {
    expect(withMadt(ioapic(0xfec08000, 24), ioapic(IOAPIC, 0), ioapic(0xfec09000, 48)).input).toBe(4);
  });

  test("with the first I/O APIC's interrupts from 16 on: interrupt 4 is not its", () => {
    expect(withMadt(ioapic(IOAPIC, 16))).toMatchObject({ input: -1, polled: true });
    expect(withMadt(ioapic(IOAPIC, 16), override(4, 18, 0)).input).toBe(2);
  });

  test.each([
    ["in RAM", 0x1000000],
    ["over the image", 0x400000],
    ["over the first page", 0],
    ["not on 256 bytes", IOAPIC + 16],
    ["across the end of 4 GiB", 0xfffffff8],
  ])("with an I/O APIC %s: it is ignored, with a warning", (_, address) => {
    const { warnings, ...found } = withMadt(ioapic(address));
    expect(found).toMatchObject({ input: -1, polled: true });
    expect(warnings).toEqual([
      `I/O APIC at 0x${(address >>> 0).toString(16)}: expected on 256 bytes and outside of RAM, ignored`,
    ]);
  });

  test("with an I/O APIC where nothing answers: it is not used", () => {
    expect(read((host) => putTables(host, madt(ioapic(IOAPIC))), { ioapicInputs: 0 })).toMatchObject({
      polled: true,
    });
    expect(withMadt(ioapic(0xd0000000)).polled).toBe(true);
  });

  test("All inputs are masked before one is used", () => {
    const host = new FakeHost({ ioapicInputs: 24, firmware: ordinaryTables, modules: kernels(1) });
    for (let i = 0; i < 24; i++) host.apic.redirections[i * 2] = 0x30 + i;
    host.boot();
    host.apic.redirections.forEach((low, i) => {
      if (i % 2 === 0 && i !== 8) expect(low & 0x10000, `input ${i / 2}`).toBe(0x10000);
    });
  });
});

describe("Seeded damage to the tables never makes root fault", () => {
  const batches = Array.from({ length: 2 * effort }, (_, i): [number, boolean] => [i >> 1, i % 2 === 0]);

  test.each(batches)("batch %d, with checksums that are right: %s", (batch, isFixed) => {
    for (let seed = batch * 80 + 1; seed <= batch * 80 + 80; seed++) {
      const random = new Random(seed * 2 + (isFixed ? 1 : 0));
      const bytes = [
        fadt(0x608),
        madt(ioapic(IOAPIC), override(0, 2, 0), override(9, 9, 0xd), override(4, 4, 0)),
      ];
      const damage = (table: Uint8Array) => {
        for (let n = 1 + random.below(4); n > 0; n--)
          table[random.below(table.length)] = random.pick([0, 1, 2, 0x7f, 0x80, 0xff, random.below(256)]);
        return isFixed ? fixChecksum(table, 9) : table;
      };
      const host = new FakeHost({
        cpuid: silent,
        ioapicInputs: 24,
        modules: kernels(1),
        firmware: (machine) => {
          const places = putTables(machine, ...bytes.map((b) => (random.below(2) === 0 ? b : damage(b))));
          const list = Number(machine.memory.load(RSDP + 24, 8));
          if (random.below(3) === 0) machine.memory.put(list, damage(machine.memory.get(list, 36 + 16)));
          if (random.below(8) === 0) machine.memory.store(places[1]! + 4, 4, BigInt(random.below(2 ** 32)));
        },
      });
      const log = host.boot();
      expect(log.slice(-2), `seed ${seed}: ${log.join("\n")}`).toEqual(["done", "halts"]);
      expect(log.length).toBeLessThan(40);
    }
  });
});
