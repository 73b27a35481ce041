/** kernel/root/report.ts and lines.ts: what is printed of a fault, also when the line table or the stack is hostile. */
import { describe, expect, test } from "vitest";
import { type Named, type Row, encodeLines } from "../../tools/build/lines.ts";
import { FakeHost, type RunningVcpu, image, vendors } from "./fake/host.ts";
import { abi } from "./fake/layout.ts";
import { Random, effort } from "./fake/pc.ts";
import { type Crash, crash, kernel, trapKind } from "./fake/vms.ts";

const BUILD = 0x12345678;
const text = Number(image.start);

/** Functions of 1000h bytes, from a main that calls a middle that calls a leaf; one row of the table each 100h bytes. */
const functions: Named[] = ["main", "middle", "leaf"].map((name, i) => ({
  address: text + 0x1000 * (i + 1),
  name,
}));
const rows: Row[] = functions.flatMap(({ address, name }) =>
  Array.from({ length: 16 }, (_, i) => ({
    address: address + 0x100 * i,
    file: `kernel/${name}.ts`,
    line: 10 + i,
  })),
);
const [main, middle, leaf] = functions.map((f) => f.address) as [number, number, number];

/** CALL rel32 of a function: returns the address that it pushes. */
function call(host: FakeHost, at: number, target: number): bigint {
  const bytes = Buffer.alloc(5, 0xe8);
  bytes.writeInt32LE(target - (at + 5), 1);
  host.memory.put(at, bytes);
  return BigInt(at + 5);
}

interface Trap extends Crash {
  /** What is on the stack, from the top word on. */
  stack?: bigint[];
}

