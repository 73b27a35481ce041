import { describe, expect, test } from "vitest";
import { vendors } from "./fake/cpu.ts";
import type { MonitorOptions } from "./fake/monitor.ts";
import { effort, Pc, Random, rtcTsc } from "./fake/pc.ts";

describe.each(vendors)("On %s:", (vendor) => {
  const HZ = 32768;
  const A = 10;
  const B = 11;
  const C = 12;
  const D = 13;
  const CENTURY = 0x32;
  const SET = 0x80;
  const PERIODIC = 0x40;
  const ALARM = 0x20;
  const UPDATE = 0x10;
  const BINARY = 4;
  const HOURS_24 = 2;
  const VECTOR = 0x28;

  const utc = (...at: [number, number, number, number?, number?, number?]) =>
    BigInt(Date.UTC(at[0], at[1] - 1, at[2], at[3], at[4], at[5]) / 1000);

  class Clock extends Pc {
    constructor(options: MonitorOptions = {}) {
      super({ vendor, tscHz: rtcTsc, ...options });
      this.initialisePics();
      this.unmask(8);
    }

    get(index: number): number {
      this.out(0x70, index);
      return this.in(0x71);
    }

    set(index: number, value: number): void {
      this.outs([0x70, index], [0x71, value]);
    }

    seconds(n: number): void {
      this.clocks(n * HZ);
    }

    /** Year to second, in binary and 24 hours, and the weekday. */
    get time(): number[] {
      expect(this.get(B) & (BINARY | HOURS_24)).toBe(BINARY | HOURS_24);
      const year = this.get(CENTURY) * 100 + this.get(9);
      return [year, ...[8, 7, 4, 2, 0, 6].map((index) => this.get(index))];
    }

    /** Sets the time as a guest does, and the format to binary and 24 hours. */
    set time([year, month, day, hour, minute, second, weekday]: number[]) {
      const values: [number | undefined, number][] = [
        [Math.floor(year! / 100), CENTURY],
        [year! % 100, 9],
        [month, 8],
        [day, 7],
        [hour, 4],
        [minute, 2],
        [second, 0],
        [weekday, 6],
      ];
      this.set(B, SET | BINARY | HOURS_24);
      for (const [value, index] of values) this.set(index, value!);
      this.set(B, BINARY | HOURS_24);
    }
  }

  /** What `time` should be at a date. */
  const fields = (d: Date) => [
    d.getUTCFullYear(),
    d.getUTCMonth() + 1,
    d.getUTCDate(),
    d.getUTCHours(),
    d.getUTCMinutes(),
    d.getUTCSeconds(),
    d.getUTCDay() + 1,
  ];

  describe("Time of the MC146818A", () => {
    test("is the host's at the start, in BCD and 24 hours", () => {
      const pc = new Clock({ bootTime: utc(2024, 2, 29, 23, 58, 47) });
      expect([9, 8, 7, 4, 2, 0, CENTURY].map((n) => pc.get(n))).toEqual([
        0x24, 2, 0x29, 0x23, 0x58, 0x47, 0x20,
      ]);
      expect(pc.get(6)).toBe(5); // Thursday
      expect([pc.get(A), pc.get(B), pc.get(C) & 0x80, pc.get(D)]).toEqual([0x26, HOURS_24, 0, 0x80]);
    });

    test("is right from 1970 to 2099 whenever a VM starts", () => {
      const random = new Random(1);
      for (let i = 0; i < 40 * effort; i++) {
        const seconds = random.below(4102444800);
        const pc = new Clock({ bootTime: BigInt(seconds) });
        pc.set(B, SET | HOURS_24); // the bytes stand
        const bcd = (n: number) => parseInt(String(n), 16);
        const [year, month, day, hour, minute, second, weekday] = fields(new Date(seconds * 1000)).map(bcd);
        expect([8, 7, 4, 2, 0, 6].map((n) => pc.get(n))).toEqual([month, day, hour, minute, second, weekday]);
        expect((pc.get(CENTURY) << 8) | pc.get(9)).toBe(year);
      }
    }, 300_000);

    test.each([
      ["BCD, 24 hours", HOURS_24, (h: number) => parseInt(String(h), 16)],
      ["binary, 24 hours", BINARY | HOURS_24, (h: number) => h],
      [
        "BCD, 12 hours",
        0,
        (h: number) => [0x12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x10, 0x11][h % 12]! | (h < 12 ? 0 : 0x80),
      ],
      [
        "binary, 12 hours",
        BINARY,
        (h: number) => [12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11][h % 12]! | (h < 12 ? 0 : 0x80),
      ],
    ])("is read and set in %s", (_, format, byte) => {
      const pc = new Clock();
      const bcd = (n: number) => (format & BINARY ? n : parseInt(String(n), 16));
      for (let hour = 0; hour < 24; hour++) {
        pc.set(B, SET | format);
        for (const [index, value] of [
          [0, bcd(59)],
          [2, bcd(59)],
          [4, byte(hour)],
          [7, bcd(15)],
          [8, bcd(11)],
          [9, bcd(37)],
          [6, 7],
        ] as const) {
          pc.set(index, value);
        }
        pc.set(B, format);
        expect([0, 2, 4, 7, 8, 9, 6].map((n) => pc.get(n))).toEqual(
          [bcd(59), bcd(59), byte(hour), bcd(15), bcd(11), bcd(37), 7], // prettier-ignore
        );
        pc.seconds(1);
        const next = hour === 23 ? [byte(0), bcd(16), 1] : [byte(hour + 1), bcd(15), 7];
        expect([0, 2, 4, 7, 6].map((n) => pc.get(n))).toEqual([0, 0, ...next]);
      }
    });

    test("goes on from what was set, over each month's end to 2099", () => {
      const pc = new Clock();
      for (let year = 1970; year < 2100; year++) {
        for (let month = 1; month <= 12; month++) {
          const last = new Date(Date.UTC(year, month, 1) - 1000);
          pc.time = fields(last);
          pc.seconds(1);
          expect(pc.time).toEqual(fields(new Date(last.getTime() + 1000)));
        }
      }
    });

    test("stands while SET is on, and its bytes keep what is written; then it goes on from there", () => {
      const pc = new Clock({ bootTime: utc(2024, 5, 17, 12, 30, 15) });
      pc.clocks(HZ / 4);
      pc.set(B, SET | BINARY | HOURS_24);
      pc.seconds(100);
      // The bytes do not change with the format.
      expect([pc.get(4), pc.get(2), pc.get(0)]).toEqual([0x12, 0x30, 0x15]);
      pc.time = [2031, 12, 31, 23, 59, 58, 3];
      pc.clocks((HZ * 3) / 4 - 1);
      expect(pc.time).toEqual([2031, 12, 31, 23, 59, 58, 3]); // the divider has gone on
      pc.clocks(1);
      expect(pc.time).toEqual([2031, 12, 31, 23, 59, 59, 3]);
      pc.seconds(1);
      expect(pc.time).toEqual([2032, 1, 1, 0, 0, 0, 4]);
    });

    test("starts half a second after the divider is released from reset", () => {
      for (const reset of [0x66, 0x76]) {
        const pc = new Clock();
        pc.time = [2024, 5, 17, 12, 30, 15, 6];
        pc.set(A, reset);
        pc.seconds(100);
        expect(pc.time[5]).toBe(15);
        pc.clocks(12345);
        pc.set(A, 0x26);
        pc.clocks(HZ / 2 - 1);
        expect(pc.time[5]).toBe(15);
        pc.clocks(1);
        expect(pc.time[5]).toBe(16);
        pc.clocks(HZ - 1);
        expect(pc.time[5]).toBe(16);
      }
    });

    test("is announced to change by UIP, from 244 us before until it is over; a clear UIP gives that much time", () => {
      const pc = new Clock();
      for (let n = 0; n < 3; n++) {
        pc.clocks(HZ - 74);
        expect(pc.get(A)).toBe(0x26);
        pc.clocks(1);
        const before = pc.get(0);
        for (let i = 0; i < 73; i++) {
          expect([pc.get(A), pc.get(0)]).toEqual([0xa6, before]);
          pc.clocks(1);
        }
        expect(pc.get(A)).toBe(0x26);
        expect(pc.get(0)).not.toBe(before);
      }
      pc.clocks(HZ - 4);
      pc.set(B, SET | HOURS_24);
      expect(pc.get(A)).toBe(0x26);
    });
  });

  describe("Interrupts of the MC146818A", () => {
    test("An update flags and, enabled, interrupts each second, until C is read", () => {
      const pc = new Clock();
      pc.set(B, UPDATE | HOURS_24);
      pc.get(C);
      for (let i = 0; i < 3; i++) {
        pc.clocks(HZ - 1);
        expect(pc.interrupts()).toEqual([]);
        pc.clocks(1);
        expect(pc.interrupts()).toEqual([VECTOR]);
        expect(pc.get(C) & 0x9f).toBe(0x90);
        expect(pc.get(C)).toBe(0);
      }
      pc.seconds(1);
      expect(pc.interrupts()).toEqual([VECTOR]);
      pc.seconds(10); // nobody reads C: the line stays, and so there is no edge
      expect(pc.interrupts()).toEqual([]);
      pc.get(C);
      pc.seconds(1);
      expect(pc.interrupts()).toEqual([VECTOR]);
    });

    test.each(
      [256, 128, 8192, 4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2].map(
        (hz, n) => [n + 1, hz] as const,
      ),
    )("Rate %i is periodic with %i Hz", (rate, hz) => {
      const pc = new Clock();
      pc.set(B, SET | HOURS_24); // no updates
      pc.set(B, SET | PERIODIC | HOURS_24);
      pc.set(A, 0x20 | rate);
      pc.get(C);
      for (let i = 0; i < 4; i++) {
        pc.clocks(HZ / hz - 1);
        expect(pc.interrupts()).toEqual([]);
        pc.clocks(1);
        expect(pc.interrupts()).toEqual([VECTOR]);
        expect(pc.get(C)).toBe(0xc0);
      }
      pc.set(A, 0x20);
      pc.seconds(2);
      expect(pc.get(C)).toBe(0);
    });

    test("Flags come without their enables; an enable whose flag is set interrupts at once", () => {
      const pc = new Clock();
      for (const [index, value] of [
        [1, 0xff],
        [3, 0xff],
        [5, 0xff],
      ] as const) {
        pc.set(index, value);
      }
      pc.seconds(2);
      expect(pc.interrupts()).toEqual([]);
      expect(pc.wakeUps).toBe(0);
      for (const enable of [PERIODIC, ALARM, UPDATE]) {
        pc.set(B, enable | HOURS_24);
        expect(pc.interrupts()).toEqual([VECTOR]);
        pc.set(B, HOURS_24);
      }
      expect(pc.get(C)).toBe(PERIODIC | ALARM | UPDATE);
    });

    test("SET going on takes the update interrupt's enable away, and no other", () => {
      const pc = new Clock();
      pc.set(B, 0x7f);
      pc.set(B, SET | 0x7f);
      expect(pc.get(B)).toBe(SET | 0x6f);
      pc.set(B, SET | 0x7f);
      expect(pc.get(B)).toBe(SET | 0x7f);
    });

    test.each([
      ["once a day", [5, 7, 6], 86400, 6 * 3600 + 7 * 60 + 5],
      ["once an hour with its hour byte C0h to FFh", [5, 7, 0xc0], 3600, 7 * 60 + 5],
      ["once a minute with its hour and minute bytes so", [5, 0xff, 0xd1], 60, 5],
      ["once a second with all three so", [0xe0, 0xc3, 0xff], 1, 0],
    ])("The alarm comes %s", (_, [second, minute, hour], every, offset) => {
      const pc = new Clock({ bootTime: utc(2024, 5, 17, 6, 7, 5) });
      pc.set(B, SET | BINARY | HOURS_24);
      for (const [index, value] of [
        [4, 6],
        [2, 7],
        [0, 5],
        [1, second!],
        [3, minute!],
        [5, hour!],
      ] as const) {
        pc.set(index, value);
      }
      pc.set(B, ALARM | BINARY | HOURS_24);
      pc.get(C);
      let now = 6 * 3600 + 7 * 60 + 5; // it matches already, but only updates compare
      for (let i = 0; i < 3; i++) {
        const wait = every - ((now - offset) % every);
        pc.clocks(wait * HZ - 1);
        expect(pc.interrupts()).toEqual([]);
        pc.clocks(1);
        expect(pc.interrupts()).toEqual([VECTOR]);
        expect(pc.get(C) & 0xa0).toBe(0xa0);
        now += wait;
      }
    });

    test("An alarm byte that no time shows never matches", () => {
      const pc = new Clock();
      for (const [second, minute, hour] of [
        [0x60, 0xff, 0xff],
        [0x0a, 0xff, 0xff],
        [0xff, 0x7a, 0xff],
        [0xff, 0xff, 0x24],
        [0xff, 0xff, 0x92],
      ] as const) {
        pc.set(1, second);
        pc.set(3, minute);
        pc.set(5, hour);
        pc.get(C);
        pc.seconds(90000);
        expect(pc.get(C) & ALARM).toBe(0);
      }
    });
  });

  describe("CMOS memory", () => {
    test("holds 112 bytes behind the century's and the clock's; the index port's top bit is not theirs", () => {
      const pc = new Clock();
      const cells = Array.from({ length: 114 }, (_, n) => n + 14).filter((n) => n !== CENTURY);
      for (const xor of [0, 0xff, 0x5a]) {
        for (const n of cells) pc.set(n | (n & 1 ? 0x80 : 0), n ^ xor);
        for (const n of cells) expect(pc.get(n | (n & 2 ? 0x80 : 0))).toBe(n ^ xor);
      }
    });

    test("has registers that take no writes: C, D, and the top bits of A and of the seconds", () => {
      const pc = new Clock();
      pc.seconds(1);
      pc.set(C, 0);
      pc.set(D, 0);
      expect([pc.get(C), pc.get(D)]).not.toContain(0);
      pc.set(A, 0xa6);
      expect(pc.get(A)).toBe(0x26);
      pc.set(B, SET | HOURS_24);
      pc.set(0, 0xa5);
      expect(pc.get(0)).toBe(0x25);
    });

    test.each([
      [2, 0],
      [16, 0],
      [17, 0],
      [64, 0],
      [80, 0x1_0000],
      [96, 0x12_3456_0000],
    ])(
      "says how much RAM there is, as old loaders look for it: %i MiB, and %i bytes above 4 GiB",
      (mib, high) => {
        const pc = new Clock({ ram: mib << 20, ramHigh: (1n << 32n) + BigInt(high) });
        const number = (...cells: number[]) => cells.reduceRight((sum, n) => sum * 256 + pc.get(n), 0);
        expect(number(0x15, 0x16)).toBe(640);
        const extended = Math.min((mib - 1) * 1024, 0xffff);
        expect([number(0x17, 0x18), number(0x30, 0x31)]).toEqual([extended, extended]);
        expect(number(0x34, 0x35)).toBe(Math.max(mib - 16, 0) * 16);
        expect(number(0x5b, 0x5c, 0x5d)).toBe(high / 65536);
      },
    );
  });
});
