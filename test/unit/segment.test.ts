import { describe, expect, test } from "vitest";
import { CodeGuest, Seg, UNCLAIMED } from "./fake/code.ts";
import { type SegmentValue, vendors } from "./fake/cpu.ts";
import { Gpr, Next } from "./fake/exit.ts";
import type { FakeVtx } from "./fake/vtx.ts";
import { assemble } from "./oracle/nasm.ts";

describe.each(vendors)("On %s:", (vendor) => {
  const GPA = 0x600000n;
  const GP = { vector: 13, type: 3, error: 0 };
  const SS = { vector: 12, type: 3, error: 0 };
  const AC = { vector: 17, type: 3, error: 0 };
  const UNUSABLE = 0x10000;
  const [READ, WRITE, STACK, CODE_WRITE, CODE_READ] = assemble(32, [
    "mov eax, [ebx]",
    "mov [ebx], ecx",
    "mov eax, [ebp]",
    "mov [cs:ebx], ecx",
    "mov eax, [cs:ebx]",
  ]);
  const BYTES = assemble(32, ["mov al, [ebx]"])[0]!;

  function withSegment(n: Seg, value: Partial<SegmentValue>, size: 16 | 32 = 32): CodeGuest {
    const guest = new CodeGuest({ vendor, size });
    guest.cpu.setSegment(n, value);
    return guest;
  }

  /** Executes with EBX and EBP at an offset. */
  function at(guest: CodeGuest, offset: bigint | number, code: Uint8Array) {
    guest.set(Gpr.rbx, offset);
    guest.set(Gpr.rbp, offset);
    expect(guest.access(code)).toBe(Next.Resume);
    return guest.fault;
  }

  describe("Outside 64-bit mode", () => {
    test("the segment's base is added, and the sum cut to 32 bits", () => {
      const guest = withSegment(Seg.DS, { base: 0xfff00000n });
      guest.machine.ram.store(GPA, 4, 0x11223344n);
      expect(at(guest, GPA + 0x100000n, READ!)).toBeUndefined();
      expect(guest.get(Gpr.rax)).toBe(0x11223344n);
    });

    test("the last byte must be within the limit, or it is #GP, and #SS for the stack's segment", () => {
      const guest = withSegment(Seg.DS, { limit: 0x600003 });
      expect(at(guest, GPA, READ!)).toBeUndefined();
      expect(at(guest, GPA + 1n, READ!)).toEqual(GP);
      expect(at(guest, GPA + 3n, BYTES)).toBeUndefined();
      expect(at(guest, GPA + 4n, BYTES)).toEqual(GP);
      const stack = withSegment(Seg.SS, { limit: 0x600003 });
      expect(at(stack, GPA, STACK!)).toBeUndefined();
      expect(at(stack, GPA + 1n, STACK!)).toEqual(SS);
    });

    test("a segment that expands down has its limit below", () => {
      const down = 0xc097;
      const big = withSegment(Seg.DS, { limit: 0x5fffff, rights: down });
      expect(at(big, GPA, READ!)).toBeUndefined();
      expect(at(big, GPA - 1n, READ!)).toEqual(GP);
      expect(at(big, 0xfffffffdn, READ!)).toEqual(GP);
      const small = withSegment(Seg.DS, { limit: 0xfff, rights: down & ~0x4000 });
      expect(at(small, 0x1000, READ!)).toBeUndefined();
      expect(at(small, 0xfff, READ!)).toEqual(GP);
      expect(at(small, 0xfffc, READ!)).toBeUndefined();
      expect(at(small, 0xfffd, READ!)).toEqual(GP);
      expect(at(small, 0x10000, BYTES)).toEqual(GP);
    });

    test("an unusable segment is #GP, or #SS", () => {
      expect(at(withSegment(Seg.DS, { rights: UNUSABLE }), GPA, READ!)).toEqual(GP);
      expect(at(withSegment(Seg.SS, { rights: UNUSABLE }), GPA, STACK!)).toEqual(SS);
    });

    test("read-only data is not written, code is not written, and code that is only executed is not read", () => {
      const readOnly = withSegment(Seg.DS, { rights: 0xc091 });
      expect(at(readOnly, GPA, READ!)).toBeUndefined();
      expect(at(readOnly, GPA, WRITE!)).toEqual(GP);
      const code = new CodeGuest({ vendor, size: 32 });
      expect(at(code, GPA, CODE_READ!)).toBeUndefined();
      expect(at(code, GPA, CODE_WRITE!)).toEqual(GP);
      expect(at(withSegment(Seg.CS, { rights: 0xc099 }), GPA, CODE_READ!)).toEqual(GP);
    });

    test("code is fetched up to CS's limit", () => {
      const guest = withSegment(Seg.CS, { limit: 0x400001 });
      expect(at(guest, GPA, READ!)).toBeUndefined();
      guest.cpu.setSegment(Seg.CS, { limit: 0x400000 });
      expect(at(guest, GPA, READ!)).toEqual(GP);
    });

    test("real mode has 16-bit offsets, bases of its own and no rights", () => {
      const guest = new CodeGuest({ vendor, size: 16, rip: 0x100n, code: 0x12100n });
      guest.cpu.cr0 = 0n;
      guest.cpu.setSegment(Seg.CS, { base: 0x12000n, limit: 0xffff });
      guest.cpu.setSegment(Seg.DS, { base: 0x5000n, limit: 0xffff });
      guest.machine.ram.store(0x5fffen, 2, 0x1122n);
      guest.machine.ram.store(0x14fffn, 1, 0x33n);
      guest.set(Gpr.rbx, 0xffff8000n);
      guest.set(Gpr.rsi, 0x7fffn);
      const [wrapped, beyond, code] = assemble(16, [
        "mov al, [bx+si]",
        "mov ax, [bx+si]",
        "mov [cs:0x2000], al",
      ]);
      guest.access(wrapped!);
      expect(guest.get(Gpr.rax)).toBe(0x33n);
      guest.access(beyond!);
      expect(guest.fault).toEqual({ vector: 13, type: 3 });
      guest.access(code!);
      expect(guest.fault).toBeUndefined();
      expect(guest.machine.ram.load(0x14000n, 1)).toBe(0x33n);
    });

    test("RIP is cut to 32 bits behind the last instruction", () => {
      const guest = new CodeGuest({ vendor, size: 32, rip: 0xfffffffen, code: 0x400ffen, paging: "32-bit" });
      guest.tables!.map(GPA, GPA);
      expect(at(guest, GPA, READ!)).toBeUndefined();
      expect(guest.cpu.rip).toBe(0n);
    });
  });

  describe("In 64-bit mode", () => {
    const [read, stack, fs, ds, byte] = assemble(64, [
      "mov eax, [rbx]",
      "mov eax, [rbp]",
      "mov eax, [fs:rbx]",
      "mov eax, [ds:rbx]",
      "mov al, [rbx]",
    ]);

    test("limits, rights and the bases of ES, CS, SS and DS say nothing", () => {
      const guest = new CodeGuest({ vendor });
      guest.tables!.map(GPA, GPA);
      for (const n of [Seg.ES, Seg.SS, Seg.DS])
        guest.cpu.setSegment(n, { base: 0x1234n, limit: 0, rights: UNUSABLE });
      guest.cpu.setSegment(Seg.CS, { base: 0x1234n, limit: 0 });
      expect(at(guest, GPA, read!)).toBeUndefined();
      expect(at(guest, GPA, ds!)).toBeUndefined();
      expect(at(guest, GPA, stack!)).toBeUndefined();
    });

    test("FS and GS have bases of 64 bits", () => {
      const guest = new CodeGuest({ vendor });
      guest.tables!.map(0xffff900000600000n, GPA);
      guest.cpu.setSegment(Seg.FS, { base: 0xffff900000000000n });
      guest.machine.ram.store(GPA, 4, 0x11223344n);
      expect(at(guest, 0x600000n, fs!)).toBeUndefined();
      expect(guest.get(Gpr.rax)).toBe(0x11223344n);
    });

    test("an address that is not canonical is #GP, or #SS for one from RSP or RBP", () => {
      const guest = new CodeGuest({ vendor });
      guest.tables!.map(0x7ffffffff000n, GPA);
      expect(at(guest, 0x800000000000n, read!)).toEqual(GP);
      expect(at(guest, 0xffff7fffffffffffn, read!)).toEqual(GP);
      expect(at(guest, 0x800000000000n, stack!)).toEqual(SS);
      expect(at(guest, 0x7ffffffffffcn, read!)).toBeUndefined();
      expect(at(guest, 0x7ffffffffffdn, read!)).toEqual(GP);
      expect(at(guest, 0x7fffffffffffn, byte!)).toBeUndefined();
    });

    test("code that runs out of the canonical addresses is #GP", () => {
      const guest = new CodeGuest({ vendor, rip: 0x7fffffffffffn, code: 0x400fffn });
      expect(at(guest, GPA, read!)).toEqual(GP);
    });
  });

  test("A misaligned access is #AC for CPL 3 with CR0.AM and AC only", () => {
    const [word] = assemble(64, ["mov ax, [rbx]"]);
    for (const [cpl, am, flags, faults] of [
      [3, true, true, true],
      [0, true, true, false],
      [3, false, true, false],
      [3, true, false, false],
    ] as const) {
      const guest = new CodeGuest({ vendor, cpl });
      guest.tables!.map(GPA, GPA);
      guest.cpu.cr0 |= am ? 0x40000n : 0n;
      guest.flags = flags ? 0x40000n : 0n;
      expect(at(guest, GPA + 1n, word!)).toEqual(faults ? AC : undefined);
      expect(at(guest, GPA + 2n, word!)).toBeUndefined();
    }
  });
});

test("On VT-x: A memory exit reads every system register, and a port exit none of them", () => {
  const guest = new CodeGuest<FakeVtx>();
  const read: number[] = [];
  const get = guest.cpu.get.bind(guest.cpu);
  guest.cpu.get = (field) => (read.push(field), get(field));
  guest.cpu.out(0x80, 1);
  expect(read.filter((f) => f >= 0x4800 && f < 0x4824)).toEqual([]);
  guest.put([0x90]);
  guest.cpu.violation(UNCLAIMED, { linear: 0n });
  expect(new Set(read.filter((f) => f >= 0x4800 && f < 0x4824)).size).toBe(18);
});
