/**
 * Where an intercepted instruction ends, on CPUs that say it and on those that do not (APM Vol. 2 15.7.1, State Saved on
 * Exit): then it is fetched again.
 */
import { describe, expect, test } from "vitest";
import { CodeGuest, type CodeOptions, type CodeSize, Seg, UNCLAIMED } from "./fake/code.ts";
import { Gpr, Next } from "./fake/exit.ts";
import { abi } from "./fake/layout.ts";
import { P, PS, RW, US, XD } from "./fake/paging.ts";
import { Code, FakeSvm } from "./fake/svm.ts";
import { assemble } from "./oracle/nasm.ts";

const TSC_ADJUST = 0x3bn;
const IF = 0x200n;

interface Instruction {
  name: string;
  text: string;
  code: number;
  info1?: bigint;
  /** What the handler says, Next.Resume unless told; and what it injects. */
  next?: Next;
  vector?: number;
  sizes?: CodeSize[];
}

const instructions: Instruction[] = [
  { name: "CPUID", text: "cpuid", code: Code.CPUID },
  { name: "HLT", text: "hlt", code: Code.HLT, next: Next.Yield },
  { name: "RDMSR", text: "rdmsr", code: Code.MSR },
  { name: "WRMSR", text: "wrmsr", code: Code.MSR, info1: 1n },
  { name: "WBINVD", text: "wbinvd", code: Code.WBINVD },
  { name: "WBNOINVD", text: "db 0xf3\n wbinvd", code: Code.WBINVD },
  { name: "INVD", text: "invd", code: Code.INVD },
  { name: "INVD, of which QEMU says that it is WBINVD", text: "invd", code: Code.WBINVD },
  { name: "XSETBV", text: "xsetbv", code: Code.XSETBV },
  { name: "MOV to CR4", text: "mov cr4, ebx", code: Code.WRITE_CR4, sizes: [16, 32] },
  { name: "MOV from CR4", text: "mov ebp, cr4", code: Code.READ_CR4, sizes: [16, 32] },
  { name: "MOV to CR4", text: "mov cr4, rbx", code: Code.WRITE_CR4, sizes: [64] },
  { name: "MOV from CR4", text: "mov r13, cr4", code: Code.READ_CR4, sizes: [64] },
  { name: "MOV to CR0", text: "mov cr0, esi", code: Code.WRITE_CR0, sizes: [16, 32] },
  { name: "MOV to CR0", text: "mov cr0, rsi", code: Code.WRITE_CR0, sizes: [64] },
  { name: "LMSW", text: "lmsw si", code: Code.WRITE_CR0 },
  { name: "ICEBP", text: "int1", code: Code.ICEBP, vector: 1 },
  { name: "PAUSE", text: "pause", code: Code.PAUSE, next: Next.Yield },
];

const modes: [name: string, options: CodeOptions & { real?: boolean }][] = [
  ["16-bit code in real mode", { size: 16, real: true }],
  ["16-bit code", { size: 16 }],
  ["32-bit code", { size: 32 }],
  ["32-bit code with 32-bit paging", { size: 32, paging: "32-bit" }],
  ["32-bit code with PAE paging", { size: 32, paging: "PAE" }],
  ["16-bit compatibility code", { size: 16, paging: "4-level" }],
  ["32-bit compatibility code", { size: 32, paging: "4-level" }],
  ["64-bit code", { size: 64 }],
];

function guestOf({ real, ...options }: CodeOptions & { real?: boolean }, nextRip = false) {
  const guest = new CodeGuest(options, new FakeSvm({ nextRip }));
  if (real) {
    guest.cpu.cr0 = 0x10n;
    for (let n = Seg.ES; n <= Seg.GS; n++) guest.cpu.setSegment(n, { base: 0n, limit: 0xffff, rights: 0x93 });
    guest.cpu.setSegment(Seg.CS, { base: guest.rip & ~0xffffn, limit: 0xffff, rights: 0x9b });
  }
  return guest;
}

/** Registers with which every one of the instructions does something that is taken. */
function prepare(guest: CodeGuest<FakeSvm>, { code }: Instruction): void {
  const { cpu } = guest;
  guest.flags = IF;
  guest.set(Gpr.rax, code === Code.XSETBV ? 1 : 0);
  guest.set(Gpr.rcx, code === Code.MSR ? TSC_ADJUST : 0n);
  guest.set(Gpr.rdx, 0);
  guest.set(Gpr.rbx, cpu.cr4 | 4n);
  guest.set(Gpr.rsi, cpu.cr0 ^ 2n);
}

