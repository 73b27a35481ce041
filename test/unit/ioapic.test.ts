import { describe, expect, test } from "vitest";
import { Apics, IOAPIC, LAPIC } from "./fake/apics.ts";
import { type Vendor, vendors } from "./fake/cpu.ts";
import { ModelIoApic } from "./fake/modelioapic.ts";
import { Random } from "./fake/pc.ts";
import { VirtualApics } from "./fake/virtualapic.ts";

const accesses = process.env["NIGHTLY"] ? 250_000 : 5_000;
const MASKED = 1 << 16;
const LEVEL = 1 << 15;
const ACTIVE_LOW = 1 << 13;
const REMOTE_IRR = 1 << 14;

type Base = new (count: number, vendor: Vendor) => Apics;
const kinds = [
  ...vendors.map((vendor) => [vendor, vendor, Apics as Base] as const),
  ["VT-x with virtual-interrupt delivery", "VT-x", VirtualApics as Base] as const,
];

describe.each(kinds)("On %s the I/O APIC", (_name, vendor, Base) => {
  class Machine extends Base {
    constructor(count = 1) {
      super(count, vendor);
      this.x2All();
      // Nothing comes by the 8259s.
      this.out(0x21, 0xff);
      this.out(0xa1, 0xff);
    }

    out(port: number, value: number, size = 1): void {
      this.on(0, (cpu) => cpu.out(port, value, size));
    }

    read(index: number): number {
      this.store(0, IOAPIC, index);
      return this.load(0, IOAPIC + 0x10);
    }

    write(index: number, value: number): void {
      this.store(0, IOAPIC, index);
      this.store(0, IOAPIC + 0x10, value);
    }

    route(input: number, low: number, destination = 0): void {
      this.write(0x11 + input * 2, destination << 24);
      this.write(0x10 + input * 2, low);
    }

    eoi(n = 0): void {
      this.wrmsr(n, 0x80b, 0n);
    }

    /** Raises and releases the lines of the timer, input 2, and of the UART, input 4. */
    timer(up: boolean): void {
      this.out(0x43, up ? 0x34 : 0x30);
    }
    uart(up: boolean): void {
      this.out(0x3f9, up ? 2 : 0);
      this.out(0x3fc, up ? 8 : 0);
    }
    /** The SCI, input 9: the PM timer's half has passed. */
    sci(up: boolean): void {
      this.out(0x602, up ? 1 : 0);
    }
  }

  test("has version 20h and 24 entries, which start masked", () => {
    const m = new Machine();
    expect(m.read(1)).toBe(0x00170020);
    for (let n = 0; n < 24; n++) expect([m.read(0x10 + n * 2), m.read(0x11 + n * 2)]).toEqual([MASKED, 0]);
    expect([m.read(0x40), m.read(0xff), m.read(3)]).toEqual([0, 0, 0]);
  });

  test("brings the timer to input 2, the UART to 4, and the SCI to 9", () => {
    const m = new Machine();
    m.machine.tsc += 1_000_000_000n * 700n;
    m.on(0, () => m.machine.enter());
    for (const [input, raise] of [
      [2, () => m.timer(true)],
      [4, () => m.uart(true)],
      [9, () => m.sci(true)],
    ] as const) {
      m.route(input, 0x60 + input);
      m.timer(false);
      m.uart(false);
      m.sci(false);
      while (m.interrupt(0) !== undefined) m.eoi();
      raise();
      expect(m.interrupt(0), `input ${input}`).toBe(0x60 + input);
      m.eoi();
      m.route(input, MASKED);
    }
  });

  test("forgets an edge that comes while its entry is masked, and takes a level that is there when it no longer is", () => {
    const m = new Machine();
    m.route(4, MASKED | 0x44);
    m.uart(true);
    m.route(4, 0x44);
    expect(m.interrupt(0)).toBeUndefined();
    m.route(4, MASKED | LEVEL | 0x44);
    expect(m.interrupt(0)).toBeUndefined();
    m.route(4, LEVEL | 0x44);
    expect(m.interrupt(0)).toBe(0x44);
  });

  test("keeps a level's remote IRR until its end, by broadcast or by the EOI register, and asks again if it is still there", () => {
    const m = new Machine();
    m.route(4, LEVEL | 0x44);
    m.uart(true);
    expect(m.read(0x18) & REMOTE_IRR).toBe(REMOTE_IRR);
    expect(m.interrupt(0)).toBe(0x44);
    expect(m.rdmsr(0, 0x81a)).toBe(1n << 4n); // TMR
    m.eoi();
    expect(m.interrupt(0)).toBe(0x44);
    m.uart(false);
    m.eoi();
    expect(m.read(0x18) & REMOTE_IRR).toBe(0);
    expect(m.interrupt(0)).toBeUndefined();
    // Suppressed: only the register ends it (SDM Vol. 3A 11.8.5).
    m.wrmsr(0, 0x80f, 0x11ffn);
    m.uart(true);
    expect(m.interrupt(0)).toBe(0x44);
    m.eoi();
    expect(m.read(0x18) & REMOTE_IRR).toBe(REMOTE_IRR);
    expect(m.interrupt(0)).toBeUndefined();
    m.uart(false);
    m.store(0, IOAPIC + 0x40, 0x43);
    expect(m.read(0x18) & REMOTE_IRR).toBe(REMOTE_IRR);
    m.store(0, IOAPIC + 0x40, 0x44);
    expect(m.read(0x18) & REMOTE_IRR).toBe(0);
  });

  test("takes a low input for asserted where the entry says so", () => {
    const m = new Machine();
    m.route(4, ACTIVE_LOW | LEVEL | 0x44);
    expect(m.interrupt(0)).toBe(0x44);
    m.uart(true);
    m.eoi();
    expect(m.interrupt(0)).toBeUndefined();
    // PCI's inputs idle high.
    m.route(17, ACTIVE_LOW | LEVEL | 0x55);
    expect(m.interrupt(0)).toBeUndefined();
  });

  test("reaches vCPUs by physical and logical destinations, and one of them by the lowest priority", () => {
    const m = new Machine(4);
    const pulse = () => {
      m.uart(false);
      m.uart(true);
      m.kick(0);
      return [0, 1, 2, 3].filter((n) => {
        const taken = m.interrupt(n) === 0x44;
        if (taken) m.eoi(n);
        return taken;
      });
    };
    for (const n of [0, 1, 2, 3]) {
      m.route(4, 0x44, n);
      expect(pulse()).toEqual([n]);
    }
    m.route(4, 0x44, 0xff);
    expect(pulse()).toEqual([0, 1, 2, 3]);
    m.route(4, 0x844, 0b1010);
    expect(pulse()).toEqual([1, 3]);
    m.route(4, 0x944, 0b1110);
    m.wrmsr(2, 0x808, 0x20n);
    m.wrmsr(1, 0x808, 0x30n);
    m.wrmsr(3, 0x808, 0x30n);
    expect(pulse()).toEqual([2]);
    m.route(4, 0x44, 9);
    expect(pulse()).toEqual([]);
  });

  test("hands the 8259s' interrupts on by ExtINT at input 0, and LINT0 does", () => {
    const m = new Machine();
    for (const [port, value] of [
      [0x20, 0x11],
      [0x21, 0x20],
      [0x21, 4],
      [0x21, 1],
      [0x21, 0xef],
    ] as const)
      m.out(port, value);
    m.uart(true);
    expect(m.interrupt(0)).toBe(0x24); // LINT0, as firmware leaves it
    m.out(0x20, 0x20);
    m.wrmsr(0, 0x835, 0x10700n);
    m.uart(false);
    m.uart(true);
    expect(m.interrupt(0)).toBeUndefined();
    m.route(0, 0x700);
    expect(m.interrupt(0)).toBe(0x24);
    m.out(0x20, 0x20);
    m.route(0, MASKED);
    // LINT0 as an interrupt of its own, at the rising edge.
    m.uart(false);
    m.wrmsr(0, 0x835, 0x55n);
    m.uart(true);
    expect(m.interrupt(0)).toBe(0x55);
    // An APIC that is disabled leaves the line to the processor.
    m.wrmsr(0, 0x1b, 0xfee00100n);
    expect(m.interrupt(0)).toBe(0x24);
  });

  test("MSIs, as a store to FEExxxxxh, go where their address says", () => {
    const m = new Machine(2);
    m.store(0, 0xfee01000, 0x4061);
    m.kick(0);
    expect([m.interrupt(0), m.interrupt(1)]).toEqual([undefined, 0x61]);
    m.eoi(1);
    m.store(0, 0xfeeff000, 0x62);
    m.kick(0);
    expect([m.interrupt(0), m.interrupt(1)]).toEqual([0x62, 0x62]);
    m.eoi(0);
    m.eoi(1);
    m.store(0, 0xfee0200c, 0x63); // logical, one of them
    m.kick(0);
    expect([m.interrupt(0), m.interrupt(1)]).toEqual([undefined, 0x63]);
  });

  test("does what its data sheet's model does, in random sequences", () => {
    const m = new Machine();
    const random = new Random(24);
    const model = new ModelIoApic((entry) =>
      entry.logical ? (entry.destination & 1) !== 0 : [0, 0xff].includes(entry.destination),
    );
    m.wrmsr(0, 0x80f, 0x11ffn); // an end is only what the EOI register says, so that the model knows of each
    const lines = { 2: false, 4: false };
    const drain = () => {
      const taken: number[] = [];
      for (let vector = m.interrupt(0); vector !== undefined; vector = m.interrupt(0)) {
        taken.push(vector);
        m.eoi();
      }
      return taken;
    };
    for (let i = 0; i < accesses; i++) {
      const what = random.below(6);
      if (what < 2) {
        const n = random.pick([2, 4] as const);
        lines[n] = !lines[n];
        if (n === 2) m.timer(lines[2]);
        else m.uart(lines[4]);
        model.drive(n, lines[n]);
      } else if (what === 2) {
        const vector = random.pick([0x40, 0x50, 0x61, 0x72]);
        m.store(0, IOAPIC + 0x40, vector);
        model.eoi(vector);
      } else {
        const index = random.pick([
          0,
          1,
          2,
          0x10 + random.below(48),
          0x14,
          0x14,
          0x15,
          0x18,
          0x18,
          0x19,
          random.below(256),
        ]);
        m.store(0, IOAPIC, index);
        model.index = index;
        if (random.below(2)) {
          expect(m.load(0, IOAPIC + 0x10), index.toString(16)).toBe(model.read());
        } else {
          const flags =
            (random.below(2) * LEVEL) | (random.below(2) * ACTIVE_LOW) | (random.below(2) * MASKED);
          const low = random.pick([0x40, 0x50, 0x61, 0x72]) | flags | random.pick([0, 0x100, 0x800, 0x200]);
          const high = random.pick([0, 1, 2, 0xff]) << 24;
          const value = (random.below(8) ? (index & 1 ? high : low) : random.below(2 ** 32) & ~0x700) >>> 0;
          // Other delivery modes are not interrupts; vectors below 16 are errors.
          if (index >= 0x10 && !(index & 1) && (value & 0xff) < 16) continue;
          m.store(0, IOAPIC + 0x10, value);
          model.write(value);
        }
      }
      const expected = [...new Set(model.sent.filter((s) => s.mode < 2).map((s) => s.vector))];
      expect(
        drain().sort((a, b) => a - b),
        `step ${i}`,
      ).toEqual(expected.sort((a, b) => a - b));
      model.sent = [];
    }
    expect(LAPIC).toBe(0xfee00000);
  });
});
