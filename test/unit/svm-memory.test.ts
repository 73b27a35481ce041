/** Nested page faults (APM Vol. 2 15.25.6): accesses to what is no RAM, and walks of a guest's own tables through it. */
import { describe, expect, test } from "vitest";
import { CodeGuest, type CodeOptions, Seg, UNCLAIMED } from "./fake/code.ts";
import { Gpr, Next } from "./fake/exit.ts";
import { abi } from "./fake/layout.ts";
import { P, RW, US } from "./fake/paging.ts";
import { Code, FakeSvm, type SvmOptions, Word } from "./fake/svm.ts";
import { assemble } from "./oracle/nasm.ts";

const RAM = 0x600000n;
const NOTHING = 0x700000n;
const LOST = 0x40000000n;
const TABLES = 0x800000n;

/** RAM at RAM, nothing at NOTHING, and from LOST on a page table in no RAM, which reads all ones. */
function guestOf(options: CodeOptions = {}, has: SvmOptions = {}): CodeGuest<FakeSvm> {
  const guest = new CodeGuest(options, new FakeSvm(has));
  guest.tables!.map(RAM, RAM);
  guest.tables!.map(NOTHING, UNCLAIMED);
  guest.tables!.set(LOST, UNCLAIMED | P | RW | US, 1);
  guest.set(Gpr.rsp, RAM + 0x800n);
  return guest;
}

const code = (text: string, size: 16 | 32 | 64 = 64) => assemble(size, [text])[0]!;

describe("The instruction's bytes", () => {
  test("are those that the CPU has fetched, where it says them, whatever is in memory by now", () => {
    const guest = guestOf({}, { assists: true });
    const [bytes, other] = [code("mov eax, [rbx]"), code("mov ecx, [rbx]")];
    guest.set(Gpr.rbx, NOTHING);
    guest.put(other);
    for (const length of [bytes.length, 15]) {
      guest.set(Gpr.rax, 0);
      guest.cpu.rip = guest.rip;
      const line = new Uint8Array(length).fill(0x90);
      line.set(bytes);
      guest.cpu.exit(Code.NPF, { info1: (1n << 32n) | 4n, info2: UNCLAIMED, code: line });
      expect([guest.get(Gpr.rax), guest.get(Gpr.rcx), guest.moved]).toEqual([0xffffffffn, 0n, 2n]);
    }
  });

  test("are all 15 of them, in their order", () => {
    const guest = guestOf({}, { assists: true });
    const bytes = [0x2e, 0x2e, 0x2e, 0x2e, ...code("mov qword [rbx+0x11223344], 0x55667788")];
    expect(bytes.length).toBe(15);
    guest.set(Gpr.rbx, RAM - 0x11223344n);
    // Nothing is mapped here.
    guest.cpu.rip = 0x123456789000n;
    guest.cpu.exit(Code.NPF, { info1: (1n << 32n) | 6n, info2: UNCLAIMED, code: Uint8Array.from(bytes) });
    expect([guest.machine.ram.load(RAM, 8), guest.cpu.rip]).toEqual([0x55667788n, 0x12345678900fn]);
  });

  test("are fetched where the CPU has not, or not all of them, at the next page too", () => {
    const bytes = code("mov dword [rbx+0x100], 0x12345678");
    for (let given = 0; given <= bytes.length; given++) {
      const guest = guestOf({}, { assists: true });
      guest.tables!.map(0xa00000n, 0x400000n);
      guest.tables!.map(0xa01000n, 0x440000n);
      const first = Math.max(given, 1);
      guest.machine.ram.put(0x401000 - first, bytes.slice(0, first));
      guest.machine.ram.put(0x440000, bytes.slice(first));
      guest.set(Gpr.rbx, RAM - 0x100n);
      guest.cpu.rip = 0xa01000n - BigInt(first);
      guest.cpu.exit(Code.NPF, { info1: (1n << 32n) | 6n, info2: UNCLAIMED, code: bytes.slice(0, given) });
      expect(guest.fault, `${given} given`).toBeUndefined();
      expect(guest.machine.ram.load(RAM, 4)).toBe(0x12345678n);
      expect(guest.cpu.rip).toBe(0xa01000n - BigInt(first) + BigInt(bytes.length));
    }
  });

  test("of an earlier exit do not matter", () => {
    const guest = guestOf({}, { assists: true });
    guest.set(Gpr.rbx, NOTHING);
    guest.access(code("mov eax, [rbx]"));
    expect(guest.moved).toBe(2n);
    // INS is decoded without them.
    guest.set(Gpr.rdi, RAM);
    guest.put(code("insb"));
    guest.cpu.stringPort(0x1f0, 1, true);
    expect([guest.moved, guest.machine.ram.load(RAM, 1)]).toEqual([1n, 0xffn]);
  });
});

