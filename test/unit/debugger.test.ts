/** Root's side of the debugger. What the debugger itself does is in gdb-*.test.ts. */
import { describe, expect, test } from "vitest";
import { FakeHost, type HostOptions, type RunningVcpu, vendors } from "./fake/host.ts";
import { abi } from "./fake/layout.ts";
import { StaleTranslation } from "./fake/tlb.ts";
import { kernel, kernels } from "./fake/vms.ts";

const PERCPU = 0x214000n;
const commandLine = "debug=com2";
const u64 = (value: bigint) => BigInt.asUintN(64, value);

/** What a debugger sees of root's memory, and writes there. */
class Shared {
  constructor(private readonly host: FakeHost) {}

  private view(hpa: bigint, size: number): DataView {
    const bytes = this.host.rootMemory(hpa, size);
    return new DataView(bytes.buffer, bytes.byteOffset, size);
  }
  private at(symbol: string): bigint {
    return this.host.memory.load(Number(PERCPU) + abi("PERCPU_DEBUG_INFO"), 8) + BigInt(abi(symbol));
  }
  info(field: string, size = 4): bigint {
    const view = this.view(this.at(`DEBUGINFO_${field}`), size);
    return size === 8 ? view.getBigUint64(0, true) : BigInt(view.getUint32(0, true));
  }
  answer(value: number): void {
    this.view(this.at("DEBUGINFO_ANSWER"), 4).setUint32(0, value, true);
  }
  private control(vm: number, offset: number): bigint {
    const stride = abi("DEBUGCONTROL_BYTES") + abi("WATCHES") * abi("WATCHRANGE_BYTES");
    return this.info("CONTROLS", 8) + BigInt(vm * stride + offset);
  }
  set(vm: number, field: string, value: number | bigint, size = 4): void {
    const view = this.view(this.control(vm, abi(`DEBUGCONTROL_${field}`)), size);
    if (size === 8) view.setBigUint64(0, BigInt(value), true);
    else view.setUint32(0, Number(value), true);
  }
  watchLength(vm: number): bigint {
    const at = abi("DEBUGCONTROL_BYTES") + abi("WATCHRANGE_LENGTH");
    return BigInt(this.view(this.control(vm, at), 4).getUint32(0, true));
  }
  watch(vm: number, gpa: bigint, length: number, kind: string): void {
    const view = this.view(this.control(vm, abi("DEBUGCONTROL_BYTES")), abi("WATCHRANGE_BYTES"));
    view.setBigUint64(abi("WATCHRANGE_GPA"), gpa, true);
    view.setUint32(abi("WATCHRANGE_LENGTH"), length, true);
    view.setUint32(abi("WATCHRANGE_KIND"), abi(`WATCHKIND_${kind}`), true);
  }
}

describe("debug= on the command line", () => {
  const boot = (options: HostOptions) => new FakeHost({ modules: [kernel()], ...options }).boot();

  test.each(["com2", "com2,9600", "com2,wait", "com2,57600,wait", "com2,wait,57600"])(
    "%s is taken",
    (value) => {
      const stops: bigint[] = [];
      const log = boot({
        commandLine: `debug=${value}`,
        debugger: (host) => stops.push(new Shared(host).info("CAUSE")),
      });
      const waits = value.includes("wait");
      expect(log).toContain(`debugger: on COM2${waits ? ", waits for GDB" : ""}`);
      expect(log).toContain("vm0: ended: powered off");
      const causes = ["ENDED", "FINISHED"].map((name) => BigInt(abi(`STOP_${name}`)));
      expect(stops).toEqual(waits ? [BigInt(abi("STOP_WAITING")), ...causes] : causes);
    },
  );

  test.each(["com3", "com2,", "com2,101", "com2,waits", "com2;wait", "", "none"])(
    "%s is refused",
    (value) => {
      expect(boot({ commandLine: `debug=${value}` })).toContain(
        `refused: command line: debug=${value}: expected com1 or com2, with ,BAUD (50 or more, divides 115200) and ,wait or without`,
      );
    },
  );

  test("is refused for the UART of the log or of the guests' consoles", () => {
    for (const words of ["debug=com1", "debug=com2 vmconsole=com2"])
      expect(boot({ commandLine: words })).toContain(
        "refused: command line: debug=: expected another UART than that of console= and vmconsole=",
      );
  });

  test("is refused on a CPU that lets guests at the debug registers", () => {
    const controls = 0xffffffff_04006172n & ~(1n << 55n);
    expect(boot({ commandLine, msrs: { 0x48e: controls } })).toContain(
      "refused: debug=: MOV-DR exiting: not offered by this CPU",
    );
  });
});