/** The guest executes the instruction at RIP, whose bytes are where the test has put them. */
function execute(guest: CodeGuest<FakeSvm>, instruction: Instruction, length: number): Next {
  prepare(guest, instruction);
  return guest.cpu.exit(instruction.code, { info1: instruction.info1, length });
}

function expectDone(guest: CodeGuest<FakeSvm>, i: Instruction, next: Next, to: bigint, what = i.name): void {
  expect([next, guest.cpu.rip.toString(16)], what).toEqual([i.next ?? Next.Resume, to.toString(16)]);
  expect(guest.cpu.takeInjected()?.vector, what).toBe(i.vector);
}

/** Prefixes that mean nothing for these instructions, but LOCK. */
const prefixes: Record<CodeSize, number[][]> = {
  16: [[], [0x66], [0x67], [0x2e], [0x66, 0x67, 0x64], new Array<number>(10).fill(0x3e)],
  32: [[], [0x66], [0x67], [0x26, 0x36], [0x65, 0x66], new Array<number>(10).fill(0x66)],
  64: [
    [],
    [0x66],
    [0x67],
    [0x2e],
    [0x48],
    [0x66, 0x48],
    [0x48, 0x66],
    [0x4f],
    new Array<number>(10).fill(0x65),
  ],
};

/** REX.B and REX.R would name other registers. */
const fits = (text: string, bytes: number[]) =>
  !(text.includes("cr") || text === "lmsw si") || !bytes.some((b) => b >> 4 === 4);
/** 64-bit code's own REX must stand directly before the opcode. */
const all = (size: CodeSize) => instructions.filter((i) => !i.sizes || i.sizes.includes(size));

describe.each(modes)("In %s", (_, options) => {
  const { size } = options;
  const list = all(size!);
  const codes = assemble(
    size!,
    list.map((i) => i.text),
  );
  test.each(list.map((i, n) => ({ ...i, bytes: [...codes[n]!] })))(
    "$name ends where its last byte is, whatever its prefixes",
    ({ bytes, ...instruction }) => {
      for (const front of prefixes[size!]) {
        if (!fits(instruction.text, front)) continue;
        const guest = guestOf(options);
        const rip = options.real ? guest.rip & 0xffffn : guest.rip;
        guest.put([...front, ...bytes, 0xcc, 0xcc]);
        guest.cpu.rip = rip;
        const next = execute(guest, instruction, front.length + bytes.length);
        const to = rip + BigInt(front.length + bytes.length);
        expectDone(guest, instruction, next, to, Buffer.from([...front, ...bytes]).toString("hex"));
      }
    },
  );
});

describe("On a CPU that says where the next instruction is", () => {
  test.each(all(64))("$name is not fetched again", (instruction) => {
    const guest = guestOf({ size: 64 }, true);
    // There is nothing at RIP. What writes CR0 is looked at all the same, for it may be LMSW.
    const [bytes] = assemble(64, [instruction.text]);
    const looked = [Code.WRITE_CR0, Code.WRITE_CR4, Code.READ_CR4].includes(instruction.code);
    if (looked) guest.put(bytes!);
    else guest.cpu.rip = 0x123456789000n;
    const { rip } = guest.cpu;
    const next = execute(guest, instruction, looked ? bytes!.length : 7);
    expectDone(guest, instruction, next, rip + (looked ? BigInt(bytes!.length) : 7n));
  });
});

describe("An instruction over two pages", () => {
  test.each(all(64).map((i) => ({ ...i, name: i.name })))(
    "that are no neighbours in memory: $name",
    (instruction) => {
      const code = [0x66, ...assemble(64, [instruction.text])[0]!];
      for (const front of fits(instruction.text, [0x48]) ? [1, 0] : [1]) {
        const bytes = code.slice(1 - front);
        for (let first = 1; first < bytes.length; first++) {
          const guest = guestOf({ size: 64 });
          guest.tables!.map(0xa00000n, 0x400000n);
          guest.tables!.map(0xa01000n, 0x440000n);
          guest.machine.ram.put(0x401000 - first, bytes.slice(0, first));
          guest.machine.ram.put(0x440000, bytes.slice(first));
          guest.cpu.rip = 0xa01000n - BigInt(first);
          const next = execute(guest, instruction, bytes.length);
          expectDone(
            guest,
            instruction,
            next,
            0xa01000n + BigInt(bytes.length - first),
            `${first} of ${bytes.length}`,
          );
        }
      }
    },
  );

  test("is not what lies behind the first page in memory", () => {
    for (const [first, rest] of [
      [[0x0f], [0xa2, 0x90, 0x90]],
      [[0x66, 0x0f], [0xa2]],
    ] as const) {
      const guest = guestOf({ size: 64 });
      guest.tables!.map(0xa00000n, 0x400000n);
      guest.tables!.map(0xa01000n, 0x440000n);
      guest.machine.ram.put(0x401000 - first.length, [...first, ...rest]);
      guest.machine.ram.put(0x440000, [0x0b]); // UD2
      guest.cpu.rip = 0xa01000n - BigInt(first.length);
      const { rip } = guest.cpu;
      expect(execute(guest, instructions[0]!, 2)).toBe(Next.Resume);
      expect([guest.cpu.rip, guest.get(Gpr.rbx)]).toEqual([rip, guest.cpu.cr4 | 4n]);
    }
  });

  test("is not completed when the second has gone: the page fault is its first byte's", () => {
    const guest = guestOf({ size: 64 });
    guest.tables!.map(0xa00000n, 0x400000n);
    guest.machine.ram.put(0x400fff, [0x0f]);
    guest.cpu.rip = 0xa00fffn;
    expect(execute(guest, instructions[0]!, 2)).toBe(Next.Resume);
    expect(guest.fault).toEqual({ type: 3, vector: 14, error: 0, address: 0xa01000n });
    expect([guest.cpu.rip, guest.get(Gpr.rbx)]).toEqual([0xa00fffn, guest.cpu.cr4 | 4n]);
  });
});

