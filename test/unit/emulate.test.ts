import { describe, expect, test } from "vitest";
import { CodeGuest, Seg, UNCLAIMED, type CodeSize } from "./fake/code.ts";
import { MOV_SS, vendors } from "./fake/cpu.ts";
import { Gpr, Next } from "./fake/exit.ts";
import { assemble } from "./oracle/nasm.ts";

describe.each(vendors)("On %s:", (vendor) => {
  const RAM = 0x600000n;
  const NOTHING = 0x700000n;
  const UD = { vector: 6, type: 3 };
  const GP = { vector: 13, type: 3, error: 0 };
  const ALL_ONES = 0xffffffffffffffffn;
  const TF = 0x100n;
  const RF = 0x10000n;

  /** RAM at RAM, nothing at the page behind it and at NOTHING. RBX is at NOTHING, RSP in RAM. */
  function guestOf(size: CodeSize = 64): CodeGuest {
    const guest = new CodeGuest({ vendor, size, paging: size === 64 ? "4-level" : "32-bit" });
    guest.tables!.map(RAM, RAM);
    guest.tables!.map(RAM + 0x1000n, UNCLAIMED + 0x1000n);
    guest.tables!.map(NOTHING, UNCLAIMED);
    guest.set(Gpr.rbx, NOTHING + 0x10n);
    guest.set(Gpr.rsp, RAM + 0x800n);
    return guest;
  }

  /** Executes one instruction, which must go well. */
  function run(guest: CodeGuest, text: string, size: CodeSize = 64): void {
    const [code] = assemble(size, [text]);
    expect(guest.access(code!)).toBe(Next.Resume);
    expect(guest.fault).toBeUndefined();
  }

  describe("Memory that nobody claims", () => {
    test("reads all ones, whatever the size", () => {
      const guest = guestOf();
      for (const [text, value] of [
        ["mov al, [rbx]", 0xffn],
        ["mov ax, [rbx]", 0xffffn],
        ["mov eax, [rbx]", 0xffffffffn],
        ["mov rax, [rbx]", ALL_ONES],
        ["movzx eax, byte [rbx]", 0xffn],
        ["movsx rax, byte [rbx]", ALL_ONES],
        ["movbe eax, [rbx]", 0xffffffffn],
      ] as const) {
        guest.set(Gpr.rax, 0);
        run(guest, text);
        expect(guest.get(Gpr.rax), text).toBe(value);
      }
      expect(guest.machine.refusals("UNCLAIMED_MEMORY")).toBe(7n);
      expect(guest.machine.exits("MEMORY")).toBe(7n);
    });

    test("takes no writes, and what reads and writes it computes with all ones", () => {
      const guest = guestOf();
      guest.set(Gpr.rax, 5);
      run(guest, "mov [rbx], rax");
      run(guest, "lock xadd [rbx], eax");
      expect(guest.get(Gpr.rax)).toBe(0xffffffffn);
      expect(guest.flags & 1n).toBe(1n);
      run(guest, "cmp dword [rbx], -1");
      expect(guest.flags & 0x40n).toBe(0x40n);
      run(guest, "xchg [rbx], cl");
      expect(guest.get(Gpr.rcx)).toBe(0xffn);
      expect(
        guest.machine.ram.bytes.every(
          (byte, at) => byte === 0 || at < 0x600000 || at >= 0x700000 || at >= 0x800000,
        ),
      ).toBe(true);
    });

    test("may be one half of an access, and RAM the other", () => {
      const guest = guestOf();
      guest.machine.ram.put(0x600ffc, [1, 2, 3, 4]);
      guest.set(Gpr.rbx, RAM + 0xffdn);
      run(guest, "mov rax, [rbx]");
      expect(guest.get(Gpr.rax)).toBe(0xffffffffff040302n);
      guest.set(Gpr.rax, 0x8877665544332211n);
      run(guest, "mov [rbx], rax");
      expect([...guest.machine.ram.bytes.subarray(0x600ffc, 0x601000)]).toEqual([1, 0x11, 0x22, 0x33]);
      run(guest, "add qword [rbx], 0x7f");
      expect([...guest.machine.ram.bytes.subarray(0x600ffc, 0x601000)]).toEqual([1, 0x90, 0x22, 0x33]);
    });

    test("begins right behind the end of RAM", () => {
      const guest = guestOf();
      guest.tables!.map(RAM, BigInt(16 << 20) - 0x1000n, 2);
      guest.machine.ram.put((16 << 20) - 2, [0x34, 0x12]);
      guest.set(Gpr.rbx, RAM + 0xffen);
      run(guest, "mov eax, [rbx]");
      expect(guest.get(Gpr.rax)).toBe(0xffff1234n);
    });

    test("as code is FF FF, which is undefined", () => {
      const guest = guestOf();
      guest.cpu.rip = NOTHING;
      expect(guest.cpu.violation(UNCLAIMED, { linear: NOTHING, execute: true })).toBe(Next.Resume);
      expect(guest.fault).toEqual(UD);
      expect(guest.cpu.rip).toBe(NOTHING);
    });

    test("continues the code of the last page of RAM", () => {
      const guest = guestOf();
      guest.tables!.map(0xa00000n, 0x400000n);
      guest.tables!.map(0xa01000n, UNCLAIMED);
      const end = (bytes: number[]) => {
        guest.machine.ram.put(0x401000 - bytes.length, bytes);
        guest.cpu.rip = 0xa01000n - BigInt(bytes.length);
        return guest.cpu.violation(UNCLAIMED, { linear: 0xa01000n, execute: true });
      };
      guest.set(Gpr.rbx, RAM);
      expect(end([0xc6, 0x03])).toBe(Next.Resume); // MOV BYTE [RBX], FFh
      expect(guest.fault).toBeUndefined();
      expect(guest.machine.ram.load(RAM, 1)).toBe(0xffn);
      expect(guest.cpu.rip).toBe(0xa01001n);
      expect(end([0xb8])).toBe(Next.Resume); // MOV EAX, FFFFFFFFh
      expect(guest.get(Gpr.rax)).toBe(0xffffffffn);
      expect(end([0x0f])).toBe(Next.Resume); // UD0
      expect(guest.fault).toEqual(UD);
      expect(end([0xf7])).toBe(Next.Stop); // IDIV EDI
      expect(guest.machine.stop.detail).toBe(0xfff7n);
    });
  });

  describe("What is not emulated", () => {
    test("ends the VM by name, with the instruction's bytes", () => {
      const guest = guestOf();
      for (const text of [
        "movups xmm0, [rbx]",
        "fld qword [rbx]",
        "mul dword [rbx]",
        "vmovups ymm0, [rbx]",
        "lgdt [rbx]",
        "iretq",
      ]) {
        const [code] = assemble(64, [text]);
        expect(guest.access(code!), text).toBe(Next.Stop);
        const bytes = Buffer.alloc(8);
        bytes.set(code!.subarray(0, 8));
        expect(guest.machine.stop).toEqual({ reason: 7, detail: bytes.readBigUInt64LE() });
        expect(guest.moved).toBe(0n);
      }
    });
  });

  describe("An instruction's end", () => {
    test("a single step is due behind it, interrupts are no longer blocked by it, and RF is off", () => {
      const guest = guestOf();
      guest.flags = TF | RF;
      guest.cpu.blocking = MOV_SS;
      expect(guest.access(assemble(64, ["mov eax, [rbx]"])[0]!)).toBe(Next.Resume);
      expect(guest.cpu.takeStep()).toBe(true);
      expect(guest.cpu.blocking).toBe(0n);
      expect(guest.flags).toBe(TF | 2n);
      expect(guest.moved).toBe(2n);
    });

    test("a fault leaves everything as it was", () => {
      const guest = guestOf();
      guest.flags = TF | RF | 0x8d5n;
      guest.set(Gpr.rcx, 0x900000);
      guest.access(assemble(64, ["add [rcx], eax"])[0]!);
      expect(guest.fault).toMatchObject({ vector: 14, address: 0x900000n });
      expect(guest.cpu.takeStep()).toBe(false);
      expect(guest.flags).toBe(TF | RF | 0x8d7n);
      expect(guest.moved).toBe(0n);
    });
  });

  describe("LOCK", () => {
    const codes = (texts: string[]) =>
      assemble(
        64,
        texts.map((text) => `db 0xf0\n ${text}`),
      );

    test("may stand before what reads and writes memory", () => {
      const guest = guestOf();
      for (const code of codes([
        "add [rbx], eax",
        "or byte [rbx], 1",
        "not word [rbx]",
        "neg dword [rbx]",
        "inc qword [rbx]",
        "dec byte [rbx]",
        "xchg [rbx], eax",
        "xadd [rbx], eax",
        "cmpxchg [rbx], ecx",
        "cmpxchg8b [rbx]",
        "bts [rbx], eax",
        "btr dword [rbx], 1",
        "btc dword [rbx], 1",
      ])) {
        guest.access(code);
        expect(guest.fault, Buffer.from(code).toString("hex")).toBeUndefined();
      }
    });

    test("is undefined before everything else", () => {
      const guest = guestOf();
      for (const code of codes([
        "add eax, [rbx]",
        "cmp [rbx], eax",
        "cmp byte [rbx], 1",
        "test [rbx], eax",
        "mov [rbx], eax",
        "mov eax, [rbx]",
        "bt [rbx], eax",
        "bt dword [rbx], 1",
        "add eax, ecx",
        "inc eax",
        "xchg eax, ecx",
        "setz [rbx]",
        "push qword [rbx]",
        "movsb",
        "imul eax, [rbx]",
      ])) {
        guest.access(code);
        expect(guest.fault, Buffer.from(code).toString("hex")).toEqual(UD);
        expect(guest.moved).toBe(0n);
      }
    });
  });

  describe("Undefined forms", () => {
    test("of instructions that are emulated", () => {
      const guest = guestOf();
      for (const code of [
        [0xff, 0xff],
        [0xfe, 0xd0],
        [0xfe, 0x3b],
        [0x8f, 0x0b],
        [0xc7, 0x4b],
        [0x0f, 0xba, 0x03],
        [0x0f, 0x0b],
        [0x8c, 0x33],
        [0x0f, 0x38, 0xf0, 0xc1],
        [0x0f, 0xc7, 0xc8],
      ]) {
        guest.access([...code, 0, 0, 0, 0]);
        expect(guest.fault, Buffer.from(code).toString("hex")).toEqual(UD);
      }
    });

    test("An instruction of more than 15 bytes is #GP", () => {
      const guest = guestOf();
      guest.access([...new Array(13).fill(0x66), 0x8b, 0x03]);
      expect(guest.fault).toBeUndefined();
      expect(guest.moved).toBe(15n);
      guest.access([...new Array(14).fill(0x66), 0x8b, 0x03]);
      expect(guest.fault).toEqual(GP);
      guest.access(new Array(32).fill(0x2e));
      expect(guest.fault).toEqual(GP);
    });
  });

  describe("Code over two pages", () => {
    test("is fetched from both, and only if it needs both", () => {
      const [code] = assemble(64, ["mov dword [rbx+0x100], 0x12345678"]);
      for (let first = 1; first <= code!.length; first++) {
        const guest = guestOf();
        guest.tables!.map(0xa00000n, 0x400000n);
        if (first < code!.length) guest.tables!.map(0xa01000n, 0x440000n);
        guest.machine.ram.put(0x401000 - first, code!.subarray(0, first));
        guest.machine.ram.put(0x440000, code!.subarray(first));
        guest.set(Gpr.rbx, RAM - 0x100n);
        guest.cpu.rip = 0xa01000n - BigInt(first);
        guest.cpu.violation(UNCLAIMED, { linear: 0n });
        expect(guest.fault).toBeUndefined();
        expect(guest.machine.ram.load(RAM, 4)).toBe(0x12345678n);
        expect(guest.cpu.rip).toBe(0xa01000n - BigInt(first) + BigInt(code!.length));
      }
    });

    test("faults at the second page's first byte when that is not there", () => {
      const guest = guestOf();
      guest.tables!.map(0xa00000n, 0x400000n);
      guest.machine.ram.put(0x400fff, [0x8b]);
      guest.cpu.rip = 0xa00fffn;
      guest.cpu.violation(UNCLAIMED, { linear: 0n });
      expect(guest.fault).toMatchObject({ vector: 14, error: 0, address: 0xa01000n });
    });
  });

  describe("The stack and jumps", () => {
    test("PUSH and CALL write to a stack that nobody claims, POP and RET read all ones there", () => {
      const guest = guestOf();
      guest.set(Gpr.rsp, NOTHING + 0x800n);
      run(guest, "push rax");
      run(guest, "call $+0x20");
      expect(guest.cpu.rip).toBe(guest.rip + 0x20n);
      expect(guest.get(Gpr.rsp)).toBe(NOTHING + 0x7f0n);
      run(guest, "pop rcx");
      expect(guest.get(Gpr.rcx)).toBe(ALL_ONES);
      run(guest, "ret 8");
      expect(guest.cpu.rip).toBe(ALL_ONES);
      expect(guest.get(Gpr.rsp)).toBe(NOTHING + 0x808n);
    });

    test("CALL and JMP through memory go where it says, if that is canonical", () => {
      const guest = guestOf();
      guest.machine.ram.store(RAM, 8, 0xffff800012345678n);
      guest.machine.ram.store(RAM + 8n, 8, 0x800000000000n);
      guest.set(Gpr.rbx, RAM);
      run(guest, "jmp [rbx]");
      expect(guest.cpu.rip).toBe(0xffff800012345678n);
      run(guest, "call [rbx]");
      expect(guest.cpu.rip).toBe(0xffff800012345678n);
      expect(guest.machine.ram.load(RAM + 0x7f8n, 8)).toBe(guest.rip + 2n);
      guest.access(assemble(64, ["call [rbx+8]"])[0]!);
      expect(guest.fault).toEqual(GP);
      expect(guest.get(Gpr.rsp)).toBe(RAM + 0x7f8n);
    });

    test("16-bit code and 16-bit stacks wrap at 64 KiB", () => {
      const guest = new CodeGuest({ vendor, size: 16, rip: 0x100n, code: 0x12100n });
      guest.cpu.cr0 = 0n;
      guest.cpu.setSegment(Seg.CS, { base: 0x12000n, limit: 0xffff });
      guest.cpu.setSegment(Seg.SS, { base: 0x30000n, limit: 0xffff, rights: 0x93 });
      guest.set(Gpr.rsp, 0xabc0000n);
      guest.set(Gpr.rax, 0x1234n);
      run(guest, "push ax", 16);
      expect(guest.get(Gpr.rsp)).toBe(0xabcfffen);
      expect(guest.machine.ram.load(0x3fffen, 2)).toBe(0x1234n);
      run(guest, "call $-0x80", 16);
      expect(guest.cpu.rip).toBe(0x80n);
      run(guest, "pop cx", 16);
      expect(guest.get(Gpr.rcx) & 0xffffn).toBe(0x103n);
      expect(guest.get(Gpr.rsp)).toBe(0xabcfffen);
    });

    test("in 32-bit code a target beyond CS's limit is #GP", () => {
      const guest = guestOf(32);
      guest.cpu.setSegment(Seg.CS, { limit: 0x40ffff });
      guest.machine.ram.store(RAM, 8, 0x0041000000400100n);
      guest.set(Gpr.rbx, RAM);
      run(guest, "jmp [ebx]", 32);
      expect(guest.cpu.rip).toBe(0x400100n);
      guest.access(assemble(32, ["jmp [ebx+4]"])[0]!);
      expect(guest.fault).toEqual(GP);
    });
  });

  test("MOV from a segment register writes 16 bits to memory", () => {
    const guest = guestOf();
    guest.cpu.setSegment(Seg.FS, { selector: 0x1234 });
    guest.set(Gpr.rbx, RAM);
    guest.machine.ram.store(RAM, 8, ALL_ONES);
    run(guest, "mov [rbx], fs");
    expect(guest.machine.ram.load(RAM, 4)).toBe(0xffff1234n);
  });

  test("CMPXCHG16B wants 16-byte alignment", () => {
    const guest = guestOf();
    guest.access(assemble(64, ["cmpxchg16b [rbx+8]"])[0]!);
    expect(guest.fault).toEqual(GP);
    run(guest, "cmpxchg16b [rbx]");
    expect(guest.get(Gpr.rdx)).toBe(ALL_ONES);
  });
});
