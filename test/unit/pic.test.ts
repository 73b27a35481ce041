import { describe, expect, test } from "vitest";
import { vendors } from "./fake/cpu.ts";
import { Model8259 } from "./fake/model8259.ts";
import { effort, Pc, Random } from "./fake/pc.ts";

describe.each(vendors)("On %s:", (vendor) => {
  /**
   * A PC whose guest can raise and release inputs 0, 4, 8 and 9 at will: by the timer's output, and by enabling and
   * disabling interrupts of the UART, the clock and the PM timer whose causes stay.
   */
  class Lines extends Pc {
    constructor() {
      super({ vendor });
      this.pass(1_193_182_000n * 700n); // the PM timer's top bit has changed; the clock has ticked
      this.out(0x3f9, 2); // transmitter empty
      this.outs([0x70, 0x0a], [0x71, 0x26]);
      this.out(0x43, 0x30);
      this.pass(1_193_182_000n);
    }

    set(n: number, up: boolean): void {
      if (n === 0) this.out(0x43, up ? 0x34 : 0x30);
      else if (n === 4) this.out(0x3fc, up ? 8 : 0);
      else if (n === 8) this.outs([0x70, 0x0b], [0x71, up ? 0x42 : 0x02]);
      else this.out(0x602, up ? 1 : 0);
    }

    raise(...inputs: number[]): void {
      for (const n of inputs) this.set(n, true);
    }

    release(...inputs: number[]): void {
      for (const n of inputs) this.set(n, false);
    }

    read(command: number, port = 0x20): number {
      this.out(port, command);
      return this.in(port);
    }

    get irr(): number {
      return this.read(0x0a) | (this.read(0x0a, 0xa0) << 8);
    }

    get isr(): number {
      return this.read(0x0b) | (this.read(0x0b, 0xa0) << 8);
    }
  }

  function lines(...unmasked: number[]): Lines {
    const pc = new Lines();
    pc.initialisePics();
    pc.unmask(...unmasked);
    return pc;
  }

  test("Before its initialisation the interrupt controller masks everything, and input 9 is level-triggered", () => {
    const pc = new Lines();
    expect([pc.in(0x21), pc.in(0xa1), pc.in(0x4d0), pc.in(0x4d1)]).toEqual([0xff, 0xff, 0, 2]);
    pc.raise(0, 4, 8, 9);
    expect(pc.interrupt()).toBeUndefined();
  });

  test("Interrupts come by priority: the slave's between inputs 1 and 3 of the master", () => {
    const pc = lines(0, 4, 8, 9);
    pc.raise(9, 4, 8, 0);
    expect(pc.irr).toBe(0x0315);
    const taken = [0, 0, 0, 0].map(() => pc.interrupt());
    // Each is held back by the ones before; only higher ones would get through.
    expect(taken).toEqual([0x20, undefined, undefined, undefined]);
    pc.endOfInterrupt(0x20);
    expect(pc.interrupt()).toBe(0x28);
    pc.endOfInterrupt(0x28);
    expect(pc.interrupt()).toBe(0x29);
    pc.release(9);
    pc.endOfInterrupt(0x29);
    expect(pc.interrupts()).toEqual([0x24]);
  });

  test("A level-triggered input asks again after its end of interrupt, an edge-triggered one does not", () => {
    const pc = lines(4, 9);
    pc.raise(4, 9);
    expect(pc.interrupt()).toBe(0x29);
    pc.endOfInterrupt(0x29);
    expect(pc.interrupt()).toBe(0x29);
    pc.release(9);
    pc.endOfInterrupt(0x29);
    expect(pc.interrupts()).toEqual([0x24]);
  });

  test("An edge that goes away before it is acknowledged is no request", () => {
    const pc = lines(4, 8);
    pc.raise(4, 8);
    pc.release(4, 8);
    expect(pc.irr).toBe(0);
    expect(pc.interrupt()).toBeUndefined();
    pc.raise(4);
    expect(pc.interrupts()).toEqual([0x24]);
  });

  test("A masked input remembers its edge until it is unmasked", () => {
    const pc = lines();
    pc.raise(4);
    expect(pc.interrupt()).toBeUndefined();
    pc.unmask(4);
    expect(pc.interrupts()).toEqual([0x24]);
  });

  test("Initialisation forgets edges, masks and interrupts in service, and asks for its words one by one", () => {
    const pc = lines(4);
    pc.raise(4);
    expect(pc.interrupt()).toBe(0x24);
    expect(pc.isr).toBe(0x10);
    pc.out(0x20, 0x11);
    expect([pc.in(0x21), pc.in(0x20)]).toEqual([0, 0]);
    pc.outs([0x21, 0x47], [0x21, 4], [0x21, 1], [0x21, 0x5a]);
    expect(pc.in(0x21)).toBe(0x5a);
    pc.out(0x21, 0);
    expect(pc.interrupt()).toBeUndefined();
    pc.release(4);
    pc.raise(4);
    expect(pc.interrupt()).toBe(0x44);
  });

  test("A single controller that needs no ICW4 is initialised by two words", () => {
    const pc = lines();
    pc.outs([0x20, 0x12], [0x21, 0x60], [0x21, 0xef]);
    expect(pc.in(0x21)).toBe(0xef);
    pc.raise(4);
    expect(pc.interrupt()).toBe(0x64);
  });

  test("A second ICW1 in the middle of an initialisation starts it anew", () => {
    const pc = lines();
    pc.outs([0x20, 0x11], [0x21, 0x40], [0x20, 0x11], [0x21, 0x50], [0x21, 4], [0x21, 1], [0x21, 0]);
    pc.raise(4);
    expect(pc.interrupt()).toBe(0x54);
  });

  test("The trigger mode of the timer, the keyboard, the cascade and the clock cannot be changed", () => {
    const pc = lines();
    pc.outs([0x4d0, 0xff], [0x4d1, 0xff]);
    expect(pc.in(0x4d0, 2)).toBe(0xdef8);
  });

  test("An input that becomes level-triggered while it is up is a request, one that becomes edge-triggered is none", () => {
    const pc = lines(4);
    pc.raise(4);
    pc.interrupt();
    pc.endOfInterrupt(0x24);
    expect(pc.irr).toBe(0);
    pc.out(0x4d0, 0x10);
    expect(pc.irr).toBe(0x10);
    pc.out(0x4d0, 0);
    expect(pc.irr).toBe(0);
  });

  test("With automatic end of interrupt nothing is in service, and each of the slave's requests reaches the master", () => {
    const pc = lines();
    pc.initialisePics(3);
    pc.unmask(4, 8, 9);
    pc.raise(4, 8, 9);
    expect(pc.interrupt()).toBe(0x28);
    expect(pc.isr).toBe(0);
    expect(pc.interrupt()).toBe(0x29);
    pc.release(9);
    expect(pc.interrupt()).toBe(0x24);
    expect(pc.interrupt()).toBeUndefined();
  });

  test("Rotation: what was just served is the last in line", () => {
    const pc = lines(0, 4);
    pc.raise(4);
    expect(pc.interrupt()).toBe(0x24);
    pc.out(0x20, 0xa0); // rotate on non-specific end of interrupt
    pc.raise(0);
    pc.release(4);
    pc.raise(4);
    expect(pc.interrupts()).toEqual([0x20, 0x24]);
    pc.out(0x20, 0xc0 | 3); // set priority: 4 is the first
    pc.release(0, 4);
    pc.raise(0, 4);
    expect(pc.interrupts()).toEqual([0x24, 0x20]);
  });

  test("A specific end of interrupt ends the one that it names", () => {
    const pc = lines(0, 4);
    pc.raise(4);
    pc.interrupt();
    pc.raise(0);
    pc.interrupt();
    expect(pc.isr).toBe(0x11);
    pc.out(0x20, 0x64);
    expect(pc.isr).toBe(0x01);
  });

  test("In special mask mode a masked input in service holds back nobody, and a non-specific end does not end it", () => {
    const pc = lines(0, 4, 9);
    pc.raise(0);
    expect(pc.interrupt()).toBe(0x20);
    pc.raise(4);
    expect(pc.interrupt()).toBeUndefined();
    pc.out(0x20, 0x68);
    pc.unmask(4, 9);
    expect(pc.interrupt()).toBe(0x24);
    expect(pc.isr).toBe(0x11);
    pc.out(0x20, 0x20);
    expect(pc.isr).toBe(0x01);
    pc.out(0x20, 0x48); // and back
    pc.release(4);
    pc.raise(4);
    expect(pc.interrupt()).toBeUndefined();
  });

  test("In special fully nested mode a higher request of the slave gets through, a lower one of the master does not", () => {
    const pc = lines();
    pc.initialisePics(0x11);
    pc.unmask(4, 8, 9);
    pc.raise(9);
    expect(pc.interrupt()).toBe(0x29);
    pc.raise(4, 8);
    expect(pc.interrupt()).toBe(0x28);
    expect(pc.interrupt()).toBeUndefined();
  });

  test("A poll acknowledges like the processor does, from either port, and says when there is nothing", () => {
    const pc = lines(4, 8);
    pc.raise(4, 8);
    expect(pc.read(0x0c)).toBe(0x82);
    pc.out(0xa0, 0x0c);
    expect(pc.in(0xa1)).toBe(0x80);
    expect(pc.isr).toBe(0x0104);
    pc.endOfInterrupt(0x28);
    expect(pc.read(0x0c)).toBe(0x84);
    expect(pc.read(0x0c)).toBe(0);
    expect(pc.read(0x0a)).toBe(0);
  });

  test("The 8259s behave as a model by the data sheet does, whatever a guest writes and whichever inputs move", () => {
    const inputs = [0, 4, 8, 9];
    for (let seed = 1; seed <= 30 * effort; seed++) {
      const random = new Random(seed);
      const pc = new Lines();
      const model = new Model8259();
      model.master.base = 8;
      model.slave.base = 0x70;
      model.write(0x4d1, 2);
      const said: string[] = [];
      const note = (text: string) => said.push(text);
      const write = (port: number, value: number) => {
        note(`out ${port.toString(16)}, ${value.toString(16)}`);
        pc.out(port, value);
        model.write(port, value);
      };
      const initialise = (port: number) => {
        const icw4 = random.pick([1, 1, 3, 0x11, 0x13]);
        for (const [at, value] of [
          [port, 0x11],
          [port + 1, port],
          [port + 1, 4],
          [port + 1, icw4],
        ] as const) {
          write(at, value);
        }
      };
      initialise(0x20);
      initialise(0xa0);
      for (let i = 0; i < 400; i++) {
        const port = random.pick([0x20, 0xa0]);
        const check = (what: string, is: number | undefined, should: number | undefined) => {
          note(`${what} ${is}`);
          expect(is, `seed ${seed}:\n${said.slice(-40).join("\n")}`).toBe(should);
        };
        switch (random.below(12)) {
          case 0:
            if (random.below(8) === 0) initialise(port);
            else write(port + 1, random.pick([0, 0, 0x01, 0x10, 0xee, random.below(256)]));
            break;
          case 1:
            write(port, random.pick([0x80, 0x80, 0, random.below(256) & 0xe7])); // OCW2
            break;
          case 2:
            write(port, random.pick([0x68, 0x48, (random.below(256) & 0x67) | 8])); // OCW3
            break;
          case 3:
            write(port, random.pick([0x20, 0x20, 0x60 | random.below(8), 0xa0]));
            break;
          case 4:
            if (random.below(4) === 0)
              write(random.pick([0x4d0, 0x4d1]), random.pick([0, 2, random.below(256)]));
            break;
          case 5:
            if (random.below(20) === 0) write(port, random.below(256)); // anything, ICW1 too
            break;
          case 6:
          case 7:
            check("inta", pc.interrupt(), model.acknowledge());
            break;
          case 8:
            check(`in ${port.toString(16)}`, pc.in(port), model.read(port));
            check(`in ${(port + 1).toString(16)}`, pc.in(port + 1), model.read(port + 1));
            check("elcr", pc.in(0x4d0, 2), model.read(0x4d0) | (model.read(0x4d1) << 8));
            break;
          default: {
            const n = random.pick(inputs);
            const up = random.below(2) === 1;
            note(`line ${n} ${up ? "up" : "down"}`);
            pc.set(n, up);
            model.setLine(n, up);
          }
        }
      }
    }
  });
});
