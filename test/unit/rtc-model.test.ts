import { expect, test } from "vitest";
import { Model146818, type Time } from "./fake/model146818.ts";
import { effort, Pc, Random, rtcTsc } from "./fake/pc.ts";

const HZ = 32768;
const SET = 0x80;
const FORMAT = 6;

test("The MC146818A behaves as a model by the data sheet does, whatever is set and however time goes", () => {
  for (let seed = 1; seed <= 50 * effort; seed++) {
    const random = new Random(seed);
    const start = random.below(4102444800 - 86400 * 400);
    const pc = new Pc({ tscHz: rtcTsc, bootTime: BigInt(start) });
    const model = new Model146818(start);
    const said: string[] = [];
    const check = (what: string, is: number, should: number) => {
      said.push(`${what}: ${is.toString(16)}`);
      expect(is, `seed ${seed}:\n${said.slice(-50).join("\n")}`).toBe(should);
    };
    const read = (index: number) => {
      pc.out(0x70, index | (random.below(2) << 7));
      check(`read ${index.toString(16)}`, pc.in(0x71), model.read(index));
    };
    const write = (index: number, value: number) => {
      said.push(`write ${index.toString(16)}, ${value.toString(16)}`);
      pc.outs([0x70, index], [0x71, value]);
      model.write(index, value);
    };
    const pass = (clocks: number) => {
      said.push(`${clocks} clocks`);
      pc.clocks(clocks);
      model.clocks(clocks);
    };
    const anyPass = () =>
      pass(
        random.pick([0, 1, random.below(9), random.below(200), random.below(HZ), HZ, random.below(90 * HZ)]),
      );
    const control = (and: number, or: number) => write(11, (model.bytes[11]! & and) | or);
    const anyTime = (): Time => {
      // Often shortly before something changes.
      const late = (limit: number) => (random.below(2) ? limit - 1 : random.below(limit));
      const year = random.pick([1999, 2000, 2004, 2099 - random.below(3), 1970 + random.below(130)]);
      const month = random.pick([2, 12, 1 + random.below(12)]);
      const last = new Date(Date.UTC(year, month, 0)).getUTCDate();
      return {
        second: late(60),
        minute: late(60),
        hour: random.pick([0, 11, 12, 23, random.below(24)]),
        weekday: 1 + random.below(7),
        day: random.below(3) ? last : 1 + random.below(last),
        month,
        year,
      };
    };
    const setTime = () => {
      control(0xff, SET);
      if (random.below(2)) anyPass();
      control(~FORMAT, random.below(4) << 1);
      const bytes = model.timeBytes(anyTime());
      while (bytes.length > 0) {
        const [[index, value]] = bytes.splice(random.below(bytes.length), 1) as [[number, number]];
        write(index, value);
        if (random.below(8) === 0) anyPass();
      }
      if (random.below(4) !== 0) control(~SET, 0);
    };
    const alarmByte = (n: number): number => {
      const near = model.bytes[n]! + random.below(3);
      const value = random.below(n === 4 ? 24 : 60);
      return random.pick([
        near,
        n === 4 ? model.encodeHour(value) : model.encode(value),
        0xc0 + random.below(64),
        0xff,
        random.below(256),
      ]);
    };
    for (let i = 0; i < 120; i++) {
      switch (random.below(12)) {
        case 0:
          setTime();
          break;
        case 1:
          for (const n of [0, 2, 4]) write(n + 1, alarmByte(n));
          break;
        case 2:
          control(~0x79, random.below(256) & 0x79); // enables, and what nothing here is for
          break;
        case 3:
          if (random.below(4) === 0) control(~SET, random.below(2) ? SET : 0);
          break;
        case 4:
          write(
            10,
            (random.pick([0x20, 0x20, 0x20, 0x60, 0x70]) | random.below(16)) ^ (random.below(2) << 7),
          );
          break;
        case 5:
          // Seconds or minutes while the clock runs.
          write(random.pick([0, 2]), model.encode(random.below(60)));
          break;
        case 6:
          pass(HZ - random.below(12));
          break;
        case 7:
          if (random.below(12) === 0) pass(random.below(86400 * HZ));
          else pass(random.below(3700 * HZ));
          break;
        case 8:
          read(12);
          break;
        default:
          anyPass();
          for (let n = 0; n < 3; n++)
            read(random.pick([0, 2, 4, 6, 7, 8, 9, 0x32, 10, 11, 12, 13, random.below(14)]));
      }
      check("irq", pc.in(0xa0) & 1, model.irq ? 1 : 0);
    }
  }
}, 300_000);

test("The alarm comes at the first second that matches, whichever of its bytes match anything, and whatever the time", () => {
  const random = new Random(2);
  const pc = new Pc({ tscHz: rtcTsc });
  const set = (index: number, value: number) => pc.outs([0x70, index], [0x71, value]);
  const matched = () => {
    pc.out(0x70, 12);
    return (pc.in(0x71) & 0xa0) === 0xa0;
  };
  for (let i = 0; i < 300 * effort; i++) {
    const [hour, minute, second] = [24, 60, 60].map((limit) =>
      random.pick([0, limit - 1, random.below(limit)]),
    );
    // Near the time, anywhere, or anything: in which case there is no value.
    const alarm = [hour!, minute!, second!].map((value, n) => {
      const limit = n === 0 ? 24 : 60;
      return random.pick([
        undefined,
        undefined,
        random.below(limit),
        (value + random.below(3) + limit - 1) % limit,
      ]);
    });
    const matches = (t: number) =>
      [Math.floor(t / 3600) % 24, Math.floor(t / 60) % 60, t % 60].every((v, n) => (alarm[n] ?? v) === v);
    const now = hour! * 3600 + minute! * 60 + second!;
    let due = now + 1;
    while (!matches(due)) due++;

    set(11, SET | FORMAT);
    for (const [index, value] of [
      [4, hour!],
      [2, minute!],
      [0, second!],
      [5, alarm[0] ?? 0xc0],
      [3, alarm[1] ?? 0xff],
      [1, alarm[2] ?? 0xe7],
    ] as const) {
      set(index, value);
    }
    set(11, 0x20 | FORMAT);
    matched();
    const wakeUps = pc.wakeUps;
    pc.clocks((due - now) * HZ - 1);
    const said = `${hour}:${minute}:${second}, alarm ${alarm.join(":")}`;
    expect([matched(), pc.wakeUps - wakeUps], said).toEqual([false, 0]);
    pc.clocks(1);
    expect([matched(), pc.wakeUps - wakeUps], said).toEqual([true, 1]);
  }
});