const [CPUID, , RDMSR] = instructions;

describe("Pages of every size", () => {
  test.each([
    ["4 KiB", 0],
    ["2 MiB", 1],
    ["1 GiB", 2],
  ] as const)("%s", (_, level) => {
    for (const front of [[], [0x66]]) {
      const guest = guestOf({ size: 64, ram: 16 << 20 });
      const linear = 0xffff888000000000n;
      guest.tables!.set(linear + 0x654321n, (level ? PS : 0x654000n) | P | RW, level);
      // A large page begins at a multiple of its size.
      if (level === 1) guest.tables!.set(linear + 0x654321n, 0x600000n | PS | P | RW, 1);
      guest.machine.ram.put(0x654321, [...front, 0x0f, 0xa2]);
      guest.cpu.rip = linear + 0x654321n;
      const next = execute(guest, CPUID!, front.length + 2);
      expectDone(guest, CPUID!, next, linear + 0x654323n + BigInt(front.length));
    }
  });
});

describe("EIP", () => {
  test.each([
    ["32-bit code", { size: 32, paging: "32-bit" }],
    ["PAE paging", { size: 32, paging: "PAE" }],
    ["compatibility code", { size: 32, paging: "4-level" }],
    ["64-bit code, where RIP does not", { size: 64 }],
  ] as const)("wraps behind an instruction that ends at 4 GiB: %s", (_, options) => {
    for (const nextRip of [false, true]) {
      for (const front of [[], [0x66]]) {
        for (const instruction of [CPUID!, RDMSR!, instructions[4]!]) {
          const bytes = [...front, ...assemble(32, [instruction.text])[0]!];
          const rip = 0x100000000n - BigInt(bytes.length);
          const guest = new CodeGuest(
            { ...options, rip, code: 0x401000n - BigInt(bytes.length) },
            new FakeSvm({ nextRip }),
          );
          guest.put(bytes);
          const next = execute(guest, instruction, bytes.length);
          expectDone(guest, instruction, next, options.size === 64 ? 0x100000000n : 0n);
        }
      }
    }
  });

  test("wraps within an instruction", () => {
    const guest = guestOf({ size: 32, paging: "32-bit" });
    guest.tables!.map(0xfffff000n, 0x500000n);
    guest.tables!.map(0n, 0x501000n);
    guest.machine.ram.put(0x500fff, [0x0f, 0xa2]);
    guest.cpu.rip = 0xffffffffn;
    expectDone(guest, CPUID!, execute(guest, CPUID!, 2), 1n);
  });
});

