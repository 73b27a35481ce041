/** Breakpoints, watchpoints, steps, stops of every kind, going on and letting go. */
import { describe, expect, test } from "vitest";
import { Cause, GdbMachine, VECTOR_TIMER, gdbVendors, ramOf, silence, unhex } from "./fake/gdbmachine.ts";
import { abi } from "./fake/layout.ts";

const HELLO = "qSupported:multiprocess+;swbreak+;hwbreak+";
const DB = 1;
const BP = 3;
const TF = 0x100n;
const RF = 0x10000n;

/** A machine whose GDB has said hello and lets it run. */
function running(vendor: (typeof gdbVendors)[number], ...packets: string[]): GdbMachine {
  const m = new GdbMachine(vendor);
  const answers = m.talk([HELLO, "qfThreadInfo", ...packets, "vCont;c"]);
  if (answers.length !== 2 + packets.length) throw new Error(answers.join("|"));
  return m;
}

/** What is said upon a stop; undefined when the machine goes on without a word. */
function told(
  m: GdbMachine,
  cause: Cause,
  about: Parameters<GdbMachine["stop"]>[1] = {},
): string[] | undefined {
  m.sent = [];
  const goesOn = m.stop(cause, about);
  const replies = m.replies();
  if (goesOn && replies.length > 0) throw new Error("it has been told, and goes on");
  return goesOn ? undefined : replies;
}

