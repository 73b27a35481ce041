/** Local APICs against a model of the manual (fake/modelapic.ts): random accesses of several vCPUs, in every mode, while time passes. */
import { describe, expect, test } from "vitest";
import { Apics, LAPIC } from "./fake/apics.ts";
import { vendors } from "./fake/cpu.ts";
import { abi } from "./fake/layout.ts";
import { Mode, ModelApic, type Surroundings } from "./fake/modelapic.ts";
import { Random } from "./fake/pc.ts";
import { VirtualApics, VirtualVtx, feature, mode } from "./fake/virtualapic.ts";

/** More than CPUID 15h can say of a crystal, which is half as fast. */
const HZ = 5_000_000_000n;
const SHIFT = 1n;
/** Accesses of one run. */
const accesses = process.env["NIGHTLY"] ? 125_000 : 4_000;
const APIC_BASE = 0x1b;
const DEADLINE = 0x6e0;
const X2 = 0x800;

class Pair implements Surroundings {
  readonly guest: Apics;
  readonly apics: ModelApic[];
  private readonly start: bigint;

  constructor(
    count: number,
    vendor: (typeof vendors)[number] | number,
    readonly random: Random,
    readonly ratio: bigint,
  ) {
    const clock = { tscHz: HZ / ratio, ...(ratio === 1n ? {} : { guestTscHz: HZ }) };
    this.guest =
      typeof vendor === "number"
        ? new VirtualApics(count, "VT-x", clock, vendor)
        : new Apics(count, vendor, clock);
    this.start = this.guest.machine.tsc;
    this.apics = Array.from({ length: count }, (_, n) => new ModelApic(n, this));
  }

  bus(): bigint {
    return this.tsc() >> SHIFT;
  }

  tsc(): bigint {
    return (this.guest.machine.tsc - this.start) * this.ratio;
  }

  number(): number {
    const { random } = this;
    if (random.below(8) === 0) return random.below(0x100);
    return random.pick([
      2,
      3,
      8,
      8,
      9,
      0xa,
      0xb,
      0xb,
      0xb,
      0xd,
      0xe,
      0xf,
      0xf,
      0x10 + random.below(25),
      0x28,
      0x28,
      0x30,
      0x30,
      0x30,
      0x30,
      0x31,
      0x32,
      0x32,
      0x33,
      0x34,
      0x35,
      0x36,
      0x37,
      0x38,
      0x38,
      0x39,
      0x3e,
      0x3f,
      0x3f,
    ]);
  }

  destination(): number {
    const { random } = this;
    return random.pick([
      random.below(this.apics.length + 1),
      1 << random.below(8),
      random.below(256),
      0xff,
      0xffffffff,
      random.below(3) * 0x10000 + random.below(0x10000),
    ]);
  }

  /** A value that may be for the register. */
  value(number: number): number {
    const { random } = this;
    const vector = random.below(4) ? 16 + random.below(240) : random.below(256);
    const any = () => random.below(2 ** 32);
    // INIT and SIPI are not the model's.
    const anyCommand = () => {
      const command = any();
      return [5, 6].includes((command >>> 8) & 7) ? (command & ~0x400) >>> 0 : command;
    };
    if (random.below(30) === 0) return number === 0x30 ? anyCommand() : any();
    switch (number) {
      case 0xb:
      case 0x28:
        return random.below(10) ? 0 : any();
      case 0xf:
        return random.below(5) ? 0x100 | vector : vector | (random.below(2) << 12) | (random.below(2) << 9);
      case 0x30: {
        const mode = random.pick([0, 0, 0, 0, 1, 1, 2, 3, 4, 7]);
        const flags = (random.below(2) << 11) | (random.below(4) << 14) | (random.below(4) << 18);
        return vector | (mode << 8) | flags;
      }
      case 0x0d:
        return (random.pick([1 << random.below(8), random.below(256)]) << 24) >>> 0;
      case 0x0e:
        return random.pick([0xffffffff, 0x0fffffff, 0, any()]);
      case 0x31:
        return (this.destination() << 24) >>> 0;
      case 0x32:
        return vector | (random.below(3) << 17) | (random.below(4) ? 0 : 1 << 16);
      case 0x33:
      case 0x34:
      case 0x37:
        return vector | (random.below(2) << 16);
      case 0x35:
      case 0x36:
        return vector | (1 << 16) | (random.below(8) << 8) | (random.below(2) << 15);
      case 0x38:
        return random.pick([0, 1, random.below(100), random.below(100_000), any()]);
      case 0x3e:
        return random.pick([0, 1, 2, 3, 8, 9, 10, 11]);
      default:
        return random.below(3) ? vector : any();
    }
  }

