import { describe, expect, test } from "vitest";
import { vendors } from "./fake/cpu.ts";
import { Next } from "./fake/exit.ts";
import { Model16550 } from "./fake/model16550.ts";
import { effort, Pc, Random } from "./fake/pc.ts";
import { DATA, IER, IIR, FCR, LCR, MCR, LSR, MSR, SCR, VECTOR } from "./fake/uartports.ts";

describe.each(vendors)("On %s:", (vendor) => {
  /** PC16550D table IV. */
  const NONE = 1;
  const LINE = 6;
  const RECEIVED = 4;
  const TIMEOUT = 12;
  const EMPTY = 2;
  const MODEM = 0;
  const LOOP = 0x10;
  const OUT2 = 8;

  /** A PC whose interrupts other than the UART's are masked. */
  class Serial extends Pc {
    constructor(mcr = OUT2) {
      super();
      this.initialisePics();
      this.unmask(4);
      this.out(MCR, mcr);
    }

    /** The other end sends, and root lets the guest go on. */
    give(text: string): void {
      this.machine.giveInput(text);
      this.machine.enter();
    }

    /** Sends bytes; in loop mode they come back. */
    send(...bytes: number[]): void {
      for (const byte of bytes) this.out(DATA, byte);
    }

    /** Reads while there is something. */
    receive(): number[] {
      const bytes: number[] = [];
      while (this.in(LSR) & 1) bytes.push(this.in(DATA));
      return bytes;
    }

    /** Why it interrupts; the bits that say whether there are FIFOs do not matter. */
    get cause(): number {
      return this.in(IIR) & 0x0f;
    }
  }

  const bytesFrom = (first: number, count: number) => Array.from({ length: count }, (_, i) => first + i);

  describe("Registers of the 16550A", () => {
    test("are after a reset as the data sheet's table I says, with CTS, DSR and DCD there", () => {
      const pc = new Pc({ vendor });
      expect([IER, IIR, LCR, MCR, LSR, MSR].map((port) => pc.in(port))).toEqual([0, 1, 0, 0, 0x60, 0xb0]);
      expect(pc.in(DATA)).toBe(0);
    });

    test("keep what they have bits for: the scratch and line control registers all, the others not", () => {
      const pc = new Pc({ vendor });
      for (const value of [0xff, 0x5a, 0xa5, 0]) {
        pc.outs([SCR, value], [IER, value], [MCR, value], [LCR, value]);
        expect([pc.in(SCR), pc.in(MCR), pc.in(LCR)]).toEqual([value, value & 0x1f, value]);
        pc.out(LCR, 0);
        expect(pc.in(IER)).toBe(value & 0x0f);
      }
    });

    test("0 and 1 are the divisor while DLAB is set, and neither data nor interrupt enables", () => {
      const pc = new Serial();
      pc.out(IER, 5);
      pc.give("x");
      pc.out(LCR, 0x83);
      pc.outs([DATA, 0x34], [IER, 0x12]);
      expect([pc.in(DATA), pc.in(IER)]).toEqual([0x34, 0x12]);
      pc.out(LCR, 3);
      expect([pc.in(IER), pc.in(DATA)]).toEqual([5, 0x78]);
      expect(pc.machine.takeOutput()).toBe("");
      pc.out(LCR, 0x80);
      expect([pc.in(DATA), pc.in(IER)]).toEqual([0x34, 0x12]);
    });

    test("LSR and MSR take no writes", () => {
      const pc = new Pc({ vendor });
      pc.outs([LSR, 0], [MSR, 0], [LSR, 0xff], [MSR, 0x0f]);
      expect([pc.in(LSR), pc.in(MSR)]).toEqual([0x60, 0xb0]);
    });
  });

  describe("Interrupts of the 16550A", () => {
    test("are identified by priority, and each is reset by what table IV names", () => {
      const pc = new Serial(LOOP);
      pc.in(MSR);
      pc.out(IER, 0x0f);
      pc.send(1, 2); // without FIFOs the second overruns the first
      pc.out(MCR, LOOP | 1);
      expect([pc.cause, pc.cause]).toEqual([LINE, LINE]);
      expect(pc.in(LSR) & 0x1f).toBe(3);
      expect([pc.cause, pc.cause]).toEqual([RECEIVED, RECEIVED]);
      expect(pc.in(DATA)).toBe(2);
      expect([pc.cause, pc.cause, pc.cause]).toEqual([EMPTY, MODEM, MODEM]);
      expect(pc.in(MSR)).toBe(0x22);
      expect(pc.cause).toBe(NONE);
    });

    test("come only of causes that are enabled; a cause that waits comes when it is", () => {
      for (const [enable, cause] of [
        [4, LINE],
        [1, RECEIVED],
        [2, EMPTY],
        [8, MODEM],
      ] as const) {
        const pc = new Serial(LOOP | 1);
        pc.send(1, 2);
        expect(pc.cause).toBe(NONE);
        pc.out(IER, enable);
        expect(pc.cause).toBe(cause);
      }
    });

    test("The transmitter's comes on its enabling when it is empty, and after each byte that is written", () => {
      const pc = new Serial();
      pc.out(IER, 2);
      expect(pc.interrupts()).toEqual([VECTOR]);
      expect([pc.cause, pc.cause]).toEqual([EMPTY, NONE]);
      for (const byte of [65, 66, 67]) {
        pc.send(byte);
        expect(pc.interrupts()).toEqual([VECTOR]);
        expect([pc.cause, pc.cause]).toEqual([EMPTY, NONE]);
      }
      pc.outs([IER, 2]); // enabled already: no new cause
      expect(pc.cause).toBe(NONE);
      pc.outs([IER, 0], [IER, 2]);
      expect(pc.cause).toBe(EMPTY);
      expect(pc.machine.takeOutput()).toBe("ABC");
    });

    test("A byte written to the transmitter resets its interrupt: a handler that reads no IIR gets the next one", () => {
      const pc = new Serial();
      pc.out(IER, 2);
      for (const byte of [65, 66, 67]) {
        expect(pc.interrupts()).toEqual([VECTOR]);
        pc.send(byte);
      }
      expect(pc.interrupts()).toEqual([VECTOR]);
      expect(pc.interrupts()).toEqual([]);
    });

    test("Without FIFOs each byte interrupts: a handler may read one and wait for the next interrupt", () => {
      const pc = new Serial();
      pc.out(IER, 1);
      pc.give("abc");
      for (const byte of [0x61, 0x62, 0x63]) {
        expect(pc.interrupts()).toEqual([VECTOR]);
        expect(pc.cause).toBe(RECEIVED);
        expect(pc.in(DATA)).toBe(byte);
      }
      expect(pc.interrupts()).toEqual([]);
    });

    test("Below the trigger level each read resets the timeout, which is soon over again", () => {
      const pc = new Serial();
      pc.outs([FCR, 0x81], [IER, 1]);
      pc.give("abc");
      for (let i = 0; i < 3; i++) {
        expect(pc.interrupts()).toEqual([VECTOR]);
        expect(pc.cause).toBe(TIMEOUT);
        pc.in(DATA);
      }
      expect(pc.interrupts()).toEqual([]);
    });

    test("A cause that stays holds the line: reading another one's byte is no new edge", () => {
      const pc = new Serial(OUT2 | LOOP);
      pc.in(MSR);
      pc.outs([MCR, OUT2], [IER, 0x0b]); // the modem's inputs have changed
      pc.give("ab");
      expect(pc.interrupts()).toEqual([VECTOR]);
      pc.in(DATA);
      pc.send(1);
      expect(pc.interrupts()).toEqual([]);
      pc.in(MSR);
      pc.in(DATA);
      pc.send(2);
      expect(pc.interrupts()).toEqual([VECTOR]);
    });

    test("reach the interrupt controller only while OUT2 is active, which loop mode takes away", () => {
      const pc = new Serial(0);
      pc.out(IER, 2);
      expect(pc.interrupts()).toEqual([]);
      pc.out(MCR, OUT2);
      expect(pc.interrupts()).toEqual([VECTOR]);
      pc.out(MCR, OUT2 | LOOP);
      pc.send(1);
      expect(pc.interrupts()).toEqual([]);
      pc.out(MCR, OUT2);
      expect(pc.interrupts()).toEqual([VECTOR]);
    });
  });

  describe("FIFOs of the 16550A", () => {
    test("are told in IIR while they are enabled; control bits without the enable bit do nothing", () => {
      const pc = new Serial();
      expect(pc.in(IIR)).toBe(0x01);
      pc.out(FCR, 0xc6);
      expect(pc.in(IIR)).toBe(0x01);
      pc.out(FCR, 0x01);
      expect(pc.in(IIR)).toBe(0xc1);
      pc.out(FCR, 0xc0);
      expect(pc.in(IIR)).toBe(0x01);
    });

    test("are cleared by a change of the enable bit and by the clear bit, and by nothing else", () => {
      const pc = new Serial(LOOP);
      pc.send(1);
      pc.out(FCR, 1);
      expect(pc.receive()).toEqual([]);
      pc.send(1, 2, 3);
      pc.outs([FCR, 0x81], [FCR, 0x05]); // another trigger level; the transmitter's
      expect(pc.receive()).toEqual([1, 2, 3]);
      pc.send(4, 5);
      pc.out(FCR, 3);
      expect(pc.receive()).toEqual([]);
      pc.send(6, 7);
      pc.out(FCR, 0);
      expect(pc.receive()).toEqual([]);
      pc.out(MCR, 0);
      pc.give("abc");
      pc.out(FCR, 1);
      expect(pc.receive()).toEqual([]);
    });

    test.each([
      [0, 1],
      [1, 4],
      [2, 8],
      [3, 14],
    ])("with trigger level %i are ready at %i bytes", (code, level) => {
      const pc = new Serial(LOOP);
      pc.outs([FCR, (code << 6) | 1], [IER, 1]);
      for (let n = 1; n <= 16; n++) {
        pc.send(n);
        expect(pc.cause).toBe(n < level ? TIMEOUT : RECEIVED);
      }
      for (let left = 15; left >= 0; left--) {
        expect(pc.in(DATA)).toBe(16 - left);
        expect(pc.cause).toBe(left === 0 ? NONE : left < level ? TIMEOUT : RECEIVED);
      }
    });

    test("hold 16 bytes: what comes then is lost, and LSR says so once", () => {
      const pc = new Serial(LOOP);
      pc.out(FCR, 1);
      pc.send(...bytesFrom(1, 16));
      expect(pc.in(LSR)).toBe(0x61);
      pc.send(17);
      expect([pc.in(LSR), pc.in(LSR)]).toEqual([0x63, 0x61]);
      expect(pc.receive()).toEqual(bytesFrom(1, 16));
      expect(pc.in(LSR)).toBe(0x60);
    });

    test("when they are off, an overrun destroys the byte before", () => {
      const pc = new Serial(LOOP);
      pc.send(1, 2);
      expect([pc.in(LSR), pc.in(LSR)]).toEqual([0x63, 0x61]);
      expect(pc.receive()).toEqual([2]);
    });
  });

  describe("Loop mode of the 16550A", () => {
    test("brings back what is sent, and nothing leaves or comes in meanwhile", () => {
      const pc = new Serial(LOOP);
      pc.out(FCR, 1);
      for (let byte = 0; byte < 256; byte++) {
        pc.send(byte);
        expect(pc.receive()).toEqual([byte]);
      }
      pc.give("later");
      expect(pc.in(LSR)).toBe(0x60);
      expect(pc.machine.takeOutput()).toBe("");
      pc.out(MCR, 0);
      expect(Buffer.from(pc.receive()).toString()).toBe("later");
    });

    test("makes RTS, DTR, OUT1 and OUT2 the inputs CTS, DSR, RI and DCD; leaving it shows the line's again", () => {
      const pc = new Serial(LOOP);
      for (let outputs = 0; outputs < 16; outputs++) {
        pc.out(MCR, LOOP | outputs);
        const [dtr, rts, out1, out2] = [0, 1, 2, 3].map((n) => (outputs >> n) & 1) as [
          number,
          number,
          number,
          number,
        ];
        expect(pc.in(MSR) >> 4).toBe(rts | (dtr << 1) | (out1 << 2) | (out2 << 3));
      }
      pc.out(MCR, 0x0f);
      expect(pc.in(MSR) >> 4).toBe(0x0b);
    });

    test("notes a change of each input until MSR is read; of RI only that it went away", () => {
      const pc = new Serial(LOOP);
      expect([pc.in(MSR), pc.in(MSR)]).toEqual([0x0b, 0]);
      const changes = (outputs: number) => {
        pc.out(MCR, LOOP | outputs);
        const status = pc.in(MSR);
        expect(pc.in(MSR)).toBe(status & 0xf0);
        return status & 0x0f;
      };
      expect([changes(1), changes(0)]).toEqual([2, 2]);
      expect([changes(2), changes(0)]).toEqual([1, 1]);
      expect([changes(4), changes(0)]).toEqual([0, 4]);
      expect([changes(8), changes(0)]).toEqual([8, 8]);
      expect([changes(15), changes(15), changes(0)]).toEqual([0x0b, 0, 0x0f]);
      // There and back again counts as well.
      pc.outs([MCR, LOOP | 1], [MCR, LOOP]);
      expect(pc.in(MSR)).toBe(2);
    });
  });

  test("The 16550A behaves as a model by the data sheet does, whatever is written and received", () => {
    for (let seed = 1; seed <= 40 * effort; seed++) {
      const random = new Random(seed);
      const pc = new Serial(0);
      const model = new Model16550();
      const said: string[] = [];
      const check = <T>(what: string, is: T, should: T) => {
        said.push(`${what}: ${String(is)}`);
        expect(is, `seed ${seed}:\n${said.slice(-40).join("\n")}`).toEqual(should);
      };
      const write = (offset: number, value: number) => {
        said.push(`write ${offset}, ${value.toString(16)}`);
        const next = pc.out(DATA + offset, value);
        model.write(offset, value);
        if (next === Next.Resume) return;
        // Root empties the ring.
        check("output", [...Buffer.from(pc.machine.takeOutput(), "latin1")], model.sent.splice(0));
        check("next", pc.machine.enter(), Next.Resume);
      };
      for (let i = 0; i < 300; i++) {
        switch (random.below(12)) {
          case 0:
            write(1, random.pick([0x0f, 0, 1, 2, random.below(256)]));
            break;
          case 1:
            write(2, random.pick([1, 0x81, 0xc1, random.below(256), 0]));
            break;
          case 2:
            if (random.below(3) === 0) write(3, random.pick([3, 3, 0x80, random.below(256)]));
            break;
          case 3:
            write(4, random.pick([8, 8, 0x0b, 0x18, 0x10, random.below(256)]));
            break;
          case 4:
          case 5:
            for (let n = random.pick([1, 1, 2, random.below(24)]); n > 0; n--) write(0, random.below(256));
            break;
          case 6: {
            const bytes = Array.from({ length: random.pick([1, 1, 3, random.below(20)]) }, () =>
              random.below(256),
            );
            said.push(`input ${bytes.join(" ")}`);
            pc.give(Buffer.from(bytes).toString("latin1"));
            model.give(bytes);
            break;
          }
          case 7: {
            check("interrupt", pc.interrupt(), model.request ? VECTOR : undefined);
            model.request = false;
            pc.endOfInterrupt(VECTOR);
            break;
          }
          case 8:
            for (let n = random.below(6); n > 0; n--) check("read 0", pc.in(DATA), model.read(0));
            break;
          case 9:
            write(7, random.below(256));
            break;
          default: {
            const offset = random.below(8);
            check(`read ${offset}`, pc.in(DATA + offset), model.read(offset));
          }
        }
        check("request", (pc.in(0x20) >> 4) & 1, model.request ? 1 : 0);
      }
      check("output", [...Buffer.from(pc.machine.takeOutput(), "latin1")], model.sent);
    }
  }, 300_000);
});
