/** What the CPU does of an x2APIC by itself (SDM Vol. 3C 30): when it is asked to, and what the monitor does of the rest. */
import { describe, expect, test } from "vitest";
import { FakeHost, type HostOptions, type RunningVcpu } from "./fake/host.ts";
import { RSDP, rsdp } from "./fake/firmware.ts";
import { cpuidOf, vmxMsrs } from "./fake/hostcpu.ts";
import { RootField } from "./fake/hostvtx.ts";
import { IOAPIC } from "./fake/apics.ts";
import { Next } from "./fake/exit.ts";
import { abi } from "./fake/layout.ts";
import { VirtualApics, feature, mode } from "./fake/virtualapic.ts";
import { kernels } from "./fake/vms.ts";
import { Field } from "./fake/vtx.ts";

const { tprShadow, registers, interrupts } = feature;
const LEVEL = 1 << 15;

describe("The mode that the monitor asks for", () => {
  const virtual = (features: number, count = 1) => new VirtualApics(count, "VT-x", {}, features);

  test.each([
    [tprShadow, mode.none, mode.none],
    [tprShadow | registers, mode.registers, mode.registers],
    [tprShadow | interrupts, mode.none, mode.interrupts],
    [tprShadow | registers | interrupts, mode.registers, mode.interrupts],
  ])("with features %d follows x2APIC mode, and the software's enabling", (features, masked, full) => {
    const m = virtual(features);
    const cpu = m.virtual(0);
    expect(cpu.mode).toBe(mode.none);
    m.wrmsr(0, 0x1b, 0xfee00d00n);
    m.wrmsr(0, 0x80f, 0xffn);
    expect(cpu.mode).toBe(masked);
    m.wrmsr(0, 0x80f, 0x1ffn);
    expect(cpu.mode).toBe(full);
    m.wrmsr(0, 0x80f, 0xffn);
    expect(cpu.mode).toBe(masked);
    m.wrmsr(0, 0x80f, 0x1ffn);
    m.wrmsr(0, 0x1b, 0xfee00100n);
    expect([cpu.mode, m.rdmsr(0, 0x802)]).toEqual([mode.none, undefined]);
    m.wrmsr(0, 0x1b, 0xfee00900n);
    m.x2(0);
    expect(cpu.mode).toBe(full);
  });

  test("is none after INIT until the software enables its APIC, even if SIPI follows at the same look", () => {
    const m = virtual(tprShadow | interrupts, 2);
    m.x2All();
    const cpu = m.virtual(1);
    m.wrmsr(1, 0x83f, 0x61n);
    expect([cpu.mode, cpu.rvi]).toEqual([mode.interrupts, 0x61]);
    m.wrmsr(0, 0x830, 0x4500n | (1n << 32n));
    m.wrmsr(0, 0x830, 0x4609n | (1n << 32n));
    m.external(1);
    expect([cpu.mode, cpu.segment(1).base]).toEqual([mode.none, 0x9000n]);
    m.wrmsr(1, 0x80f, 0x1ffn);
    expect([cpu.mode, cpu.rvi, cpu.svi, m.interrupt(1)]).toEqual([mode.interrupts, 0, 0, undefined]);
  });
});

test("An interrupt of the lowest priority goes by TPRs that have changed without an exit", () => {
  const m = new VirtualApics(3, "VT-x", {}, tprShadow | registers);
  m.x2All();
  const exits = m.machine.exits("WRITE_MSR");
  for (const [vcpu, tpr] of [
    [0, 0x70n],
    [1, 0x50n],
    [2, 0x10n],
  ] as const)
    m.wrmsr(vcpu, 0x808, tpr);
  expect(m.machine.exits("WRITE_MSR")).toBe(exits);
  // To all of a cluster, by vCPU 0.
  m.wrmsr(0, 0x830, 0x966n | (7n << 32n));
  m.kick(0);
  expect([0, 1, 2].map((n) => m.interrupt(n))).toEqual([undefined, undefined, 0x66]);
});

