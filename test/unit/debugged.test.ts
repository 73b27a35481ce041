/** A guest with a debugger, from its monitor's side: what root hears of it. */
import { describe, expect, test } from "vitest";
import type { GuestCpu } from "./fake/cpu.ts";
import { CodeGuest, UNCLAIMED } from "./fake/code.ts";
import { Gpr, Next } from "./fake/exit.ts";
import type { Guest } from "./fake/guest.ts";
import { vendors } from "./fake/host.ts";
import { raiseUart } from "./fake/interrupts.ts";
import { abi } from "./fake/layout.ts";
import { FakeSvm } from "./fake/svm.ts";
import { FakeVtx } from "./fake/vtx.ts";

const DE = 8n;
const field = (name: string) => abi(`RUNAREA_${name}`);

/** INT3 at RIP, on AMD-V INT1, and a debug exception with these bits of DR6. */
function int3(cpu: GuestCpu): Next {
  if (cpu instanceof FakeVtx) return cpu.exit(0, { EXIT_INTERRUPTION: 0x80000603, EXIT_LENGTH: 1 });
  return (cpu as FakeSvm).instruction(0x88, [0xf1]);
}
function debugException(cpu: GuestCpu, causes: number): Next {
  if (cpu instanceof FakeVtx) return cpu.exit(0, { EXIT_INTERRUPTION: 0x80000301, QUALIFICATION: causes });
  (cpu as FakeSvm).dr6 = 0xffff0ff0n | BigInt(causes);
  return cpu.exception(1);
}