  /** One access by vCPU n, to both. Says what it was. */
  access(n: number): string {
    const { random, guest } = this;
    const model = this.apics[n]!;
    const which = random.below(40);
    if (which === 0) {
      const mode = random.pick([0x800n, 0x800n, 0xc00n, 0xc00n, 0n, 0x400n]);
      const value = BigInt(LAPIC) | mode | (random.below(20) ? 0n : 1n << BigInt(random.below(64)));
      const what = `WRMSR APIC_BASE ${value.toString(16)}`;
      // The page would be elsewhere: that has its own test.
      if ((value & 0x7ffffff000n) !== BigInt(LAPIC)) return "";
      expect(guest.wrmsr(n, APIC_BASE, value), what).toBe(model.writeBase(value));
      return what;
    }
    if (which === 1) {
      expect(guest.rdmsr(n, APIC_BASE), "APIC_BASE").toBe(model.base);
      return "RDMSR APIC_BASE";
    }
    if (which < 5) {
      const value = random.pick([
        0n,
        this.tsc() + BigInt(random.below(5000)),
        BigInt(random.below(1000)),
        2n ** 63n,
      ]);
      expect(guest.wrmsr(n, DEADLINE, value)).toBe(true);
      model.writeDeadline(value);
      return `deadline ${value}`;
    }
    if (which < 7) {
      expect(guest.rdmsr(n, DEADLINE), "TSC_DEADLINE").toBe(model.readDeadline());
      return "read deadline";
    }
    if (which === 7) {
      const value = random.below(8) ? BigInt(random.below(16)) : 16n;
      expect(guest.writeCr8(n, value)).toBe(value < 16n);
      if (value < 16n) model.tpr = Number(value) << 4;
      return `CR8 ${value}`;
    }
    if (which === 8) {
      expect(guest.readCr8(n), "CR8").toBe(model.tpr >> 4);
      return "read CR8";
    }
    const number = this.number();
    const useMsr = model.mode === Mode.X2 ? random.below(10) > 0 : random.below(10) === 0;
    if (useMsr) {
      if (random.below(2)) {
        expect(guest.rdmsr(n, X2 + number), `RDMSR ${number.toString(16)}`).toBe(model.rdmsr(number));
        return `RDMSR ${number.toString(16)}`;
      }
      const low = BigInt(this.value(number));
      const high = number === 0x30 ? BigInt(this.destination()) : random.below(20) ? 0n : 1n;
      const value = low | (high << 32n);
      const what = `WRMSR ${number.toString(16)} ${value.toString(16)}`;
      expect(guest.wrmsr(n, X2 + number, value), what).toBe(model.wrmsr(number, value));
      return what;
    }
    if (model.mode !== Mode.XApic) return "";
    const offset = (number & 0xff) << 4;
    if (random.below(2)) {
      expect(guest.load(n, LAPIC + offset), `load ${offset.toString(16)}`).toBe(model.load(offset));
      return `load ${offset.toString(16)}`;
    }
    const value = this.value(number);
    guest.store(n, LAPIC + offset, value);
    model.store(offset, value);
    return `store ${offset.toString(16)} ${value.toString(16)}`;
  }

  /** The processor takes an interrupt, where it is asked to. */
  take(n: number): string {
    const model = this.apics[n]!;
    const nmis = this.guest.nmis;
    const taken = this.guest.take(n);
    if (taken?.type === 2) {
      nmis[n]!++;
      return "NMI";
    }
    const wanted = model.output;
    expect(taken?.vector ?? 0, "taken").toBe(wanted);
    if (wanted) model.take();
    return `take ${wanted}`;
  }

  /** The vCPU runs with interrupts on: an access, or time, and what it takes at once. */
  open(n: number): string {
    const { random, guest } = this;
    const model = this.apics[n]!;
    let taken;
    let what = "external";
    const vector = BigInt(16 + random.below(240));
    if (model.mode === Mode.X2 && random.below(3)) {
      const [number, value] = random.pick([
        [0x0b, 0n],
        [0x3f, vector],
        [0x3f, vector],
        [0x30, vector | (1n << 18n)],
        [0x08, BigInt(random.below(256))],
      ] as const);
      what = `WRMSR ${number.toString(16)} ${value.toString(16)}`;
      taken = guest.open(n, (cpu) => cpu.wrmsr(X2 + number, value));
      model.wrmsr(number, value);
    } else {
      guest.machine.tsc += BigInt(random.below(3000));
      taken = guest.openExternal(n);
      for (const apic of this.apics) apic.update();
    }
    if (taken?.type === 2) {
      guest.nmis[n]!++;
      return `${what}: NMI`;
    }
    expect(taken?.vector ?? 0, `${what}: taken`).toBe(model.output);
    if (taken) model.take();
    return `${what}: takes ${taken?.vector}`;
  }