test("Code that nobody claims is FF FF, which is undefined", () => {
  for (const assists of [true, false]) {
    const guest = guestOf({}, { assists });
    guest.cpu.rip = NOTHING;
    expect(guest.cpu.violation(UNCLAIMED, { execute: true })).toBe(Next.Resume);
    expect([guest.fault, guest.cpu.rip]).toEqual([{ type: 3, vector: 6 }, NOTHING]);
  }
});

describe("A walk that meets a page table which nobody claims is a page fault", () => {
  const PF = { type: 3, vector: 14 };
  /** Present, a reserved bit. */
  const RESERVED = 9;
  const WRITE = 2;
  const USER = 4;

  test.each<[string, string, Partial<Record<"rbx" | "rsp" | "rsi" | "rdi", bigint>>, bigint, number]>([
    ["for the operand", "mov eax, [rbx+0x10]", { rbx: LOST }, LOST + 0x10n, RESERVED],
    ["for an operand that is written", "mov [rbx+0x10], eax", { rbx: LOST }, LOST + 0x10n, RESERVED | WRITE],
    ["for one that is not emulated", "movups xmm0, [rbx+0x10]", { rbx: LOST }, LOST + 0x10n, RESERVED],
    ["for a string's source", "movsb", { rsi: LOST + 5n, rdi: RAM }, LOST + 5n, RESERVED],
    ["for a string's destination", "movsb", { rsi: RAM, rdi: LOST + 5n }, LOST + 5n, RESERVED | WRITE],
    ["for the stack", "push rax", { rsp: LOST + 0x808n }, LOST + 0x800n, RESERVED | WRITE],
    [
      "for a stack, of what is not emulated",
      "enter 8, 0",
      { rsp: LOST + 0x808n },
      LOST + 0x807n,
      RESERVED | WRITE,
    ],
  ])("%s", (_, text, registers, address, error) => {
    for (const cpl of [0, 3] as const) {
      const guest = guestOf({ cpl });
      for (const [name, value] of Object.entries(registers)) guest.set(Gpr[name as "rbx"], value);
      guest.put(code(text));
      expect(guest.cpu.violation(UNCLAIMED, { walk: true })).toBe(Next.Resume);
      expect(guest.fault).toEqual({ ...PF, error: error | (cpl ? USER : 0), address });
      expect(guest.moved).toBe(0n);
    }
  });

  test("for the code", () => {
    const guest = guestOf();
    guest.cpu.rip = LOST + 0x123n;
    expect(guest.cpu.violation(UNCLAIMED, { walk: true, execute: true })).toBe(Next.Resume);
    expect(guest.fault).toEqual({ ...PF, error: RESERVED, address: LOST + 0x123n });
  });

  test("for a segment with a base, outside 64-bit mode too", () => {
    const guest = guestOf({ size: 32, paging: "PAE" });
    guest.cpu.setSegment(Seg.DS, { base: LOST });
    guest.set(Gpr.rbx, 0x44);
    guest.put(code("fld qword [ebx]", 32));
    expect(guest.cpu.violation(UNCLAIMED, { walk: true })).toBe(Next.Resume);
    expect(guest.fault).toEqual({ ...PF, error: RESERVED, address: LOST + 0x44n });
    const long = guestOf();
    long.cpu.setSegment(Seg.FS, { base: LOST });
    long.set(Gpr.rbx, 0x44);
    long.put(code("fld qword [fs:rbx]"));
    expect(long.cpu.violation(UNCLAIMED, { walk: true })).toBe(Next.Resume);
    expect(long.fault).toEqual({ ...PF, error: RESERVED, address: LOST + 0x44n });
  });

  test("and one for something else ends the VM by name", () => {
    const guest = guestOf();
    guest.tables!.set(RAM, RAM | P | RW, 0);
    guest.put(code("lgdt [rsp]"));
    expect(guest.cpu.violation(UNCLAIMED, { walk: true })).toBe(Next.Stop);
    expect(guest.machine.stop.reason).toBe(abi("STOPREASON_NOT_EMULATED"));
  });
});