describe.each(vendors)("on %s", (vendor) => {
  function debugged(flags = 0): Guest & { code: CodeGuest; area: (name: string, size?: 4 | 8) => bigint } {
    const code = new CodeGuest({ vendor, paging: "4-level", size: 64 });
    const { machine, cpu } = code;
    const set = (name: string, value: number) =>
      machine.memory.setUint32(machine.vcpu + field(name), value, true);
    set("DEBUG", abi("DEBUGGING_ON") | flags);
    machine.memory.setBigUint64(machine.vcpu + field("CATCH_FROM"), 0xffffffff80000000n, true);
    const area = (name: string, size = 8) =>
      size === 8
        ? machine.memory.getBigUint64(machine.vcpu + field(name), true)
        : BigInt(machine.memory.getUint32(machine.vcpu + field(name), true));
    return { code, machine, cpu, area };
  }
  const step = () => debugged(abi("DEBUGGING_STEP"));

  function expectTold(guest: ReturnType<typeof debugged>, next: Next, cause: string, detail = 0n): void {
    expect(next).toBe(Next.Yield);
    expect(guest.machine.request).toBe(abi("REQUEST_DEBUG"));
    expect(guest.area("DEBUG_CAUSE", 4)).toBe(BigInt(abi(`STOP_${cause}`)));
    expect(guest.area("DEBUG_DETAIL") & 0xffffn).toBe(detail & 0xffffn);
  }

  test("INT3 and debug exceptions are told of before the guest has them, others are the guest's", () => {
    const guest = debugged();
    expectTold(guest, int3(guest.cpu), "BREAKPOINT", 1n);
    expect(guest.cpu.takeInjected()).toBeUndefined();
    expectTold(guest, debugException(guest.cpu, 2), "DEBUG", vendor === "VT-x" ? 2n : 0xffff0ff2n);
    expect(guest.cpu.takeInjected()).toBeUndefined();
    expect(guest.cpu.exception(17)).toBe(Next.Resume);
    expect(guest.cpu.takeInjected()).toMatchObject({ vector: 17 });
  });

  test.runIf(vendor === "AMD-V")("So is what is undefined: INT1, where the CPU does not know it", () => {
    const guest = debugged();
    expectTold(guest, (guest.cpu as FakeSvm).exit(0x46), "BREAKPOINT");
    expect(guest.area("DEBUG_ACCESS", 4)).toBe(6n);
    expect(guest.cpu.takeInjected()).toBeUndefined();
  });

  test("A step ends behind the instruction that exits, and not at the entry before it", () => {
    const guest = step();
    expect(guest.machine.enter()).toBe(Next.Resume);
    const before = guest.cpu.rip;
    expectTold(guest, guest.cpu.cpuid(1), "STEP");
    expect(guest.cpu.rip).toBe(before + 2n);
  });

  test("While it steps the guest gets no interrupts, and afterwards those that waited", () => {
    const guest = debugged();
    raiseUart(guest.cpu);
    guest.cpu.interruptsOn = true;
    guest.machine.memory.setUint32(guest.machine.vcpu + field("DEBUG"), abi("DEBUGGING_STEP") | 1, true);
    expect(guest.machine.enter()).toBe(Next.Resume);
    expect(guest.cpu.takeInjected()).toBeUndefined();
    expect(guest.cpu.interruptWindow).toBe(false);
    expectTold(guest, guest.cpu.cpuid(1), "STEP");
    guest.machine.memory.setUint32(guest.machine.vcpu + field("DEBUG"), 1, true);
    expect(guest.machine.enter()).toBe(Next.Resume);
    expect(guest.cpu.takeInjected()).toMatchObject({ vector: 0x24 });
  });

  test("A step into an exception goes on to its handler", () => {
    const guest = step();
    expect(guest.machine.enter()).toBe(Next.Resume);
    expect(guest.cpu.rdmsr(0x12345)).toBe(Next.Resume);
    expect(guest.cpu.takeInjected()).toMatchObject({ vector: 13 });
  });

  test("A step by the trap flag is no debug exception of the guest", () => {
    const guest = debugged(abi("DEBUGGING_STEP"));
    guest.cpu.rflags = 0x102n;
    expect(guest.machine.enter()).toBe(Next.Resume);
    expectTold(guest, guest.cpu.cpuid(1), "STEP");
    // Root takes the flag back, and what is pending of it.
    guest.cpu.rflags = 2n;
    if (vendor === "AMD-V") expect(guest.cpu.takeStep()).toBe(false);
  });

  test("Exits are passed over until one comes from where they are caught", () => {
    const guest = debugged(abi("DEBUGGING_CATCH"));
    expect(guest.machine.enter()).toBe(Next.Resume);
    for (const rip of [0x1000n, 0x7fffffff0000n, 0xffff888000000000n]) {
      guest.cpu.rip = rip;
      expect(guest.cpu.cpuid(1), rip.toString(16)).toBe(Next.Resume);
    }
    guest.cpu.rip = 0xffffffff80000000n;
    expectTold(guest, guest.cpu.cpuid(1), "CAUGHT");
  });

  test("RAM that the guest may not access is watched; what is no RAM is emulated as ever", () => {
    const guest = debugged();
    guest.code.put([0x88, 0x00]);
    expectTold(guest, guest.cpu.violation(0x3008n, { write: true, linear: 0n }), "WATCH", 0x3008n);
    expect(guest.area("DEBUG_ACCESS", 4)).toBe(BigInt(abi("WATCHKIND_WRITE")));
    expectTold(guest, guest.cpu.violation(0x3010n, { linear: 0n }), "WATCH", 0x3010n);
    expect(guest.area("DEBUG_ACCESS", 4)).toBe(BigInt(abi("WATCHKIND_READ")));
    guest.code.tables!.map(0x7000n, UNCLAIMED, 2);
    guest.code.set(Gpr.rax, 0x7000n);
    expect(guest.code.access([0x8a, 0x00], { linear: 0x7000n })).toBe(Next.Resume);
    expect(guest.machine.refusals("UNCLAIMED_MEMORY")).toBe(1n);
  });

  describe("MOV to and from debug registers", () => {
    /** The exit of MOV to or from DR n with RBX. */
    function move({ cpu, code }: { cpu: GuestCpu; code: CodeGuest }, n: number, read: boolean): Next {
      code.put([0x0f, read ? 0x21 : 0x23, 0xc3 | (n << 3)]);
      if (cpu instanceof FakeVtx)
        return cpu.exit(29, { QUALIFICATION: n | (read ? 16 : 0) | (3 << 8), EXIT_LENGTH: 3 });
      return (cpu as FakeSvm).exit((read ? 0x20 : 0x30) + n);
    }
    function write(guest: ReturnType<typeof debugged>, n: number, value: bigint): Next {
      guest.machine.setGpr(Gpr.rbx, value);
      return move(guest, n, false);
    }
    function read(guest: ReturnType<typeof debugged>, n: number): bigint {
      guest.machine.setGpr(Gpr.rbx, 0x5555n);
      expect(move(guest, n, true)).toBe(Next.Resume);
      return guest.machine.gpr(Gpr.rbx);
    }

    test("give the guest what it wrote, as a processor keeps it", () => {
      const guest = debugged();
      for (const n of [0, 1, 2, 3])
        expect(write(guest, n, 0xffff888000001000n + BigInt(n))).toBe(Next.Resume);
      for (const n of [0, 1, 2, 3]) expect(read(guest, n)).toBe(0xffff888000001000n + BigInt(n));
      expect(write(guest, 6, 0xffffffffn)).toBe(Next.Resume);
      expect(read(guest, 6)).toBe(0xffffefffn);
      expect(write(guest, 7, 0xffffffffn)).toBe(Next.Resume);
      expect(read(guest, 7)).toBe(0xffff2fffn);
      expect(write(guest, 7, 0n)).toBe(Next.Resume);
      expect(read(guest, 7)).toBe(0x400n);
      expect(read(guest, 5)).toBe(0x400n);
      expect(guest.cpu.takeInjected()).toBeUndefined();
    });

    test("fault as a processor does", () => {
      const guest = debugged();
      for (const n of [6, 7]) {
        expect(write(guest, n, 1n << 32n)).toBe(Next.Resume);
        expect(guest.cpu.takeInjected()).toMatchObject({ vector: 13 });
      }
      guest.cpu.cr4 |= DE;
      for (const n of [4, 5]) {
        expect(write(guest, n, 0n)).toBe(Next.Resume);
        expect(guest.cpu.takeInjected(), `DR${n}`).toMatchObject({ vector: 6 });
      }
    });
  });
});
