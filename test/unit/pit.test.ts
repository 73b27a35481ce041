import { describe, expect, test } from "vitest";
import { vendors } from "./fake/cpu.ts";
import { Model8254 } from "./fake/model8254.ts";
import { effort, Pc, Random } from "./fake/pc.ts";

describe.each(vendors)("On %s:", (vendor) => {
  test("The 8254 behaves as a model by the data sheet does, in every mode, whatever is written and however time goes", () => {
    for (let seed = 1; seed <= 40 * effort; seed++) {
      const random = new Random(seed);
      const pc = new Pc({ vendor });
      const model = new Model8254();
      pc.outs([0x21, 0xfe], [0x20, 0x0a]);
      const said: string[] = [];
      const check = (what: string, is: number, should: number) => {
        said.push(`${what}: ${is.toString(16)}`);
        expect(is, `seed ${seed}:\n${said.slice(-40).join("\n")}`).toBe(should);
      };
      const write = (port: number, value: number) => {
        said.push(`out ${port.toString(16)}, ${value.toString(16)}`);
        const before = timer.out;
        pc.out(port, value);
        model.write(port, value);
        if (before !== timer.out) request = timer.out;
        timer.rises = 0;
      };
      const formats: number[] = [3, 3, 3];
      let timerInBcd = false;
      const sizes = [
        [256, 200], // no shorter than what the monitor lets through, in BCD either
        [2, 20],
        [2, 70],
      ] as const;
      const count = (n: number) => {
        const [least, range] = sizes[n]!;
        const value = random.pick([
          least + random.below(range),
          least + random.below(range),
          0,
          random.below(65536),
        ]);
        if (formats[n] === 1) write(0x40 + n, n === 0 ? 64 + (value & 127) : Math.max(2, value & 255));
        else if (formats[n] === 2) write(0x40 + n, value >> 8 || 1);
        else {
          let safe = value === 0 || value >= least ? value : least;
          if (n === 0 && timerInBcd) safe = parseInt(String(least + (value % 9000)), 16);
          write(0x40 + n, safe & 255);
          if (random.below(4) === 0) pass(random.below(5));
          write(0x40 + n, safe >> 8);
        }
      };
      // The interrupt request: an edge of output 0, until it is acknowledged or a guest's write takes the output down.
      let request = false;
      const timer = model.counters[0]!;
      const pass = (n: number) => {
        said.push(`${n} clocks`);
        pc.clocks(n);
        model.pulses(n);
        request ||= timer.rises > 0;
        timer.rises = 0;
      };
      for (let i = 0; i < 120; i++) {
        const n = random.below(3);
        switch (random.below(9)) {
          case 0: {
            const mode = random.below(8);
            formats[n] = 1 + random.below(3);
            const bcd = random.below(4) === 0 && !(n === 0 && formats[n] === 1) ? 1 : 0;
            write(0x43, (n << 6) | (formats[n] << 4) | (mode << 1) | bcd);
            if (n === 0) timerInBcd = bcd === 1;
            count(n);
            break;
          }
          case 1:
            count(n);
            break;
          case 2:
            write(0x61, random.below(4));
            break;
          case 3:
            write(0x43, n << 6);
            break;
          case 4:
            write(0x43, 0xc0 | (random.below(4) << 4) | (random.below(8) << 1));
            break;
          case 5:
          case 6:
            pass(random.pick([0, 1, 1, 2, 3, random.below(20), random.below(300), random.below(70000)]));
            break;
          default:
            check(`in ${(0x40 + n).toString(16)}`, pc.in(0x40 + n), model.read(0x40 + n));
        }
        check("request 0", pc.in(0x20) & 1, request ? 1 : 0);
        if (random.below(4) === 0) {
          pc.outs([0x20, 0x0c]);
          check("poll", pc.in(0x20), request ? 0x80 : 0);
          pc.outs([0x20, 0x20]);
          request = false;
        }
        check("output 2", (pc.in(0x61) >> 5) & 1, model.counters[2]!.out ? 1 : 0);
      }
    }
  });
});
