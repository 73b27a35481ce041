import { describe, expect, test } from "vitest";
import { Next } from "./fake/exit.ts";
import { abi } from "./fake/layout.ts";
import { effort, Pc, Random } from "./fake/pc.ts";
import { DATA, IER, IIR, FCR, LCR, MCR, LSR, MSR, VECTOR } from "./fake/uartports.ts";

const FIFO = 16;
const OUT_SIZE = abi("CONSOLE_OUT_SIZE");
const IN_SIZE = abi("CONSOLE_IN_SIZE");
const CONSOLE = abi("REQUEST_CONSOLE");
const TSC_HZ = 1_000_000_000n;

class Serial extends Pc {
  /** Output as root has taken it. */
  taken = "";

  constructor() {
    super({ tscHz: TSC_HZ });
    this.initialisePics();
    this.unmask(4);
    this.out(MCR, 8);
  }

  /** Root empties the ring and lets the guest go on. */
  serve(): void {
    this.taken += this.machine.takeOutput();
    expect(this.machine.enter()).toBe(Next.Resume);
  }

  /** The guest sends a byte; root comes if it is asked to. Whether it was. */
  send(byte: number): boolean {
    if (this.out(DATA, byte) === Next.Resume) return false;
    expect(this.machine.request).toBe(CONSOLE);
    this.serve();
    return true;
  }

  /** Sends so much that the transmitter is busy, while root does not come: what was sent. */
  fill(): string {
    let sent = "";
    while (this.in(LSR) & 0x20) {
      for (let i = 0; i < FIFO; i++) {
        const byte = 33 + (sent.length % 90);
        this.out(DATA, byte);
        sent += String.fromCharCode(byte);
      }
    }
    return sent;
  }

  index(field: "OUT_HEAD" | "OUT_TAIL" | "IN_HEAD" | "IN_TAIL", value: number): void {
    this.machine.memory.setUint32(abi("CONSOLE_RING") + abi(`CONSOLERINGS_${field}`), value, true);
  }
}

describe("Output to the console's ring", () => {
  test("arrives in order, however long it gets, and root is asked once a line", () => {
    const pc = new Serial();
    let sent = "";
    let served = 0;
    for (let line = 0; sent.length < 3 * OUT_SIZE; line++) {
      const text = `line ${line} has ${"x".repeat(line % 100)}\n`;
      for (const byte of Buffer.from(text)) if (pc.send(byte)) served++;
      sent += text;
    }
    expect(pc.taken).toBe(sent);
    expect(served).toBe(sent.split("\n").length - 1);
  });

  test("without line ends yields to root when the ring is half full, and not before", () => {
    const pc = new Serial();
    let count = 0;
    do count++;
    while (!pc.send(46));
    expect(count).toBeGreaterThanOrEqual(OUT_SIZE / 2);
    expect(count).toBeLessThanOrEqual(OUT_SIZE / 2 + 1);
    expect(pc.taken.length).toBe(count);
  });

  test("finds the transmitter busy when the ring has no room for a FIFO, and nothing of what it takes is lost", () => {
    const pc = new Serial();
    const sent = pc.fill();
    expect(sent.length).toBe(OUT_SIZE);
    // A guest that polls for the transmitter lets root empty the ring.
    expect(pc.cpu.in(LSR)).toBe(Next.Yield);
    expect([pc.in(LSR), pc.machine.request]).toEqual([0, CONSOLE]);
    pc.serve();
    expect(pc.in(LSR)).toBe(0x60);
    expect(pc.taken).toBe(sent);
  });

  test("to a busy transmitter is lost, as on the wire, and destroys nothing", () => {
    const pc = new Serial();
    const sent = pc.fill();
    expect(pc.out(DATA, 1)).toBe(Next.Resume);
    pc.serve();
    expect(pc.taken).toBe(sent);
  });

  test("goes on by interrupt: it comes when there is room again, for which the monitor asks to be woken", () => {
    const pc = new Serial();
    pc.out(IER, 2);
    const sent = pc.fill();
    expect(pc.machine.enter()).toBe(Next.Resume);
    expect(pc.interrupts()).toEqual([]);
    expect(pc.in(IIR)).toBe(1);
    expect(pc.machine.deadline).toBeLessThan(pc.machine.tsc + TSC_HZ / 500n);
    pc.pass(TSC_HZ / 100n); // root has been called, but its own UART takes nothing
    expect(pc.wakeUps).toBeGreaterThanOrEqual(5);
    expect(pc.interrupts()).toEqual([]);
    pc.taken += pc.machine.takeOutput();
    pc.pass(TSC_HZ / 500n);
    expect(pc.interrupts()).toEqual([VECTOR]);
    expect(pc.in(IIR)).toBe(2);
    expect(pc.taken).toBe(sent);
  });

  test("is waited for in HLT no longer than until there may be room", () => {
    const pc = new Serial();
    pc.out(IER, 2);
    pc.fill();
    pc.cpu.interruptsOn = true;
    expect(pc.cpu.hlt()).toBe(Next.Yield);
    expect(pc.machine.request).toBe(abi("REQUEST_HALT"));
    expect(pc.machine.wake).toBeLessThan(pc.machine.tsc + TSC_HZ / 500n);
    pc.serve();
    expect(pc.cpu.takeInjected()?.vector).toBe(VECTOR);
  });

  test.each([
    ["enables the transmitter's interrupt", [[IER, 2]]],
    ["leaves loop mode with the interrupt enabled", [[MCR, 0x18], [IER, 2], [MCR, 8]]], // prettier-ignore
  ] as [string, [number, number][]][])(
    "is taken by root when a guest %s while the ring is full",
    (_, writes) => {
      const pc = new Serial();
      const sent = pc.fill();
      let last = Next.Resume;
      for (const [port, value] of writes) last = pc.out(port, value);
      expect([last, pc.machine.request]).toEqual([Next.Yield, CONSOLE]);
      pc.serve();
      expect(pc.interrupts()).toEqual([VECTOR]);
      expect(pc.taken).toBe(sent);
    },
  );
});

