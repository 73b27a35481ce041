/** The commands of GDB's `monitor`. */
import { describe, expect, test } from "vitest";
import { GdbMachine, at, gdbVendors, hex, homeOf, unhex } from "./fake/gdbmachine.ts";
import { abi } from "./fake/layout.ts";
import { P, RW } from "./fake/paging.ts";

describe.each(gdbVendors)("On %s:", (vendor) => {
  /** What a command prints; it must be acknowledged. */
  const run = (m: GdbMachine, command: string, thread = "2") => {
    const [, ...replies] = m.talk([`Hg${thread}`, `qRcmd,${hex(command)}`]);
    expect(replies.pop()).toBe("OK");
    return replies.map((r) => (expect(r[0]).toBe("O"), unhex(r.slice(1)))).join("");
  };

  test("help fits two lines and names every command", () => {
    const text = run(new GdbMachine(vendor), "help");
    for (const name of "vms exits walk vmcs vmcb devices log watch unwatch watches catch breakpoints version".split(
      " ",
    ))
      expect(text).toContain(name);
    expect(text.split("\n")).toHaveLength(3);
  });

  test("what is not known, or makes no sense, is said", () => {
    const m = new GdbMachine(vendor);
    expect(run(m, "frobnicate 1")).toBe("unknown: frobnicate ; see monitor help\n");
    expect(run(m, "vmsx")).toBe("unknown: vmsx; see monitor help\n");
    expect(run(m, "")).toContain("see monitor help");
    for (const bad of [
      "exits x",
      "exits 0 1",
      "walk",
      "walk x",
      "walk 0xfffffffffffffffff",
      "watch",
      "watch 1",
      "watch 1 1 x",
      "catch",
      "catch it",
      "unwatch x",
      "exits 99999999999999999999999",
    ])
      expect(run(m, bad), bad).toBe("not understood: see monitor help\n");
    expect(run(m, "exits 7")).toBe("no vm7\n");
    expect(run(m, "exits 18446744073709551615")).toMatch(/no vm|not understood/);
    expect(m.talk(["qRcmd,1", "qRcmd,zz", `qRcmd,${"20".repeat(300)}`, "qRcmd"])).toEqual([
      "E01",
      "E01",
      "E01",
      "",
    ]);
  });

  test("devices reads them where their monitor says, if a monitor can say that", () => {
    const m = new GdbMachine(vendor);
    expect(run(m, "devices")).toBe("the guest has not been loaded yet\n");
    const table = ["UART", "PIC", "PIT", "RTC", "PM", "PCI", "LAPIC", "IOAPIC"];
    table.forEach((name, i) => {
      const entry = homeOf(0) + abi("DEVICE_TABLE") + abi(`DEVICETABLE_${name}`);
      m.memory.store(entry, 4, BigInt(0x11000 + i * 0x100));
    });
    m.memory.store(homeOf(0) + 0x11100 + 4, 4, 0xfbn); // IMR
    m.memory.store(homeOf(0) + 0x11000 + 8, 4, 3n); // LCR
    const text = run(m, "devices");
    expect(text).toContain("pic0: irr 0x0 imr 0xfb isr 0x0 ");
    expect(text).toContain("uart: ier 0x0 fcr 0x0 lcr 0x3 ");
    expect(text.match(/^\w+/gm)).toEqual([
      "pic0",
      "pic1",
      "pit0",
      "pit1",
      "pit2",
      "uart",
      "rtc",
      "pm",
      "pci",
      "hpet",
      "lapic0",
      "ioapic",
      ...Array.from({ length: 24 }, () => "ioapic"), // no entry is masked
    ]);
    m.memory.store(homeOf(0) + abi("DEVICE_TABLE") + abi("DEVICETABLE_PIC"), 4, 0xffffff00n);
    expect(run(m, "devices")).toBe("the guest has not been loaded yet\n");
    expect(run(m, "devices 1")).toBe("the guest has not been loaded yet\n");
  });

  test("exits names every kind", () => {
    const m = new GdbMachine(vendor);
    for (let kind = 0; kind < abi("EXIT_COUNT"); kind++)
      m.memory.store(homeOf(0) + abi("VCPU_AREA") + abi("EXIT_COUNTERS") + kind * 8, 8, BigInt(1000 + kind));
    const names = [...run(m, "exits").matchAll(/([a-z-]+) (1\d\d\d)\b/g)];
    expect(names.map(([, , count]) => Number(count))).toEqual(
      Array.from({ length: abi("EXIT_COUNT") }, (_, kind) => 1000 + kind),
    );
    expect(new Set(names.map(([, name]) => name)).size).toBe(abi("EXIT_COUNT"));
  });

  test("vms", () => {
    const m = new GdbMachine(vendor);
    m.setVmState(1, 2);
    expect(run(m, "vms")).toBe("vm0: ready, 8 MiB, rip 0x100000\nvm1: halted, 8 MiB, rip 0x100000\n");
    m.setVmState(0, 0);
    m.setVmState(1, 3);
    expect(run(m, " vms", "1")).toBe("vm1: ended\n");
    m.setVmState(1, 0);
    expect(run(m, "vms", "1")).toBe("no VMs\n");
  });

  test("exits: the counters and the last exits, oldest first", () => {
    const m = new GdbMachine(vendor);
    const area = m.areaOf(1);
    m.memory.store(area + abi("EXIT_COUNTERS"), 8, 3n);
    m.memory.store(area + abi("EXIT_COUNTERS") + 20 * 8, 8, 123456789012n);
    const exit = (n: number, rip: bigint, reason: bigint, kind: bigint) => {
      m.memory.store(area + abi("LAST_EXITS_OFFSET") + n * 16, 8, rip);
      m.memory.store(area + abi("LAST_EXITS_OFFSET") + n * 16 + 8, 4, reason);
      m.memory.store(area + abi("LAST_EXITS_OFFSET") + n * 16 + 12, 4, kind);
    };
    exit(63, 0x1000n, 10n, 0n);
    exit(0, 0x2000n, 30n, 1n);
    exit(1, 0x3000n, 30n, 99n);
    m.memory.store(area + abi("RUNAREA_NEXT_EXIT"), 4, 32n);
    expect(run(m, "exits 1")).toBe(
      "vm1 vcpu0: cpuid 3 refetched 123456789012\nlast: cpuid@0x1000 port@0x2000 99@0x3000\n",
    );
    // The monitor's memory may say anything.
    m.memory.fill(area, 0xff, 4096);
    expect(run(m, "exits", "3").length).toBeGreaterThan(1000);
  });

  test("walk: the guest's entries and the nested ones", () => {
    const m = new GdbMachine(vendor);
    const tables = m.page(0, "4-level")!;
    tables.map(0xffff888000405000n, 0x5000n, 1, P | RW);
    const lines = run(m, "walk 0xffff888000405123 0", "1").trimEnd().split("\n");
    expect(lines[0]).toBe("vm0 vcpu0: linear 0xffff888000405123");
    [4, 3, 2, 1].forEach((n, i) => expect(lines[i + 1]).toContain(`  guest level ${n} entry at 0x30${i}`));
    expect(lines[4]).toBe("  guest level 1 entry at 0x303028: 0x5003");
    expect(lines[5]).toBe("guest-physical 0x5123");
    expect(lines[9]).toMatch(/^ {2}nested level 1 entry at 0x683028: 0x1006/);
    expect(lines[10]).toBe("host-physical 0x1006123, page of 4 KiB");
    expect(run(m, "walk 0")).toContain("not present\n");
    expect(run(m, "walk 0x0000900000000000")).toContain("not present\n");
    m.page(0, "none");
    expect(run(m, "walk 0x900000")).toMatch(/guest-physical 0x900000\n( {2}nested.*\n)+no memory\n/);
    expect(run(m, "walk 2097152")).toContain("page of 2 MiB");
    m.page(0, "32-bit");
    expect(run(m, "walk 0x405000")).toContain("guest level 2 entry");
  });

  test("vmcs and vmcb: fields by their names, each on its vendor", () => {
    const m = new GdbMachine(vendor);
    m.setGuest(0, { rip: 0xabcdefn, cr3: 0x123000n, cs: 0x33n });
    const [mine, other] = m.svm ? ["vmcb", "vmcs"] : ["vmcs", "vmcb"];
    expect(run(m, other)).toBe(m.svm ? "AMD-V has no VMCS\n" : "VT-x has no VMCB\n");
    const text = run(m, mine);
    expect(text).toContain(" rip 0xabcdef");
    expect(text).toContain(" cr3 0x123000");
    expect(text).toContain(" cs 0x33");
    for (const line of text.split("\n")) expect(line.length).toBeLessThan(150);
  });

  test("log: its last lines, whole ones", () => {
    const m = new GdbMachine(vendor);
    const put = (text: string) => m.memory.put(at.log, new TextEncoder().encode(text));
    put("(tv) one\r\n(tv) two\r\n(tv) \x01three");
    m.memory.store(at.logHead, 4, 31n);
    expect(run(m, "log")).toBe("(tv) one\n(tv) two\n(tv) .three\n");
    const line = (n: number) => `line ${n} ${"x".repeat(50)}\n`;
    const all = Array.from({ length: 100 }, (_, i) => line(i)).join("");
    for (let i = 0; i < all.length; i++) m.memory.store(at.log + (i % 4096), 1, BigInt(all.charCodeAt(i)));
    m.memory.store(at.logHead, 4, BigInt(all.length));
    const lines = run(m, "log").trimEnd().split("\n");
    expect(lines.at(-1)).toBe(line(99).trimEnd());
    expect(lines).toEqual(
      Array.from({ length: lines.length }, (_, i) => line(100 - lines.length + i).trimEnd()),
    );
    m.memory.store(at.info + abi("DEBUGINFO_LOG_SIZE"), 4, 0n);
    expect(run(m, "log")).toBe("");
    m.memory.store(at.info + abi("DEBUGINFO_LOG_SIZE"), 4, 0x80000000n);
    m.memory.store(at.info + abi("DEBUGINFO_LOG"), 8, 0x7000000000n);
    run(m, "log");
  });

  test("watch, watches, unwatch: root is told", () => {
    const m = new GdbMachine(vendor);
    const first = m.control(0) + abi("DEBUGCONTROL_BYTES");
    expect(run(m, "watch 0x1000 8")).toBe("");
    expect([m.memory.load(first, 8), m.memory.load(first + 8, 4), m.memory.load(first + 12, 4)]).toEqual([
      0x1000n,
      8n,
      1n,
    ]);
    expect(m.percpu("ATTENTION", 4)).toBe(1n);
    run(m, "watch 8192 4096 r");
    run(m, "watch 0x3000 1 a", "3");
    expect(run(m, "watches")).toBe("vm0: 0x1000+8 w\nvm0: 0x2000+4096 r\nvm1: 0x3000+1 a\n");
    expect(run(m, "watch 0x1fff 2")).toBe("not within a page of 4096 bytes\n");
    expect(run(m, "watch 0x1000 0")).toBe("not within a page of 4096 bytes\n");
    run(m, "unwatch 0x1000");
    expect(run(m, "watches")).toBe("vm0: 0x2000+4096 r\nvm1: 0x3000+1 a\n");
    for (let i = 0; i < 7; i++) expect(run(m, "watch 0x5000 4 w")).toBe("");
    expect(run(m, "watch 0x5000 4 w")).toBe("8 watches are all there are\n");
    run(m, "unwatch");
    expect(run(m, "watches")).toBe("vm1: 0x3000+1 a\n");
  });

  test("catch kernel, catch off", () => {
    const m = new GdbMachine(vendor);
    run(m, "catch kernel 1");
    expect([m.wish(0, "CATCH_FROM"), m.wish(1, "CATCH_FROM")]).toEqual([2n ** 64n - 1n, 0xffffffff80000000n]);
    run(m, "catch kernel");
    run(m, "catch off");
    expect([m.wish(0, "CATCH_FROM"), m.wish(1, "CATCH_FROM")]).toEqual([2n ** 64n - 1n, 2n ** 64n - 1n]);
  });

  test("breakpoints: all that are in force", () => {
    const m = new GdbMachine(vendor);
    m.talk(["Hg2", "Z0,100010,1", "Z2,2000,4", "Hg3", "Z1,3000,1", "Hg1", "Z4,40000000,8"]);
    expect(run(m, "breakpoints")).toBe(
      "vm0: int3 at 0x100010, host-physical 0x1100010\n" +
        "vm0: write 0x2000+4 in dr0\nvm1: execute 0x3000+1 in dr1\ncpu0: access 0x40000000+8 in dr2\n",
    );
  });
});
