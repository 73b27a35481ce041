import { describe, expect, test } from "vitest";
import { CodeGuest, Seg, UNCLAIMED } from "./fake/code.ts";
import { STI, vendors } from "./fake/cpu.ts";
import { Gpr, Next } from "./fake/exit.ts";
import { assemble } from "./oracle/nasm.ts";

describe.each(vendors)("On %s:", (vendor) => {
  const RAM = 0x600000n;
  const NOTHING = 0x700000n;
  const TF = 0x100n;
  const DF = 0x400n;
  const RF = 0x10000n;
  const LIMIT = 256n;
  const UART = 0x3f8;

  function guestOf(): CodeGuest {
    const guest = new CodeGuest({ vendor });
    guest.tables!.map(RAM, RAM, 3);
    guest.tables!.map(NOTHING, UNCLAIMED);
    return guest;
  }

  const code = (text: string) => assemble(64, [text])[0]!;

  describe("Repeated string instructions", () => {
    test("do a limited number of iterations an exit, and go on where they were", () => {
      const guest = guestOf();
      guest.set(Gpr.rcx, LIMIT + 10n);
      guest.set(Gpr.rsi, NOTHING);
      guest.set(Gpr.rdi, RAM);
      const rep = code("rep movsb");
      expect(guest.access(rep)).toBe(Next.Resume);
      expect([guest.moved, guest.get(Gpr.rcx), guest.get(Gpr.rsi), guest.get(Gpr.rdi)]).toEqual([
        0n,
        10n,
        NOTHING + LIMIT,
        RAM + LIMIT,
      ]);
      expect(guest.flags & RF).toBe(RF);
      expect(guest.access(rep)).toBe(Next.Resume);
      expect([guest.moved, guest.get(Gpr.rcx)]).toEqual([2n, 0n]);
      expect(guest.flags & RF).toBe(0n);
      expect(guest.machine.ram.load(RAM + LIMIT + 9n, 2)).toBe(0xffn);
    });

    test("let interrupts in between two exits", () => {
      const guest = guestOf();
      guest.set(Gpr.rcx, 1000);
      guest.set(Gpr.rdi, NOTHING);
      guest.cpu.blocking = STI;
      guest.access(code("rep stosb"));
      expect(guest.moved).toBe(0n);
      expect(guest.cpu.blocking).toBe(0n);
    });

    test("do one iteration a single step", () => {
      const guest = guestOf();
      guest.flags = TF;
      guest.set(Gpr.rcx, 2);
      guest.set(Gpr.rdi, NOTHING);
      const rep = code("rep stosd");
      guest.access(rep);
      expect([guest.moved, guest.get(Gpr.rcx), guest.cpu.takeStep()]).toEqual([0n, 1n, true]);
      guest.access(rep);
      expect([guest.moved, guest.get(Gpr.rcx), guest.cpu.takeStep()]).toEqual([2n, 0n, true]);
    });

    test("keep what they have done when they fault", () => {
      const guest = guestOf();
      guest.set(Gpr.rcx, 100);
      guest.set(Gpr.rsi, NOTHING);
      guest.set(Gpr.rdi, RAM + 0x2ff0n);
      guest.access(code("rep movsd"));
      expect(guest.fault).toMatchObject({ vector: 14, error: 2, address: RAM + 0x3000n });
      expect([guest.moved, guest.get(Gpr.rcx), guest.get(Gpr.rsi), guest.get(Gpr.rdi)]).toEqual([
        0n,
        96n,
        NOTHING + 16n,
        RAM + 0x3000n,
      ]);
    });

    test("keep the flags when a comparison faults", () => {
      const guest = guestOf();
      guest.set(Gpr.rcx, 100);
      guest.set(Gpr.rsi, RAM + 0x2ffen);
      guest.set(Gpr.rdi, RAM + 0xffen);
      guest.flags = 0x8d5n;
      guest.access(code("repe cmpsb"));
      expect(guest.fault).toMatchObject({ vector: 14, address: RAM + 0x3000n });
      expect(guest.flags).toBe(0x8d7n | RF); // RF is the fault's
      expect(guest.get(Gpr.rcx)).toBe(98n);
    });

    test("with a count of zero do nothing, and with 32-bit addresses look at ECX alone", () => {
      const guest = guestOf();
      const high = 0x1234500000000n;
      guest.set(Gpr.rcx, high);
      guest.set(Gpr.rdi, high | NOTHING);
      guest.access(code("a32 rep stosb"));
      expect([guest.moved, guest.get(Gpr.rcx), guest.get(Gpr.rdi)]).toEqual([3n, high, high | NOTHING]);
      guest.set(Gpr.rcx, high | 2n);
      guest.access(code("a32 rep stosb"));
      expect([guest.moved, guest.get(Gpr.rcx), guest.get(Gpr.rdi)]).toEqual([3n, 0n, NOTHING + 2n]);
    });

    test("in 16-bit code wrap at 64 KiB, and use ES and the overridden source", () => {
      const guest = new CodeGuest({ vendor, size: 16, rip: 0x100n, code: 0x400100n });
      guest.cpu.setSegment(Seg.CS, { base: 0x400000n });
      guest.cpu.setSegment(Seg.ES, { base: 0x600000n });
      guest.cpu.setSegment(Seg.FS, { base: 0x500000n });
      guest.machine.ram.put(0x50ffff, [1]);
      guest.machine.ram.put(0x500000, [2]);
      guest.set(Gpr.rcx, 0xabc0002);
      guest.set(Gpr.rsi, 0xabcffff);
      guest.set(Gpr.rdi, 0xabcfffe);
      guest.access(assemble(16, ["fs rep movsb"])[0]!);
      expect([guest.get(Gpr.rcx), guest.get(Gpr.rsi), guest.get(Gpr.rdi)]).toEqual([
        0xabc0000n,
        0xabc0001n,
        0xabc0000n,
      ]);
      expect([...guest.machine.ram.bytes.subarray(0x60fffe, 0x610000)]).toEqual([1, 2]);
    });
  });

  describe("INS and OUTS", () => {
    test("REP OUTSB sends a string", () => {
      const guest = guestOf();
      guest.machine.ram.put(Number(RAM), "hello\n");
      guest.set(Gpr.rcx, 6);
      guest.set(Gpr.rsi, RAM);
      guest.put(code("rep outsb"));
      const next = guest.cpu.stringPort(UART, 1, false, true);
      // The line's end lets root take the output.
      expect(next).toBe(Next.Yield);
      expect(guest.machine.request).toBe(2);
      expect([guest.moved, guest.get(Gpr.rcx), guest.get(Gpr.rsi)]).toEqual([2n, 0n, RAM + 6n]);
      expect(guest.machine.takeOutput()).toBe("hello\n");
    });

    test("stop at a line's end and go on after it", () => {
      const guest = guestOf();
      guest.machine.ram.put(Number(RAM), "a\nb\n");
      guest.set(Gpr.rcx, 4);
      guest.set(Gpr.rsi, RAM);
      guest.put(code("rep outsb"));
      expect(guest.cpu.stringPort(UART, 1, false, true)).toBe(Next.Yield);
      expect([guest.moved, guest.get(Gpr.rcx)]).toEqual([0n, 2n]);
      expect(guest.cpu.stringPort(UART, 1, false, true)).toBe(Next.Yield);
      expect([guest.moved, guest.get(Gpr.rcx)]).toEqual([2n, 0n]);
      expect(guest.machine.takeOutput()).toBe("a\nb\n");
    });

    test("REP INSW from a port that nobody claims fills memory with ones, in either direction", () => {
      const guest = guestOf();
      guest.set(Gpr.rcx, 3);
      guest.set(Gpr.rdi, RAM + 0x100n);
      guest.flags = DF;
      guest.put(code("rep insw"));
      expect(guest.cpu.stringPort(0x1f0, 2, true, true)).toBe(Next.Resume);
      expect([guest.moved, guest.get(Gpr.rcx), guest.get(Gpr.rdi)]).toEqual([3n, 0n, RAM + 0xfan]);
      expect(guest.machine.ram.load(RAM + 0xfan, 8)).toBe(0xffffffffffff0000n);
    });

    test("without REP do one element and leave RCX alone", () => {
      const guest = guestOf();
      guest.set(Gpr.rcx, 77);
      guest.set(Gpr.rdi, RAM);
      guest.put(code("insd"));
      expect(guest.cpu.stringPort(0xcf8, 4, true)).toBe(Next.Resume);
      expect([guest.moved, guest.get(Gpr.rcx), guest.get(Gpr.rdi)]).toEqual([1n, 77n, RAM + 4n]);
      guest.put([0x48, 0x6d]); // REX.W: there are no 8 bytes
      expect(guest.cpu.stringPort(0xcf8, 4, true)).toBe(Next.Resume);
      expect([guest.moved, guest.get(Gpr.rdi)]).toEqual([2n, RAM + 8n]);
    });

    test("do a limited number of iterations an exit", () => {
      const guest = guestOf();
      guest.set(Gpr.rcx, 1000);
      guest.set(Gpr.rdi, RAM);
      guest.put(code("rep insb"));
      guest.cpu.stringPort(0x1f0, 1, true, true);
      expect([guest.moved, guest.get(Gpr.rcx), guest.get(Gpr.rdi)]).toEqual([0n, 1000n - LIMIT, RAM + LIMIT]);
    });

    test("check the memory before the device is touched", () => {
      const guest = guestOf();
      guest.machine.giveInput("xy");
      guest.machine.enter();
      guest.set(Gpr.rdi, 0x900000n);
      guest.put(code("insb"));
      expect(guest.cpu.stringPort(UART, 1, true)).toBe(Next.Resume);
      expect(guest.fault).toMatchObject({ vector: 14, error: 2, address: 0x900000n });
      guest.set(Gpr.rdi, RAM);
      expect(guest.cpu.stringPort(UART, 1, true)).toBe(Next.Resume);
      expect(guest.machine.ram.load(RAM, 1)).toBe(0x78n);
    });

    test("take DS or its override for the source, ES for the destination, with their limits", () => {
      const guest = new CodeGuest({ vendor, size: 32 });
      const [ins, outs, fsOuts] = assemble(32, ["insb", "outsb", "fs outsb"]);
      guest.cpu.setSegment(Seg.DS, { limit: 0x5fffff });
      guest.cpu.setSegment(Seg.ES, { limit: 0x5fffff });
      guest.set(Gpr.rsi, RAM);
      guest.set(Gpr.rdi, RAM);
      guest.machine.ram.put(Number(RAM), "z");
      for (const bytes of [ins!, outs!]) {
        guest.put(bytes);
        expect(guest.cpu.stringPort(UART, 1, bytes === ins)).toBe(Next.Resume);
        expect(guest.fault).toEqual({ vector: 13, type: 3, error: 0 });
      }
      guest.put(fsOuts!);
      expect(guest.cpu.stringPort(UART, 1, false)).toBe(Next.Resume);
      expect(guest.fault).toBeUndefined();
      expect(guest.machine.takeOutput()).toBe("z");
    });

    test("that another instruction has replaced are not executed", () => {
      const guest = guestOf();
      for (const text of ["nop", "outsb", "insw", "in al, dx"]) {
        guest.put(code(text));
        expect(guest.cpu.stringPort(UART, 1, true), text).toBe(Next.Resume);
        expect([guest.moved, guest.fault], text).toEqual([0n, undefined]);
      }
    });

    test("to and from memory that nobody claims read and write it as such", () => {
      const guest = guestOf();
      guest.set(Gpr.rsi, NOTHING);
      guest.put(code("outsb"));
      guest.cpu.stringPort(UART, 1, false);
      expect(guest.machine.takeOutput()).toBe("\xff");
      expect(guest.machine.refusals("UNCLAIMED_MEMORY")).toBe(1n);
    });

    test("switch the machine off in the middle", () => {
      const guest = guestOf();
      guest.machine.ram.store(RAM, 2, 0x3400n);
      guest.set(Gpr.rcx, 5);
      guest.set(Gpr.rsi, RAM);
      guest.put(code("rep outsw"));
      expect(guest.cpu.stringPort(0x604, 2, false, true)).toBe(Next.Stop);
      expect(guest.machine.stop.reason).toBe(1);
    });
  });
});
