/** VMs of several vCPUs: each is a thread with registers and page tables of its own. */
import { describe, expect, test } from "vitest";
import { Cause, GdbMachine, VECTOR_TIMER, gdbVendors, little, unhex } from "./fake/gdbmachine.ts";
import { abi } from "./fake/layout.ts";
import { P, RW } from "./fake/paging.ts";

const HELLO = "qSupported:multiprocess+;swbreak+;hwbreak+";
const vcpus = [3, 1];

describe.each(gdbVendors)("On %s:", (vendor) => {
  const machine = () => new GdbMachine(vendor, vcpus);
  const trap = vendor === "AMD-V" ? 0xf1n : 0xccn;
  /** What is said upon a stop. */
  const told = (m: GdbMachine, cause: Cause, about: Parameters<GdbMachine["stop"]>[1] = {}) => {
    m.sent = [];
    m.stop(cause, about);
    return m.replies();
  };
  const wishes = (m: GdbMachine, vm = 0) => ["STEPS", "HELD"].map((field) => Number(m.wish(vm, field)));

  test("threads are all of them, in their order", () => {
    const m = machine();
    const [, list, xml] = m.talk([HELLO, "qfThreadInfo", "qXfer:threads:read::0,fff"]);
    expect(list).toBe("mp1.1,p2.1,p2.2,p2.3,p3.1");
    const names = ["vm0 vcpu0", "vm0 vcpu1", "vm0 vcpu2", "vm1 vcpu0"];
    expect([...xml!.matchAll(/name="(vm[^"]*)"/g)].map(([, name]) => name)).toEqual(names);
    expect(m.talk(["qThreadExtraInfo,p2.3"]).map(unhex)).toEqual(["vm0 vcpu2"]);
  });

  test("threads that are there are alive, and no others", () => {
    const m = machine();
    m.talk([HELLO]);
    const alive = ["p1.1", "p2.1", "p2.2", "p2.3", "p2.0", "p2.-1", "p2", "p3.1"];
    const dead = [
      "p1.2",
      "p2.4",
      "p2.ff",
      "p2.100",
      "p2.ffffffff",
      "p2.10000000000000001",
      "p3.2",
      "p4.1",
      "p0.1",
    ];
    expect(m.talk(alive.map((thread) => `T${thread}`))).toEqual(alive.map(() => "OK"));
    expect(m.talk(dead.map((thread) => `T${thread}`))).toEqual(dead.map(() => "E01"));
  });

  test("without processes each thread is one number", () => {
    const m = machine();
    expect(m.talk(["qfThreadInfo", "T102", "T202", "T302", "Tff02", "T103", "Hg102", "qC"])).toEqual([
      "m1,2,102,202,3",
      ...["OK", "OK", "E01", "E01", "E01", "OK", "QC102"],
    ]);
    m.talk(["c"]);
    expect(told(m, Cause.Step, { vcpu: 2 })).toEqual(["T05thread:202;"]);
  });

  test("registers are each vCPU's own", () => {
    const m = machine();
    for (let n = 0; n < 3; n++) {
      m.setGuest(0, { rip: BigInt(0x1000 * (n + 1)), rsp: 0x8000n }, n);
      for (let r = 0; r < 16; r++) m.memory.store(m.gprAt(0, r, n), 8, BigInt(r + 0x100 * n));
    }
    const read = (thread: string) => m.talk([HELLO, `Hg${thread}`, "p0", "p1", "p10"]).slice(2);
    for (let n = 2; n >= 0; n--)
      expect(read(`p2.${n + 1}`)).toEqual([0x100 * n, 3 + 0x100 * n, 0x1000 * (n + 1)].map((v) => little(v)));
    m.talk([HELLO, "Hgp2.2", `P0=${little(0x77)}`, `P10=${little(0x7777)}`, `P7=${little(0x70)}`]);
    expect([0, 1, 2].map((n) => m.getGuest(0, "rip", n))).toEqual([0x1000n, 0x7777n, 0x3000n]);
    expect([0, 1, 2].map((n) => m.getGuest(0, "rsp", n))).toEqual([0x8000n, 0x70n, 0x8000n]);
    expect([0, 1, 2].map((n) => m.memory.load(m.gprAt(0, 0, n), 8))).toEqual([0n, 0x77n, 0x200n]);
  });

  test("only the one that is in the midst of an exit is not to be changed", () => {
    const m = machine();
    m.setRunning(0, true, 1);
    const change = ["p2.1", "p2.2", "p2.3"].flatMap((thread) => [`Hg${thread}`, `P10=${little(0x500)}`]);
    expect(m.talk([HELLO, ...change]).slice(1)).toEqual(["OK", "OK", "OK", "E01", "OK", "OK"]);
  });

  test("memory is where a vCPU's own tables lead, and a breakpoint where those of any do", () => {
    const m = machine();
    const address = 0xffff888000405000n;
    m.page(0, "4-level", 0n, 2)!.map(address, 0x7000n, 1, P | RW);
    m.memory.put(m.hpa(0, 0x7000), Uint8Array.of(0x90, 0x91));
    const at = address.toString(16);
    expect(m.talk([HELLO, "Hgp2.1", `m${at},2`, "Hgp2.3", `m${at},2`])).toEqual([
      expect.anything(),
      ...["OK", expect.stringMatching(/^E/), "OK", "9091"],
    ]);
    // GDB means the whole process by that.
    expect(m.talk(["Hgp2.0", `Z0,${at},1`, "Hgp2.3", `m${at},2`])).toEqual(["OK", "OK", "OK", "9091"]);
    expect(m.memory.load(m.hpa(0, 0x7000), 1)).toBe(trap);
    m.talk(["vCont;c"]);
    m.setGuest(0, { rip: address }, 2);
    // Of its threads GDB means the one that has stopped.
    m.script = ["Hgp2.0", `m${at},1`];
    expect(told(m, Cause.Breakpoint, { vcpu: 2 })).toEqual(["T05swbreak:;thread:p2.3;", "OK", "90"]);
  });

  test("a stop is the vCPU's that it is about", () => {
    const m = machine();
    m.talk([HELLO, "Hgp2.1", "Z1,100010,1", "vCont;c"]);
    expect(told(m, Cause.Debug, { detail: 1n, vcpu: 1 })).toEqual(["T05hwbreak:;thread:p2.2;"]);
    m.talk(["vCont;c"]);
    expect(told(m, Cause.Caught, { vcpu: 2 })).toEqual(["T05thread:p2.3;"]);
    m.talk(["vCont;s:p2.2;c"]);
    // Another's debug exception is the guest's own.
    expect(told(m, Cause.Debug, { detail: 0x4000n, vcpu: 2 })).toEqual([]);
    expect(m.answer).toBe(1);
    expect(told(m, Cause.Debug, { detail: 0x4000n, vcpu: 1 })).toEqual(["T05thread:p2.2;"]);
  });

  test.each([
    ["vCont;c", [0, 0]],
    ["vCont;s:p2.2;c", [2, 0]],
    ["vCont;s:p2.2;s:p2.3;c", [6, 0]],
    ["vCont;s:p2.2", [2, 5]],
    ["vCont;c:p2.1;c:p2.3", [0, 2]],
    ["vCont;s:p2.3;c:p2.1", [4, 2]],
    ["vCont;c:p2.-1", [0, 0]],
    ["vCont;s:p2.-1", [7, 0]],
    ["vCont;s:p2.1;c:p2.-1", [1, 0]],
    ["vCont;c:p3.1", [0, 0]], // about no vCPU of this VM: it goes on
    ["vCont;s:p1.1", [0, 0]],
  ])("%s steps and holds those that it says", (packet, expected) => {
    const m = machine();
    m.talk([HELLO, packet]);
    expect(wishes(m)).toEqual(expected);
    expect(wishes(m, 1)).toEqual([0, 0]);
    expect(m.percpu("ATTENTION", 4)).toBe(1n);
    // Any stop ends all of it.
    expect(told(m, Cause.Step, { vcpu: 1 })).toEqual(["T05thread:p2.2;"]);
    expect(wishes(m)).toEqual([0, 0]);
  });

  test("s of one holds the others of its VM, and s of whichever does not", () => {
    const m = machine();
    m.talk([HELLO, "Hcp2.3", "s"]);
    expect(wishes(m)).toEqual([4, 3]);
    m.script = ["Hcp2.0", "s"];
    expect(told(m, Cause.Step, { vcpu: 2 })).toEqual(["T05thread:p2.3;", "OK"]);
    expect(wishes(m)).toEqual([4, 0]);
    expect(told(m, Cause.Step, { vcpu: 2 })).toEqual(["T05thread:p2.3;"]);
    m.talk(["Hcp2.2", "s"]);
    expect(wishes(m)).toEqual([2, 5]);
    m.talk([HELLO, "D"], Cause.Host, { vector: VECTOR_TIMER });
    expect(wishes(m)).toEqual([0, 0]);
  });

  test("a Ctrl-C is the vCPU's that was resumed last", () => {
    const m = machine();
    m.talk([HELLO, "vCont;s:p2.3;c"]);
    m.script = [Uint8Array.of(3)];
    expect(told(m, Cause.Host, { vector: VECTOR_TIMER })).toEqual(["T02thread:p2.3;"]);
  });

  test("monitor's commands are about the chosen vCPU, or the one that they name", () => {
    const m = machine();
    const run = (command: string, thread: string) => {
      const digits = Buffer.from(command, "latin1").toString("hex");
      const replies = m.talk([HELLO, `Hg${thread}`, `qRcmd,${digits}`]).slice(2, -1);
      return replies.map((line) => unhex(line.slice(1))).join("");
    };
    for (let n = 0; n < 3; n++) m.memory.store(m.areaOf(0, n) + abi("EXIT_COUNTERS"), 8, BigInt(n + 11));
    expect(run("exits", "p2.2")).toMatch(/^vm0 vcpu1: cpuid 12\n/);
    expect(run("exits 0.2", "p2.2")).toMatch(/^vm0 vcpu2: cpuid 13\n/);
    expect(run("exits 0", "p2.2")).toMatch(/^vm0 vcpu0: cpuid 11\n/);
    expect(run("exits 0.3", "p2.2")).toBe("no vm0 vcpu3\n");
    expect(run("exits 0.4294967297", "p2.2")).toBe("no vm0 vcpu4294967297\n");
    for (const bad of ["exits 0.", "exits .1", "exits 0.1.1"])
      expect(run(bad, "p2.2")).toBe("not understood: see monitor help\n");
    m.setGuest(0, { rip: 0x1234n, cs: 8n }, 2);
    expect(run("vms", "p2.1")).toContain("vm0: ready, 8 MiB, rip 0x100000, 0x100000, 0x1234\n");
    // A VM's watches and breakpoints are its own, whoever has set them.
    run("watch 0x2000 8 w 0.2", "p3.1");
    expect(run("watches", "p3.1")).toBe("vm0: 0x2000+8 w\n");
  });
});