describe.each(vendors)("on %s", (vendor) => {
  /** A monitor traps: the lines of the report, from the banner on. */
  function monitorTraps(table: Uint8Array | undefined, trap: (host: FakeHost) => Trap) {
    const lines = { bytes: table ?? new Uint8Array(0), text: "lines" };
    const host = new FakeHost({
      vendor,
      modules: [kernel(), ...(table ? [lines] : [])],
      run: (vcpu) => {
        const { stack = [], ...record } = trap(host);
        const rsp = vcpu.host.context(vcpu.context, "STACK") - BigInt(8 * stack.length);
        stack.forEach((value, i) => storeOnStack(vcpu, rsp + BigInt(8 * i), value));
        crash(host, { rsp, ...record });
        return abi("LEAVE_TRAP");
      },
    });
    const log = host.boot();
    expect(log.slice(-2)).toEqual(["done", "halts"]);
    expect(host.strays).toEqual([]);
    const from = log.findIndex((l) => l.startsWith("vm0: ended"));
    return { log, report: log.slice(from + 1), raw: host.serial[0] };
  }

  function storeOnStack(vcpu: RunningVcpu, address: bigint, value: bigint): void {
    const page = Number(BigInt.asUintN(48, address) >> 12n);
    vcpu.host.memory.store(
      vcpu.host.hostAccess(page, "store", "a test") + Number(address & 0xfffn),
      8,
      value,
    );
  }

  const ud = { vector: 6, rdi: trapKind.unreachable };

  describe("A report", () => {
    const table = encodeLines(BUILD, rows, functions);

    test("names the TypeScript line of the fault, and of each call on the way to it", () => {
      const { report } = monitorTraps(table, (host) => {
        const inMain = call(host, main + 0x220, middle);
        const inMiddle = call(host, middle + 0x3ff, leaf);
        return { ...ud, rip: BigInt(leaf + 0x105), stack: [1n, inMiddle, 0x201000n, inMain, 7n] };
      });
      expect(report.slice(0, 4)).toEqual([
        "  Typevisor test 12345678",
        `  at 0x${(leaf + 0x105).toString(16)} kernel/leaf.ts:11 (leaf)`,
        `  from 0x${(middle + 0x3ff).toString(16)} kernel/middle.ts:13 (middle)`,
        `  from 0x${(main + 0x220).toString(16)} kernel/main.ts:12 (main)`,
      ]);
      expect(report[4]).toBe("  host registers:");
    });

    test("leaves out what earlier calls left on the stack, and doubts a word alone that does not fit", () => {
      const stale = (host: FakeHost) => call(host, main + 0x500, main);
      const inMiddle = (host: FakeHost) => call(host, middle + 0x10, leaf);
      const some = monitorTraps(table, (host) => ({
        ...ud,
        rip: BigInt(leaf),
        stack: [stale(host), inMiddle(host)],
      }));
      expect(some.report.filter((l) => l.startsWith("  from"))).toEqual([
        `  from 0x${(middle + 0x10).toString(16)} kernel/middle.ts:10 (middle)`,
      ]);
      const none = monitorTraps(table, (host) => ({ ...ud, rip: BigInt(leaf), stack: [stale(host)] }));
      expect(none.report.filter((l) => l.startsWith("  from"))).toEqual([
        `  from ? 0x${(main + 0x500).toString(16)} kernel/main.ts:15 (main)`,
      ]);
    });

    test("gives addresses alone without a table, or with that of another build", () => {
      const trap = () => ({ ...ud, rip: BigInt(leaf + 0x105) });
      const at = `  at 0x${(leaf + 0x105).toString(16)}`;
      expect(monitorTraps(undefined, trap).report[1]).toBe(at);
      const other = monitorTraps(encodeLines(BUILD + 1, rows, functions), trap);
      expect(other.report[1]).toBe(at);
      expect(other.log).toContain("lines: not the line table of this build");
    });

    test.each([0x1ff000n, BigInt(text) - 1n, image.textEnd, 0n, (1n << 64n) - 1n])(
      "gives %d alone: no text is there",
      (rip) => {
        expect(monitorTraps(table, () => ({ ...ud, rip })).report[1]).toBe(`  at 0x${rip.toString(16)}`);
      },
    );

    /** What the report says of exits `from` to `to`, each of a reason of its number, as the recorder holds them. */
    function lastExits(from: number, to: number): string[] {
      const host = new FakeHost({
        vendor,
        modules: [kernel()],
        run: (vcpu) => {
          const record = abi("LASTEXIT_BYTES");
          const put = (n: number, reason: number, rip: number) => {
            const at = abi("VCPU_AREA") + abi("LAST_EXITS_OFFSET") + (n % abi("LAST_EXITS")) * record;
            vcpu.store(at + abi("LASTEXIT_RIP"), 8, rip);
            vcpu.store(at + abi("LASTEXIT_REASON"), 4, reason);
          };
          for (let n = from; n <= to; n++) put(n, n, 0x1000 * n);
          vcpu.setRunArea("NEXT_EXIT", ((to + 1) % abi("LAST_EXITS")) * record);
          return vcpu.stop("HALTED_FOREVER");
        },
      });
      const log = host.boot();
      const first = log.findIndex((l) => l.startsWith("  last exits (reason@rip):"));
      const more = log.slice(first + 1).findIndex((l) => !l.startsWith("    "));
      return log.slice(first, first + 1 + more);
    }

    test("has the last exits, oldest first, without what was not written yet", () => {
      expect(lastExits(62, 64)).toEqual(["  last exits (reason@rip): 62@0x3e000 63@0x3f000 64@0x40000"]);
    });

    test("has 64 exits, in lines that fit a screen", () => {
      const lines = lastExits(100, 199);
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(76);
      const exits = [...lines.join(" ").matchAll(/(\d+)@0x([0-9a-f]+)/g)].map((m) => [
        Number(m[1]),
        parseInt(m[2]!, 16),
      ]);
      expect(exits).toEqual(Array.from({ length: 64 }, (_, i) => [136 + i, 0x1000 * (136 + i)]));
    });
  });

  describe("A line table that is", () => {
    const trap = (host: FakeHost): Trap => ({
      ...ud,
      rip: BigInt(leaf + 0x105),
      stack: [call(host, middle + 0x3ff, leaf), 0x201005n],
    });
    const printable = /^[\x20-\x7e]*$/;

    test("cut off at any byte is refused, or says what it still can", () => {
      const table = encodeLines(BUILD, rows.slice(0, 3), functions);
      for (let length = 0; length < table.length; length += 3) {
        const { report } = monitorTraps(table.subarray(0, length), trap);
        expect(report[1]).toMatch(/^ {2}at 0x203105( |$)/);
      }
    });

    test.each([
      ["empty", new Uint8Array(0)],
      ["of no rows", encodeLines(BUILD, [], functions)],
      ["of no functions", encodeLines(BUILD, rows, [])],
      [
        "of other numbers than fit",
        Buffer.concat([Buffer.from("TYVLxV4\x12", "latin1"), Buffer.alloc(12, 0xff)]),
      ],
    ])("%s does no harm", (_, table) => {
      expect(monitorTraps(table, trap).report[1]).toMatch(/^ {2}at 0x203105/);
    });

    test("full of control characters and endless names prints one line a place", () => {
      const evil: Row[] = rows.map((r) => ({ ...r, file: `\x1b[2J\r\n(tv) done${"x".repeat(500)}` }));
      const { report } = monitorTraps(encodeLines(BUILD, evil, functions), trap);
      expect(report[1]).toMatch(/^ {2}at 0x203105 \.\[2J\.\.\(tv\) donex{100,}:\d+ \(leaf\)$/);
      expect(report[1]!.length).toBeLessThan(320);
    });

    test("damaged anywhere never makes the report fault", () => {
      const whole = encodeLines(BUILD, rows, functions);
      for (let seed = 1; seed <= 60 * effort; seed++) {
        const random = new Random(seed);
        const table = Buffer.from(whole);
        for (let n = 1 + random.below(20); n > 0; n--) {
          const at = random.below(4) === 0 ? 8 + random.below(12) : 20 + random.below(table.length - 20);
          table[at] = random.pick([0, 1, 0x7f, 0x80, 0xff, random.below(256)]);
        }
        const { report } = monitorTraps(table, trap);
        for (const line of report) {
          expect(line).toMatch(printable);
          expect(line.length).toBeLessThan(320);
        }
      }
    });
  });

  describe("A fault in root is a panic with a report", () => {
    /** Root faults while a VM runs; the stub of boot/percpu.asm calls root's trap(). */
    const rootTraps = (record: (host: FakeHost) => Crash, options = {}) => {
      const host = new FakeHost({
        vendor,
        modules: [kernel()],
        run: () => {
          crash(host, record(host));
          host.trapInRoot();
          return 0;
        },
        ...options,
      });
      const log = host.boot();
      return { host, log: log.slice(log.findIndex((l) => l.startsWith("panic"))) };
    };

    test("with the cause, the place and root's registers, and then what panic= says", () => {
      const { log } = rootTraps(() => ({ vector: 14, cr2: 0x123n, error: 2, rip: 0x203333n }));
      expect(log.slice(0, 4)).toEqual([
        "panic: root: page fault at 0x123, error code 0x2",
        "  Typevisor test 12345678",
        "  at 0x203333",
        "  host registers:",
      ]);
      expect(log.at(-1)).toBe("halts");
      const { log: reboots, host } = rootTraps(() => ({ vector: 0 }), { commandLine: "panic=reboot" });
      expect([reboots[0], reboots.at(-1)]).toEqual(["panic: root: integer division by zero", "reboots"]);
      expect(host.ports.resets.length).toBe(3);
    });

    test("which names the calls that its stack has", () => {
      const { log } = rootTraps((host) => {
        const rsp = image.stackGuard + 0x2000n;
        host.memory.store(rsp + 8n, 8, call(host, middle + 0x3ff, leaf));
        return { ...ud, rip: BigInt(leaf), rsp };
      });
      expect(log).toContain(`  from 0x${(middle + 0x3ff).toString(16)}`);
    });

    test.each([0n, 0x1000n, image.start - 8n, image.end - 4n, image.end, 0x7f_0000_0000n, (1n << 64n) - 8n])(
      "also with a stack pointer of %d, that leads nowhere",
      (rsp) => {
        const { log, host } = rootTraps(() => ({ ...ud, rsp }));
        expect(log[0]).toBe("panic: root: unreachable");
        expect(log.at(-1)).toBe("halts");
        expect(host.strays).toEqual([]);
      },
    );

    test.each([
      ["in the guard page of its stack", image.stackGuard + 8n, "stack overflow"],
      [
        "beyond its memory",
        BigInt(abi("LINEAR_BASE")) + 0x200000n,
        "memory access out of bounds at 0x200000",
      ],
    ])("that knows a fault %s", (_, cr2, cause) => {
      expect(rootTraps(() => ({ vector: 14, cr2 })).log[0]).toBe(`panic: root: ${cause}`);
    });
  });
});