describe("Input from root's ring", () => {
  test("interrupts when the guest goes on, and is read in order, however much comes in time", () => {
    const pc = new Serial();
    pc.outs([FCR, 0xc1], [IER, 1]);
    let given = "";
    let read = "";
    for (let n = 1; given.length < 4 * IN_SIZE; n = (n * 7) % 1021) {
      const text = Array.from({ length: n }, (_, i) => String.fromCharCode((n + i) & 255)).join("");
      pc.machine.giveInput(text);
      given += text;
      pc.serve();
      expect(pc.interrupts()).toEqual([VECTOR]);
      while (pc.in(LSR) & 1) read += String.fromCharCode(pc.in(DATA));
      expect(pc.in(IIR)).toBe(0xc1);
    }
    expect(read).toBe(given);
  });

  test("wakes a guest that has halted", () => {
    const pc = new Serial();
    pc.out(IER, 1);
    pc.cpu.interruptsOn = true;
    expect(pc.cpu.hlt()).toBe(Next.Yield);
    expect(pc.machine.wake).toBe(0xffffffffffffffffn);
    expect(pc.machine.enter()).toBe(Next.Yield);
    pc.machine.giveInput("x");
    expect(pc.machine.enter()).toBe(Next.Resume);
    expect(pc.cpu.takeInjected()?.vector).toBe(VECTOR);
  });
});

test("Rings whose indices make no sense crash nothing, and no access leaves the ring", () => {
  const random = new Random(1);
  const ring = abi("CONSOLE_RING");
  const end = ring + abi("CONSOLE_IN_OFFSET") + IN_SIZE;
  const values = [0, 1, 15, 16, OUT_SIZE, OUT_SIZE + 1, IN_SIZE + 1, 0x7fffffff, 0x80000000, 0xffffffff];
  for (let round = 0; round < 40 * effort; round++) {
    const pc = new Serial();
    const before = pc.machine.bytes(abi("VM_INFO"), abi("VCPU_AREA") - abi("VM_INFO")).slice();
    for (let i = 0; i < 60; i++) {
      if (i % 10 === 0) {
        const value = () => random.pick([...values, random.below(2 ** 32)]);
        pc.index("OUT_HEAD", value());
        pc.index("OUT_TAIL", value());
        pc.index("IN_HEAD", value());
        pc.index("IN_TAIL", value());
      }
      const port = DATA + random.below(8);
      if (random.below(2)) pc.in(port);
      else if (pc.out(port, random.below(256)) === Next.Yield) pc.machine.enter();
      if (random.below(8) === 0) pc.pass(random.below(3_000_000));
      pc.interrupt();
    }
    const after = pc.machine.bytes(abi("VM_INFO"), abi("VCPU_AREA") - abi("VM_INFO"));
    const outside = (bytes: Uint8Array) => [
      ...bytes.subarray(0, ring - abi("VM_INFO")),
      ...bytes.subarray(end - abi("VM_INFO")),
    ];
    expect(Buffer.from(outside(after)).equals(Buffer.from(outside(before)))).toBe(true);
  }
}, 300_000);

