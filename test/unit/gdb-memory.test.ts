/** Memory as the debugger reads and writes it: through the host's tables, a guest's own and the nested ones. */
import { describe, expect, test } from "vitest";
import { GdbMachine, at, gdbVendors, packet, ramOf } from "./fake/gdbmachine.ts";
import { P, PS, RW } from "./fake/paging.ts";

const LAST = 0x3ffffff;

describe("The hypervisor's memory", () => {
  test("is read at linear addresses of the CR3 that it stopped with, across pages", () => {
    const m = new GdbMachine();
    m.memory.put(at.host + 0xffe, Uint8Array.of(1, 2));
    m.memory.put(at.host + 0x3000, Uint8Array.of(3, 4));
    expect(
      m.talk(["m40000ffe,4", "m40001000,2", "m40001ffe,8", "m40002000,1", "m0,4", "mffffc00000700ffe,2"]),
    ).toEqual(["01020304", "0304", "0000", "E0e", "E0e", "0102"]);
  });

  test("cannot be where no RAM is, or where no address is", () => {
    const m = new GdbMachine();
    // The fake hypervisor's tables map a GiB, of which 64 MiB are RAM.
    expect(
      m.talk([
        `mffffc000${(LAST + 1).toString(16).padStart(8, "0")},4`,
        `mffffc000${LAST.toString(16).padStart(8, "0")},4`,
        "m8000000000000000,1",
        "mffffffffffffffff,2",
        "m0000800000000000,1",
      ]),
    ).toEqual(["E0e", "00", "E0e", "E0e", "E0e"]);
  });

  test("is written, but for the image's text and constants and what the debugger lives on", () => {
    const m = new GdbMachine();
    const window = (hpa: number) => `ffffc000${hpa.toString(16).padStart(8, "0")}`;
    expect(
      m.talk([
        "M40000010,3:0a0b0c",
        packet(Uint8Array.from([...Buffer.from("X40000020,4:"), 0x7d, 0x5d, 0x7d, 0x03, 0x00, 0xff])),
        "M200000,1:cc",
        `M${window(at.image)},1:cc`,
        `M${window(at.readOnlyEnd - 1)},2:cccc`,
        `M${window(at.tables)},8:0000000000000000`,
        `M${window(at.tables + 0x3000)},1:00`,
        `M${window(at.ownMemory + 0x2345)},1:00`,
        `M${window(at.host + 0x30)},2:abcd`,
        `X${window(at.host)},0:`,
      ]),
    ).toEqual(["OK", "OK", "E0e", "E0e", "E0e", "E0e", "E0e", "E0e", "OK", "OK"]);
    expect([...m.memory.get(at.host + 0x10, 3)]).toEqual([10, 11, 12]);
    expect([...m.memory.get(at.host + 0x20, 4)]).toEqual([0x7d, 0x23, 0, 0xff]);
    expect([...m.memory.get(at.host + 0x30, 2)]).toEqual([0xab, 0xcd]);
  });

  test("is written altogether or not at all", () => {
    const m = new GdbMachine();
    expect(m.talk(["M40001ffe,4:01020304"])).toEqual(["E0e"]);
    expect(m.memory.load(at.host + 0x3ffe, 2)).toBe(0n);
  });

  test("packets that make no sense are refused", () => {
    const m = new GdbMachine();
    const nonsense = [
      "m",
      "m,",
      "m1",
      "mx,1",
      "m0,",
      "m0,1x",
      "m0,0",
      "m12345678901234567,1",
      "M",
      "M0,1",
      "M40000000,2:01",
    ];
    const more = [
      "M40000000,1:0102",
      "M40000000,1:0",
      "M40000000,1:zz",
      "M40000000,ffffffffffffffff:00",
      "X40000000,2:a",
    ];
    expect(m.talk([...nonsense, ...more, "X40000000,1:}"])).toEqual(
      [...nonsense, ...more, ""].map(() => "E01"),
    );
  });

  test("is given in parts that fit a packet", () => {
    const m = new GdbMachine();
    expect(m.talk(["m40000000,ffffffffffffffff"])[0]).toHaveLength(4096);
  });

  test("physical addresses can be told instead", () => {
    const m = new GdbMachine();
    m.memory.put(at.host, Uint8Array.of(5, 6));
    expect(
      m.talk([
        "qqemu.PhyMemMode",
        "Qqemu.PhyMemMode:1",
        "qqemu.PhyMemMode",
        `m${at.host.toString(16)},2`,
        `m${(LAST + 1).toString(16)},1`,
        "mffffffffffff0000,1",
        "Qqemu.PhyMemMode:0",
        `m${at.host.toString(16)},2`,
      ]),
    ).toEqual(["0", "OK", "1", "0506", "E0e", "E0e", "OK", "E0e"]);
  });
});

