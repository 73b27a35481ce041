/** The debugger's line and its packets (GDB manual, Appendix E, GDB Remote Serial Protocol), on either vendor. */
import { describe, expect, test } from "vitest";
import {
  Cause,
  GdbMachine,
  VECTOR_TIMER,
  at,
  gdbVendors,
  little,
  packet,
  silence,
  unhex,
} from "./fake/gdbmachine.ts";
import { abi } from "./fake/layout.ts";

const HELLO = "qSupported:multiprocess+;swbreak+;hwbreak+;xmlRegisters=i386";
const latin = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));

describe("On the line", () => {
  const raw = (m: GdbMachine) => String.fromCharCode(...m.sent);

  test("a packet is acknowledged and answered, and what is between packets is passed over", () => {
    const m = new GdbMachine();
    m.talk([latin("+++\x03xy"), "?"]);
    expect(raw(m)).toMatch(/^\+\$T05thread:1;#..$/);
  });

  test("a packet with a wrong checksum, or none, is refused, and may come again", () => {
    const m = new GdbMachine();
    expect(m.talk([latin("$?#00"), latin("$?#zz"), "?"])).toEqual(["T05thread:1;"]);
    expect(raw(m).slice(0, 3)).toBe("--+");
  });

  test("a packet that is too long is refused; the largest one is not", () => {
    const m = new GdbMachine();
    expect(m.talk(["y".repeat(4097), "y".repeat(4096)])).toEqual([""]);
    expect(raw(m)).toBe("-+$#00");
  });

  test("a packet that begins within another one takes its place", () => {
    const m = new GdbMachine();
    expect(m.talk([latin("$m123"), "qAttached"])).toEqual(["1"]);
  });

  test("an answer that has not arrived is sent again, and not for ever", () => {
    const m = new GdbMachine();
    expect(m.talk(["qAttached", latin("-"), latin("-"), latin("+")])).toEqual(["1", "1", "1"]);
    expect(m.talk(["qAttached", latin("-".repeat(100))])).toHaveLength(9);
  });

  test("without acknowledgements none are sent or waited for; a broken packet is an error", () => {
    const m = new GdbMachine();
    expect(m.talk(["QStartNoAckMode", latin("+"), "qAttached", latin("-"), latin("$?#00"), "qC"])).toEqual([
      "OK",
      "1",
      "E01",
      "QC1",
    ]);
    expect(raw(m).match(/\+/g)).toHaveLength(1);
    // Until somebody says hello.
    m.talk([HELLO]);
    expect(raw(m)[0]).toBe("+");
  });

  test("a hello that has been said again while nobody listened is answered once", () => {
    const m = new GdbMachine();
    const hello = packet("qSupported:hwbreak+");
    expect(m.talk([Uint8Array.from([...hello, ...hello, ...hello]), silence, "vMustReplyEmpty"])).toEqual([
      "PacketSize=1000;QStartNoAckMode+;vContSupported+;qXfer:features:read+;qXfer:threads:read+;hwbreak+",
      "",
    ]);
  });

  test("a transmitter that is never ready is given up", () => {
    const m = new GdbMachine();
    m.transmitterStuck = true;
    m.talk(["?", "g", "c"]);
    expect(m.sent).toEqual([]);
  });

  test("nothing happens without a port", () => {
    const m = new GdbMachine();
    m.memory.store(at.info + abi("DEBUGINFO_PORT"), 4, 0n);
    expect(m.stop(Cause.Waiting)).toBe(true);
    expect(m.stop(Cause.Host, { vector: VECTOR_TIMER })).toBe(true);
  });

  test("noise while the machine runs does not stop it", () => {
    const m = new GdbMachine();
    for (const noise of ["+", "\x03", "abc\xff", "$g", "$g#1", "y".repeat(5000)]) {
      m.script = [latin(noise), silence, silence];
      expect(m.stop(Cause.Host, { vector: VECTOR_TIMER })).toBe(true);
      m.script = [];
    }
    expect(m.sent.filter((c) => c === 36)).toEqual([]);
  });
});

describe.each(gdbVendors)("On %s:", (vendor) => {
  const talk = (...packets: string[]) => new GdbMachine(vendor).talk(packets);

  test("what is not known is answered by nothing", () => {
    const unknown = [
      "vMustReplyEmpty",
      "QNonStop:1",
      "qOffsets",
      "qTStatus",
      "y",
      "",
      "b",
      "vRun;x",
      "qXfer:auxv:read::0,10",
    ];
    expect(talk(...unknown, "Z3,1000,1", "Z5,1000,1", "vFile:open:1,1,1")).toEqual(
      unknown.map(() => "").concat("", "", ""),
    );
  });

  test("capabilities are those that both have", () => {
    const base = "PacketSize=1000;QStartNoAckMode+;vContSupported+;qXfer:features:read+;qXfer:threads:read+";
    expect(talk("qSupported")).toEqual([base]);
    expect(talk(HELLO)).toEqual([base + ";multiprocess+;swbreak+;hwbreak+"]);
    expect(talk("qSupported:swbreak-;multiprocess+")).toEqual([base + ";multiprocess+"]);
  });

  test("threads are CPU 0 and the living VMs' vCPUs", () => {
    expect(talk("qfThreadInfo", "qsThreadInfo", "qC", "T1", "T2", "T3", "T4", "T0", "T-1", "Tx")).toEqual([
      "m1,2,3",
      "l",
      "QC1",
      "OK",
      "OK",
      "OK",
      "E01",
      "E01",
      "E01",
      "E01",
    ]);
    expect(talk(HELLO, "qfThreadInfo", "Tp1.1", "Tp3.1", "Tp3.2", "Tp4.1", "qC").slice(1)).toEqual([
      "mp1.1,p2.1,p3.1",
      "OK",
      "OK",
      "E01",
      "E01",
      "QCp1.1",
    ]);
    const m = new GdbMachine(vendor);
    m.setVmState(0, 3);
    m.setVmState(1, 2);
    expect(m.talk(["qfThreadInfo", "T2", "Hg2", "Hg3", "qC"])).toEqual(["m1,3", "E01", "E01", "OK", "QC3"]);
    m.setVmState(1, 0);
    expect(m.talk(["qfThreadInfo"])).toEqual(["m1"]);
    expect(
      m.talk(["qThreadExtraInfo,1", "qThreadExtraInfo,9", "qAttached:1", "qSymbol::", "!", "R00"]),
    ).toEqual(["63707530", "E01", "1", "OK", "OK"]);
  });

  test("the list of threads has their names", () => {
    const [, xml] = talk(HELLO, "qXfer:threads:read::0,fff");
    expect(xml).toBe(
      'l<threads><thread id="p1.1" core="0" name="cpu0"/><thread id="p2.1" core="0" name="vm0 vcpu0"/>' +
        '<thread id="p3.1" core="0" name="vm1 vcpu0"/></threads>',
    );
  });

  test("documents are read in parts of any size, and past their end", () => {
    const m = new GdbMachine(vendor);
    let text = "";
    for (let last = false; !last;) {
      const [part] = m.talk([`qXfer:features:read:target.xml:${text.length.toString(16)},123`]);
      text += part!.slice(1);
      last = part!.startsWith("l");
    }
    expect(text.length).toBeLessThan(4096);
    expect(text.endsWith("</feature></target>")).toBe(true);
    expect(text.match(/<reg /g)).toHaveLength(64);
    expect(text).toContain('<reg name="fs_base" regnum="58" bitsize="64" type="int64"/>');
    const [all] = m.talk(["qXfer:features:read:target.xml:0,ffffffffffffffff"]);
    expect(all).toBe("m" + text.slice(0, 2047));
    expect(
      m.talk([
        "qXfer:features:read:target.xml:ffffffffffffffff,10",
        "qXfer:features:read:target.xml:0,0",
        "qXfer:features:read:target.xml:0",
        "qXfer:features:read:other.xml:0,10",
        "qXfer:features:write:target.xml:0:00",
      ]),
    ).toEqual(["l", "m", "E01", "E00", ""]);
  });

  test("the hypervisor's registers are those of the crash record", () => {
    const m = new GdbMachine(vendor);
    [
      "RAX",
      "RCX",
      "RDX",
      "RBX",
      "RSP",
      "RBP",
      "RSI",
      "RDI",
      "R8",
      "R9",
      "R10",
      "R11",
      "R12",
      "R13",
      "R14",
      "R15",
    ].forEach((_, i) => m.memory.store(at.perCpu + 0x200 + i * 8, 8, BigInt(i + 1) << 32n));
    m.setCrash("CR2", 0x1234n);
    const [g, cr2, cr3, gs, cr0, ds] = m.talk(["g", "p3d", "p3e", "p3b", "p3c", "p14"]);
    const order = [0, 3, 1, 2, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15];
    expect(g!.slice(0, 16 * 17)).toBe(
      order.map((i) => little(BigInt(i + 1) << 32n)).join("") + little(0x201000n),
    );
    expect(g!.slice(16 * 17, 16 * 17 + 24)).toBe(little(2, 4) + little(8, 4) + little(0, 4));
    expect(g!.slice(16 * 17 + 24)).toMatch(/^x+$/);
    expect(g).toHaveLength(2 * (17 * 8 + 7 * 4 + 80 + 32 + 48));
    expect([cr2, cr3, gs, cr0, ds]).toEqual([
      little(0x1234),
      little(at.hostTables),
      little(at.perCpu),
      "x".repeat(16),
      "x".repeat(8),
    ]);
  });

  test("the hypervisor's registers can be changed, where going on allows it", () => {
    const m = new GdbMachine(vendor);
    const value = little(0x1122334455667788n);
    expect(
      m.talk([
        `P1=${value}`,
        `P10=${little(0x202000n)}`,
        `P11=${little(0xffffffffn, 4)}`,
        `P12=${little(16, 4)}`,
        `P3e=${value}`,
      ]),
    ).toEqual(["OK", "OK", "OK", "E01", "E01"]);
    expect(m.memory.load(at.perCpu + 0x200 + 24, 8)).toBe(0x1122334455667788n);
    expect(m.getCrash("RIP")).toBe(0x202000n);
    // Neither TF, which is the debugger's, nor NT or VM, which IRET does not take.
    expect(m.getCrash("RFLAGS")).toBe(0x250ed7n);
    expect(
      m.talk([
        `P10=${little(0x0080000000000000n)}`,
        "P10=12",
        "P10",
        "P10=",
        "P41=00",
        "P=00",
        "pffffffffffff",
        "p",
        "g1",
      ]),
    ).toEqual(Array(9).fill("E01"));
  });

  test("a vCPU's registers are the guest's", () => {
    const m = new GdbMachine(vendor);
    for (let n = 0; n < 16; n++) m.memory.store(m.gprAt(1, n), 8, BigInt(n + 1));
    m.setGuest(1, { rip: 0xffffffff81000000n, rsp: 0xffffc90000000ff0n, rflags: 0x246n, efer: 0xd01n });
    m.setGuest(1, {
      cs: 0x10n,
      ss: 0x18n,
      ds: 0x20n,
      es: 0x28n,
      fs: 0x30n,
      gs: 0x38n,
      fsBase: 5n,
      gsBase: 0xffff888000000000n,
    });
    m.setGuest(1, { cr0: 0x80050033n, cr3: 0x1000n, cr4: 0x6f0n });
    m.memory.store(m.gprAt(1, 4), 8, 0xbadn);
    const [, , g, fs, gs, cr0, cr3, cr4, efer] = m.talk([
      HELLO,
      "Hgp3.1",
      "g",
      "p3a",
      "p3b",
      "p3c",
      "p3e",
      "p3f",
      "p40",
    ]);
    expect(g!.slice(16 * 6, 16 * 8)).toBe(little(6) + little(0xffffc90000000ff0n));
    expect(g!.slice(16 * 16, 16 * 17)).toBe(little(0xffffffff81000000n));
    expect(g!.slice(16 * 17, 16 * 17 + 56)).toBe(
      [0x246, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38].map((v) => little(v, 4)).join(""),
    );
    expect([fs, gs, cr0, cr3, cr4, efer]).toEqual(
      [5n, 0xffff888000000000n, 0x80050033n, 0x1000n, 0x6f0n, 0xd01n].map((v) => little(v)),
    );
  });

  test("a vCPU's registers can be changed, and no control registers, and nothing that an entry refuses", () => {
    const m = new GdbMachine(vendor);
    m.page(0, "4-level");
    if (m.svm) m.structure(0, 0xc0, 0xffn);
    const answers = m.talk([
      "Hg2",
      `P0=${little(0x77)}`,
      `P7=${little(0x88)}`,
      `P10=${little(0xffffffff80000000n)}`,
      `P11=${little(0xffffffffn, 4)}`,
      `P3a=${little(0x99)}`,
      `P10=${little(0x8000000000000000n)}`,
      `P3b=${little(0x8000000000000000n)}`,
      `P12=${little(1, 4)}`,
      `P3c=${little(1)}`,
      `P3e=${little(1)}`,
      `P18=${"00".repeat(10)}`,
    ]);
    expect(answers).toEqual([...Array(6).fill("OK"), ...Array(6).fill("E01")]);
    expect(m.memory.load(m.gprAt(0, 0), 8)).toBe(0x77n);
    expect(m.getGuest(0, "rsp")).toBe(0x88n);
    expect(m.getGuest(0, "rip")).toBe(0xffffffff80000000n);
    expect(m.getGuest(0, "rflags")).toBe(0x257fd7n);
    expect(m.getGuest(0, "fsBase")).toBe(0x99n);
    if (m.svm) expect(m.structure(0, 0xc0)).toBe(0n);
    m.page(0, "32-bit");
    expect(m.talk(["Hg2", `P10=${little(0x100000000n)}`, `P10=${little(0xfffffff0n)}`])).toEqual([
      "OK",
      "E01",
      "OK",
    ]);
  });

  test("a vCPU in the midst of an exit can be looked at only", () => {
    const m = new GdbMachine(vendor);
    m.setRunning(0, true);
    const [, , g0, , other] = m.talk(["Hg2", `P0=${little(1)}`, "g", "Hg3", `P0=${little(1)}`]);
    expect(g0).toHaveLength(648);
    expect(m.talk(["Hg2", `P0=${little(1)}`, `G${g0}`])).toEqual(["OK", "E01", "E01"]);
    expect(other).toBe("OK");
  });

  test("G takes what g gives, and leaves what is not known", () => {
    const m = new GdbMachine(vendor);
    for (const thread of ["1", "2"]) {
      const [, g] = m.talk([`Hg${thread}`, "g"]);
      const changed = little(0xabcdef) + g!.slice(16);
      expect(m.talk([`Hg${thread}`, `G${changed}`, "g", "Gzz", "G12", "G"])).toEqual([
        "OK",
        "OK",
        changed,
        "E01",
        "E01",
        "OK",
      ]);
    }
  });

  test("CR2 is told where it is known", () => {
    const m = new GdbMachine(vendor);
    m.cr2 = 0xdead000n;
    if (m.svm) m.structure(0, 0x640, 0xdead000n);
    m.setRunning(0);
    expect(m.talk(["Hg2", "p3d"])).toEqual(["OK", little(0xdead000)]);
    m.setRunning(1);
    expect(m.talk(["Hg2", "p3d"])[1]).toBe(m.svm ? little(0xdead000) : "x".repeat(16));
  });

  test("CR0 and CR4 are what the guest reads", () => {
    if (vendor !== "VT-x") return;
    const m = new GdbMachine(vendor);
    m.setGuest(0, { cr0: 0x80000031n, cr4: 0x2020n });
    m.structure(0, 0x6000, 0x20n);
    m.structure(0, 0x6004, 0x11n);
    m.structure(0, 0x6002, 0x2000n);
    m.structure(0, 0x6006, 0n);
    expect(m.talk(["Hg2", "p3c", "p3f"]).slice(1)).toEqual([little(0x80000011n), little(0x20)]);
  });

  test("the current VMCS is again the one that was when the machine goes on", () => {
    const m = new GdbMachine(vendor);
    m.setRunning(1);
    m.talk(["Hg2", "g", "Hg3", "g", "Hg2", "g", "c"]);
    expect(m.current).toBe(m.vmcbOf(1));
  });

  test("a vCPU whose records make no sense has no registers", () => {
    const m = new GdbMachine(vendor);
    m.setGuest(1, { rip: 0x7654n });
    for (const vmcb of [0n, 0x123n, 0x10000000n, 0xfffffffffffff000n]) {
      m.memory.store(at.contexts + 0x28, 8, vmcb);
      expect(m.talk(["Hg2", "p10", "m0,4", "Z0,0,1", `P0=${little(1)}`, "qRcmd,766d73"]).slice(1, 5)).toEqual(
        ["x".repeat(16), "E0e", "E0e", "E01"],
      );
      // Nor are another one's taken for its.
      expect(m.talk(["Hg3", "p10", "Hg2", "p10", "Hg3", "p10"]).filter((r) => r !== "OK")).toEqual([
        little(0x7654),
        "x".repeat(16),
        little(0x7654),
      ]);
    }
  });

  test("a thread chosen by H must be there", () => {
    expect(
      talk(
        "Hg1",
        "Hg0",
        "Hg-1",
        "Hc-1",
        "Hc2",
        "Hg4",
        "Hc9",
        "Hx1",
        "H",
        "Hg",
        "Hg1x",
        "Hgp1.1",
        "Hgp-1.-1",
        "Hgp2",
      ),
    ).toEqual(["OK", "OK", "OK", "OK", "OK", "E01", "E01", "E01", "E01", "E01", "E01", "OK", "OK", "OK"]);
  });

  test("vAttach chooses a process", () => {
    expect(talk(HELLO, "vAttach;3", "vAttach;4", "vAttach;").slice(1)).toEqual([
      "T05thread:p3.1;",
      "E01",
      "E01",
    ]);
  });

  test("texts for the person are in hexadecimal", () => {
    expect(unhex(talk("qRcmd,76657273696f6e")[0]!.slice(1))).toBe("Typevisor 1.2.3 12345678\n");
  });
});