/** What drivers/tty/serial/8250/8250_port.c does with a port, register by register. */
describe("Linux's 8250 driver", () => {
  test("finds a UART: its interrupt enables can be read back, and its modem lines loop", () => {
    const pc = new Serial();
    const ier = pc.in(IER);
    pc.out(IER, 0);
    pc.out(0x80, 0xff);
    const cleared = pc.in(IER) & 0x0f;
    pc.out(IER, 0x0f);
    pc.out(0x80, 0);
    const set = pc.in(IER) & 0x0f;
    pc.out(IER, ier);
    expect([cleared, set]).toEqual([0, 0x0f]);
    const mcr = pc.in(MCR);
    pc.out(MCR, 0x10 | 0x08 | 0x02);
    const status = pc.in(MSR) & 0xf0;
    pc.out(MCR, mcr);
    expect(status).toBe(0x80 | 0x10); // DCD and CTS
  });

  test("takes it for a 16550A: two identification bits, and nothing of its many successors", () => {
    const pc = new Serial();
    const identification = (lcr: number, fcr: number) => {
      pc.outs([LCR, lcr], [FCR, fcr]);
      return pc.in(IIR) & 0xe0;
    };
    pc.outs([LCR, 0xbf], [FCR, 0], [LCR, 0]);
    expect(identification(0, 1)).toBe(0xc0);
    // EFR, at the place of IIR with DLAB set, would read 0, or take a value.
    for (const lcr of [0x80, 0xbf]) {
      pc.out(LCR, lcr);
      expect(pc.in(IIR)).not.toBe(0);
    }
    // EXCR1 of a SuperIO chip in bank E0h would follow MCR's loop bit.
    pc.out(LCR, 0);
    const mcr = pc.in(MCR);
    const exchanged = (value: number) => {
      pc.outs([LCR, 0], [MCR, value], [LCR, 0xe0]);
      const seen = pc.in(IIR);
      pc.out(LCR, 0);
      return ((seen ^ mcr) & 0x10) !== 0;
    };
    expect(exchanged(mcr ^ 0x10)).toBe(false);
    pc.out(MCR, mcr);
    // The TI16750 has FIFOs of 64 bytes, told by bit 5, and only with DLAB.
    expect([identification(0, 0x21), identification(0x80, 0x21)]).toEqual([0xc0, 0xc0]);
    // The XScale's has a unit enable in IER.
    pc.outs([LCR, 0], [IER, 0x40]);
    expect(pc.in(IER) & 0x40).toBe(0);
  });

  test("measures its FIFO: of 256 bytes that loop, 16 are there", () => {
    const pc = new Serial();
    pc.outs([LCR, 0], [FCR, 7], [MCR, 0x10], [LCR, 0x80], [DATA, 1], [IER, 0], [LCR, 3]);
    for (let i = 0; i < 256; i++) pc.out(DATA, i);
    pc.pass(TSC_HZ / 50n);
    let count = 0;
    while (pc.in(LSR) & 1 && count < 256) {
      pc.in(DATA);
      count++;
    }
    expect(count).toBe(FIFO);
  });

  test("finds the transmitter's interrupt asserted again after it is disabled and enabled", () => {
    const pc = new Serial();
    pc.out(IER, 2);
    const first = pc.in(IIR);
    pc.outs([IER, 0], [IER, 2]);
    const second = pc.in(IIR);
    pc.out(IER, 0);
    expect([first & 1, second & 1]).toEqual([0, 0]);
    // And at once, as long as it is empty (UART_BUG_TXEN).
    pc.out(IER, 2);
    expect([pc.in(LSR) & 0x40, pc.in(IIR) & 1]).toEqual([0x40, 0]);
  });

  test("probes for its interrupt: a byte sent with all of them enabled raises input 4", () => {
    const pc = new Serial();
    pc.out(MCR, 0x1f);
    pc.outs([MCR, 0x0b], [IER, 0x0f]);
    for (const port of [LSR, DATA, IIR, MSR]) pc.in(port);
    pc.interrupts();
    pc.out(DATA, 0xff);
    pc.pass(TSC_HZ / 50n);
    expect(pc.interrupts()).toEqual([VECTOR]);
  });
});
