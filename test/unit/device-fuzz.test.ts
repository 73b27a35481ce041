/**
 * Each device, programmed with random values of all widths in random order, by the exits that a guest's accesses are. Two
 * monitors do the same; what lies around their devices' state differs. So whatever a device gives away of it shows.
 */
import { describe, expect, test } from "vitest";
import { vendors } from "./fake/cpu.ts";
import { Next } from "./fake/exit.ts";
import { abi } from "./fake/layout.ts";
import { read, write } from "./fake/mmio.ts";
import { Pc, Random } from "./fake/pc.ts";

/** Where a device is: ports or memory, from first to last. */
type Range = [space: "port" | "memory", first: number, last: number];

const ECAM = 0xe0000000;
const HPET = 0xfed00000;
const ISA = 0x1f << 3;

const devices: Record<string, Range[]> = {
  "the 8259s": [
    ["port", 0x20, 0x21],
    ["port", 0xa0, 0xa1],
    ["port", 0x4d0, 0x4d1],
  ],
  "the 8254": [
    ["port", 0x40, 0x43],
    ["port", 0x61, 0x61],
  ],
  "the clock": [["port", 0x70, 0x71]],
  "the UART": [["port", 0x3f8, 0x3ff]],
  "power management": [
    ["port", 0x600, 0x60b],
    ["port", 0xcf9, 0xcf9],
  ],
  "the HPET": [["memory", HPET, HPET + 0x17f]],
  PCI: [
    ["port", 0xcf8, 0xcff],
    ["memory", ECAM, ECAM + 0x107],
    ["memory", ECAM + (ISA << 12), ECAM + (ISA << 12) + 0x107],
    ["memory", ECAM, ECAM + (256 << 20) - 8],
  ],
};

const ACCESSES = process.env["NIGHTLY"] ? 1_000_000 : 20_000;
/** Milliseconds that an access may take on a busy machine. */
const LONGEST = 2000;
const ENDS = [abi("STOPREASON_RESET"), abi("STOPREASON_POWERED_OFF")];

/** Linear memory that belongs to no device: page 0, and what lies between and behind what is laid out. */
const AROUND: [from: number, to: number][] = [
  [0, 0x1000],
  [abi("DEVICE_TABLE") + 64, 0x2000],
  [abi("CONSOLE_RING") + abi("CONSOLE_IN_OFFSET") + abi("CONSOLE_IN_SIZE"), abi("VCPU_AREA")],
  [abi("VCPU_AREA") + abi("VCPU_AREA_SIZE"), abi("MONITOR_DATA")],
  [abi("MONITOR_DATA") + 0xc000, abi("LAPIC_AREA")],
  [abi("LAPIC_AREA") + abi("VCPU_AREA_SIZE"), 0x40000],
];
/** And guest RAM that nothing has been put into. */
const RAM: [from: number, to: number] = [0xa00000, 0x1000000];

/** Whether every byte is `value`: the first one is, and each is like the one before it. */
function isAll(bytes: Uint8Array, value: number): boolean {
  const [rest, others] = [bytes.subarray(1), bytes.subarray(0, -1)];
  return bytes[0] === value && Buffer.compare(rest, others) === 0;
}

class Twin extends Pc {
  constructor(
    vendor: (typeof vendors)[number],
    private readonly pattern: number,
  ) {
    super({ vendor });
    this.initialisePics();
    this.unmask(0, 4, 8, 9);
    for (const [from, to] of AROUND) {
      const bytes = this.machine.bytes(from, to - from);
      expect(isAll(bytes, 0)).toBe(true);
      bytes.fill(pattern);
    }
    this.machine.ram.bytes.fill(pattern, ...RAM);
  }

  get isIntact(): boolean {
    const isPattern = (bytes: Uint8Array) => isAll(bytes, this.pattern);
    return (
      AROUND.every(([from, to]) => isPattern(this.machine.bytes(from, to - from))) &&
      isPattern(this.machine.ram.bytes.subarray(...RAM))
    );
  }

