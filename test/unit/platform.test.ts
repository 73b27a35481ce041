import { describe, expect, test } from "vitest";
import { vendors } from "./fake/cpu.ts";
import { Next } from "./fake/exit.ts";
import { abi } from "./fake/layout.ts";
import { effort, Pc, Random } from "./fake/pc.ts";

describe.each(vendors)("On %s:", (vendor) => {
  const RESET = abi("STOPREASON_RESET");
  const POWERED_OFF = abi("STOPREASON_POWERED_OFF");
  const CONSOLE = abi("REQUEST_CONSOLE");
  const ONES = { 1: 0xff, 2: 0xffff, 4: 0xffffffff } as const;
  const SIZES = [1, 2, 4] as const;
  type Size = (typeof SIZES)[number];

  const ports = (first: number, last: number) =>
    Array.from({ length: last - first + 1 }, (_, i) => first + i);

  /** What a PC has at which ports; and no more is in this one. */
  const CLAIMED = new Set([
    ...[0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1], // interrupt controllers, edge and level control
    ...ports(0x40, 0x43), // timer
    0x61, // system control port B
    ...[0x70, 0x71], // clock
    0x80, // POST codes
    ...ports(0x3f8, 0x3ff), // COM1
    ...ports(0x600, 0x60b), // power management
    0xcf9, // reset control
    ...ports(0xcfc, 0xcff), // PCI configuration data
  ]);
  const KEYBOARD = 0x64;

  /** The ports of a wide access, which is one of each byte, past FFFFh at 0 again. */
  const bytesOf = (port: number, size: number) => ports(port, port + size - 1).map((p) => p & 0xffff);

  /** Of PCI's address register the double word is one register. */
  const isPciAddress = (port: number, size: number) => port === 0xcf8 && size === 4;

  /** How many bytes of an access nobody claims. */
  function unclaimed(port: number, size: number, written?: number): number {
    if (isPciAddress(port, size)) return 0;
    const claims = (p: number, i: number) =>
      CLAIMED.has(p) || (p === KEYBOARD && written !== undefined && ((written >>> (i * 8)) & 0xff) === 0xfe);
    return bytesOf(port, size).filter((p, i) => !claims(p, i)).length;
  }

  /** A PC's ways to end, by what it is told byte by byte. */
  class Endings {
    private resetControl = 0;

    /** The stop reason that an OUT should have, if any. */
    write(port: number, size: number, value: number): number | undefined {
      let reason: number | undefined;
      if (isPciAddress(port, size)) return undefined;
      bytesOf(port, size).forEach((p, i) => {
        const byte = (value >>> (i * 8)) & 0xff;
        if (p === KEYBOARD && byte === 0xfe) reason = RESET;
        if (p === 0x605 && (byte & 0x3c) === 0x34) reason = POWERED_OFF; // SLP_EN, SLP_TYP 5
        if (p === 0xcf9) {
          if ((byte & ~this.resetControl & 4) !== 0) reason = RESET;
          this.resetControl = byte;
        }
      });
      return reason;
    }
  }

  /** A guest with root around it, which serves every yield, and starts the VM anew when it has ended. */
  class Machine {
    pc = new Pc({ vendor });
    endings = new Endings();
    ended = 0;

    private get refusals(): number {
      return Number(this.pc.machine.refusals("UNCLAIMED_PORT"));
    }

    /** Root lets the guest go on; it may have nothing more to ask. */
    private serve(): void {
      if (this.pc.machine.request !== CONSOLE) throw new Error(`request ${this.pc.machine.request}`);
      this.pc.machine.takeOutput();
      if (this.pc.machine.enter() !== Next.Resume) throw new Error("yields again");
    }

    /** An IN, checked for what nobody claims. */
    in(port: number, size: Size): number {
      const { pc } = this;
      const before = this.refusals;
      pc.machine.setGpr(0, -1n);
      const next = pc.cpu.in(port, size);
      if (next === Next.Stop) throw new Error(`IN of ${size} from ${port.toString(16)} stops the VM`);
      const value = Number(pc.machine.gpr(0) & BigInt(ONES[size]));
      if (next === Next.Yield) this.serve();
      if (this.refusals - before !== unclaimed(port, size))
        throw new Error(`refusals of ${port.toString(16)}`);
      if (!isPciAddress(port, size)) {
        bytesOf(port, size).forEach((p, i) => {
          if (!CLAIMED.has(p) && ((value >>> (i * 8)) & 0xff) !== 0xff)
            throw new Error(`${p.toString(16)} reads`);
        });
      }
      return value;
    }

    /** An OUT. It may end the VM, but only by a documented way. */
    out(port: number, size: Size, value: number): void {
      const { pc } = this;
      const before = this.refusals;
      const next = pc.out(port, value, size);
      const reason = this.endings.write(port, size, value);
      const said = `OUT of ${size} to ${port.toString(16)}: ${value.toString(16)}`;
      if ((next === Next.Stop) !== (reason !== undefined)) throw new Error(`${said}: ${Next[next]}`);
      if (this.refusals - before !== unclaimed(port, size, value)) throw new Error(`${said}: refusals`);
      if (next === Next.Yield) this.serve();
      if (next !== Next.Stop) return;
      if (pc.machine.stop.reason !== reason) throw new Error(`${said}: stop ${pc.machine.stop.reason}`);
      this.ended++;
      this.pc = new Pc({ vendor });
      this.endings = new Endings();
    }

    /** Time passes, and root empties the console's ring whenever it runs. */
    pass(ticks: number): void {
      const { machine } = this.pc;
      const end = machine.tsc + BigInt(ticks);
      for (let woken = 0; machine.deadline <= end; woken++) {
        if (machine.tsc < machine.deadline) machine.tsc = machine.deadline;
        machine.takeOutput();
        if (machine.enter() !== Next.Resume) throw new Error("does not go on");
        if (machine.deadline <= machine.tsc) throw new Error("wants to be woken again, now");
        if (woken > 100_000) throw new Error("wakes too often");
      }
      machine.tsc = end;
    }
  }

  const anyValue = (random: Random, size: Size) =>
    random.below(4) === 0 ? random.pick([0, ONES[size], 1, 0xfe]) : random.below(ONES[size] + 1);

  describe("Every one of the 65,536 ports", () => {
    test.each(SIZES)("reads all ones, %i at a time, where nobody claims it, and is counted", (size) => {
      const machine = new Machine();
      for (let port = 0; port < 0x10000; port++) machine.in(port, size);
      expect(machine.ended).toBe(0);
    });

    test.each(SIZES)("takes any value, %i bytes at a time", (size) => {
      const random = new Random(size);
      const machine = new Machine();
      for (let port = 0; port < 0x10000; port++) machine.out(port, size, anyValue(random, size));
      expect(machine.ended).toBeLessThan(10);
    });
  });

  describe("Wide accesses", () => {
    test("go byte by byte through the devices that they touch, the lowest port first", () => {
      const pc = new Pc({ vendor });
      pc.out(0x20, 0xa511, 2); // ICW1, and its mask register takes ICW2
      pc.outs([0x21, 4], [0x21, 1], [0x21, 0xa5]);
      expect(pc.in(0x20, 4)).toBe(0xffffa500);
      expect(pc.in(0x1f, 2)).toBe(0x00ff);
      pc.out(0x70, 0x5a0e, 2); // index and data at once
      expect(pc.in(0x70, 2)).toBe(0x5aff);
      expect(pc.in(0x71, 2)).toBe(0xff5a);
      pc.out(0x3fe, 0x00007700, 4); // modem status takes nothing, then scratch, then nobody
      expect(pc.in(0x3fc, 4)).toBe(0x77b06000);
      expect(pc.in(0x3ff, 4)).toBe(0xffffff77);
      expect(pc.in(0x4cf, 4)).toBe(0xff0200ff);
    });

    test("write of RAX what IN says: the rest of 4 bytes is 0, the rest of 1 and 2 stays", () => {
      const pc = new Pc({ vendor });
      const rax = (size: number) => {
        pc.machine.setGpr(0, 0x1122334455667788n);
        pc.cpu.in(0x1234, size);
        return pc.machine.gpr(0);
      };
      expect([rax(1), rax(2), rax(4)]).toEqual([0x11223344556677ffn, 0x112233445566ffffn, 0xffffffffn]);
    });

    test.each([
      [0xffff, 2],
      [0xfffd, 4],
      [0xfffe, 4],
      [0xffff, 4],
    ] as const)("from %i, %i bytes, pass the last port, and meet nobody", (port, size) => {
      const pc = new Pc({ vendor });
      expect(pc.in(port, size) >>> 0).toBe(ONES[size]);
      expect(pc.out(port, 0x12345678, size)).toBe(Next.Resume);
      expect(pc.machine.refusals("UNCLAIMED_PORT")).toBe(BigInt(size * 2));
    });
  });

  /** PCI 3.0, 3.2.2.3.2, Software Generation of Configuration Transactions. */
  describe("PCI configuration space", () => {
    test("is behind mechanism 1, as Linux tests for it, and not behind mechanism 2", () => {
      const pc = new Pc({ vendor });
      pc.out(0xcfb, 1);
      const before = pc.in(0xcf8, 4);
      pc.out(0xcf8, 0x80000000, 4);
      expect(pc.in(0xcf8, 4) >>> 0).toBe(0x80000000);
      pc.out(0xcf8, before, 4);
      expect(pc.in(0xcf8, 4)).toBe(before);
      pc.outs([0xcfb, 0], [0xcf8, 0], [0xcfa, 0]);
      expect([pc.in(0xcf8), pc.in(0xcfa)]).not.toEqual([0, 0]);
    });

    test("has an address register of one double word, whose reserved bits read 0", () => {
      const pc = new Pc({ vendor });
      pc.out(0xcf8, 0xffffffff, 4);
      expect(pc.in(0xcf8, 4) >>> 0).toBe(0x80fffffc);
      // Bytes and words are not its.
      pc.outs([0xcf8, 0], [0xcfa, 0], [0xcfb, 0]);
      pc.out(0xcfa, 0, 2);
      expect(pc.in(0xcf8, 4) >>> 0).toBe(0x80fffffc);
      expect([pc.in(0xcf8), pc.in(0xcfa), pc.in(0xcfb), pc.in(0xcfa, 2)]).toEqual([0xff, 0xff, 0xff, 0xffff]);
    });

    test("reads all ones by byte, word and double word where no function is, or it is not enabled", () => {
      const pc = new Pc({ vendor });
      const random = new Random(7);
      for (let i = 0; i < 3000; i++) {
        const [bus, device, register] = [i % 3 ? 0 : random.below(256), i % 32, random.below(64)];
        const where = (bus << 16) | (device << 11) | (random.below(8) << 8) | (register << 2);
        const there = bus === 0 && (device === 0 || device === 31);
        pc.out(0xcf8, random.below(8) && !there ? 0x80000000 | where : where, 4);
        const offset = random.below(4);
        if (random.below(4) === 0) pc.out(0xcfc + offset, 0);
        expect(pc.in(0xcfc + offset)).toBe(0xff);
        expect(pc.in(0xcfc + (offset & 2), 2)).toBe(0xffff);
        expect(pc.in(0xcfc, 4) >>> 0).toBe(0xffffffff);
      }
      expect(pc.machine.refusals("UNCLAIMED_PORT")).toBe(0n);
    });
  });

  test("A storm of accesses to all ports at all times traps nowhere, ends the VM only by known ways, and lets it go on", () => {
    const random = new Random(12345);
    const machine = new Machine();
    const claimed = [...CLAIMED, 0x64, 0xcf8];
    const accesses = effort > 1 ? 1_000_000 : 200_000;
    for (let i = 0; i < accesses; i++) {
      const size = random.pick(SIZES);
      const port = random.below(8)
        ? (random.pick(claimed) - random.below(size)) & 0xffff
        : random.below(0x10000);
      // Ends that come too often would leave nothing to happen in between.
      let value = anyValue(random, size);
      if (random.below(50) && new Endings().write(port, size, value) !== undefined) value = 0;
      if (random.below(2)) machine.in(port, size);
      else machine.out(port, size, value);
      switch (random.below(64)) {
        case 0:
          machine.pass(random.below(20_000_000));
          break;
        case 1:
          machine.pass(random.below(10_000));
          break;
        case 2:
          machine.pc.interrupt();
          break;
        case 3:
          machine.pc.machine.giveInput("x");
          break;
      }
    }
    expect(machine.ended).toBeGreaterThan(10);
  }, 300_000);
});