  pass(): void {
    const { random, guest } = this;
    guest.machine.tsc += BigInt(
      random.pick([1, random.below(100), random.below(5000), random.below(1_000_000)]),
    );
    this.look();
  }

  /** All look what is due. Who waits for what is nearly due takes time, so the others look again. */
  look(): void {
    const { guest } = this;
    let seen;
    do {
      seen = guest.machine.tsc;
      for (const apic of this.apics) apic.update();
      for (let n = 0; n < guest.count; n++) guest.external(n);
    } while (guest.machine.tsc !== seen);
  }

  /** What the monitor wants to be woken for: nothing later than what the timer has to do. */
  checkDeadlines(): void {
    this.apics.forEach((apic, n) => {
      if (apic.lvt["timer"]!.timer === 2 ? apic.deadline === 0n : apic.togo === 0n) return;
      const armed = this.guest.deadlines[n]!;
      const periodCode = (apic.divide & 3) | ((apic.divide >> 1) & 4);
      const period = periodCode === 7 ? 1n : 2n << BigInt(periodCode);
      const bus = apic.started + apic.togo * period;
      const ticks = apic.lvt["timer"]!.timer === 2 ? apic.deadline : bus << SHIFT;
      const due = this.start + (ticks + this.ratio - 1n) / this.ratio;
      expect(armed <= due || armed <= this.guest.machine.tsc, `deadline of ${n}: ${armed}, due ${due}`).toBe(
        true,
      );
    });
  }
}

/** Modes of the CPU that a guest gets to with features of its. */
const modesOf = (features: number): number[] => [
  mode.none,
  ...(features & feature.registers ? [mode.registers] : []),
  ...(features & feature.interrupts ? [mode.interrupts] : []),
];

const virtual = [
  ["VT-x with APIC-register virtualization", feature.tprShadow | feature.registers],
  ["VT-x with virtual-interrupt delivery", feature.tprShadow | feature.interrupts],
  ["VT-x with both", feature.tprShadow | feature.registers | feature.interrupts],
] as const;

describe.each([...vendors.map((vendor) => [vendor, vendor] as const), ...virtual])(
  "On %s local APICs do what the manual's model does",
  (_name, vendor) => {
    test.each([
      [1, 1n],
      [3, 1n],
      [abi("MAX_VCPUS"), 1n],
      // A guest's TSC that is twice as fast as the host's: what is due is exact in both.
      ...(vendor === "AMD-V" ? [] : ([[3, 2n]] as [number, bigint][])),
    ])("of %i vCPUs, whose TSC is %i times the host's", (count, ratio) => {
      const seed = count * 7919;
      const pair = new Pair(count, vendor, new Random(seed), ratio);
      const { random, guest } = pair;
      const log: string[] = [];
      try {
        for (let i = 0; i < accesses; i++) {
          const n = random.below(count);
          const what = random.below(12);
          if (what === 0) pair.pass();
          else if (what === 1) log.push(`${n}: ${pair.take(n)}`);
          else if (what === 3) log.push(`${n}: open: ${pair.open(n)}`);
          else log.push(`${n}: ${pair.access(n)}`);
          if (log.length > 30) log.shift();
          guest.kick(n);
          pair.look();
          if (what === 2) pair.checkDeadlines();
        }
      } catch (e) {
        throw new Error(`${(e as Error).message}\n${log.join("\n")}`);
      }
      if (guest instanceof VirtualApics) {
        const reached = new Set(guest.cpus.flatMap((cpu) => [...(cpu as VirtualVtx).seen]));
        expect([...reached].sort()).toEqual(modesOf(vendor as number));
      }
      // The first NMI is the last one that counts: the guest has no handler, whose IRET would let the next one in.
      expect(guest.nmis.slice(0, count).some((n) => n > 0)).toBe(pair.apics.some((a) => a.nmis > 0));
    });
  },
);
