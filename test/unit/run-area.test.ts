/** What a monitor has in its memory is untrusted to root: run areas, console rings, counters, whatever it returns with. */
import { describe, expect, test } from "vitest";
import { ordinaryTables } from "./fake/firmware.ts";
import { FakeHost, type HostOptions, type RunningVcpu, vendors } from "./fake/host.ts";
import { abi } from "./fake/layout.ts";
import { Random, effort } from "./fake/pc.ts";
import { crash, kernel, kernels } from "./fake/vms.ts";

const area = abi("VCPU_AREA");
const ring = abi("CONSOLE_RING");

/** Values at the limits of what fields are compared with. */
const limits = [0n, 1n, 2n, 0x7fn, 0x80n, 0xffn, 0x3ffn, 0x400n, 0x401n, 0x1fffn, 0x2000n, 0x2001n, 0xffffn]
  .flatMap((n) => [n, -n, n << 16n, n << 32n, (1n << 31n) + n, (1n << 63n) + n]) // prettier-ignore
  .map((n) => BigInt.asUintN(64, n));

function word(random: Random): bigint {
  if (random.below(2) === 0) return random.pick(limits);
  return (BigInt(random.below(2 ** 32)) << 32n) | BigInt(random.below(2 ** 32));
}

const runFields = [
  ...(["REQUEST", "STOP_REASON", "NEXT_EXIT"] as const).map((f) => [area + abi(`RUNAREA_${f}`), 4]),
  ...(["STOP_DETAIL", "WAKE"] as const).map((f) => [area + abi(`RUNAREA_${f}`), 8]),
  ...(["OUT_HEAD", "OUT_TAIL", "IN_HEAD", "IN_TAIL"] as const).map((f) => [
    ring + abi(`CONSOLERINGS_${f}`),
    4,
  ]),
] as [number, number][];

/** Overwrites what root looks at with garbage: all of it, or some fields. */
function scribble(vcpu: RunningVcpu, random: Random): void {
  if (random.below(3) === 0) {
    for (let at = 0; at < abi("VCPU_AREA_SIZE"); at += 8) vcpu.store(area + at, 8, word(random));
    for (let at = 0; at < 256; at += 8) vcpu.store(ring + at, 8, word(random));
    for (let at = 0; at < 256; at += 8) vcpu.store(abi("VM_INFO") + at, 8, word(random));
  }
  for (const [at, size] of runFields) if (random.below(2) === 0) vcpu.store(at, size, word(random));
  for (let i = 0; i < 4; i++) {
    vcpu.store(area + abi("EXIT_COUNTERS") + 8 * random.below(abi("EXIT_COUNT")), 8, word(random));
    vcpu.store(area + abi("REFUSAL_COUNTERS") + 8 * random.below(abi("REFUSAL_COUNT")), 8, word(random));
  }
}

/** A record of the fault stubs: vectors that a monitor can cause, with registers that it can choose. */
function fault(vcpu: RunningVcpu, random: Random): void {
  const top = vcpu.host.context(vcpu.context, "STACK");
  crash(vcpu.host, {
    vector: random.pick([0, 6, 6, 6, 13, 14, 14, abi("VECTOR_TIMER")]),
    error: random.below(2 ** 32),
    rip: random.pick([0x200000n, 0x20ffffn, 0x210000n, word(random)]),
    rsp: random.pick([top, top - 1n, top - 8n, top - 4096n, top - BigInt(abi("STACK_SIZE")), word(random)]),
    rdi: random.pick([1n, 5n, 100n, 100n, 101n, word(random)]),
    cr2: random.pick([0x40000000n, 0x2_40000fffn, top - BigInt(abi("STACK_SIZE")) - 1n, word(random)]),
    message: random.pick([0, 3, 4, 0x20004, 0x3fffe, 0x40000, random.below(2 ** 32)]),
    file: random.pick([0, 3, 4, 0x3ffff, 0xffffffff, random.below(2 ** 32)]),
    line: random.below(2 ** 32),
    column: random.below(2 ** 32),
  });
}

const leaves = ["YIELD", "STOP", "INTERRUPT", "NMI", "TRAP", "KILLED", "ENTRY_FAILED"].map((n) =>
  abi(`LEAVE_${n}`),
);
/** What no stub returns. */
const nonsense = [0, 9, 10, 255, 0x7fffffff, 0x80000000, 0xffffffff];

/** What root may not change in a monitor's memory: all but the indices that are its own, and the input. */
function untouchable(vcpu: RunningVcpu): Buffer {
  const parts: Uint8Array[] = [];
  for (let page = abi("VM_INFO"); page < abi("MONITOR_DATA"); page += 4096) {
    const hpa = vcpu.host.translate(vcpu.cr3, BigInt(abi("LINEAR_BASE") + page))!.hpa;
    const bytes = vcpu.host.memory.get(hpa, 4096);
    if (page === ring)
      for (const f of ["OUT_TAIL", "IN_HEAD"])
        bytes.fill(0, abi(`CONSOLERINGS_${f}`), abi(`CONSOLERINGS_${f}`) + 4);
    const input = ring + abi("CONSOLE_IN_OFFSET") - page;
    bytes.fill(
      0,
      Math.min(Math.max(input, 0), 4096),
      Math.min(Math.max(input + abi("CONSOLE_IN_SIZE"), 0), 4096),
    );
    parts.push(bytes);
  }
  return Buffer.concat(parts);
}