describe("With virtual-interrupt delivery", () => {
  const started = (count = 1) => {
    const m = new VirtualApics(count);
    m.x2All();
    return m;
  };
  const wrmsrs = (m: VirtualApics) => m.machine.exits("WRITE_MSR");

  test("neither self-IPI, TPR, nor EOI exits, nor does reading anything but ICR and the current count", () => {
    const m = started();
    const [writes, reads] = [wrmsrs(m), m.machine.exits("READ_MSR")];
    m.wrmsr(0, 0x83f, 0x61n);
    m.wrmsr(0, 0x808, 0x70n);
    expect([m.rdmsr(0, 0x823), m.rdmsr(0, 0x80a)]).toEqual([2n, 0x70n]);
    m.wrmsr(0, 0x808, 0n);
    expect(m.interrupt(0)).toBe(0x61);
    expect([m.rdmsr(0, 0x813), m.rdmsr(0, 0x80a)]).toEqual([2n, 0x60n]);
    m.wrmsr(0, 0x80b, 0n);
    expect([wrmsrs(m), m.machine.exits("READ_MSR")]).toEqual([writes, reads]);
    m.wrmsr(0, 0x830, 0x1_0000_0800n);
    expect(m.rdmsr(0, 0x830)).toBe(0x1_0000_0800n);
    expect(m.machine.exits("READ_MSR")).toBe(reads + 1n);
  });

  test("what software has requested and in service goes over to the CPU, and back", () => {
    const m = started();
    const cpu = m.virtual(0);
    m.wrmsr(0, 0x83f, 0x61n);
    expect(m.interrupt(0)).toBe(0x61);
    m.wrmsr(0, 0x83f, 0x52n);
    m.wrmsr(0, 0x83f, 0x91n);
    m.wrmsr(0, 0x80f, 0xffn);
    expect(cpu.mode).toBe(mode.registers);
    // Held up by its software (11.4.7.2), and delivered by the monitor.
    expect(m.interrupt(0)).toBe(0x91);
    expect(m.rdmsr(0, 0x80a)).toBe(0x90n);
    m.wrmsr(0, 0x80b, 0n);
    m.wrmsr(0, 0x80f, 0x1ffn);
    expect([cpu.mode, cpu.rvi, cpu.svi]).toEqual([mode.interrupts, 0x52, 0x61]);
    m.wrmsr(0, 0x80b, 0n);
    expect(m.interrupt(0)).toBe(0x52);
  });

  test("a TPR threshold that held up an interrupt before is taken back", () => {
    const m = started();
    m.wrmsr(0, 0x80f, 0xffn);
    m.wrmsr(0, 0x808, 0x50n);
    m.wrmsr(0, 0x80f, 0x1ffn);
    m.wrmsr(0, 0x83f, 0x51n);
    m.wrmsr(0, 0x80f, 0xffn);
    expect(Number(m.cpu.rip)).toBeGreaterThan(0);
    const threshold = () => Number(m.virtual(0).get(Field.TPR_THRESHOLD));
    m.external(0);
    expect(threshold()).toBe(5);
    m.wrmsr(0, 0x80f, 0x1ffn);
    expect(threshold()).toBe(0);
    m.wrmsr(0, 0x808, 0n);
    m.wrmsr(0, 0x80f, 0xffn);
    expect(m.interrupt(0)).toBe(0x51);
  });

  test("a self-IPI with a vector below 16 is an error", () => {
    const m = started();
    m.wrmsr(0, 0x83f, 15n);
    expect(m.machine.exits("APIC")).toBe(1n);
    m.wrmsr(0, 0x828, 0n);
    expect(m.rdmsr(0, 0x828)).toBe(0x20n);
  });

  test("only the end of a level-triggered interrupt exits, and the I/O APIC learns of it", () => {
    const m = started();
    for (const [index, value] of [
      [0x19, 0],
      [0x18, LEVEL | 0xc4],
    ] as const) {
      m.store(0, IOAPIC, index);
      m.store(0, IOAPIC + 0x10, value);
    }
    m.on(0, (cpu) => (cpu.out(0x21, 0xff), cpu.out(0x3f9, 2), cpu.out(0x3fc, 8)));
    const exits = () => [0, 1, 2, 3].map((n) => m.virtual(0).get(0x201c + n * 2));
    expect(exits()).toEqual([0n, 0n, 0n, 1n << 4n]);
    expect(m.interrupt(0)).toBe(0xc4);
    m.wrmsr(0, 0x80b, 0n);
    expect(m.machine.exits("APIC")).toBe(1n);
    expect(m.interrupt(0)).toBe(0xc4);
    m.on(0, (cpu) => cpu.out(0x3f9, 0));
    m.wrmsr(0, 0x80b, 0n);
    expect(m.interrupt(0)).toBeUndefined();
    // The same vector, at an edge.
    m.wrmsr(0, 0x830, 0x400c4n);
    expect(exits()).toEqual([0n, 0n, 0n, 0n]);
    expect(m.interrupt(0)).toBe(0xc4);
    m.wrmsr(0, 0x80b, 0n);
    expect(m.machine.exits("APIC")).toBe(2n);
  });

  test("HLT goes on with what the CPU would deliver, and waits with what it would not", () => {
    const m = started(2);
    const hlt = () =>
      m.on(0, (cpu) => {
        cpu.interruptsOn = true;
        m.machine.ram.put(0x300000, [0xf4]);
        cpu.rip = 0x300000n;
        return cpu.hlt();
      });
    m.wrmsr(0, 0x808, 0x60n);
    m.wrmsr(0, 0x83f, 0x61n);
    expect([hlt(), m.machine.request]).toEqual([Next.Yield, abi("REQUEST_HALT")]);
    // Another vCPU wakes it.
    m.wrmsr(1, 0x830, 0x0_0000_4071n);
    expect(m.on(0, () => m.machine.enter())).toBe(Next.Resume);
    expect(m.virtual(0).deliver()?.vector).toBe(0x71);
    m.wrmsr(0, 0x80b, 0n);
    m.wrmsr(0, 0x808, 0n);
    expect(hlt()).toBe(Next.Resume);
    expect(m.virtual(0).deliver()?.vector).toBe(0x61);
  });

  test("the timer's interrupt and another vCPU's are requested, and no event is injected", () => {
    const m = started(2);
    m.wrmsr(0, 0x832, 0x40041n);
    m.wrmsr(0, 0x6e0, m.rdmsr(0, 0x10)! + 5000n);
    m.machine.tsc += 5000n;
    m.on(0, (cpu) => {
      cpu.interruptsOn = true;
      m.virtual(0).exit(1);
      expect([cpu.injecting, m.virtual(0).rvi]).toEqual([false, 0x41]);
      cpu.interruptsOn = false;
    });
    m.wrmsr(1, 0x830, 0x4092n);
    m.external(0);
    expect([m.virtual(0).rvi, m.interrupt(0)]).toEqual([0x92, 0x92]);
    m.wrmsr(0, 0x80b, 0n);
    expect(m.interrupt(0)).toBe(0x41);
  });

  test("an interrupt of the 8259s is injected, beside what the CPU delivers", () => {
    const m = started();
    m.on(0, (cpu) => {
      for (const [port, value] of [
        [0x20, 0x11],
        [0x21, 0x20],
        [0x21, 4],
        [0x21, 1],
        [0x21, 0xef],
        [0x3f9, 2],
        [0x3fc, 8],
      ] as const)
        cpu.out(port, value);
    });
    m.wrmsr(0, 0x835, 0x700n);
    m.wrmsr(0, 0x83f, 0x61n);
    expect(m.virtual(0).interruptWindow).toBe(true);
    expect([m.interrupt(0), m.interrupt(0)]).toEqual([0x24, 0x61]);
    expect(m.rdmsr(0, 0x811)).toBe(0n);
  });

  test("an interrupt whose delivery has ended in an exception is injected behind that", () => {
    const m = started();
    m.wrmsr(0, 0x83f, 0x61n);
    m.wrmsr(0, 0x83f, 0x63n);
    const first = m.on(0, (cpu) => {
      cpu.interruptsOn = true;
      cpu.exception(17, m.virtual(0).deliver());
      cpu.interruptsOn = false;
      return cpu.takeInjected();
    });
    expect(first?.vector).toBe(17);
    expect([m.interrupt(0), m.virtual(0).svi, m.interrupt(0)]).toEqual([0x63, 0x63, undefined]);
    m.wrmsr(0, 0x80b, 0n);
    expect(m.interrupt(0)).toBe(0x61);
  });
});