describe("The gate of an event is where", () => {
  test.each<[string, CodeOptions, bigint]>([
    ["64-bit and compatibility code have 16 bytes each", { size: 64 }, 16n],
    ["long mode has 16 bytes each", { size: 32, paging: "4-level" }, 16n],
    ["protected mode has 8 bytes each", { size: 32, paging: "32-bit" }, 8n],
  ])("%s", (_, options, size) => {
    const guest = new CodeGuest(options, new FakeSvm());
    guest.cpu.rsp = 0x400800n;
    const level = 1;
    guest.tables!.set(LOST, UNCLAIMED | P | RW, level);
    // All ones is a good entry of 32-bit paging.
    if (options.paging === "32-bit") guest.tables!.set(LOST, 0n, level);
    guest.cpu.idtr = { base: LOST, limit: 0xfff };
    const event = { type: 0, vector: 0x31 };
    guest.flags = 0x200n;
    expect(guest.cpu.violation(UNCLAIMED, { walk: true, event })).toBe(Next.Resume);
    expect(guest.fault).toMatchObject({ vector: 14, address: LOST + 0x31n * size });
  });
});

describe("PAE paging", () => {
  test("has no registers for its first table, which is read like any other, at any of its places (15.25.10)", () => {
    const guest = guestOf({ size: 32, paging: "PAE" });
    const { ram } = guest.machine;
    for (const at of [0x20n, 0xfe0n]) {
      for (let n = 0n; n < 4n; n++) ram.store(TABLES + at + n * 8n, 8, ram.load(TABLES + n * 8n, 8));
      guest.cpu.cr3 = TABLES + at;
      guest.set(Gpr.rbx, NOTHING);
      guest.set(Gpr.rax, 0);
      guest.access(code("mov eax, [ebx]", 32));
      expect([guest.fault, guest.get(Gpr.rax)]).toEqual([undefined, 0xffffffffn]);
    }
    // What is in memory now counts.
    ram.store(TABLES + 0xfe0n + 8n, 8, 0n);
    guest.set(Gpr.rbx, LOST);
    guest.access(code("mov eax, [ebx]", 32));
    expect(guest.fault).toEqual({ type: 3, vector: 14, error: 0, address: LOST });
  });

  test("finds reserved bits of its first table", () => {
    const guest = guestOf({ size: 32, paging: "PAE" });
    const { ram } = guest.machine;
    for (const bit of [1n, 2n, 5n, 8n, 39n, 63n]) {
      ram.store(TABLES + 8n, 8, ram.load(TABLES, 8) | (1n << bit));
      guest.set(Gpr.rbx, LOST);
      guest.access(code("mov eax, [ebx]", 32));
      expect(guest.fault, `bit ${bit}`).toEqual({ type: 3, vector: 14, error: 9, address: LOST });
    }
  });
});

test("A memory exit reads every system register, and a port exit none of them", () => {
  const guest = guestOf();
  const reads = new Set<number>();
  const read = guest.cpu["read"].bind(guest.cpu);
  guest.cpu["read"] = (word) => (reads.add(word), read(word));
  guest.cpu.out(0x80, 1);
  expect([...reads].filter((word) => word >= 0x400 && word < Word.RFLAGS)).toEqual([]);
  guest.access([0x90]);
  expect([...reads].filter((word) => word >= 0x400 && word < 0x4a0).length).toBe(20);
});