describe.each(vendors)("on %s", (vendor) => {
  /** A machine whose monitors do nothing but harm, until each VM has had its runs. */
  function hostile(seed: number, options: HostOptions = {}) {
    const random = new Random(seed);
    const left = [40, 40, 40];
    const before = new Map<string, Buffer>();
    let returns = 0;
    const host = new FakeHost({
      vendor,
      commandLine: "loglvl=debug",
      modules: [kernel(), kernel(), kernel("memory=2M")],
      ...options,
      idle: (machine) => machine.ports.uarts[0].receive("input that nobody wants"),
      run: (vcpu) => {
        returns++;
        const life = `${vcpu.vm}.${vcpu.life}`;
        const was = before.get(life);
        if (was)
          expect(was.equals(untouchable(vcpu)), `vm${life}: root has changed its monitor's memory`).toBe(
            true,
          );
        if (left[vcpu.vm]!-- <= 0) return vcpu.stop("POWERED_OFF");
        vcpu.host.tsc += BigInt(random.below(400_000));
        if (random.below(4) === 0) vcpu.host.ports.uarts[0].receive("some input");
        scribble(vcpu, random);
        fault(vcpu, random);
        // Who halts for ever is only waited for.
        if (vcpu.load(area + abi("RUNAREA_REQUEST")) === BigInt(abi("REQUEST_HALT")))
          vcpu.setRunArea("WAKE", vcpu.host.tsc + BigInt(random.below(1_000_000) - 500_000), 8);
        before.set(life, untouchable(vcpu));
        return random.below(8) === 0 ? random.pick(nonsense) : random.pick([1, 1, 1, 3, ...leaves]);
      },
    });
    return { host, log: host.boot(), returns: () => returns };
  }

  describe("Hostile monitors", () => {
    const seeds = Array.from({ length: 12 * effort }, (_, i) => i + 1);

    test.each(seeds)("end themselves, not root: seed %d", (seed) => {
      const { host, log, returns } = hostile(seed);
      expect(log.slice(-2)).toEqual(["done", "halts"]);
      expect(log.filter((l) => l.startsWith("panic"))).toEqual([]);
      expect(host.strays).toEqual([]);
      expect(host.apic.strayEnds).toBe(0);
      const use = log.filter((l) => l.startsWith("memory in use"));
      expect(use.length).toBe(2);
      expect(use[1]).toBe(use[0]);
      // A return makes root move a ring's contents at most, where each byte may get a prefix, and print a report.
      expect(host.serial[0].length).toBeLessThan((returns() + 10) * (8 * abi("CONSOLE_OUT_SIZE") + 40 * 330));
      for (const line of host.serial[0].split("\n"))
        if (line.startsWith("(tv)")) expect(line.length).toBeLessThan(520);
    });
  });

  describe("The console rings", () => {
    test.each([
      [0, 0xffff0000],
      [0x80000000, 0],
      [0xdeadbeef, 0x12345678],
      [abi("CONSOLE_OUT_SIZE") + 1, 0],
    ])("An output ring with the indices %d and %d is taken for a full one", (head, tail) => {
      const host = new FakeHost({
        vendor,
        commandLine: "vmconsole=com2",
        modules: kernels(1),
        run: (vcpu) => {
          if (vcpu.runs === 1) {
            expect(vcpu.load(ring + abi("CONSOLERINGS_OUT_TAIL"))).toBe(BigInt(head));
            return vcpu.stop("POWERED_OFF");
          }
          for (let i = 0; i < abi("CONSOLE_OUT_SIZE"); i++)
            vcpu.store(ring + abi("CONSOLE_OUT_OFFSET") + i, 1, 65);
          vcpu.store(ring + abi("CONSOLERINGS_OUT_HEAD"), 4, head);
          vcpu.store(ring + abi("CONSOLERINGS_OUT_TAIL"), 4, tail);
          return vcpu.yield("CONSOLE");
        },
      });
      host.boot();
      expect(host.serial[1]).toMatch(/^A*$/);
      expect(host.serial[1].length).toBe(abi("CONSOLE_OUT_SIZE"));
    });

    test("Input that does not fit the ring is dropped, and what a monitor says of its index is not believed", () => {
      let input = "";
      const host = new FakeHost({
        vendor,
        modules: kernels(1),
        idle: (machine) => machine.ports.uarts[0].receive("x".repeat(200)),
        run: (vcpu) => {
          // Woken by input until nothing fits any more, then by time.
          if (vcpu.runs < 10) return vcpu.haltUntil(vcpu.host.tsc + 100_000_000n);
          if (vcpu.runs === 10) {
            input = vcpu.input();
            vcpu.store(ring + abi("CONSOLERINGS_IN_TAIL"), 4, 0x80000000);
            return vcpu.haltUntil(vcpu.host.tsc + 100_000_000n);
          }
          expect(vcpu.load(ring + abi("CONSOLERINGS_IN_HEAD"))).toBe(BigInt(abi("CONSOLE_IN_SIZE")));
          return vcpu.stop("POWERED_OFF");
        },
      });
      expect(host.boot()).toContain("vm0: ended: powered off");
      expect(input).toMatch(/^x*$/);
      expect(input.length).toBe(abi("CONSOLE_IN_SIZE"));
    });

    test("A guest that floods its console cannot keep root from saying how it ended", () => {
      const host = new FakeHost({
        vendor,
        ioapicInputs: 24,
        firmware: ordinaryTables,
        modules: kernels(1),
        uartsTakeTime: true,
        run: (vcpu) => (vcpu.runs < 40 ? vcpu.print("flood ".repeat(1300)) : vcpu.stop("TRIPLE_FAULT", 0x77)),
        commandLine: "reboot=no",
      });
      const log = host.boot();
      expect(log).toContain("vm0: ended: reset (triple fault) (0x77)");
      expect(log.slice(-2)).toEqual(["done", "halts"]);
    });
  });
});