describe("Code that is not what it was when the CPU fetched it", () => {
  /** The registers that an instruction could have changed. */
  const state = (guest: CodeGuest<FakeSvm>) => [
    ...[Gpr.rax, Gpr.rbx, Gpr.rcx, Gpr.rdx, Gpr.rbp, Gpr.r13].map((r) => guest.get(r)),
    ...[guest.cpu.rip, guest.cpu.cr0, guest.cpu.cr4, guest.machine.xcr0, guest.flags],
  ];

  test.each(all(64))(
    "has changed: nothing is done of $name, and the guest executes what is there",
    (instruction) => {
      const others = [
        "nop",
        "mov eax, [rbx]",
        "mov cr3, rbx",
        "mov rbx, cr0",
        "invlpg [rbx]",
        "int3",
        "xgetbv",
        "cpuid",
        "hlt",
      ];
      assemble(64, others).forEach((bytes, n) => {
        if (instruction.text === others[n]) return;
        for (const front of [[], [0x66]]) {
          const guest = guestOf({ size: 64 });
          guest.put([...front, ...bytes]);
          prepare(guest, instruction);
          const before = state(guest);
          const { flushes } = guest.cpu;
          expect(execute(guest, instruction, bytes.length), others[n]).toBe(Next.Resume);
          expect(state(guest), others[n]).toEqual(before);
          expect(guest.cpu.injecting).toBe(false);
          // If it was a translation that has changed, the CPU is to use the new one.
          expect(guest.cpu.flushes, others[n]).toBeGreaterThan(flushes);
          expect(guest.machine.exits("REFETCHED")).toBe(1n);
        }
      });
    },
  );

  test.each(all(64))("is not mapped any more: nothing is done of $name but the page fault", (instruction) => {
    const cases: [name: string, bits: bigint, error: number, cpl: 0 | 3][] = [
      ["not present", 0n, 0, 0],
      ["a supervisor's page", P | RW, 5, 3],
      ["execution disabled", P | RW | US | XD, 0x11, 0],
    ];
    for (const [name, bits, error, cpl] of cases) {
      const guest = new CodeGuest({ cpl }, new FakeSvm({ nextRip: false }));
      guest.put([0x90]);
      if (bits & XD) guest.cpu.efer |= 0x800n;
      guest.tables!.set(guest.rip, bits ? 0x400000n | bits : 0n);
      prepare(guest, instruction);
      const before = state(guest);
      expect(execute(guest, instruction, 2), name).toBe(Next.Resume);
      expect(guest.fault, name).toEqual({ type: 3, vector: 14, error, address: guest.rip });
      guest.flags &= ~0x10000n; // RF is the fault's
      expect(state(guest), name).toEqual(before);
      expect(guest.machine.exits("REFETCHED")).toBe(1n);
    }
  });

  test("is in memory that nobody claims, or runs into it: it is executed again", () => {
    for (const rip of [0xa00000n, 0xa00fffn]) {
      const guest = guestOf({ size: 64 });
      guest.tables!.map(0xa00000n, rip === 0xa00000n ? UNCLAIMED : 0x400000n);
      guest.tables!.map(0xa01000n, UNCLAIMED);
      guest.machine.ram.put(0x400fff, [0x0f]);
      guest.cpu.rip = rip;
      expect(execute(guest, CPUID!, 2)).toBe(Next.Resume);
      expect([guest.cpu.rip, guest.cpu.injecting]).toEqual([rip, false]);
    }
  });

  test("meets an entry that another CPU changes at the same time: it is executed again", () => {
    const guest = guestOf({ size: 64 });
    // Too long to be known at first sight.
    const code = [...new Array<number>(8).fill(0x66), 0x0f, 0xa2];
    guest.put(code);
    guest.machine.races = 1;
    expect(execute(guest, CPUID!, code.length)).toBe(Next.Resume);
    expect([guest.moved, guest.cpu.injecting]).toEqual([0n, false]);
    expectDone(guest, CPUID!, execute(guest, CPUID!, code.length), guest.rip + BigInt(code.length));
  });

  test("is behind CS's limit: #GP", () => {
    const guest = guestOf({ size: 32 });
    guest.put([0x0f, 0xa2]);
    guest.cpu.setSegment(Seg.CS, { limit: Number(guest.rip) });
    expect(execute(guest, CPUID!, 2)).toBe(Next.Resume);
    expect(guest.fault).toEqual({ type: 3, vector: 13, error: 0 });
    expect(guest.moved).toBe(0n);
  });
});

test("An instruction of 15 bytes is completed, one of 16 is #GP", () => {
  const guest = guestOf({ size: 64 });
  guest.put([...new Array<number>(13).fill(0x66), 0x0f, 0xa2]);
  expectDone(guest, CPUID!, execute(guest, CPUID!, 15), guest.rip + 15n);
  guest.put([...new Array<number>(14).fill(0x66), 0x0f, 0xa2]);
  expect(execute(guest, CPUID!, 15)).toBe(Next.Resume);
  expect(guest.fault).toEqual({ type: 3, vector: 13, error: 0 });
});

test("PAUSE asks root to let others run, and is complete", () => {
  const guest = guestOf({ size: 64 }, true);
  const { rip } = guest.cpu;
  expect(guest.cpu.exit(Code.PAUSE, { length: 2 })).toBe(Next.Yield);
  expect([guest.machine.request, guest.cpu.rip]).toEqual([abi("REQUEST_PASS"), rip + 2n]);
  expect(guest.machine.enter()).toBe(Next.Resume);
  expect([guest.cpu.rip, guest.machine.exits("PAUSE")]).toEqual([rip + 2n, 1n]);
});