describe.each(gdbVendors)("On %s:", (vendor) => {
  const GPA = 0x5ffc;
  const guest = (mode: Parameters<GdbMachine["page"]>[1], cr4 = 0n) => {
    const m = new GdbMachine(vendor);
    const tables = m.page(1, mode, cr4);
    // Guest-physical 5000 and 6000 are the other way round in memory.
    for (let i = 0; i < 8; i++) m.memory.put(m.hpa(1, GPA + i), Uint8Array.of(0x10 + i));
    return { m, tables: tables! };
  };
  const read = (m: GdbMachine, address: bigint | number, length = 8) =>
    m.talk(["Hg3", `m${address.toString(16)},${length.toString(16)}`])[1];
  const BYTES = "1011121314151617";

  test("without paging a guest's address is guest-physical", () => {
    const { m } = guest("none");
    expect(read(m, GPA)).toBe(BYTES);
    expect(read(m, 0x100000000)).toBe("E0e");
    expect(read(m, 0x800000)).toBe("E0e");
    expect(read(m, 0x7ffffe)).toBe("0000");
  });

  test("32-bit paging, with small pages and with large ones and bits beyond 32", () => {
    const { m, tables } = guest("32-bit", 0x10n);
    tables.map(0xc0405000n, 0x5000n, 2);
    expect(read(m, 0xc0405ffc)).toBe(BYTES);
    expect(read(m, 0xc0407000)).toBe("E0e");
    expect(read(m, 0x1c0405ffcn)).toBe("E0e");
    tables.set(0xd0000000n, P | RW | PS, 1);
    expect(read(m, 0xd0005ffc)).toBe(BYTES);
    tables.set(0xd0000000n, P | RW | PS | (1n << 13n), 1);
    expect(read(m, 0xd0005ffc)).toBe("E0e");
    // Without PSE the bit means nothing: the entry refers to a table.
    m.page(1, "32-bit");
    expect(read(m, 0xd0005ffc)).toBe("E0e");
  });

  test("PAE paging, with small and large pages", () => {
    const { m, tables } = guest("PAE");
    tables.map(0xc0405000n, 0x5000n, 2);
    expect(read(m, 0xc0405ffc)).toBe(BYTES);
    tables.set(0x80200000n, P | RW | PS, 1);
    expect(read(m, 0x80205ffc)).toBe(BYTES);
    expect(read(m, 0x40205ffc)).toBe("E0e");
  });

  test("4-level paging, with pages of every size", () => {
    const { m, tables } = guest("4-level");
    tables.map(0xffff888000405000n, 0x5000n, 2);
    expect(read(m, 0xffff888000405ffcn)).toBe(BYTES);
    tables.set(0xffffffff80000000n, P | RW | PS, 1);
    expect(read(m, 0xffffffff80005ffcn)).toBe(BYTES);
    tables.set(0xffff880000000000n, P | RW | PS, 2);
    expect(read(m, 0xffff880000005ffcn)).toBe(BYTES);
    expect(read(m, 0x888000405ffcn)).toBe("E0e");
    expect(read(m, 0x0000888000405ffcn)).toBe("E0e");
  });

  test("a guest's tables that lead nowhere, or in a circle, are no address", () => {
    const { m, tables } = guest("4-level");
    m.guestRam(1).store(BigInt(tables.top), 8, BigInt(tables.top) | P | RW);
    expect(read(m, 0n)).toBe("0300300000000000");
    m.guestRam(1).store(BigInt(tables.top), 8, 0xffffffffff000n | P);
    expect(read(m, 0n)).toBe("E0e");
    m.setGuest(1, { cr3: 0xffffffffffffffffn });
    expect(read(m, 0n)).toBe("E0e");
  });

  test("nested tables that are broken are no address", () => {
    const { m } = guest("none");
    m.memory.store(0x690000, 8, 0xffffffffff007n);
    expect(read(m, GPA)).toBe("E0e");
    m.memory.store(0x690000, 8, 0x690000n | (vendor === "VT-x" ? 8n : 6n));
    expect(read(m, GPA)).toBe("E0e");
    m.memory.store(at.vms + 160 + 0x18, 8, 0xffffffffffffffffn);
    expect(read(m, GPA)).toBe("E0e");
  });

  test("guest-physical addresses can be told instead of linear ones", () => {
    const { m } = guest("4-level");
    expect(
      m.talk([
        "Hg3",
        "Qqemu.PhyMemMode:1",
        `m${GPA.toString(16)},8`,
        `m100000000000${GPA.toString(16)},8`,
        `M${GPA.toString(16)},2:aabb`,
        "Qqemu.PhyMemMode:0",
      ]),
    ).toEqual(["OK", "OK", BYTES, "E0e", "OK", "OK"]);
    expect(m.memory.load(ramOf(1) + 0x6ffc, 2)).toBe(0xbbaan);
  });

  test("a guest's memory is written through its own tables", () => {
    const { m, tables } = guest("4-level");
    tables.map(0xffff888000405000n, 0x5000n, 2);
    expect(m.talk(["Hg3", "Mffff888000405ffe,4:a1a2a3a4"])).toEqual(["OK", "OK"]);
    expect(m.memory.load(ramOf(1) + 0x6ffe, 2)).toBe(0xa2a1n);
    expect(m.memory.load(ramOf(1) + 0x5000, 2)).toBe(0xa4a3n);
  });

  test("breakpoints do not show, and survive that memory is written over", () => {
    const { m } = guest("none");
    const bytes = () => m.memory.load(m.hpa(1, GPA), 4).toString(16);
    const trap = vendor === "AMD-V" ? "f1" : "cc";
    expect(
      m.talk([
        "Hg3",
        "Z0,5ffd,1",
        "Z0,5ffd,1",
        "m5ffc,4",
        () => expect(bytes()).toBe(`1312${trap}10`),
        "M5ffc,3:aabbcc",
      ]),
    ).toEqual(["OK", "OK", "OK", "10111213", "OK"]);
    expect(bytes()).toBe(`13cc${trap}aa`);
    expect(m.talk(["Hg3", "m5ffc,4", "z0,5ffd,1", "z0,5ffd,1"])).toEqual(["OK", "aabbcc13", "OK", "OK"]);
    expect(bytes()).toBe("13ccbbaa");
  });
});