  /** What the access says: the value read, and how the exit ends. Root serves what it is asked for. */
  access(space: Range[0], at: number, size: 1 | 2 | 4 | 8, value: bigint | undefined): unknown[] {
    let got: unknown;
    let next = Next.Resume;
    if (space === "memory") {
      if (value === undefined) got = read(this, at, size);
      else next = write(this, at, size, value);
    } else if (value === undefined) {
      this.machine.setGpr(0, 0n);
      next = this.cpu.in(at, size);
      got = this.machine.gpr(0);
    } else {
      next = this.out(at, Number(value), size);
    }
    if (next === Next.Yield) {
      got = [got, this.machine.takeOutput()];
      expect(this.machine.enter()).toBe(Next.Resume);
    }
    if (next === Next.Stop) expect(ENDS).toContain(this.machine.stop.reason);
    return [got, next, this.machine.deadline];
  }

  /** Time passes; root comes when it was asked to. */
  later(ticks: number): void {
    const { machine } = this;
    machine.tsc += BigInt(ticks);
    machine.takeOutput();
    if (machine.deadline > machine.tsc) return;
    expect(machine.enter()).toBe(Next.Resume);
    expect(machine.deadline).toBeGreaterThan(machine.tsc);
  }
}

describe.each(vendors)("On %s:", (vendor) => {
  test.each(Object.entries(devices))(
    "%s takes whatever comes: no trap, no hang, and nothing of others is read or written",
    (name, ranges) => {
      const random = new Random(name.length);
      const start = () => [new Twin(vendor, 0xa5), new Twin(vendor, 0x3c)] as const;
      let twins = start();
      let longest = 0;
      const said: string[] = [];
      for (let i = 0; i < ACCESSES; i++) {
        const [space, first, last] = random.pick(ranges);
        const size = random.pick(
          space === "port" ? ([1, 1, 1, 2, 4] as const) : ([1, 2, 4, 4, 8, 8] as const),
        );
        let at = first + random.below(last - first + 1);
        // Aligned for the most part, and now and then into what is next to the device.
        if (random.below(4)) at -= at % size;
        else if (space === "port" && random.below(4) === 0) at -= random.below(size);
        if (space === "memory" && (at & 0xfff) + size > 0x1000) at &= ~7;
        let value: bigint | undefined;
        if (random.below(2)) {
          const some = random.pick([
            0,
            1,
            2 ** 32 - 1,
            random.below(256),
            random.below(2 ** 32),
            1 << random.below(31),
          ]);
          value = BigInt.asUintN(
            size * 8,
            BigInt(some) | (BigInt(random.below(2 ** 32)) << (random.below(2) ? 32n : 16n)),
          );
          // What switches the machine off, or resets it, would leave nothing to happen in between.
          if (random.below(40) && (name === "power management" || name === "PCI") && space === "port")
            value &= ~0x24242424n;
        }
        said.push(`${space} ${at.toString(16)} ${size} ${value?.toString(16) ?? "read"}`);
        if (said.length > 30) said.shift();
        const before = performance.now();
        const [one, other] = twins.map((t) => {
          try {
            return t.access(space, at, size, value);
          } catch (error) {
            throw new Error(said.join("\n"), { cause: error });
          }
        });
        longest = Math.max(longest, performance.now() - before);
        if (String(one) !== String(other)) expect(one, said.join("\n")).toEqual(other);
        if (one![1] === Next.Stop) twins = start();
        if (random.below(16) === 0) {
          const ticks = random.pick([1, 1000, random.below(1_000_000), random.below(2 ** 31), 2 ** 44]);
          for (const t of twins) t.later(ticks);
        }
        if (random.below(32) === 0) {
          const taken = twins.map((t) => t.interrupt());
          expect(taken[0]).toBe(taken[1]);
        }
        if (random.below(64) === 0) {
          const typed = "x".repeat(random.below(40));
          for (const t of twins) t.machine.giveInput(typed);
        }
        if (i % 5000 === 0) expect(twins.every((t) => t.isIntact)).toBe(true);
      }
      expect(twins.every((t) => t.isIntact)).toBe(true);
      expect(longest).toBeLessThan(LONGEST);
    },
    3_600_000,
  );
});