describe.each(vendors)("on %s", (vendor) => {
  /** Boots with a debugger. `stop` sees each stop, `run` what the VM does. */
  function debug(
    run: (vcpu: RunningVcpu, shared: Shared) => number,
    stop: (cause: number, shared: Shared, host: FakeHost) => void,
    options: HostOptions = {},
  ) {
    const names = ["HOST", "WAITING", "BREAKPOINT", "DEBUG", "STEP", "WATCH", "CAUGHT", "ENDED", "FINISHED"];
    const stops: string[] = [];
    const host = new FakeHost({
      vendor,
      modules: [kernel("memory=8M")],
      commandLine: `${commandLine},wait`,
      run: (vcpu) => run(vcpu, new Shared(vcpu.host)),
      debugger: (h) => {
        const shared = new Shared(h);
        const cause = Number(shared.info("CAUSE"));
        stops.push(names[cause]!);
        stop(cause, shared, h);
      },
      ...options,
    });
    const log = host.boot();
    return { host, log, stops };
  }

  const tell = (vcpu: RunningVcpu, cause: string, detail: bigint | number = 0, access = 0) => {
    vcpu.setRunArea("DEBUG_CAUSE", abi(`STOP_${cause}`));
    vcpu.setRunArea("DEBUG_DETAIL", detail, 8);
    vcpu.setRunArea("DEBUG_ACCESS", access);
    return vcpu.yield("DEBUG");
  };
  const flags = (vcpu: RunningVcpu) => Number(vcpu.load(vcpu.area + abi("RUNAREA_DEBUG"), 4));
  const none = () => {};

  test("The debugger's space has all RAM but the image's text, and its own memory, and nothing is executable twice", () => {
    let top = 0n;
    const { host } = debug(
      (vcpu) => vcpu.stop("POWERED_OFF"),
      (_cause, _shared, h) => (top = h.memory.load(Number(PERCPU) + abi("PERCPU_DEBUG_CR3"), 8)),
    );
    const leaves = [...host.leaves(top)];
    const window = u64(BigInt(abi("PHYSICAL_WINDOW")));
    const at = (address: bigint) => leaves.find((l) => address >= l.address && address < l.address + l.size);
    expect(at(window + 0x300000n)).toBeDefined();
    expect(at(window + 0x204000n)!.flags & 2n, "text is not writable").toBe(0n);
    expect(at(BigInt(abi("LINEAR_BASE")))).toBeUndefined();
    expect(at(BigInt(abi("LINEAR_BASE")) + 4096n)).toBeDefined();
    const stack = u64(BigInt(abi("STACK_AREA") + abi("STACK_SLOT")));
    expect(at(stack - 8n)).toBeDefined();
    expect(at(stack - BigInt(abi("STACK_SIZE")) - 8n), "the stack's guard").toBeUndefined();
    for (const leaf of leaves)
      if (leaf.flags & 2n) expect(leaf.flags >> 63n, "writable: no execute").toBe(1n);
  });

  test("Without a debugger nothing is told, and the vCPU is made as ever", () => {
    let seen = -1;
    const host = new FakeHost({
      vendor,
      modules: [kernel()],
      run: (vcpu) => {
        seen = flags(vcpu);
        return vcpu.stop("POWERED_OFF");
      },
    });
    host.boot();
    expect(seen).toBe(0);
    expect(host.memory.load(Number(PERCPU) + abi("PERCPU_DEBUG_CR3"), 8)).toBe(0n);
  });

  test("A step is told once, whatever it leaves root for, and the guest's trap flag is its own again", () => {
    const seen: number[] = [];
    const requests = ["STEP", "HALT", "PASS", "CONSOLE"];
    const { stops } = debug(
      (vcpu) => {
        seen.push(flags(vcpu) & abi("DEBUGGING_STEP"));
        const request = requests[vcpu.runs];
        if (request === undefined) return vcpu.stop("POWERED_OFF");
        return request === "STEP"
          ? tell(vcpu, "STEP")
          : request === "HALT"
            ? vcpu.haltUntil(0n)
            : vcpu.yield(request);
      },
      (cause, shared) => {
        if (cause !== abi("STOP_ENDED")) shared.set(0, "STEPS", 1);
      },
    );
    expect(stops).toEqual(["WAITING", "STEP", "STEP", "STEP", "STEP", "ENDED", "FINISHED"]);
    expect(seen).toEqual(Array(5).fill(abi("DEBUGGING_STEP")));
  });

  test("The debugger's DR7 is the guest's while it runs, and root leaves DR0 to DR3 alone", () => {
    const seen: bigint[] = [];
    const { host } = debug(
      (vcpu) => {
        seen.push(vcpu.guest("dr7"));
        return vcpu.stop("POWERED_OFF");
      },
      (cause, shared, h) => {
        if (cause !== abi("STOP_WAITING")) return;
        h.dr[0] = 0x1234n;
        shared.set(0, "DR7", 0x703n, 8);
      },
    );
    expect(seen).toEqual([0x703n]);
    expect(host.dr[0]).toBe(0x1234n);
  });

  test("An INT3 and a debug exception that are the guest's own are delivered to it", () => {
    const injected: bigint[] = [];
    let stopsSeen = 0;
    const { stops } = debug(
      (vcpu) => {
        injected.push(vcpu.guest("injection"));
        vcpu.setGuest("injection", 0n);
        const vector = vendor === "VT-x" ? 3 : 1;
        if (vcpu.runs === 0) return tell(vcpu, "BREAKPOINT", 1n, vector);
        if (vcpu.runs === 1) return tell(vcpu, "DEBUG", 1n);
        if (vcpu.runs === 2) return tell(vcpu, "BREAKPOINT", 0n, 6);
        if (vcpu.runs === 3) return tell(vcpu, "BREAKPOINT", 1n, vector);
        return vcpu.stop("POWERED_OFF");
      },
      (_cause, shared) => shared.answer(stopsSeen++ < 4 ? 1 : 0),
    );
    expect(stops).toEqual([
      "WAITING",
      "BREAKPOINT",
      "DEBUG",
      "BREAKPOINT",
      "BREAKPOINT",
      "ENDED",
      "FINISHED",
    ]);
    const software = vendor === "VT-x" ? 0x80000603n : 0x80000301n;
    expect(injected).toEqual([0n, software, 0x80000301n, 0x80000306n, 0n]);
  });

  test("Watched memory cannot be written but with its page open for one instruction, and the write is told of", () => {
    const gpa = 0x123450n;
    const states: string[] = [];
    const access = (vcpu: RunningVcpu) => {
      const entry = leafOf(vcpu.host, vcpu.nestedTop, gpa);
      states.push(
        `${entry.size === 4096n ? "small" : "large"} ${entry.flags & 2n ? "writable" : "read-only"}`,
      );
    };
    const told: [bigint, bigint][] = [];
    const { stops } = debug(
      (vcpu) => {
        access(vcpu);
        switch (vcpu.runs) {
          case 0:
            return tell(vcpu, "WATCH", gpa - 0x450n, abi("WATCHKIND_WRITE"));
          case 1: // the page is open, and the guest has made the access
            expect(flags(vcpu) & abi("DEBUGGING_STEP")).not.toBe(0);
            return tell(vcpu, "STEP");
          case 2:
            return tell(vcpu, "WATCH", gpa + 4n, abi("WATCHKIND_WRITE"));
          case 3:
            return tell(vcpu, "STEP");
          case 4:
            return vcpu.useSlice();
          default:
            return vcpu.stop("POWERED_OFF");
        }
      },
      (cause, shared) => {
        if (cause === abi("STOP_WAITING")) shared.watch(0, gpa, 8, "WRITE");
        if (cause !== abi("STOP_WATCH")) return;
        told.push([shared.info("DETAIL", 8), shared.info("ACCESS")]);
        shared.watch(0, 0n, 0, "WRITE");
      },
    );
    expect(stops).toEqual(["WAITING", "WATCH", "ENDED", "FINISHED"]);
    expect(told).toEqual([[gpa + 4n, BigInt(abi("WATCHKIND_WRITE"))]]);
    expect(states).toEqual([
      "small read-only",
      "small writable",
      "small read-only",
      "small writable",
      "small writable",
      "small writable",
    ]);
  });

  test("What is no memory of the VM, or on two pages, is not watched", () => {
    const refused: bigint[] = [];
    for (const [gpa, length] of [
      [0x100_0000n, 8],
      [0xffcn, 8],
      [0xffff_ffff_ffff_fff8n, 16],
    ] as const) {
      debug(
        (vcpu, shared) => {
          refused.push(shared.watchLength(0));
          return vcpu.stop("POWERED_OFF");
        },
        (cause, shared) => {
          if (cause === abi("STOP_WAITING")) shared.watch(0, gpa, length, "ACCESS");
        },
      );
    }
    expect(refused).toEqual([0n, 0n, 0n]);
  });

  test("A VM is ended when the debugger says so, and the others go on", () => {
    const { log } = debug(
      (vcpu) => (vcpu.runs < 3 ? vcpu.useSlice() : vcpu.stop("POWERED_OFF")),
      (cause, shared) => {
        if (cause === abi("STOP_WAITING")) shared.set(1, "KILL", 1);
      },
      { modules: kernels(3) },
    );
    expect(log).toContain("vm1: ended: ended by the debugger");
    expect(log).toContain("vm0: ended: powered off");
    expect(log).toContain("vm2: ended: powered off");
  });

  test("A VM is ended too when none of its vCPUs runs, or ever will", () => {
    const { log } = debug(
      (vcpu) => (vcpu.vm === 1 ? vcpu.haltUntil() : vcpu.runs < 3 ? vcpu.useSlice() : tell(vcpu, "CAUGHT")),
      (cause, shared) => {
        for (const vm of [0, 1]) if (cause === abi("STOP_CAUGHT")) shared.set(vm, "KILL", 1);
      },
      { modules: kernels(2) },
    );
    for (const vm of [0, 1]) expect(log).toContain(`vm${vm}: ended: ended by the debugger`);
    expect(log.slice(-2)).toEqual(["done", "halts"]);
  });

  test("The monitor is told from where on to look at exits, until that has happened", () => {
    const seen: [number, bigint][] = [];
    const { stops } = debug(
      (vcpu) => {
        seen.push([
          flags(vcpu) & abi("DEBUGGING_CATCH"),
          vcpu.load(abi("VCPU_AREA") + abi("RUNAREA_CATCH_FROM"), 8),
        ]);
        return vcpu.runs === 0 ? tell(vcpu, "CAUGHT") : vcpu.stop("POWERED_OFF");
      },
      (cause, shared) => {
        if (cause === abi("STOP_WAITING")) shared.set(0, "CATCH_FROM", 0xffffffff80000000n, 8);
      },
    );
    expect(stops).toEqual(["WAITING", "CAUGHT", "ENDED", "FINISHED"]);
    expect(seen).toEqual([
      [abi("DEBUGGING_CATCH"), 0xffffffff80000000n],
      [0, (1n << 64n) - 1n],
    ]);
  });

  describe("A VM's vCPUs", () => {
    /** Boots a VM of two, both of which run from the start; ends after so many runs. */
    function both(
      run: (vcpu: RunningVcpu, shared: Shared) => number | undefined,
      stop: Parameters<typeof debug>[1],
      runs = 12,
    ) {
      const seen: number[] = [];
      const result = debug(
        (vcpu, shared) => {
          if (seen.length === 0) vcpu.kick(1);
          seen.push(vcpu.number);
          return seen.length > runs ? vcpu.stop("POWERED_OFF") : (run(vcpu, shared) ?? vcpu.useSlice());
        },
        stop,
        { modules: [kernel("memory=8M cpus=2")] },
      );
      return { ...result, seen };
    }

    test("are held and go on as the debugger says", () => {
      const { seen, stops } = both(
        (vcpu) => {
          // Kicks make it ready, and no more than that.
          vcpu.kick(1 - vcpu.number);
          return vcpu.runs === 4 && vcpu.number === 0 ? tell(vcpu, "CAUGHT") : undefined;
        },
        (cause, shared) => {
          if (cause === abi("STOP_WAITING")) shared.set(0, "HELD", 2);
          if (cause === abi("STOP_CAUGHT")) shared.set(0, "HELD", 0);
        },
      );
      expect(stops).toEqual(["WAITING", "CAUGHT", "ENDED", "FINISHED"]);
      expect(seen.slice(0, 5)).toEqual([0, 0, 0, 0, 0]);
      expect(seen.slice(5).filter((n) => n === 1).length).toBeGreaterThan(2);
    });

    test("stop one by one, and each is told of by its number", () => {
      const told: bigint[][] = [];
      const { stops } = both(
        (vcpu) => (flags(vcpu) & abi("DEBUGGING_STEP") ? tell(vcpu, "STEP") : undefined),
        (cause, shared) => {
          if (cause === abi("STOP_WAITING")) shared.set(0, "STEPS", 2);
          if (cause !== abi("STOP_STEP")) return;
          told.push([shared.info("VM"), shared.info("VCPU")]);
          if (told.length < 3) shared.set(0, "STEPS", told.length);
        },
      );
      expect(stops).toEqual(["WAITING", "STEP", "STEP", "STEP", "ENDED", "FINISHED"]);
      expect(told).toEqual([
        [0n, 1n],
        [0n, 0n],
        [0n, 1n],
      ]);
    });

    test("do not see the page that another accesses opened", () => {
      const gpa = 0x123450n;
      const states: string[] = [];
      const told: bigint[][] = [];
      const { stops } = both(
        (vcpu) => {
          const open = leafOf(vcpu.host, vcpu.nestedTop, gpa).flags & 2n ? "open" : "closed";
          states.push(`${vcpu.number} ${open}`);
          if (open === "open") vcpu.guestAccess(Number(gpa));
          if (vcpu.runs === 0) return tell(vcpu, "WATCH", gpa, abi("WATCHKIND_WRITE"));
          // The first to access it loses its turn with the page open.
          if (vcpu.runs === 1 && vcpu.number === 0) return vcpu.useSlice();
          return flags(vcpu) & abi("DEBUGGING_STEP") ? tell(vcpu, "STEP") : undefined;
        },
        (cause, shared) => {
          if (cause === abi("STOP_WAITING")) shared.watch(0, gpa, 8, "WRITE");
          if (cause === abi("STOP_WATCH")) told.push([shared.info("VCPU"), shared.info("DETAIL", 8)]);
        },
      );
      expect(stops).toEqual(["WAITING", "WATCH", "WATCH", "ENDED", "FINISHED"]);
      expect(told).toEqual([
        [1n, gpa],
        [0n, gpa],
      ]);
      const order = ["0 closed", "0 open", "1 closed", "1 open", "1 closed", "0 open"];
      expect(states.slice(0, order.length)).toEqual(order);
      expect(new Set(states.slice(order.length))).toEqual(new Set(["0 closed", "1 closed"]));
    });

    test("none of them finds in the TLB what it was allowed before", () => {
      const gpa = 0x123000;
      let closed = 0;
      both(
        (vcpu) => {
          if (!(leafOf(vcpu.host, vcpu.nestedTop, BigInt(gpa)).flags & 2n)) closed++;
          try {
            vcpu.guestAccess(gpa);
          } catch (error) {
            if (error instanceof StaleTranslation) throw error;
          }
          return vcpu.runs === 2 && vcpu.number === 0 ? tell(vcpu, "CAUGHT") : undefined;
        },
        (cause, shared) => {
          if (cause === abi("STOP_CAUGHT")) shared.watch(0, BigInt(gpa), 8, "WRITE");
        },
      );
      expect(closed).toBeGreaterThan(3);
    });

    test("are none of them held when the VM has reset itself, and its first makes the step", () => {
      const seen: string[] = [];
      const { stops } = both(
        (vcpu) => {
          seen.push(`${vcpu.life}.${vcpu.number}`);
          if (flags(vcpu) & abi("DEBUGGING_STEP"))
            return vcpu.life === 1 ? vcpu.stop("RESET") : tell(vcpu, "STEP");
          return vcpu.life === 1 ? undefined : vcpu.stop("POWERED_OFF");
        },
        (cause, shared) => {
          if (cause !== abi("STOP_WAITING")) return;
          shared.set(0, "STEPS", 2);
        },
      );
      expect(seen.slice(-3)).toEqual(["1.1", "2.0", "2.0"]);
      expect(stops).toEqual(["WAITING", "STEP", "ENDED", "FINISHED"]);
    });
  });

  test("A guest that resets itself starts anew without a stop", () => {
    const { stops } = debug(
      (vcpu) => (vcpu.life === 1 ? vcpu.stop("RESET") : vcpu.stop("POWERED_OFF")),
      none,
    );
    expect(stops).toEqual(["WAITING", "ENDED", "FINISHED"]);
  });
});

function leafOf(host: FakeHost, top: bigint, address: bigint) {
  for (const leaf of host.leaves(top))
    if (address >= leaf.address && address < leaf.address + leaf.size) return leaf;
  throw new Error(`nothing maps ${address.toString(16)}`);
}
