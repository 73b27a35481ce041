import { describe, expect, test } from "vitest";
import { vendors } from "./fake/cpu.ts";
import { Gpr, Next } from "./fake/exit.ts";
import { execute, read, write } from "./fake/mmio.ts";
import { ModelHpet } from "./fake/modelhpet.ts";
import { effort, Pc, Random } from "./fake/pc.ts";
import { assemble } from "./oracle/nasm.ts";

const BASE = 0xfed00000;
const CONFIG = 0x10;
const STATUS = 0x20;
const COUNTER = 0xf0;
const timerConfig = (n: number) => 0x100 + 0x20 * n;
const comparator = (n: number) => 0x108 + 0x20 * n;
const ENABLE = 1;
const LEGACY = 2;
const LEVEL = 2;
const INTERRUPT = 4;
const PERIODIC = 8;
const VALUE_SET = 0x40;
const MODE_32 = 0x100;

describe.each(vendors)("On %s:", (vendor) => {
  /** A clock of the HPET is 1000 ticks. */
  class Machine extends Pc {
    constructor() {
      super({ vendor, tscHz: 100_000_000_000n });
      this.initialisePics();
      this.unmask(0, 8);
    }
    get(offset: number, size: 4 | 8 = 8): bigint {
      return read(this, BASE + offset, size);
    }
    set(offset: number, value: bigint | number, size: 4 | 8 = 8): void {
      expect(write(this, BASE + offset, size, value)).toBe(Next.Resume);
    }
  }

  test("The capabilities say 100 MHz, 64 bits, three timers that may be periodic, and legacy replacement", () => {
    const pc = new Machine();
    expect(pc.get(0)).toBe((10_000_000n << 32n) | 0x8086a201n);
    for (const n of [0, 1, 2]) {
      expect(pc.get(timerConfig(n))).toBe((0xf00000n << 32n) | 0x30n);
      expect(pc.get(comparator(n))).toBe(0xffffffffffffffffn);
    }
    expect(pc.get(timerConfig(3))).toBe(0n);
  });

  test("It does as a model by the specification does, whatever is written and however time goes", () => {
    for (let seed = 1; seed <= 30 * effort; seed++) {
      const random = new Random(seed);
      const pc = new Machine();
      const model = new ModelHpet();
      const said: string[] = [];
      const check = (what: string, is: unknown, should: unknown) => {
        said.push(`${what}: ${String(is)}`);
        expect(is, `seed ${seed}:\n${said.slice(-40).join("\n")}`).toEqual(should);
      };
      const set = (offset: number, value: bigint, size: 4 | 8) => {
        const shift = BigInt((offset & 4) * 8);
        const mask = size === 8 ? 0xffffffffffffffffn : 0xffffffffn << shift;
        said.push(`write ${size} to ${offset.toString(16)}: ${value.toString(16)}`);
        pc.set(offset, value, size);
        model.write(offset & ~7, BigInt.asUintN(64, value << shift), mask);
      };
      const size = () => random.pick([4, 8] as const);
      const near = () =>
        BigInt.asUintN(
          64,
          random.below(8)
            ? model.counter + BigInt(random.pick([random.below(50), random.below(2000), -random.below(9)]))
            : (BigInt(random.below(2 ** 32)) << 32n) | BigInt(random.below(2 ** 32)),
        );
      set(CONFIG, 3n, 4);
      for (let i = 0; i < 150; i++) {
        const n = random.below(3);
        switch (random.below(10)) {
          case 0:
            set(timerConfig(n), BigInt(random.below(2 ** 16)), size());
            break;
          case 1: {
            const part = size();
            const high = part === 4 && random.below(4) === 0 ? 4 : 0;
            set(comparator(n) + high, part === 8 ? near() : (near() >> BigInt(high * 8)) & 0xffffffffn, part);
            break;
          }
          case 2: // a period
            set(comparator(n), BigInt(random.pick([1, 2, 7, 100, 1 + random.below(500)])), 4);
            break;
          case 3:
            if (random.below(4) === 0) set(CONFIG, BigInt(random.below(4)), size());
            else set(CONFIG, 3n, 8);
            break;
          case 4:
            if (random.below(3) === 0) set(COUNTER, random.below(2) ? near() : 0xfffffffen, size());
            else set(STATUS, BigInt(random.below(16)), size());
            break;
          case 5: // of both kinds, as Linux does
            set(
              timerConfig(n),
              BigInt(random.pick([0, LEVEL]) | INTERRUPT | PERIODIC | VALUE_SET | MODE_32),
              4,
            );
            set(comparator(n), BigInt.asUintN(32, near()), 4);
            set(comparator(n), BigInt(1 + random.below(300)), 4);
            break;
          case 6:
          case 7: {
            const clocks = random.pick([0, 1, 1, 2, 3, random.below(20), random.below(3000)]);
            said.push(`${clocks} clocks`);
            pc.clocks(clocks);
            for (let c = 0; c < clocks; c++) model.pulse();
            break;
          }
          default: {
            const offset = random.pick([
              0,
              CONFIG,
              STATUS,
              COUNTER,
              timerConfig(n),
              comparator(n),
              0x28,
              0x118,
              0x160,
            ]);
            check(`read ${offset.toString(16)}`, pc.get(offset), model.read(offset));
            check("its upper half", pc.get(offset + 4, 4), model.read(offset) >> 32n);
          }
        }
        pc.get(COUNTER);
        const should = [0x20, 0x28].filter((_, input) => model.requests[input]);
        check("interrupts", pc.interrupts(), should);
        model.requests.fill(false);
      }
    }
  }, 120_000);

  describe("The monitor is woken", () => {
    test.each([0, 1])("when timer %i matches, once, and that is its interrupt", (n) => {
      const pc = new Machine();
      pc.set(timerConfig(n), INTERRUPT, 4);
      pc.set(CONFIG, ENABLE | LEGACY, 4);
      pc.set(comparator(n), pc.get(COUNTER) + 12345n);
      const { wakeUps } = pc;
      pc.clocks(12344);
      expect(pc.interrupts()).toEqual([]);
      pc.clocks(1);
      expect(pc.interrupts()).toEqual([n ? 0x28 : 0x20]);
      pc.clocks(1_000_000);
      expect(pc.interrupts()).toEqual([]);
      expect(pc.wakeUps - wakeUps).toBe(1);
    });

    test("once a period, without drift, and after a pause for one interrupt only", () => {
      const pc = new Machine();
      pc.set(timerConfig(0), INTERRUPT | PERIODIC | VALUE_SET, 4);
      pc.set(comparator(0), 100_000n);
      pc.set(CONFIG, ENABLE | LEGACY, 4);
      for (let i = 1; i <= 50; i++) {
        pc.clocks(99_999);
        expect(pc.interrupts()).toEqual([]);
        pc.clocks(1);
        expect(pc.interrupts()).toEqual([0x20]);
      }
      expect(pc.wakeUps).toBe(50);
      pc.machine.tsc += 1_050_000_000n;
      pc.machine.enter();
      expect(pc.interrupts()).toEqual([0x20]);
      expect(pc.get(comparator(0))).toBe(6_100_000n);
    });

    test("no more often than every 50 us, whatever the period is", () => {
      const pc = new Machine();
      pc.set(timerConfig(0), INTERRUPT | PERIODIC | VALUE_SET, 4);
      pc.set(comparator(0), 1n);
      pc.set(CONFIG, ENABLE | LEGACY, 4);
      pc.clocks(1_000_000);
      expect(pc.wakeUps).toBeLessThanOrEqual(200);
      expect(pc.wakeUps).toBeGreaterThan(190);
    });

    test("not by a timer that may not interrupt, nor by a counter that stands", () => {
      const pc = new Machine();
      pc.set(comparator(0), 100n);
      pc.set(comparator(1), 100n);
      pc.set(timerConfig(1), INTERRUPT, 4);
      pc.clocks(1000);
      pc.set(timerConfig(1), 0, 4);
      pc.set(CONFIG, ENABLE | LEGACY, 4);
      pc.clocks(1000);
      expect([pc.wakeUps, pc.interrupts()]).toEqual([0, []]);
    });
  });

  test("Legacy replacement silences the 8254 and the clock, and its end gives them their interrupts back", () => {
    const pc = new Machine();
    const ticks = () => (pc.clocks(300_000), pc.interrupts());
    pc.outs([0x43, 0x34], [0x40, 0xff], [0x40, 1]); // 2.3 kHz
    pc.outs([0x70, 0x0b], [0x71, 0x42]); // periodic, 1024 Hz
    expect(ticks().sort()).toEqual([0x20, 0x28]);
    pc.set(CONFIG, LEGACY, 4);
    expect(ticks()).toEqual([]);
    pc.set(CONFIG, 0, 4);
    pc.outs([0x70, 0x0c]);
    pc.in(0x71);
    expect(ticks().sort()).toEqual([0x20, 0x28]);
  });

  test("Level-triggered timers hold interrupt 0 until their status is cleared", () => {
    const pc = new Machine();
    pc.set(timerConfig(0), INTERRUPT | LEVEL, 4);
    pc.set(comparator(0), 1000n);
    pc.set(CONFIG, ENABLE | LEGACY, 4);
    pc.clocks(1000);
    expect(pc.get(STATUS)).toBe(1n);
    pc.set(STATUS, 1, 4);
    expect([pc.get(STATUS), pc.interrupts()]).toEqual([0n, []]);
    pc.set(comparator(0), 2000n);
    pc.clocks(1000);
    expect(pc.interrupts()).toEqual([0x20]);
  });

  test("Bytes, words and what is not aligned are nobody's, and are counted", () => {
    const pc = new Machine();
    expect(read(pc, BASE, 1)).toBe(0xffn);
    expect(read(pc, BASE + 2, 2)).toBe(0xffffn);
    expect(read(pc, BASE + 2, 4)).toBe(0xffffffffn);
    expect(read(pc, BASE + 4, 8)).toBe(0xffffffffffffffffn);
    write(pc, BASE + CONFIG, 1, 1);
    write(pc, BASE + 0x3fc, 8, 1);
    expect(pc.get(CONFIG)).toBe(0n);
    expect(pc.machine.refusals("UNCLAIMED_MEMORY")).toBe(6n);
    expect([pc.get(0x3f8), pc.get(0x3fc, 4)]).toEqual([0n, 0n]);
    expect(read(pc, BASE + 0x400, 4)).toBe(0xffffffffn);
  });

  test("Instructions that read and write its registers do both", () => {
    const pc = new Machine();
    const at = BASE + timerConfig(0);
    const steps: [string, bigint, bigint?][] = [
      ["or dword [rbx], 0x104", 0x134n],
      ["and dword [rbx], ~4", 0x130n],
      ["xor dword [rbx], 0xc", 0x13cn],
      ["lock bts dword [rbx], 1", 0x13en],
      ["lock btr dword [rbx], 8", 0x3en],
      ["mov dword [rbx], 4", 0x34n],
      ["xchg [rbx], eax", 0x138n, 0x34n],
      ["movsxd rax, dword [rbx]", 0x138n, 0x138n],
      ["mov rax, [rbx]", 0x138n, 0x00f0000000000138n],
      ["add rax, [rbx]", 0x138n, 0x00f0000000000140n],
      ["lock cmpxchg [rbx], ecx", 0x138n, 0x138n],
      ["lock cmpxchg [rbx], ecx", 0x30n, 0x138n],
      ["inc dword [rbx]", 0x30n],
      ["not dword [rbx]", 0x17en],
    ];
    const code = assemble(
      64,
      steps.map(([text]) => text),
    );
    pc.machine.setGpr(Gpr.rcx, 0);
    steps.forEach(([text, register, rax], i) => {
      pc.machine.setGpr(Gpr.rax, i === 6 ? 0x108n : i === 9 ? 8n : i === 11 ? 0x138n : 0n);
      expect(execute(pc, code[i]!, at, true), text).toBe(Next.Resume);
      if (rax !== undefined) expect(pc.machine.gpr(Gpr.rax), text).toBe(rax);
      expect(pc.get(timerConfig(0), 4), text).toBe(register);
    });
    const [test_, cmp, stos, lods] = assemble(64, [
      "test dword [rbx], 0x30",
      "cmp dword [rbx], 0x17e",
      "stosd",
      "lodsd",
    ]);
    execute(pc, test_!, at);
    expect(pc.cpu.rflags & 0x40n).toBe(0n);
    execute(pc, cmp!, at);
    expect(pc.cpu.rflags & 0x40n).toBe(0x40n);
    pc.machine.setGpr(Gpr.rax, 0x104n);
    pc.machine.setGpr(Gpr.rdi, BigInt(at));
    execute(pc, stos!, at, true);
    pc.machine.setGpr(Gpr.rsi, BigInt(at));
    execute(pc, lods!, at);
    expect(Number(pc.machine.gpr(Gpr.rax)) & 0x1ff).toBe(0x134);
    expect(pc.machine.gpr(Gpr.rdi)).toBe(BigInt(at + 4));
  });
});
