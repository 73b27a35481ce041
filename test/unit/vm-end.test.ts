import { describe, expect, test } from "vitest";
import { FakeHost, type HostOptions, type RunningVcpu, vendors } from "./fake/host.ts";
import { RootField } from "./fake/hostvtx.ts";
import { abi } from "./fake/layout.ts";
import { type Crash, crash, kernel, kernels, trapKind } from "./fake/vms.ts";

describe.each(vendors)("on %s", (vendor) => {
  const MS = 50_000n;

  /** Three VMs: 0 and 2 power off after some slices, 1 does as told. Returns the log from its end on. */
  function boot(run: (vcpu: RunningVcpu) => number, options: HostOptions = {}) {
    const runs = [0, 0, 0];
    const host = new FakeHost({
      vendor,
      modules: kernels(3),
      ...options,
      run: (vcpu) => {
        runs[vcpu.vm]!++;
        vcpu.setGuest("rip", BigInt(0x1111_0000 + vcpu.vm));
        if (vcpu.vm === 1) return run(vcpu);
        return vcpu.runs === 6 ? vcpu.stop("POWERED_OFF") : vcpu.useSlice();
      },
    });
    const log = host.boot();
    const at = log.findIndex((l) => /^vm1: (ended|restarts)/.test(l));
    return { host, log, runs, line: log[at], report: log.slice(at + 1) };
  }

  /** Nothing of what VM 1 did has kept the others from their own ends. */
  function othersWentOn(log: string[]): void {
    expect(log).toContain("vm0: ended: powered off");
    expect(log).toContain("vm2: ended: powered off");
    expect(log.slice(-2)).toEqual(["done", "halts"]);
    expect(log.filter((l) => l.startsWith("panic"))).toEqual([]);
  }

  const hasReport = (report: string[]) =>
    report.some((l) => l.includes("guest registers:")) &&
    report.some((l) => l.includes("rip 0x0000000011110001"));

  describe("A VM that ends does so alone, with a report", () => {
    const faults: [string, Crash, string][] = [
      ["an assertion", { vector: 6, rdi: trapKind.abort }, "its monitor trapped: assertion failed"],
      ["unreachable", { vector: 6, rdi: trapKind.unreachable }, "its monitor trapped: unreachable"],
      ["a division by zero", { vector: 0 }, "its monitor trapped: integer division by zero"],
      [
        "an access out of bounds",
        { vector: 14, cr2: BigInt(abi("LINEAR_BASE")) + 0x7fff0000n },
        "its monitor trapped: memory access out of bounds at 0x7fff0000",
      ],
      [
        "an access to the null page",
        { vector: 14, cr2: BigInt(abi("LINEAR_BASE")) + 8n },
        "its monitor trapped: memory access out of bounds at 0x8",
      ],
      [
        "a stack overflow",
        {
          vector: 14,
          cr2: BigInt.asUintN(64, BigInt(abi("STACK_AREA") + abi("STACK_SLOT") - abi("STACK_SIZE") - 8)),
        },
        "its monitor trapped: stack overflow",
      ],
      [
        "a fault elsewhere",
        { vector: 14, cr2: 0x3_0000_0000n, error: 2 },
        "its monitor trapped: page fault at 0x300000000, error code 0x2",
      ],
      [
        "a protection fault",
        { vector: 13, error: 0x10 },
        "its monitor trapped: exception 13, error code 0x10",
      ],
    ];

    test.each(faults)("when its monitor traps: %s", (_, fault, cause) => {
      const { line, report, log, runs } = boot((vcpu) => {
        if (vcpu.runs < 2) return vcpu.useSlice();
        crash(vcpu.host, { ...fault, rip: 0x203456n });
        return abi("LEAVE_TRAP");
      });
      expect(line).toBe(`vm1: ended: ${cause}`);
      expect(report.slice(0, 2)).toEqual(["  Typevisor test 12345678", "  at 0x203456"]);
      expect(hasReport(report)).toBe(true);
      expect(runs).toEqual([7, 3, 7]);
      othersWentOn(log);
    });

    test("with the message and the place of a failed assertion", () => {
      const string = (vcpu: RunningVcpu, at: number, text: string) => {
        vcpu.store(at - 4, 4, text.length * 2);
        Buffer.from(text, "utf16le").forEach((byte, i) => vcpu.store(at + i, 1, byte));
      };
      const { report } = boot((vcpu) => {
        string(vcpu, 0x20004, "what it wants");
        string(vcpu, 0x20104, "kernel/device/uart.ts");
        crash(vcpu.host, {
          ...{ vector: 6, rdi: trapKind.abort, message: 0x20004, file: 0x20104 },
          ...{ line: 41, column: 7 },
        });
        return abi("LEAVE_TRAP");
      });
      expect(report).toContain("  assertion: what it wants at kernel/device/uart.ts:41:7");
    });

    test("with none of what lies behind the monitor's memory, if that is where a message would end", () => {
      const size = 4 * 65536;
      const { report } = boot((vcpu) => {
        vcpu.store(size - 12, 4, 64);
        crash(vcpu.host, { vector: 6, rdi: trapKind.abort, message: size - 8, file: size });
        return abi("LEAVE_TRAP");
      });
      expect(report).toContain("  assertion:  at :0:0");
    });

    test.each(["NONE", "TRAP", "KILLED", "ENTRY_FAILED", "TIME_LIMIT"])(
      "without a reason that only root can give: %s",
      (reason) => {
        const { line, log } = boot((vcpu) => vcpu.stop(reason, 0x99));
        expect(line).toBe("vm1: ended: unknown reason (0x99)");
        othersWentOn(log);
      },
    );

    test("when its monitor does not come back", () => {
      const { line, report, log } = boot((vcpu) => {
        crash(vcpu.host, { vector: abi("VECTOR_TIMER"), rip: 0x204444n });
        return abi("LEAVE_KILLED");
      });
      expect(line).toBe("vm1: ended: its monitor did not come back");
      expect(report[1]).toBe("  at 0x204444");
      expect(hasReport(report)).toBe(true);
      othersWentOn(log);
    });

    // SDM Vol. 3C 31.4, VM Instruction Error Numbers. VMRUN has no such error: it exits.
    if (vendor === "VT-x")
      test("when VM entry fails, with the VM-instruction error", () => {
        const { line, report, log } = boot(() => abi("LEAVE_ENTRY_FAILED"));
        expect(line).toBe("vm1: ended: VM entry failed, VM-instruction error 7: invalid control fields");
        expect(hasReport(report)).toBe(true);
        othersWentOn(log);
      });

    // SDM Vol. 3C 27.3.1.1, Checks on Guest Control Registers, Debug Registers, and MSRs; APM Vol. 2 15.5.1.
    test("when the CPU refuses its state, with the rule that is broken", () => {
      const [cr0, rule] = vendor === "VT-x" ? [0x80000020n, "PG without PE"] : [0x20000010n, "NW without CD"];
      const { line, report, log } = boot((vcpu) => {
        vcpu.setGuest("cr0", cr0);
        return vcpu.refuseEntry();
      });
      expect(line).toBe(`vm1: ended: the CPU refused its state: CR0: ${rule}`);
      expect(hasReport(report)).toBe(true);
      othersWentOn(log);
    });

    test("when it has used up the CPU time of vmlimit=, and not before", () => {
      let used = 0n;
      const { line, report, log } = boot(
        (vcpu) => {
          const before = vcpu.host.tsc;
          const left = vcpu.useSlice();
          used += vcpu.host.tsc - before;
          return left;
        },
        { commandLine: "vmlimit=95" },
      );
      expect(line).toBe("vm1: ended: time limit");
      expect(hasReport(report)).toBe(true);
      expect(used).toBeGreaterThan(90n * MS);
      expect(used).toBeLessThan(110n * MS);
      othersWentOn(log);
    });

    test("when it has waited for vmlimit= with nothing to wake it", () => {
      const { line, log } = boot((vcpu) => vcpu.haltUntil(), { commandLine: "vmlimit=95" });
      expect(line).toBe("vm1: ended: time limit");
      othersWentOn(log);
    });

    test("when its lives together have used up the CPU time of vmlimit=", () => {
      const { log } = boot((vcpu) => (vcpu.runs < 2 ? vcpu.useSlice() : vcpu.stop("RESET")), {
        commandLine: "vmlimit=95",
      });
      expect(log.filter((l) => l === "vm1: restarts: reset").length).toBe(4);
      expect(log).toContain("vm1: ended: time limit");
      othersWentOn(log);
    });

    test.each([
      ["HALTED_FOREVER", 0x100123n, "halted with interrupts off (0x100123)"],
      ["UNEXPECTED_EXIT", 55n, "unexpected exit (0x37)"],
      ["NOT_EMULATED", 0x0f0bn, "an instruction is not emulated that accesses unclaimed memory (0xf0b)"],
      ["TASK_SWITCH", 0x28n, "task switch (0x28)"],
      ["DELIVERY_NOT_EMULATED", 0xfee00000n, "an event's delivery met unclaimed memory (0xfee00000)"],
      ["LOAD_FAILED", BigInt(abi("LOADERROR_NOT_BZ_IMAGE")), "its kernel cannot be booted: it is no bzImage"],
      ["LOAD_FAILED", 99n, "its kernel cannot be booted: no reason known"],
    ])("when it stops for %s", (reason, detail, text) => {
      const { line, report, log } = boot((vcpu) => vcpu.stop(reason, detail));
      expect(line).toBe(`vm1: ended: ${text}`);
      expect(hasReport(report)).toBe(true);
      othersWentOn(log);
    });

    test("but without one when it powers off", () => {
      const { line, report, log } = boot((vcpu) => vcpu.stop("POWERED_OFF"));
      expect(line).toBe("vm1: ended: powered off");
      expect(report[0]).toMatch(/^vm1: cost: /);
      expect(hasReport(report)).toBe(false);
      othersWentOn(log);
    });

    if (vendor === "VT-x")
      test("and one that the CPU has no VMCS for does not keep others from starting", () => {
        const log = new FakeHost({ vendor, modules: kernels(2), lacksField: RootField.HOST_RSP }).boot();
        expect(log).toContain("refused: vm0: the CPU refused its control structure");
        expect(log.slice(-2)).toEqual(["done", "halts"]);
      });
  });

  describe("A reset", () => {
    const twice = (vcpu: RunningVcpu) => vcpu.stop(vcpu.life < 3 ? "RESET" : "POWERED_OFF");

    test("starts the guest again, from the same files and with nothing in memory of before", () => {
      const places: bigint[] = [];
      const { log } = boot((vcpu) => {
        if (vcpu.runs === 0) {
          const at = Number(vcpu.load(abi("VM_INFO") + abi("VMINFO_KERNEL_ADDRESS"), 8));
          const file = vcpu.host.memory.get(vcpu.guestAccess(at)!, 4096);
          expect([...new Set(file)]).toEqual([0x90]);
          for (let gpa = 0; gpa < 4 << 20; gpa += 4096)
            if (gpa < at)
              for (const offset of [0, 8])
                expect(vcpu.host.memory.load(vcpu.guestAccess(gpa)! + offset, 8)).toBe(0n);
          for (let gpa = 0; gpa < at; gpa += 4096) vcpu.host.memory.store(vcpu.guestAccess(gpa)! + 8, 8, 1n);
          places.push(vcpu.load(abi("VCPU_AREA") + abi("EXIT_COUNTERS"), 8));
          vcpu.count("CPUID", 77);
          return vcpu.useSlice();
        }
        return twice(vcpu);
      });
      expect(places).toEqual([0n, 0n, 0n]);
      expect(log.filter((l) => l === "vm1: restarts: reset").length).toBe(2);
      // Each life has costs of its own, and none is lost.
      expect(log.filter((l) => l.startsWith("vm1: cost: exits")).length).toBe(3);
      expect(log).toContain("vm1: ended: powered off");
      othersWentOn(log);
    });

    test("ends the VM with reboot=no", () => {
      const { line, report, log } = boot(twice, { commandLine: "reboot=no" });
      expect(line).toBe("vm1: ended: reset");
      expect(hasReport(report)).toBe(false);
      othersWentOn(log);
    });

    test("by a triple fault is a reset with a report", () => {
      const { line, report, log } = boot((vcpu) =>
        vcpu.life === 1 ? vcpu.stop("TRIPLE_FAULT", 0x1234) : vcpu.stop("POWERED_OFF"),
      );
      expect(line).toBe("vm1: restarts: reset (triple fault) (0x1234)");
      expect(hasReport(report)).toBe(true);
      expect(log).toContain("vm1: ended: powered off");
      othersWentOn(log);
    });

    test("by a triple fault ends the VM with reboot=no", () => {
      const { line, report, log } = boot((vcpu) => vcpu.stop("TRIPLE_FAULT", 0x1234), {
        commandLine: "reboot=no",
      });
      expect(line).toBe("vm1: ended: reset (triple fault) (0x1234)");
      expect(hasReport(report)).toBe(true);
      othersWentOn(log);
    });
  });

  describe("The cost lines", () => {
    const exits = Object.entries({
      ...{ CPUID: "cpuid", PORT: "port", READ_MSR: "rdmsr", WRITE_MSR: "wrmsr", CONTROL_REGISTER: "cr" },
      ...{ HALT: "hlt", MEMORY: "memory", EXCEPTION: "exception", INTERRUPT_WINDOW: "interrupt-window" },
      ...{ NMI_WINDOW: "nmi-window", SET_XCR: "xsetbv", CACHE_CONTROL: "wbinvd", READ_COUNTER: "rdpmc" },
      ...{ UNDEFINED: "undefined", TRIPLE_FAULT: "triple-fault", TASK_SWITCH: "task-switch" },
      ...{
        REFUSED: "entry-refused",
        UNEXPECTED: "other",
        PREEMPTED: "preempted",
        PAUSE: "pause",
        REFETCHED: "refetched",
        DEBUG_REGISTER: "dr",
        WANTED: "wanted",
        APIC: "apic",
      },
    });
    const costs = (log: string[]) =>
      log.filter((l) => l.startsWith("vm1: cost: ")).map((l) => l.slice("vm1: cost: ".length));

    test("name every exit that happened, and their sum", () => {
      expect(exits.length).toBe(abi("EXIT_COUNT"));
      const { log } = boot((vcpu) => {
        exits.forEach(([exit], i) => vcpu.count(exit, i % 5 === 0 ? 0 : 5 ** i));
        return vcpu.stop("POWERED_OFF");
      });
      const [, sum, parts] = /^exits (\d+): (.*)$/.exec(costs(log)[0]!)!;
      const expected = exits.flatMap(([, name], i) => (i % 5 === 0 ? [] : [`${name} ${BigInt(5 ** i)}`]));
      expect(parts).toBe(expected.join(" "));
      expect(BigInt(sum!)).toBe(exits.reduce((n, _, i) => (i % 5 === 0 ? n : n + BigInt(5 ** i)), 0n));
    });

    test("count refusals and times in root, of this life alone", () => {
      const { log } = boot((vcpu) => {
        if (vcpu.life === 1) return vcpu.runs < 9 ? abi("LEAVE_INTERRUPT") : vcpu.stop("RESET");
        for (const [i, refusal] of [
          "UNKNOWN_MSR",
          "UNCLAIMED_PORT",
          "UNCLAIMED_MEMORY",
          "UNDEFINED",
        ].entries())
          vcpu.store(abi("VCPU_AREA") + abi("REFUSAL_COUNTERS") + abi(`REFUSAL_${refusal}`) * 8, 8, i + 3);
        if (vcpu.runs < 3) return vcpu.yield("CONTINUE");
        return vcpu.runs < 5 ? abi("LEAVE_INTERRUPT") : vcpu.stop("POWERED_OFF");
      });
      expect(costs(log)).toContain("times in root 6, by host interrupts 2");
      expect(costs(log)).toContain(
        "refused: unknown-msr 3 unclaimed-port 4 unclaimed-memory 5 undefined-instruction 6",
      );
    });

    test.each([
      ["and how much of it the VM ran", () => 0n],
      ["without what its monitor has halted the CPU for", (ran: bigint) => (ran * 2n) / 3n],
      [
        "and 0 of a monitor that says it has halted for longer than it had the CPU",
        (ran: bigint) => ran * 2n,
      ],
    ])("tell the time from start to end, %s", (_, restOf) => {
      let first: bigint | undefined;
      let last = 0n;
      let ran = 0n;
      const { log } = boot((vcpu) => {
        const before = vcpu.host.tsc;
        first ??= before;
        if (vcpu.runs < 5) vcpu.useSlice();
        ran += vcpu.host.tsc - before;
        last = vcpu.host.tsc;
        vcpu.setRunArea("RESTED", restOf(ran), 8);
        return vcpu.runs < 5 ? abi("LEAVE_INTERRUPT") : vcpu.stop("POWERED_OFF");
      });
      const [, elapsed, ms, running, runningMs] = /^ticks (\d+) \((\d+) ms\), running (\d+) \((\d+) ms\)$/
        .exec(costs(log).find((l) => l.startsWith("ticks"))!)!
        .map((n) => BigInt(n.length < 20 && /^\d+$/.test(n) ? n : 0));
      expect(elapsed).toBeGreaterThanOrEqual(last - first!);
      expect(elapsed).toBeLessThan(last - first! + 50n * MS);
      const awake = restOf(ran) > ran ? 0n : ran - restOf(ran);
      expect(running).toBeGreaterThanOrEqual(awake);
      expect(running).toBeLessThan(awake + 2n * MS);
      expect([ms, runningMs]).toEqual([elapsed! / MS, running! / MS]);
    });

    test("tell the guest's memory, and the hypervisor's for it: its home and its tables", () => {
      const tables = [0, 0];
      const host = new FakeHost({
        vendor,
        modules: [kernel("memory=6M"), kernel("memory=10M")],
        run: (vcpu) => {
          tables[vcpu.vm] = vcpu.host.frameOwners.tableBytes(vcpu.context);
          return vcpu.stop("POWERED_OFF");
        },
      });
      const log = host.boot();
      for (const [vm, memory] of [6, 10].entries()) {
        const overhead = (2 << 20) + tables[vm]!;
        expect(log).toContain(
          `vm${vm}: cost: memory of the guest ${memory} MiB, of the hypervisor for it ${overhead >> 10} KiB`,
        );
      }
    });
  });

  describe("The end", () => {
    test.each([
      ["", "halts", []],
      ["panic=halt", "halts", []],
      ["panic=reboot", "reboots", [[0xcf9, 2], [0xcf9, 6], [0x64, 0xfe]]], // prettier-ignore
    ])("is as panic= says (%j)", (commandLine, last, resets) => {
      const host = new FakeHost({ vendor, commandLine, modules: kernels(1) });
      expect(host.boot().slice(-2)).toEqual(["done", last]);
      expect(host.ports.resets).toEqual(resets);
      const refused = new FakeHost({ vendor, commandLine });
      expect(refused.boot().slice(-2)).toEqual(["refused: modules: no kernel", last]);
      expect(refused.ports.resets).toEqual(resets);
    });

    test("comes at once with a machine check of the host, whoever runs", () => {
      const { log } = boot(() => abi("LEAVE_MACHINE_CHECK"), { commandLine: "panic=reboot" });
      expect(log.slice(-3)).toEqual(["panic: machine check", "Typevisor test 12345678", "reboots"]);
      const inMonitor = boot((vcpu) => {
        crash(vcpu.host, { vector: 18 });
        return abi("LEAVE_TRAP");
      });
      expect(inMonitor.log.slice(-3)).toEqual([
        "panic: machine check in a monitor",
        "Typevisor test 12345678",
        "halts",
      ]);
    });

    test("does not come with an NMI of the host: it is logged with its number, in a guest or not", () => {
      const { log } = boot((vcpu) => {
        if (vcpu.runs > 2) return vcpu.stop("POWERED_OFF");
        vcpu.host.nmis = vcpu.runs + 1;
        return abi(vcpu.runs < 2 ? "LEAVE_NMI" : "LEAVE_INTERRUPT");
      });
      const told = [1, 2, 3].map((n) => `NMI, number ${n}, on CPU 0`);
      expect(log.filter((l) => l.startsWith("NMI"))).toEqual(told);
      othersWentOn(log);
    });
  });
});