describe.each(gdbVendors)("On %s:", (vendor) => {
  /** The byte of a breakpoint: INT1 on AMD-V, else INT3. */
  const trap = vendor === "AMD-V" ? 0xf1 : 0xcc;

  const interrupt = (m: GdbMachine) => {
    m.script = [Uint8Array.of(3)];
    return told(m, Cause.Host, { vector: VECTOR_TIMER });
  };

  test("a Ctrl-C stops the thread that was resumed last, or the first VM's, or the CPU", () => {
    const m = running(vendor);
    expect(interrupt(m)).toEqual(["T02thread:p1.1;"]);
    m.talk(["vCont;s:p3.1;c"]);
    expect(interrupt(m)).toEqual(["T02thread:p3.1;"]);
    m.talk(["vCont;c:p2.1;c:p3.1"]);
    expect(interrupt(m)).toEqual(["T02thread:p2.1;"]);
    m.talk(["vCont;s:p2.1;s:p3.1"]);
    expect(interrupt(m)).toEqual(["T02thread:p2.1;"]);
    m.talk(["Hgp3.1", "vCont;c"]);
    m.setVmState(1, 3);
    expect(interrupt(m)).toEqual(["T02thread:p2.1;"]);
    m.talk(["vCont;c:p2.1"]);
    m.setVmState(0, 3);
    expect(interrupt(m)).toEqual(["T02thread:p1.1;"]);
  });

  test("a Ctrl-C of nobody is noise, and so is one while the machine stands", () => {
    const m = new GdbMachine(vendor);
    m.script = [Uint8Array.of(3), silence, silence];
    expect(told(m, Cause.Host, { vector: VECTOR_TIMER })).toBeUndefined();
    expect(m.talk([Uint8Array.of(3, 3), "?"])).toEqual(["T05thread:1;"]);
  });

  test("a Ctrl-C in front of a resume is meant for it, unless GDB looks at a stop in between", () => {
    const m = new GdbMachine(vendor);
    const ctrlC = Uint8Array.of(3);
    const before = "T02thread:p2.1;";
    m.talk([HELLO]);
    const actions = "vCont;c;C;s;S";
    const replies = m.talk([ctrlC, "vCont;s:p2.1;c", ctrlC, "vCont?", "c", ctrlC, "g", "c"]);
    expect(replies).toEqual([before, actions, before, expect.stringMatching(/^[0-9a-fx]{300,}$/)]);
    expect(interrupt(m)).toEqual(["T02thread:p2.1;"]);
  });

  test("a GDB that connects while the machine runs stops it, and asks why", () => {
    const m = new GdbMachine(vendor);
    expect(
      m.talk([new Uint8Array([43]), HELLO, "?", "Hgp2.1", "g"], Cause.Host, { vector: VECTOR_TIMER }),
    ).toHaveLength(4);
    expect(m.replies()[1]).toBe("T02thread:p2.1;");
    // Not where another one has been, once that has let go.
    m.talk(["Hgp3.1", "vCont;s:p3.1"]);
    m.talk(["D"]);
    expect(m.talk([HELLO, "?"], Cause.Host, { vector: VECTOR_TIMER })[1]).toBe("T02thread:p2.1;");
    // As does the one that comes after one that was lost.
    m.talk(["vCont;c"]);
    expect(m.talk([HELLO, "?"], Cause.Host, { vector: VECTOR_TIMER })[1]).toMatch(/^T02thread:p/);
  });

  test("what the GDB before has asked for is none of the new one's", () => {
    const m = new GdbMachine(vendor);
    m.talk([HELLO, "qfThreadInfo", "vCont;s:p1.1;s:p2.1"]);
    m.talk([HELLO, "?", "c"], Cause.Host, { vector: VECTOR_TIMER });
    expect(m.getCrash("RFLAGS") & TF).toBe(0n);
    expect(m.wish(0, "STEPS")).toBe(0n);
    // It has not heard of that VM.
    expect(told(m, Cause.Ended, { vm: 1 })).toBeUndefined();
  });

  test("a stop is told once to whom waits for it, and to others when they ask", () => {
    const m = new GdbMachine(vendor);
    expect(m.talk([], Cause.Step, { vm: 1 })).toEqual([]);
    expect(m.talk([HELLO, "?"], Cause.Step, { vm: 1 })[1]).toBe("T05thread:p3.1;");
    m.talk(["c"]);
    m.script = ["qC"];
    expect(told(m, Cause.Caught)).toEqual(["T05thread:p2.1;", "QCp2.1"]);
    expect(told(m, Cause.Caught)).toEqual([]);
    m.talk(["c"]);
    expect(told(m, Cause.Waiting)).toEqual(["T05thread:p1.1;"]);
  });

  test("without processes threads are plain numbers, and reasons are told to whom knows them", () => {
    const m = new GdbMachine(vendor);
    m.talk(["qSupported", "Hg2", "Z0,100000,1", "Z1,100010,1", "c"]);
    expect(told(m, Cause.Breakpoint)).toEqual(["T05thread:2;"]);
    m.talk(["c"]);
    expect(told(m, Cause.Debug, { detail: 1n })).toEqual(["T05thread:2;"]);
    expect(m.talk(["vCont;s:2;c:3", () => 0])).toEqual([]);
    expect(m.wish(0, "STEPS")).toBe(1n);
    expect(m.wish(1, "STEPS")).toBe(0n);
  });

  test("a fault in the hypervisor is a signal of its thread", () => {
    const signals: [number, string][] = [
      [0, "08"],
      [BP, "05"],
      [6, "04"],
      [8, "0b"],
      [13, "0b"],
      [14, "0b"],
      [16, "08"],
      [19, "08"],
    ];
    for (const [vector, signal] of signals) {
      const m = running(vendor);
      expect(told(m, Cause.Host, { vector })).toEqual([`T${signal}thread:p1.1;`]);
    }
  });

  test("a fault that nobody waits for, or that would only come again, takes its course", () => {
    const m = new GdbMachine(vendor);
    expect(told(m, Cause.Host, { vector: 14 })).toBeUndefined();
    expect(m.answer).toBe(1);
    expect(told(m, Cause.Host, { vector: BP })).toBeUndefined();
    expect(m.answer).toBe(1);
    const after = (...packets: string[]) => {
      const n = running(vendor);
      n.script = packets;
      n.stop(Cause.Host, { vector: 14 });
      return n.answer;
    };
    expect(after("vCont;c")).toBe(1);
    expect(after("D")).toBe(1);
    expect(after("m201000,1", "g", "vCont;c")).toBe(1);
    expect(after("P0=0000000000000000", "vCont;c")).toBe(0);
    expect(after("M40000000,1:00", "vCont;c")).toBe(0);
    expect(after("c202000")).toBe(0);
  });

  describe("A guest's INT3", () => {
    test("is its own unless a breakpoint is there", () => {
      const m = running(vendor, "Hgp2.1", "Z0,100010,1");
      expect(m.memory.load(ramOf(0) + 0x100010, 1)).toBe(BigInt(trap));
      m.setGuest(0, { rip: 0x100011n });
      expect(told(m, Cause.Breakpoint)).toBeUndefined();
      expect(m.answer).toBe(1);
      m.setGuest(1, { rip: 0x100010n });
      expect(told(m, Cause.Breakpoint, { vm: 1 })).toBeUndefined();
      expect(m.answer).toBe(1);
      m.setGuest(0, { rip: 0x100010n });
      expect(told(m, Cause.Breakpoint)).toEqual(["T05swbreak:;thread:p2.1;"]);
      expect(m.answer).toBe(0);
    });

    test("is a breakpoint's by any address that leads there, and by that of a segment", () => {
      const m = new GdbMachine(vendor);
      const tables = m.page(0, "4-level")!;
      tables.map(0xffff888000405000n, 0x5000n);
      tables.map(0xffffffff80405000n, 0x5000n);
      m.talk([HELLO, "Hgp2.1", "Z0,ffff888000405123,1", "c"]);
      m.setGuest(0, { rip: 0xffffffff80405123n });
      expect(told(m, Cause.Breakpoint)).toEqual(["T05swbreak:;thread:p2.1;"]);
      m.page(0, "none");
      m.talk(["Hgp2.1", "Z0,6010,1", "c"]);
      m.setGuest(0, { rip: 0x10n, csBase: 0x6000n });
      expect(told(m, Cause.Breakpoint)).toEqual(["T05swbreak:;thread:p2.1;"]);
    });

    test("by two names of one byte is gone when both are", () => {
      const m = new GdbMachine(vendor);
      const tables = m.page(0, "4-level")!;
      tables.map(0x405000n, 0x5000n);
      tables.map(0x705000n, 0x5000n);
      const byte = () => Number(m.memory.load(m.hpa(0, 0x5123), 1));
      m.memory.store(m.hpa(0, 0x5123), 1, 0x55n);
      m.talk([
        "Hg2",
        "Z0,405123,1",
        "Z0,705123,1",
        "z0,405123,1",
        () => expect(byte()).toBe(trap),
        "z0,705123,1",
      ]);
      expect(byte()).toBe(0x55);
      // What the guest has put there since stays.
      m.talk(["Hg2", "Z0,405123,1", () => m.memory.store(m.hpa(0, 0x5123), 1, 0x66n), "z0,405123,1"]);
      expect(byte()).toBe(0x66);
      // An address that leads elsewhere by now.
      m.talk(["Hg2", "Z0,405123,1", () => tables.map(0x405000n, 0x8000n), "Z0,405123,1"]);
      expect(byte()).toBe(0x66);
      expect(m.memory.load(m.hpa(0, 0x8123), 1)).toBe(BigInt(trap));
    });
  });

  test("breakpoints are refused where there is no memory, and when there are too many", () => {
    const m = new GdbMachine(vendor);
    const many = Array.from({ length: 65 }, (_, i) => `Z0,${(0x100000 + i).toString(16)},1`);
    const answers = m.talk([
      "Hg2",
      "Z0,900000,1",
      "Z0,100000,2",
      "Z0,100000,0",
      "Z0,100000",
      "Z0",
      "Z",
      ...many,
    ]);
    expect(answers.slice(1, 7)).toEqual(["E0e", "E01", "E01", "E01", "E01", ""]);
    expect(answers.slice(7)).toEqual([...Array<string>(64).fill("OK"), "E16"]);
  });

  describe("The debug registers", () => {
    const regs = (m: GdbMachine) => m.dr.slice(0, 4).map((v) => v.toString(16));

    test("are shared, and each owner's DR7 has its own only", () => {
      const m = new GdbMachine(vendor);
      const answers = m.talk([
        HELLO,
        "Hgp1.1",
        "Z1,201234,1",
        "Z0,201235,1",
        "Hgp2.1",
        "Z2,1000,8",
        "Hgp3.1",
        "Z4,2000,4",
        "Z1,3000,1",
        "Z2,3000,1",
      ]);
      expect(answers.slice(1)).toEqual(["OK", "OK", "OK", "OK", "OK", "OK", "OK", "E16", "E16"]);
      expect(regs(m)).toEqual(["201234", "201235", "1000", "2000"]);
      // On AMD-V the host's has all: emulators arm what MOV to DR7 says.
      const all = (own: bigint) => (vendor === "AMD-V" ? own | m.wish(0, "DR7") | m.wish(1, "DR7") : own);
      expect(m.percpu("HOST_DR7")).toBe(all(0x40fn));
      expect(m.wish(0, "DR7")).toBe(0x9000430n);
      expect(m.wish(1, "DR7")).toBe(0xf00004c0n);
      expect(m.percpu("ATTENTION", 4)).toBe(1n);
      m.talk(["Hgp1.1", "z1,201234,1", "z0,201235,1", "Hgp2.1", "z2,1000,8"]);
      expect(m.percpu("HOST_DR7")).toBe(all(0x400n));
      expect(m.wish(0, "DR7")).toBe(0n);
      expect(m.wish(1, "DR7")).toBe(0xf00004c0n);
    });

    test("take a range in aligned pieces, or not at all", () => {
      const m = new GdbMachine(vendor);
      expect(m.talk(["Hg2", "Z2,1001,7", "Z2,1001,7"]).slice(1)).toEqual(["OK", "OK"]);
      expect(regs(m)).toEqual(["1001", "1002", "1004", "0"]);
      expect(m.wish(0, "DR7")).toBe(0x0d51043fn);
      expect(
        m
          .talk([
            "Hg2",
            "Z2,2001,2",
            "Z2,2000,3",
            "Z2,2000,21",
            "Z2,2000,0",
            "Z1,2000,2",
            "z2,1001,7",
            "Z4,2000,20",
          ])
          .slice(1),
      ).toEqual(["E16", "E16", "E01", "E01", "E01", "OK", "OK"]);
      expect(regs(m)).toEqual(["2000", "2008", "2010", "2018"]);
      expect(m.wish(0, "DR7")).toBe(0xbbbb04ffn);
    });

    test("tell what was hit, and leave to a guest what is its own", () => {
      const m = running(vendor, "Hgp2.1", "Z1,100100,1", "Z2,2000,4", "Z4,3000,1", "Hgp1.1", "Z1,201000,1");
      expect(told(m, Cause.Debug, { detail: 8n })).toBeUndefined();
      expect(m.answer).toBe(1);
      expect(told(m, Cause.Debug, { vm: 1, detail: 1n })).toBeUndefined();
      expect(told(m, Cause.Debug, { detail: 0x4000n })).toBeUndefined();
      expect(told(m, Cause.Debug, { detail: 9n })).toEqual(["T05hwbreak:;thread:p2.1;"]);
      expect(m.answer).toBe(0);
      m.talk(["c"]);
      expect(told(m, Cause.Debug, { detail: 2n })).toEqual(["T05watch:2000;thread:p2.1;"]);
      m.talk(["c"]);
      expect(told(m, Cause.Debug, { detail: 4n })).toEqual(["T05awatch:3000;thread:p2.1;"]);
    });

    test("stop the hypervisor at its own only", () => {
      const m = running(vendor, "Hgp1.1", "Z1,201000,1", "Hgp2.1", "Z1,5000,1");
      m.setCrash("RFLAGS", 2n);
      m.dr[6] = 0xffff0ff2n;
      expect(told(m, Cause.Host, { vector: DB })).toBeUndefined();
      expect(m.dr[6]).toBe(0xffff0ff0n);
      expect(m.getCrash("RFLAGS")).toBe(2n | RF);
      // A step that nobody has asked for does not go on.
      m.setCrash("RFLAGS", 2n | TF);
      m.dr[6] = 0xffff4ff0n;
      expect(told(m, Cause.Host, { vector: DB })).toBeUndefined();
      expect(m.getCrash("RFLAGS") & TF).toBe(0n);
      m.setCrash("RFLAGS", 2n);
      m.dr[6] = 0xffff0ff1n;
      expect(told(m, Cause.Host, { vector: DB })).toEqual(["T05hwbreak:;thread:p1.1;"]);
      // From there it goes on.
      m.talk(["c"]);
      expect(m.getCrash("RFLAGS")).toBe(2n | RF);
    });
  });

  describe("A step", () => {
    test("of the hypervisor sets TF until the next stop", () => {
      const m = new GdbMachine(vendor);
      m.talk([HELLO, "vCont;s:p1.1;c"]);
      expect(m.getCrash("RFLAGS")).toBe(2n | TF);
      m.dr[6] = 0xffff4ff0n;
      expect(told(m, Cause.Host, { vector: DB })).toEqual(["T05thread:p1.1;"]);
      expect(m.getCrash("RFLAGS")).toBe(2n);
      m.talk(["c"]);
      m.dr[6] = 0xffff4ff0n;
      expect(told(m, Cause.Host, { vector: DB })).toBeUndefined();
      m.setCrash("RFLAGS", 2n);
      m.talk(["Hc1", "s"]);
      expect(m.getCrash("RFLAGS")).toBe(2n | TF);
      expect(told(m, Cause.Caught)).toEqual(["T05thread:p2.1;"]);
      expect(m.getCrash("RFLAGS")).toBe(2n);
    });

    test("of a vCPU is root's to make, and ends with any stop", () => {
      const m = new GdbMachine(vendor);
      m.talk([HELLO, "vCont;s:p3.1;c"]);
      expect([m.wish(0, "STEPS"), m.wish(1, "STEPS"), m.percpu("ATTENTION", 4)]).toEqual([0n, 1n, 1n]);
      expect(told(m, Cause.Debug, { vm: 1, detail: 8n })).toBeUndefined();
      expect(told(m, Cause.Debug, { vm: 1, detail: 0x4000n })).toEqual(["T05thread:p3.1;"]);
      expect(m.wish(1, "STEPS")).toBe(0n);
      m.talk(["Hcp2.1", "s"]);
      expect(m.wish(0, "STEPS")).toBe(1n);
      expect(interrupt(m)).toEqual(["T02thread:p2.1;"]);
      expect(m.wish(0, "STEPS")).toBe(0n);
      m.talk(["S05"]);
      expect(m.wish(0, "STEPS")).toBe(1n);
      expect(told(m, Cause.Step)).toEqual(["T05thread:p2.1;"]);
    });
  });

  test("c, s, C and S may say where to go on, and that must be possible", () => {
    const m = new GdbMachine(vendor);
    expect(m.talk(["Hc2", "c100", "x"])).toEqual(["OK"]);
    expect(m.getGuest(0, "rip")).toBe(0x100n);
    m.talk(["C05;200"]);
    expect(m.getGuest(0, "rip")).toBe(0x200n);
    m.talk(["Hc1", "c202000"]);
    expect(m.getCrash("RIP")).toBe(0x202000n);
    expect(m.talk(["cx", "C", "Czz", "C05x", "c8000000000000000", "s1,2"]).slice(1)).toEqual(
      Array(6).fill("E01"),
    );
    m.talk(["Hc2", () => m.setVmState(0, 3)]);
    expect(m.talk(["c"])).toEqual(["E01"]);
  });

  test("vCont must make sense", () => {
    const m = new GdbMachine(vendor);
    expect(m.talk([HELLO, "vCont?"])[1]).toBe("vCont;c;C;s;S");
    const nonsense = [
      "vCont",
      "vCont;",
      "vCont;t",
      "vCont;r1,2:1",
      "vCont;c:",
      "vCont;c:px",
      "vCont;C",
      "vCont;c:p9.1",
      "vContx",
      "vCont;c;",
      "vCont;s:p2.1;c:p",
    ];
    expect(m.talk(nonsense)).toEqual(nonsense.map(() => "E01"));
    expect(m.wish(0, "STEPS")).toBe(0n);
    expect(m.talk(["vCont;C05:p2.1;S05:p-1.-1"])).toEqual([]);
    expect([m.wish(0, "STEPS"), m.wish(1, "STEPS")]).toEqual([0n, 1n]);
  });

  describe("The end of a VM", () => {
    test("is told by its process; the others are still there", () => {
      const m = running(vendor, "Hgp2.1", "Z0,100010,1", "Z1,100020,1");
      m.setVmState(0, 3);
      expect(told(m, Cause.Ended, { detail: 1n })).toEqual(["W00;process:2"]);
      expect(m.talk(["?", "qfThreadInfo", "vCont;c"])).toEqual(["T05thread:p1.1;", "mp1.1,p3.1"]);
      // Its breakpoints have gone with it, and have left alone what may be another's memory.
      expect(m.memory.load(ramOf(0) + 0x100010, 1)).toBe(BigInt(trap));
      m.setVmState(0, 1);
      expect(m.talk(["qRcmd,627265616b706f696e7473"]).slice(1)).toEqual(["OK"]);
    });

    test("is told in words to whom knows no processes", () => {
      const m = new GdbMachine(vendor);
      m.talk(["qfThreadInfo", "c"]);
      m.setVmState(1, 3);
      expect(told(m, Cause.Ended, { vm: 1 })?.map((r) => (r[0] === "O" ? unhex(r.slice(1)) : r))).toEqual([
        "vm1 has ended\n",
        "T05thread:1;",
      ]);
    });

    test("is nothing to whom is not there, or has not heard of it", () => {
      const m = new GdbMachine(vendor);
      expect(told(m, Cause.Ended)).toBeUndefined();
      m.talk([HELLO, "?", "c"]);
      expect(told(m, Cause.Ended)).toBeUndefined();
      expect(told(m, Cause.Caught)).toEqual(["T05thread:p2.1;"]);
      m.talk(["c"]);
      expect(told(m, Cause.Ended)).toEqual(["W00;process:2"]);
    });
  });

  test("the end of all is told", () => {
    const m = running(vendor);
    expect(told(m, Cause.Finished)).toEqual(["W00;process:1"]);
    expect(m.talk(["?"])).toEqual(["T05thread:p1.1;"]);
    const plain = new GdbMachine(vendor);
    expect(told(plain, Cause.Finished)).toBeUndefined();
    plain.talk(["c"]);
    expect(told(plain, Cause.Finished)).toEqual(["W00"]);
  });

  test("a watched access is told in words", () => {
    const m = running(vendor, "Hgp2.1", `qRcmd,${Buffer.from("watch 0x1000 8").toString("hex")}`);
    const words = (r: string[] | undefined) => r?.map((x) => (x[0] === "O" ? unhex(x.slice(1)) : x));
    expect(words(told(m, Cause.Watch, { detail: 0x1004n, access: 1 }))).toEqual([
      "vm0: write to guest-physical 0x1004 (watch 0x1000+8)\n",
      "T05thread:p2.1;",
    ]);
    m.talk(["c"]);
    expect(words(told(m, Cause.Watch, { detail: 0x5000n, access: 2 }))?.[0]).toBe(
      "vm0: read of guest-physical 0x5000\n",
    );
  });

  describe("Letting go", () => {
    const things = [
      "Hgp1.1",
      "Z1,201000,1",
      "Hgp2.1",
      "Z0,100000,1",
      "Z2,1000,8",
      `qRcmd,${Buffer.from("watch 0x1000 8").toString("hex")}`,
      `qRcmd,${Buffer.from("catch kernel").toString("hex")}`,
      "Hgp3.1",
      "Z0,100000,1",
    ];
    const set = () => {
      const m = new GdbMachine(vendor);
      expect(m.talk([HELLO, "qfThreadInfo", ...things]).slice(2)).toEqual(things.map(() => "OK"));
      return m;
    };
    const left = (m: GdbMachine) => [
      m.percpu("HOST_DR7") !== 0x400n,
      m.wish(0, "DR7") !== 0n,
      m.memory.load(ramOf(0) + 0x100000, 1) === BigInt(trap),
      m.memory.load(m.control(0) + abi("DEBUGCONTROL_BYTES") + 8, 4) !== 0n,
      m.wish(0, "CATCH_FROM") !== 2n ** 64n - 1n,
      m.memory.load(ramOf(1) + 0x100000, 1) === BigInt(trap),
    ];

    test("of all, by D, leaves nothing and goes on; nothing is told any more", () => {
      const m = set();
      expect(left(m)).toEqual([true, true, true, true, true, true]);
      expect(m.talk(["D", "g"])).toEqual(["OK"]);
      expect(left(m)).toEqual(Array(6).fill(false));
      expect(told(m, Cause.Ended)).toBeUndefined();
    });

    test("of one process leaves the others as they are; the last one sets the machine free", () => {
      const m = set();
      expect(m.talk(["D;2", "D;9", "Dx", "D;", "D;1"])).toEqual(["OK", "E01", "E01", "E01", "OK"]);
      expect(left(m)).toEqual([false, false, false, false, false, true]);
      expect(m.talk(["D;3", "?"])).toEqual(["OK"]);
      expect(left(m)).toEqual(Array(6).fill(false));
    });

    test("by k ends all VMs", () => {
      const m = set();
      expect(m.talk(["k", "?"])).toEqual([]);
      expect([m.wish(0, "KILL"), m.wish(1, "KILL")]).toEqual([1n, 1n]);
      expect(left(m)).toEqual(Array(6).fill(false));
    });

    test("by vKill ends one VM, of which nothing is told any more", () => {
      const m = set();
      expect(m.talk(["vKill;1", "vKill;9", "vKill;", "vKill;2", "vCont;c"])).toEqual([
        "E01",
        "E01",
        "E01",
        "OK",
      ]);
      expect([m.wish(0, "KILL"), m.wish(1, "KILL")]).toEqual([1n, 0n]);
      expect(told(m, Cause.Ended)).toBeUndefined();
      expect(told(m, Cause.Ended, { vm: 1 })).toEqual(["W00;process:3"]);
    });
  });

  test("a stop that is about no VM is none", () => {
    const m = running(vendor);
    for (const cause of [
      Cause.Breakpoint,
      Cause.Debug,
      Cause.Step,
      Cause.Watch,
      Cause.Caught,
      Cause.Ended,
      9,
      0xffffffff,
    ])
      expect(told(m, cause, { vm: 2 })).toBeUndefined();
    expect(m.talk(["?", "g"])).toHaveLength(3);
  });
});