describe("Root sets the mode that a monitor asks for", () => {
  const X2_MODE = 1n << 4n;
  const REGISTERS = 1n << 8n;
  const DELIVERY = 1n << 9n;

  /** Runs once in each mode: the controls, and which x2APIC registers pass, [reads, writes]. */
  function run(
    options: HostOptions,
    maker = "",
    asked = [0, 1, 2, 0, 3],
  ): (readonly [bigint, number[], number[]])[] {
    const found: (readonly [bigint, number[], number[]])[] = [];
    const host = new FakeHost({
      ...options,
      modules: kernels(1),
      run: (vcpu: RunningVcpu) => {
        const fields = vcpu.host.vtx.fields();
        const bitmap = Number(fields.get(0x2004));
        const passed = (half: number) =>
          Array.from({ length: 256 }, (_, n) => n).filter(
            (n) => !((Number(vcpu.host.memory.load(bitmap + half + 0x100 + (n >> 3), 1)) >> (n & 7)) & 1),
          );
        const controls = fields.get(RootField.SECONDARY_CONTROLS)! & (X2_MODE | REGISTERS | DELIVERY | 1n);
        if (vcpu.runs > 0) found.push([controls, passed(0), passed(2048)]);
        if (vcpu.runs === asked.length) return vcpu.stop("POWERED_OFF");
        vcpu.setRunArea("APIC_MODE", asked[vcpu.runs]!);
        return vcpu.yield("CONTINUE");
      },
    });
    if (maker !== "") host.memory.put(RSDP, rsdp(0, undefined, maker));
    host.boot();
    return found;
  }

  const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n);
  const none = [0n, [], []] as const;
  const banks = range(0x10, 0x28);
  const rest = [...range(0x32, 0x38), 0x3e];
  const registersMode = [X2_MODE | REGISTERS, [2, 3, 8, 0xd, 0xf, ...banks, ...rest], [8]] as const;
  const writes = [8, 0xb, 0x3f];
  const both = [X2_MODE | REGISTERS | DELIVERY, [2, 3, 8, 0xa, 0xd, 0xf, ...banks, ...rest], writes] as const;

  test("where the CPU has both", () => {
    expect(run({})).toEqual([none, registersMode, both, none, none]);
  });

  // Its firmware is QEMU's too, whose CPUs say that there is a hypervisor.
  test("but not virtual-interrupt delivery in Bochs, unless the command line wants it", () => {
    const cpuid: HostOptions["cpuid"] = (leaf, subleaf) => {
      const [a, b, c, d] = cpuidOf("VT-x")(leaf, subleaf);
      return [a, b, leaf === 1 ? (c | (1 << 31)) >>> 0 : c, d];
    };
    expect(run({}, "BOCHS ")).toEqual([none, registersMode, none, none, none]);
    expect(run({ commandLine: "vid=yes" }, "BOCHS ")).toEqual([none, registersMode, both, none, none]);
    expect(run({ cpuid }, "BOCHS ")).toEqual([none, registersMode, both, none, none]);
    expect(run({}, "BOCHSX")).toEqual([none, registersMode, both, none, none]);
  });

  test.each([
    ["apicregs=no", [none, none, [X2_MODE | DELIVERY, [8], writes], none, none]],
    ["vid=no", [none, registersMode, none, none, none]],
    ["tprshadow=no", [none, none, none, none, none]],
    ["apicregs=no vid=no", [none, none, none, none, none]],
  ] as const)("with %s", (commandLine, expected) => {
    expect(run({ commandLine })).toEqual(expected);
  });

  test.each([
    ["virtualize x2APIC mode", X2_MODE, [none, none, none, none, none]],
    ["APIC-register virtualization", REGISTERS, [none, none, [X2_MODE | DELIVERY, [8], writes], none, none]],
    ["virtual-interrupt delivery", DELIVERY, [none, registersMode, none, none, none]],
  ] as const)("where the CPU lacks %s", (_name, control, expected) => {
    const msrs = vmxMsrs();
    expect(run({ msrs: { 0x48b: msrs[0x48b]! & ~(control << 32n) } })).toEqual(expected);
  });

  test.each([
    ["", "APIC-register virtualization, virtual interrupt delivery, posted interrupts (present, not used)"],
    ["vid=no", "APIC-register virtualization, virtual interrupt delivery (present, not used), posted"],
    ["apicregs=no", "APIC-register virtualization (present, not used), virtual interrupt delivery, posted"],
    [
      "tprshadow=no",
      "APIC-register virtualization (present, not used), virtual interrupt delivery (present, n",
    ],
    [
      "debug=com2 console=com1",
      "APIC-register virtualization, virtual interrupt delivery (present, not used), posted",
    ],
  ])("and the log says what is used: %j", (commandLine, expected) => {
    const log = new FakeHost({ commandLine, modules: kernels(1), debugger: () => {} }).boot();
    expect(log.find((line) => line.startsWith("VT-x: "))).toContain(
      `APIC accesses (present, not used), ${expected}`,
    );
  });
});
