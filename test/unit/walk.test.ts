import { describe, expect, test } from "vitest";
import { CodeGuest, UNCLAIMED, type CodeOptions } from "./fake/code.ts";
import { vendors } from "./fake/cpu.ts";
import { Gpr, Next } from "./fake/exit.ts";
import { hostCpuid } from "./fake/monitor.ts";
import { A, D, P, PS, RW, US, XD } from "./fake/paging.ts";
import { assemble } from "./oracle/nasm.ts";

describe.each(vendors)("On %s:", (vendor) => {
  const LINEAR = 0x40600000n;
  const GPA = 0x600000n;
  const MARK = 0x12345678n;
  const ALL_ONES = 0xffffffffn;
  const [READ, WRITE] = assemble(64, ["mov eax, [rbx]", "mov [rbx], ecx"]);

  const WP = 0x10000n;
  const PSE = 0x10n;
  const SMEP = 1n << 20n;
  const SMAP = 1n << 21n;
  const NXE = 0x800n;
  const AC = 1n << 18n;

  /** Bits of a page fault's error code. */
  const F = { P: 1, W: 2, U: 4, RSVD: 8, I: 16 };

  type Kind = "read" | "write" | "fetch";

  interface Setup extends CodeOptions {
    cr0?: bigint;
    cr4?: bigint;
    efer?: bigint;
    flags?: bigint;
  }

  class Walk extends CodeGuest {
    constructor({ cr0 = 0n, cr4 = 0n, efer = 0n, flags = 0n, ...options }: Setup = {}) {
      const size = options.paging && options.paging !== "4-level" ? 32 : 64;
      // Code is translated by other tables than what is tried, from the top on.
      super({ vendor, size, rip: size === 64 ? 0xffff800000400000n : 0x400000n, ...options });
      this.cpu.cr0 |= cr0;
      this.cpu.cr4 |= cr4;
      this.cpu.efer |= efer;
      this.flags = flags;
      this.machine.ram.store(GPA, 4, MARK);
    }

    get ram() {
      return this.machine.ram;
    }

    /** A read, write or fetch at a linear address. Undefined, or the page fault's error code. */
    try(kind: Kind, linear = LINEAR): number | undefined {
      this.set(Gpr.rbx, linear);
      this.set(Gpr.rcx, 0x55aa55aan);
      let next: Next;
      if (kind === "fetch") {
        // At the address itself: NOP [RAX], which reads nothing.
        this.cpu.rip = linear;
        next = this.cpu.violation(UNCLAIMED, { linear: 0n });
      } else {
        next = this.access(kind === "read" ? READ! : WRITE!);
      }
      expect(next).toBe(Next.Resume);
      const fault = this.fault;
      if (!fault) return undefined;
      expect(fault.vector).toBe(14);
      expect(fault.address).toBe(linear);
      return fault.error;
    }

    /** What a read gives. */
    read(linear = LINEAR): bigint {
      expect(this.try("read", linear)).toBeUndefined();
      return this.get(Gpr.rax);
    }
  }

  /** A machine whose CPUs have so many bits in physical addresses. */
  const physicalBits = (n: number) => (leaf: number, subleaf: number) =>
    leaf >>> 0 === 0x80000008 ? ([n, 0, 0, 0] as [number, number, number, number]) : hostCpuid(leaf, subleaf);

  describe("Translation", () => {
    test("Without paging a linear address is physical", () => {
      const walk = new Walk({ size: 32, paging: "none" });
      expect(walk.read(GPA)).toBe(MARK);
    });

    for (const paging of ["32-bit", "PAE", "4-level"] as const) {
      test(`${paging} paging maps 4 KiB pages`, () => {
        const walk = new Walk({ paging });
        walk.tables!.map(LINEAR + 0x3000n, GPA);
        walk.loadPdptes();
        expect(walk.read(LINEAR + 0x3000n)).toBe(MARK);
        expect(walk.try("read", LINEAR + 0x4000n)).toBe(0);
      });

      test(`${paging} paging sets accessed bits on the way, and the dirty bit for a write`, () => {
        const walk = new Walk({ paging });
        const tables = walk.tables!;
        tables.map(LINEAR, GPA);
        walk.loadPdptes();
        const top = { "32-bit": 1, PAE: 1, "4-level": 3 }[paging];
        expect(walk.try("read")).toBeUndefined();
        for (let level = 0; level <= top; level++)
          expect(tables.get(LINEAR, level) & (A | D), `level ${level}`).toBe(A);
        expect(walk.try("write")).toBeUndefined();
        expect(tables.get(LINEAR) & (A | D)).toBe(A | D);
        expect(tables.get(LINEAR, 1) & (A | D)).toBe(A);
        expect(walk.ram.load(GPA, 4)).toBe(0x55aa55aan);
      });
    }

    test("32-bit paging has 4 MiB pages where CR4.PSE is set, and page tables where it is not", () => {
      const walk = new Walk({ paging: "32-bit", cr4: PSE });
      walk.tables!.set(LINEAR, (GPA & ~0x3fffffn) | PS | P | RW | US, 1);
      expect(walk.read(LINEAR - 0x600000n + 0x600000n)).toBe(
        walk.ram.load((GPA & ~0x3fffffn) | (LINEAR & 0x3fffffn), 4),
      );
      walk.ram.store(0x600000n, 4, MARK);
      expect(walk.read((LINEAR & ~0x3fffffn) | 0x200000n)).toBe(MARK);
      expect(walk.try("write")).toBeUndefined();
      expect(walk.tables!.get(LINEAR, 1) & (A | D)).toBe(A | D);
      // Without PSE the same entry leads to a page table, and bit 7 says nothing.
      const plain = new Walk({ paging: "32-bit" });
      plain.tables!.map(LINEAR, GPA);
      plain.tables!.set(LINEAR, plain.tables!.get(LINEAR, 1) | PS, 1);
      expect(plain.read()).toBe(MARK);
    });

    test("The upper address bits of a 4 MiB page are in bits 20:13 of its entry (PSE-36), as many as the CPU has", () => {
      const walk = new Walk({ paging: "32-bit", cr4: PSE });
      walk.ram.store(LINEAR & 0x3fffffn, 4, MARK);
      walk.tables!.set(LINEAR, PS | P, 1);
      expect(walk.read()).toBe(MARK);
      walk.tables!.set(LINEAR, (1n << 19n) | PS | P, 1); // 256 GiB up: no RAM
      expect(walk.read()).toBe(ALL_ONES);
      for (const bit of [20n, 21n]) {
        walk.tables!.set(LINEAR, (1n << bit) | PS | P, 1); // more than 39 bits
        expect(walk.try("read"), `bit ${bit}`).toBe(F.P | F.RSVD);
      }
    });

    test("PAE and 4-level paging have 2 MiB pages", () => {
      for (const paging of ["PAE", "4-level"] as const) {
        const walk = new Walk({ paging });
        walk.tables!.set(LINEAR, GPA | PS | P | RW, 1);
        walk.loadPdptes();
        expect(walk.read()).toBe(MARK);
        expect(walk.try("write", LINEAR + 0x1ff000n)).toBeUndefined();
        expect(walk.ram.load(GPA + 0x1ff000n, 4)).toBe(0x55aa55aan);
        expect(walk.tables!.get(LINEAR, 1) & (A | D)).toBe(A | D);
      }
    });

    test("4-level paging has 1 GiB pages, on CPUs that have them", () => {
      const walk = new Walk();
      walk.tables!.set(LINEAR, PS | P | RW, 2);
      expect(walk.read()).toBe(MARK);
      const none = (leaf: number, subleaf: number) => {
        const answer = hostCpuid(leaf, subleaf);
        if (leaf >>> 0 === 0x80000001) answer[3] &= ~(1 << 26);
        return answer;
      };
      const old = new Walk({ cpuid: none });
      old.tables!.set(LINEAR, PS | P | RW, 2);
      expect(old.try("read")).toBe(F.P | F.RSVD);
    });

    test("The address of a page-table entry may be anywhere in memory, and CR3's low bits say nothing", () => {
      const walk = new Walk();
      walk.tables!.map(LINEAR, GPA);
      walk.cpu.cr3 = BigInt(walk.tables!.top) | 0xfffn;
      expect(walk.read()).toBe(MARK);
    });

    test("An access over two pages uses both translations", () => {
      const walk = new Walk();
      walk.tables!.map(LINEAR, GPA);
      walk.tables!.map(LINEAR + 0x1000n, GPA + 0x5000n);
      walk.ram.put(Number(GPA) + 0xffe, [1, 2]);
      walk.ram.put(Number(GPA) + 0x5000, [3, 4]);
      expect(walk.read(LINEAR + 0xffen)).toBe(0x04030201n);
      expect(walk.try("write", LINEAR + 0xffdn)).toBeUndefined();
      expect(walk.ram.load(GPA + 0xffdn, 4)).toBe(0x00aa55aan);
      expect(walk.ram.load(GPA + 0x5000n, 1)).toBe(0x55n);
    });

    test("A fault on the second page has its first byte's address, and nothing is written to the first", () => {
      const walk = new Walk();
      walk.tables!.map(LINEAR, GPA);
      walk.set(Gpr.rbx, LINEAR + 0xffen);
      walk.set(Gpr.rcx, 0x55aa55aan);
      walk.access(WRITE!);
      expect(walk.fault).toMatchObject({ vector: 14, error: F.W, address: LINEAR + 0x1000n });
      expect(walk.ram.load(GPA + 0xffen, 2)).toBe(0n);
      expect(walk.moved).toBe(0n);
    });

    test("An entry that another CPU changes at the same time is not touched, and the guest tries again", () => {
      const walk = new Walk();
      walk.tables!.map(LINEAR, GPA);
      const entry = walk.tables!.entryAddress(LINEAR);
      const load = walk.ram.load.bind(walk.ram);
      walk.ram.load = (gpa, size) => (Number(gpa) === entry && size === 4 ? 0n : load(gpa, size));
      expect(walk.try("read")).toBeUndefined();
      expect(walk.moved).toBe(0n);
      walk.ram.load = load;
      expect(walk.tables!.get(LINEAR)).toBe(GPA | P | RW | US);
    });
  });

  describe("Error codes", () => {
    test("A page that is not present has no P, at whatever level", () => {
      for (const [paging, top] of [
        ["32-bit", 1],
        ["PAE", 1],
        ["4-level", 3],
      ] as const) {
        for (let level = 0; level <= top; level++) {
          const walk = new Walk({ paging });
          walk.tables!.map(LINEAR, GPA);
          walk.loadPdptes();
          walk.tables!.set(LINEAR, walk.tables!.get(LINEAR, level) & ~P, level);
          expect(walk.try("read"), `${paging} level ${level}`).toBe(0);
          expect(walk.try("write")).toBe(F.W);
          expect(walk.try("fetch")).toBe(0);
        }
      }
    });

    test("U is the CPL's, and I is there only where fetches are told apart", () => {
      const user = new Walk({ cpl: 3 });
      expect(user.try("read")).toBe(F.U);
      expect(user.try("fetch")).toBe(F.U);
      expect(new Walk({ cpl: 3, efer: NXE }).try("fetch")).toBe(F.U | F.I);
      expect(new Walk({ cr4: SMEP }).try("fetch")).toBe(F.I);
      expect(new Walk({ paging: "32-bit", efer: NXE }).try("fetch")).toBe(0);
      expect(new Walk({ efer: NXE }).try("read")).toBe(0);
    });

    /** The page's rights, what the CPU is set to, and what becomes of a read, a write and a fetch. */
    const MATRIX: [string, bigint, Setup, number | undefined, number | undefined, number | undefined][] = [
      ["a supervisor, a supervisor's page", P | RW, {}, undefined, undefined, undefined],
      ["a supervisor, a read-only page", P, {}, undefined, F.P | F.W, undefined],
      ["a supervisor, a user's page", P | RW | US, {}, undefined, undefined, undefined],
      ["a supervisor, a user's read-only page", P | US, {}, undefined, F.P | F.W, undefined],
      ["SMEP, a user's page", P | RW | US, { cr4: SMEP }, undefined, undefined, F.P | F.I],
      ["SMEP, a supervisor's page", P | RW, { cr4: SMEP }, undefined, undefined, undefined],
      ["SMAP, a user's page", P | RW | US, { cr4: SMAP }, F.P, F.P | F.W, undefined],
      ["SMAP, a supervisor's page", P | RW, { cr4: SMAP }, undefined, undefined, undefined],
      ["SMAP and AC, a user's page", P | RW | US, { cr4: SMAP, flags: AC }, undefined, undefined, undefined],
      [
        "SMAP and AC, a user's read-only page",
        P | US,
        { cr4: SMAP, flags: AC },
        undefined,
        F.P | F.W,
        undefined,
      ],
      ["a user, a supervisor's page", P | RW, { cpl: 3 }, F.P | F.U, F.P | F.U | F.W, F.P | F.U],
      ["a user, a user's page", P | RW | US, { cpl: 3 }, undefined, undefined, undefined],
      ["a user, a user's read-only page", P | US, { cpl: 3 }, undefined, F.P | F.U | F.W, undefined],
      [
        "SMEP and SMAP, a user, a user's page",
        P | RW | US,
        { cpl: 3, cr4: SMEP | SMAP },
        undefined,
        undefined,
        undefined,
      ],
      ["NX, a page without it", P | RW | XD, { efer: NXE }, undefined, undefined, F.P | F.I],
      [
        "NX, a user, a page without it",
        P | RW | US | XD,
        { cpl: 3, efer: NXE },
        undefined,
        undefined,
        F.P | F.U | F.I,
      ],
      ["no NXE, a page with bit 63", P | RW | XD, {}, F.P | F.RSVD, F.P | F.RSVD | F.W, F.P | F.RSVD],
    ];

    for (const [name, flags, setup, read, write, fetch] of MATRIX) {
      test(`Access rights of 4-level paging: ${name}`, () => {
        for (let level = 0; level <= 3; level++) {
          // The right is missing in one level of four.
          const walk = new Walk(setup);
          if (setup.cpl === 3) walk.tables!.map(walk.rip & ~0xfffn, 0x400000n, 1, P | RW | US);
          if ((setup.cr4 ?? 0n) & SMEP && !setup.cpl)
            for (let l = 0; l < 3; l++) clear(walk, walk.rip, US, l);
          walk.tables!.map(LINEAR, GPA, 1, P | RW | US);
          walk.ram.put(Number(GPA), [0x0f, 0x1f, 0]);
          walk.tables!.set(LINEAR, (walk.tables!.get(LINEAR, level) & ~(RW | US)) | (flags & ~P), level);
          const found = [walk.try("read"), walk.try("fetch"), walk.try("write")];
          expect(found, `level ${level}`).toEqual([read, fetch, write]);
        }
      });
    }

    function clear(walk: Walk, linear: bigint, bits: bigint, level: number): void {
      walk.tables!.set(linear, walk.tables!.get(linear, level) & ~bits, level);
    }

    test("Access rights of 32-bit and PAE paging", () => {
      for (const paging of ["32-bit", "PAE"] as const) {
        for (let level = 0; level < 2; level++) {
          for (const cpl of [0, 3] as const) {
            const walk = new Walk({ paging, cpl });
            walk.tables!.map(LINEAR, GPA);
            walk.loadPdptes();
            clear(walk, LINEAR, RW, level);
            expect(walk.try("write")).toBe(F.P | F.W | (cpl ? F.U : 0));
            expect(walk.try("read")).toBeUndefined();
            clear(walk, LINEAR, US, level);
            expect(walk.try("read")).toBe(cpl ? F.P | F.U : undefined);
          }
        }
      }
    });

    test("Without CR0.WP a supervisor writes to read-only pages, a user does not", () => {
      for (const cpl of [0, 3] as const) {
        const walk = new Walk({ cpl });
        walk.cpu.cr0 &= ~WP;
        walk.tables!.map(LINEAR, GPA, 1, P | US);
        expect(walk.try("write")).toBe(cpl ? F.P | F.W | F.U : undefined);
      }
    });

    test("A fault sets neither the page's accessed nor its dirty bit", () => {
      const walk = new Walk();
      walk.tables!.map(LINEAR, GPA, 1, P);
      expect(walk.try("write")).toBe(F.P | F.W);
      expect(walk.tables!.get(LINEAR) & (A | D)).toBe(0n);
    });

    test("Reserved bits of 4-level paging fault at every level", () => {
      const RESERVED: [number, bigint[]][] = [
        [3, [39n, 51n, 7n, 63n]],
        [2, [39n, 51n, 63n]],
        [1, [39n, 51n, 63n]],
        [0, [39n, 51n, 63n]],
      ];
      for (const [level, bits] of RESERVED) {
        for (const bit of bits) {
          const walk = new Walk();
          walk.tables!.map(LINEAR, GPA);
          walk.tables!.set(LINEAR, walk.tables!.get(LINEAR, level) | (1n << bit), level);
          expect(walk.try("read"), `level ${level} bit ${bit}`).toBe(F.P | F.RSVD);
        }
        // Bits for software, and for protection keys, which are not offered.
        const walk = new Walk();
        walk.tables!.map(LINEAR, GPA);
        walk.tables!.set(LINEAR, walk.tables!.get(LINEAR, level) | 0x7ff0000000000e00n, level);
        expect(walk.read()).toBe(MARK);
      }
    });

    test("Reserved bits of large pages fault", () => {
      for (const [level, bits] of [
        [1, [13n, 20n]],
        [2, [13n, 21n, 29n]],
      ] as const) {
        for (const bit of bits) {
          const walk = new Walk();
          walk.tables!.set(LINEAR, PS | P | (1n << bit), level);
          expect(walk.try("read"), `level ${level} bit ${bit}`).toBe(F.P | F.RSVD);
        }
        // Bit 12 is the memory type's.
        const walk = new Walk();
        walk.tables!.set(LINEAR, PS | P | 0x1000n, level);
        expect(walk.try("read")).toBeUndefined();
      }
    });

    test("Reserved bits of PAE paging reach up to bit 62", () => {
      for (const level of [0, 1]) {
        for (const bit of [39n, 52n, 62n, 63n]) {
          const walk = new Walk({ paging: "PAE" });
          walk.tables!.map(LINEAR, GPA);
          walk.tables!.set(LINEAR, walk.tables!.get(LINEAR, level) | (1n << bit), level);
          walk.loadPdptes();
          expect(walk.try("read"), `level ${level} bit ${bit}`).toBe(F.P | F.RSVD);
        }
      }
    });
  });

  describe("Paging structures in memory that nobody claims", () => {
    test("read all ones, which is a reserved bit and a page fault", () => {
      for (const level of [1, 2, 3]) {
        const walk = new Walk({ efer: NXE, cpl: 3 });
        walk.tables!.map(LINEAR, GPA);
        walk.tables!.set(LINEAR, UNCLAIMED | P | RW | US, level);
        walk.set(Gpr.rbx, LINEAR);
        walk.put(WRITE!);
        expect(walk.cpu.violation(UNCLAIMED, { linear: LINEAR, walk: true, write: true })).toBe(Next.Resume);
        expect(walk.fault, `level ${level}`).toMatchObject({
          error: F.P | F.RSVD | F.U | F.W,
          address: LINEAR,
        });
      }
    });

    test("fault for an instruction that is not emulated, too", () => {
      const walk = new Walk();
      walk.tables!.set(LINEAR, UNCLAIMED | P | RW | US, 3);
      walk.set(Gpr.rbx, LINEAR);
      walk.put(assemble(64, ["movups xmm0, [rbx]"])[0]!);
      expect(walk.cpu.violation(UNCLAIMED, { linear: LINEAR, walk: true })).toBe(Next.Resume);
      expect(walk.fault).toMatchObject({ error: F.P | F.RSVD, address: LINEAR });
    });

    test("map the last page of memory where no bit is reserved", () => {
      // 32-bit paging: a page-table entry of all ones is good.
      const walk = new Walk({ paging: "32-bit" });
      walk.tables!.set(LINEAR, UNCLAIMED | P | RW | US, 1);
      expect(walk.read()).toBe(ALL_ONES);
      // 52 address bits and NX: so is one of 4-level paging.
      const wide = new Walk({ efer: NXE, cpuid: physicalBits(52) });
      wide.tables!.set(LINEAR, UNCLAIMED | P | RW | US, 1);
      expect(wide.read()).toBe(ALL_ONES);
      expect(wide.try("fetch")).toBe(F.P | F.I);
    });
  });

  test("A page fault in a page fault's delivery is a double fault", () => {
    const walk = new Walk();
    walk.tables!.set(LINEAR, UNCLAIMED | P | RW, 3);
    const event = { type: 3, vector: 14, error: 0 };
    walk.cpu.violation(UNCLAIMED, { linear: LINEAR, walk: true, event });
    expect(walk.fault).toMatchObject({ vector: 8, error: 0 });
    const interrupt = { type: 0, vector: 0xe3 };
    walk.cpu.violation(UNCLAIMED, { linear: LINEAR, walk: true, event: interrupt });
    // AMD-V does not tell the address: a walk for the gate, which it is read for first, meets the same structure.
    const address = vendor === "VT-x" ? LINEAR : 0xe30n;
    expect(walk.fault).toMatchObject({ vector: 14, error: F.P | F.RSVD, address });
  });

  test("An event whose gate or stack is in unclaimed memory ends the VM by name", () => {
    const walk = new Walk();
    walk.tables!.map(LINEAR, UNCLAIMED);
    const event = { type: 0, vector: 0x20 };
    expect(walk.cpu.violation(UNCLAIMED + 8n, { linear: LINEAR, write: true, event })).toBe(Next.Stop);
    expect(walk.machine.stop).toEqual({ reason: 10, detail: UNCLAIMED + 8n });
  });

  /** With nested paging AMD's CPUs have no such registers (APM Vol. 2 15.25.10, Legacy PAE Mode). */
  if (vendor === "VT-x")
    describe("PDPTE registers", () => {
      test("that are not present fault whatever is in memory", () => {
        const walk = new Walk({ paging: "PAE" });
        walk.tables!.map(LINEAR, GPA);
        walk.loadPdptes();
        const code = walk.ram.load(BigInt(walk.tables!.top), 8);
        walk.cpu.setPdptes([code, 0n, 0n, 0n]);
        expect(walk.try("read")).toBe(0);
      });

      test("in memory that nobody claims make MOV to CR3 fault", () => {
        const walk = new Walk({ paging: "PAE" });
        walk.put(assemble(32, ["mov cr3, eax"])[0]!);
        expect(walk.cpu.violation(UNCLAIMED)).toBe(Next.Resume);
        expect(walk.fault).toEqual({ vector: 13, type: 3, error: 0 });
        expect(walk.moved).toBe(0n);
      });
    });
});
