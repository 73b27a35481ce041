import { describe, expect, test } from "vitest";
import { ordinaryTables } from "./fake/firmware.ts";
import { FakeHost, type HostOptions, type RunningVcpu, vendors } from "./fake/host.ts";
import { abi } from "./fake/layout.ts";
import { kernel, kernels } from "./fake/vms.ts";
/** The fake machine's TSC: ticks of a millisecond. */
const MS = 50_000n;

interface Turn {
  vm: number;
  from: bigint;
  to: bigint;
}

describe.each(vendors)("on %s", (vendor) => {
  /** Boots VMs that do as told, and notes who ran when. Entering and leaving take time too, and so do root's own doings. */
  function turnsOf(options: HostOptions & { run: (vcpu: RunningVcpu, turns: Turn[]) => number }) {
    const turns: Turn[] = [];
    const host = new FakeHost({
      vendor,
      ...options,
      run: (vcpu) => {
        const from = vcpu.host.tsc;
        const left = options.run(vcpu, turns);
        turns.push({ vm: vcpu.vm, from, to: vcpu.host.tsc });
        return left;
      },
    });
    return { host, turns, log: host.boot() };
  }

  describe("Turns", () => {
    test.each([
      ["", 10n],
      ["slice=3", 3n],
    ])("VMs run in turn, each for a slice (%j)", (commandLine, ms) => {
      const { turns, log } = turnsOf({
        commandLine,
        modules: kernels(3),
        run: (vcpu) => (vcpu.runs === 4 ? vcpu.stop("POWERED_OFF") : vcpu.useSlice()),
      });
      const order = turns.map((t) => t.vm);
      expect(order.slice(0, 12).map((vm) => (vm + 3 - order[0]!) % 3)).toEqual([
        0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2,
      ]);
      for (const { from, to } of turns.slice(0, 12)) {
        expect(to - from).toBeGreaterThan(ms * MS - MS / 2n);
        expect(to - from).toBeLessThanOrEqual(ms * MS);
      }
      expect(log.filter((l) => l.endsWith(": ended: powered off")).length).toBe(3);
    });

    test("A VM that yields or is interrupted before its slice is over runs on", () => {
      const step = 1n * MS;
      const { turns } = turnsOf({
        modules: kernels(2),
        run: (vcpu) => {
          vcpu.host.tsc += step;
          if (vcpu.runs === 40) return vcpu.stop("POWERED_OFF");
          if (vcpu.runs % 3 === 0) return abi("LEAVE_INTERRUPT");
          return vcpu.yield(vcpu.runs % 3 === 1 ? "CONTINUE" : "CONSOLE");
        },
      });
      const lengths: number[] = [];
      turns.forEach((t, i) => (t.vm === turns[i - 1]?.vm ? lengths[lengths.length - 1]!++ : lengths.push(1)));
      // 10 ms of 1 ms each and what entering takes: 9 or 10 runs in a row.
      for (const length of lengths.slice(0, 8)) expect([9, 10]).toContain(length);
    });

    test("A VM that halts gives the rest of its slice away", () => {
      const { turns } = turnsOf({
        modules: kernels(2),
        run: (vcpu) => {
          if (vcpu.runs === 3) return vcpu.stop("POWERED_OFF");
          if (vcpu.vm === 1) return vcpu.haltUntil(vcpu.host.tsc + 2n * MS);
          return vcpu.useSlice();
        },
      });
      const order = turns.map((t) => t.vm);
      expect(order.slice(0, 6)).toEqual([1, 0, 1, 0, 1, 0]);
      expect(turns[1]!.from - turns[0]!.to).toBeLessThan(MS);
    });

    test("A VM whose guest only spins passes the CPU to the next at once, and has it back in its turn", () => {
      const { turns } = turnsOf({
        modules: kernels(3),
        run: (vcpu) => {
          if (vcpu.runs === 4) return vcpu.stop("POWERED_OFF");
          return vcpu.vm === 1 ? vcpu.yield("PASS") : vcpu.useSlice();
        },
      });
      expect(turns.slice(0, 9).map((t) => t.vm)).toEqual([1, 2, 0, 1, 2, 0, 1, 2, 0]);
      for (const { vm, from, to } of turns.slice(0, 9)) if (vm === 1) expect(to - from).toBeLessThan(MS);
    });

    test("A VM that passes the CPU while all others halt runs on, with a slice of its own", () => {
      const { turns } = turnsOf({
        modules: kernels(2),
        run: (vcpu) => {
          if (vcpu.vm === 1)
            return vcpu.runs ? vcpu.stop("POWERED_OFF") : vcpu.haltUntil(vcpu.host.tsc + 100n * MS);
          if (vcpu.runs === 5) return vcpu.stop("POWERED_OFF");
          expect(vcpu.sliceEnd - vcpu.host.tsc).toBeGreaterThan(9n * MS);
          return vcpu.yield("PASS");
        },
      });
      expect(turns.map((t) => t.vm)).toEqual([1, 0, 0, 0, 0, 0, 0, 1]);
      expect(turns[6]!.to - turns[1]!.from).toBeLessThan(MS * 2n);
    });

    test("A VM alone gets one slice after the other", () => {
      const { turns } = turnsOf({
        modules: kernels(1),
        run: (vcpu) => (vcpu.runs === 5 ? vcpu.stop("POWERED_OFF") : vcpu.useSlice()),
      });
      expect(turns.length).toBe(6);
      for (const [i, turn] of turns.slice(1).entries()) expect(turn.from - turns[i]!.to).toBeLessThan(MS);
    });

    test("Device interrupts are served between runs, and each ends once", () => {
      const vectors = [0x40, 0x43, 0x44, 0x4f].map((v) => v - 0x40 + abi("VECTOR_DEVICE"));
      const { host } = turnsOf({
        modules: kernels(1),
        run: (vcpu) => {
          if (vcpu.runs === 10) return vcpu.stop("POWERED_OFF");
          for (const vector of vectors) vcpu.host.apic.requested.add(vector);
          return abi("LEAVE_INTERRUPT");
        },
      });
      expect(host.apic.inService).toEqual([]);
      expect(host.apic.strayEnds).toBe(0);
    });
  });

  describe("Waiting", () => {
    test("A halted VM wakes at its time, not before and not much later", () => {
      const waits = [1n, 50n, 999n, 1000n, 1001n, 4321n];
      let due = 0n;
      const late: bigint[] = [];
      turnsOf({
        modules: kernels(1),
        run: (vcpu) => {
          if (due !== 0n) late.push(vcpu.host.tsc - due);
          if (vcpu.runs === waits.length) return vcpu.stop("POWERED_OFF");
          due = vcpu.host.tsc + waits[vcpu.runs]! * MS;
          return vcpu.haltUntil(due);
        },
      });
      expect(late.length).toBe(waits.length);
      for (const ticks of late) {
        expect(ticks).toBeGreaterThanOrEqual(0n);
        expect(ticks).toBeLessThan(MS);
      }
    });

    test("Of several halted VMs each wakes at its own time", () => {
      const period = [7n, 11n, 30n];
      const due = [0n, 0n, 0n];
      const { turns } = turnsOf({
        modules: kernels(3),
        run: (vcpu) => {
          const { vm, host } = vcpu;
          if (vcpu.runs > 0) {
            expect(host.tsc).toBeGreaterThanOrEqual(due[vm]!);
            expect(host.tsc - due[vm]!).toBeLessThan(10n * MS);
          }
          if (vcpu.runs === 10) return vcpu.stop("POWERED_OFF");
          due[vm] = host.tsc + period[vm]! * MS;
          return vcpu.haltUntil(due[vm]);
        },
      });
      expect(turns.length).toBe(33);
    });

    test("A wake time in the past lets the VM run on at once", () => {
      const { turns } = turnsOf({
        modules: kernels(1),
        run: (vcpu) =>
          vcpu.runs === 3 ? vcpu.stop("POWERED_OFF") : vcpu.haltUntil(vcpu.runs === 0 ? 0n : 1n),
      });
      expect(turns[3]!.from - turns[0]!.to).toBeLessThan(MS);
    });

    test.each([
      ["by the UART's interrupt", 24, 5n],
      ["by the timer, on a machine that does not route the UART's interrupt", 0, 1100n],
    ])("Input wakes a VM that waits for nothing else, %s", (_, ioapicInputs, latest) => {
      let typed = 0n;
      const inputs: [string, bigint][] = [];
      const { log } = turnsOf({
        ioapicInputs,
        firmware: ordinaryTables,
        modules: kernels(1),
        idle: (host) => {
          if (typed !== 0n) return;
          host.tsc += 3n * MS;
          typed = host.tsc;
          host.ports.uarts[0].receive("hello");
        },
        run: (vcpu) => {
          if (vcpu.runs === 0) return vcpu.haltUntil();
          inputs.push([vcpu.input(), vcpu.host.tsc - typed]);
          return vcpu.stop("POWERED_OFF");
        },
      });
      expect(inputs.map(([text]) => text)).toEqual(["hello"]);
      expect(inputs[0]![1]).toBeLessThan(latest * MS);
      expect(log).toContain("vm0: ended: powered off");
    });

    test.each(["", "console=com2", "vmconsole=com2"])(
      "A UART that is gone cannot hold root up (%j)",
      (commandLine) => {
        const { turns, host } = turnsOf({
          commandLine,
          modules: kernels(1),
          run: (vcpu) => {
            if (vcpu.runs === 2) for (const uart of vcpu.host.ports.uarts) uart.isGone = true;
            return vcpu.runs === 5 ? vcpu.stop("POWERED_OFF") : vcpu.haltUntil(vcpu.host.tsc + 10n * MS);
          },
        });
        expect(turns.length).toBe(6);
        if (vendor === "VT-x") expect(host.vmcs.size).toBe(1);
      },
    );

    test("Ctrl-^ p presses the power button, which wakes a guest; Ctrl-^ twice is typed; the rest is input", () => {
      const seen: [string, number][] = [];
      const typed = ["a\x1epb", "\x1ep", "c\x1e\x1ed", "\x1exe", "\x1e", "p"];
      const { log } = turnsOf({
        ioapicInputs: 24,
        firmware: ordinaryTables,
        modules: kernels(1),
        idle: (host) => {
          const next = typed.shift();
          if (next !== undefined) host.ports.uarts[0].receive(next);
          host.tsc += 3n * MS;
        },
        run: (vcpu) => {
          const presses = Number(vcpu.load(abi("VM_INFO") + abi("VMINFO_POWER_PRESSES"), 4));
          if (vcpu.runs > 0) seen.push([vcpu.input(), presses]);
          return typed.length === 0 && presses === 3 ? vcpu.stop("POWERED_OFF") : vcpu.haltUntil();
        },
      });
      expect(seen).toEqual([
        ["ab", 1],
        ["", 2],
        ["c\x1ed", 2],
        ["e", 2],
        ["", 3],
      ]);
      expect(log.filter((line) => line === "vm0: power button").length).toBe(3);
      expect(log.some((line) => line.startsWith("console: Ctrl-^ p "))).toBe(true);
    });

    test("Input goes to the first VM that is alive", () => {
      const got: string[] = ["", ""];
      turnsOf({
        modules: kernels(2),
        idle: (host) => host.ports.uarts[0].receive("x"),
        run: (vcpu) => {
          got[vcpu.vm] += vcpu.input();
          if (vcpu.vm === 0) return vcpu.runs === 3 ? vcpu.stop("POWERED_OFF") : vcpu.haltUntil();
          if (got[1] !== "") return vcpu.stop("POWERED_OFF");
          return vcpu.haltUntil(vcpu.host.tsc + 100n * MS);
        },
      });
      expect(got).toEqual(["xxx", "x"]);
    });
  });

  test("What the CPU keeps across exits is each VM's own, and starts as after a reset", () => {
    const registers = [
      ...(["star", "lstar", "cstar", "fmask", "kernelGsBase", "tscAux"] as const),
      ...(["dr0", "dr1", "dr2", "dr3", "dr6", "cr2", "xcr0"] as const),
    ];
    const stateOf = (vcpu: RunningVcpu) => {
      const { extended } = vcpu.host;
      return {
        ...Object.fromEntries(registers.map((register) => [register, vcpu.guest(register)])),
        x87: extended[8],
        fcw: extended[0]! | (extended[1]! << 8),
        mxcsr: extended[24]! | (extended[25]! << 8),
      };
    };
    const mine = new Map<string, ReturnType<typeof stateOf>>();
    const seen: ReturnType<typeof stateOf>[] = [];
    const { log } = turnsOf({
      modules: kernels(3),
      run: (vcpu) => {
        const { host, vm, life } = vcpu;
        const key = `${vm}.${life}`;
        const state = stateOf(vcpu);
        if (vcpu.runs === 0) {
          seen.push(state);
          registers.forEach((r, i) => vcpu.setGuest(r, BigInt(0x1000 * (vm + 1) + 16 * life + i)));
          vcpu.setGuest("xcr0", vm === 0 ? 3n : 7n);
          host.extended[8] = 16 * vm + life;
          mine.set(key, stateOf(vcpu));
        } else {
          expect(state).toEqual(mine.get(key));
        }
        if (vcpu.runs < 3) return vcpu.useSlice();
        return vcpu.stop(life < 2 ? "RESET" : "POWERED_OFF");
      },
    });
    expect(log.filter((l) => l.endsWith("ended: powered off")).length).toBe(3);
    expect(
      new Set([...mine.values()].map((state) => JSON.stringify(Object.values(state).map(String)))).size,
    ).toBe(6);
    expect(seen.length).toBe(6);
    // SDM Vol. 3A 10.1.1, Processor State After Reset: DR6, XCR0; x87 and MXCSR as FNINIT and reset leave them.
    for (const state of seen)
      expect(state).toEqual({
        ...Object.fromEntries(registers.map((register) => [register, 0n])),
        ...{ dr6: 0xffff0ff0n, xcr0: 1n, x87: 0, fcw: 0x37f, mxcsr: 0x1f80 },
      });
  });

  test("The console of a VM alone passes as it is; of several, each line has its VM's name", () => {
    const print = (vcpu: RunningVcpu) =>
      vcpu.runs === 0 ? vcpu.print(`one\ntwo from ${vcpu.vm}\n`) : vcpu.stop("POWERED_OFF");
    const alone = turnsOf({ commandLine: "console=com2 vmconsole=com1", modules: [kernel()], run: print });
    expect(alone.host.serial[0]).toBe("one\ntwo from 0\n");
    const several = turnsOf({ commandLine: "console=com2 vmconsole=com1", modules: kernels(2), run: print });
    const lines = several.host.serial[0].split("\n");
    expect(lines.slice(0, -1).sort()).toEqual(["vm0: one", "vm0: two from 0", "vm1: one", "vm1: two from 1"]);
  });
});
