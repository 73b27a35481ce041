/** kernel/root/power.ts, and what of ACPI it rests on: how the machine is switched off and reset. */
import { describe, expect, test } from "vitest";
import { fixChecksum, ioapic, madt, putTables, table } from "./fake/firmware.ts";
import { FakeHost } from "./fake/host.ts";
import type { HostRegister } from "./fake/hostports.ts";
import { type FadtFields, powerFadt, s5 } from "./fake/tables.ts";
import { kernels } from "./fake/vms.ts";

const PM1A = 0x604;
const PM1B = 0x704;
const SMI = 0xb2;
const DSDT = 0xf0000;
const SCI_EN = 1;
const SLP_EN = 1 << 13;

interface Plan {
  fadt?: FadtFields;
  dsdt?: Uint8Array;
  ssdt?: Uint8Array;
  commandLine?: string;
  /** Whether ACPI is on from the start. */
  isOn?: boolean;
}

/** Boots until the end; returns what was written, in order, and what the log says behind "done". */
function ending(plan: Plan) {
  const written: [port: number, value: number][] = [];
  let control = plan.isOn === false ? 0 : SCI_EN;
  const register = (port: number, size: 1 | 2 | 4, read: () => number): [number, HostRegister] => [
    port,
    { size, read, write: (value) => void written.push([port, value]) },
  ];
  const registers = new Map([
    register(PM1A, 2, () => control),
    register(PM1B, 2, () => control | 0x200),
    register(0x620, 1, () => 0),
    register(0xcd, 1, () => 0),
    [
      SMI,
      { size: 1, read: () => 0, write: (value: number) => (written.push([SMI, value]), (control |= SCI_EN)) },
    ],
  ] as [number, HostRegister][]);
  const host = new FakeHost({
    commandLine: plan.commandLine ?? "end=poweroff",
    modules: kernels(1),
    registers,
    firmware: (machine) => {
      const tables = [powerFadt({ dsdt: DSDT, pm1a: PM1A, ...plan.fadt }), madt(ioapic(0xfec00000))];
      putTables(machine, ...tables, ...(plan.ssdt ? [table("SSDT", plan.ssdt)] : []));
      machine.memory.put(DSDT, table("DSDT", plan.dsdt ?? s5(5)));
    },
  });
  const log = host.boot();
  return { written, end: log.slice(log.indexOf("done") + 1), log, resets: host.ports.resets };
}

const off = (type: number, kept = SCI_EN): [number, number][] => [
  [PM1A, kept | (type << 10)],
  [PM1A, kept | (type << 10) | SLP_EN],
];
const cannot = ["power-off: the firmware's tables do not say how, or it does not work", "halts"];

describe("With end=poweroff the machine is switched off", () => {
  test("by the value of _S5, in PM1a's control register", () => {
    expect(ending({})).toMatchObject({ written: off(5), end: ["powers off", ...cannot] });
    expect(ending({ dsdt: s5(7) }).written).toEqual(off(7));
    expect(ending({ dsdt: s5(0) }).written).toEqual(off(0));
  });

  test("in both registers where there are two, each with its own value", () => {
    const { written } = ending({ fadt: { pm1b: PM1B }, dsdt: s5(1, 2) });
    expect(written).toEqual([
      [PM1A, SCI_EN | (1 << 10)],
      [PM1B, SCI_EN | 0x200 | (2 << 10)],
      [PM1A, SCI_EN | (1 << 10) | SLP_EN],
      [PM1B, SCI_EN | 0x200 | (2 << 10) | SLP_EN],
    ]);
  });

  test("after ACPI has been turned on, if it is not on", () => {
    const fadt = { smiCommand: SMI, acpiEnable: 0xf1 };
    expect(ending({ fadt, isOn: false }).written).toEqual([[SMI, 0xf1], ...off(5)]);
    expect(ending({ fadt }).written).toEqual(off(5));
    // What cannot be turned on is not waited for without end.
    expect(ending({ isOn: false }).written).toEqual(off(5, 0));
  });

  test("by the sleep control register of hardware-reduced ACPI", () => {
    const fadt: FadtFields = { flags: 1 << 20, sleepControl: [1, 0x620n] };
    expect(ending({ fadt }).written).toEqual([[0x620, (5 << 2) | (1 << 5)]]);
  });

  test("by an SSDT's _S5 where the DSDT has none", () => {
    expect(ending({ dsdt: Buffer.alloc(8), ssdt: s5(6) }).written).toEqual(off(6));
    expect(ending({ dsdt: s5(5), ssdt: s5(6) }).written.length).toBe(2);
  });

  test("by a name with a root prefix, and by one with a long package", () => {
    const name = s5(5);
    const rooted = Buffer.concat([Buffer.from([8, 0x5c]), name.subarray(1)]);
    expect(ending({ dsdt: rooted }).written).toEqual(off(5));
    const long = Buffer.concat([name.subarray(0, 6), Buffer.from([0x40 | 9, 0, 4, 0x0a, 5, 0x0a, 5, 0, 0])]);
    expect(ending({ dsdt: long }).written).toEqual(off(5));
  });
});

describe("The machine halts instead, and the log says so,", () => {
  const patched = (at: number, value: number) => {
    const bytes = s5(5);
    bytes[at] = value;
    return bytes;
  };

  test.each([
    ["without the name", Buffer.alloc(64)],
    ["with the name only", s5(5).subarray(0, 5)],
    ["with a name that nothing defines", patched(0, 0x10)],
    ["with something else than a package", patched(5, 0x11)],
    ["with a package past the table's end", patched(6, 0x3f)],
    ["with a package of no bytes", patched(6, 1)],
    ["with a package length that is cut off", Buffer.concat([s5(5).subarray(0, 6), Buffer.from([0xc0, 0])])],
    ["with an empty package", patched(7, 0)],
    ["with a value that the register has no room for", patched(9, 8)],
    ["with a value that is no byte", patched(8, 0x0c)],
  ])("%s", (_, dsdt) => {
    expect(ending({ dsdt })).toMatchObject({ written: [], end: cannot });
  });

  test("without control registers, or where none can be", () => {
    expect(ending({ fadt: { pm1a: 0 } })).toMatchObject({ written: [], end: cannot });
    expect(ending({ fadt: { pm1a: 0xffff } })).toMatchObject({ written: [], end: cannot });
    expect(ending({ fadt: { length: 116, pm1a: 0x10604 } })).toMatchObject({ written: [], end: cannot });
    const reduced = ending({ fadt: { flags: 1 << 20, sleepControl: [0, 0x1000000n] } });
    expect(reduced).toMatchObject({ written: [], end: cannot });
    expect(reduced.log.join("\n")).toContain("FACP: SLEEP_CONTROL_REG at 0xe1000: no such register, ignored");
  });

  test("with a DSDT whose checksum is wrong, which is another table, or which is past memory", () => {
    const host = (change: (bytes: Buffer) => void, dsdt = DSDT) => {
      const machine = new FakeHost({
        commandLine: "end=poweroff",
        modules: kernels(1),
        firmware: (m) => {
          putTables(m, powerFadt({ dsdt, pm1a: PM1A }));
          const bytes = table("DSDT", s5(5));
          change(bytes);
          m.memory.put(DSDT, bytes);
        },
      });
      return machine.boot();
    };
    const bad = host((bytes) => (bytes[40]! ^= 1));
    expect(bad).toContain("ACPI: DSDT at 0xf0000: bad checksum, ignored");
    const other = host((bytes) => (bytes.write("OOPS", 0, "latin1"), fixChecksum(bytes, 9)));
    expect(other).toContain("ACPI: OOPS at 0xf0000: expected to be the DSDT, ignored");
    for (const log of [bad, other]) expect(log.slice(-2)).toEqual(cannot);
  });
});

describe("A reset", () => {
  const afterwards = [[0xcf9, 2], [0xcf9, 6], [0x64, 0xfe]]; // prettier-ignore
  const reset = (fadt: FadtFields) =>
    ending({ fadt: { flags: 1 << 10, ...fadt }, commandLine: "end=reboot" });

  test("is by the FADT's register first, then by port CF9h and the keyboard controller", () => {
    expect(reset({ reset: [1, 0xcdn, 0x42] })).toMatchObject({
      written: [[0xcd, 0x42]],
      resets: afterwards,
      end: ["reboots"],
    });
  });

  test.each([
    ["not said to be there", { flags: 0, reset: [1, 0xcdn, 1] }],
    ["cut off by the table's end", { length: 128, reset: [1, 0xcdn, 1] }],
    ["nowhere", { reset: [1, 0n, 1] }],
    ["past the ports", { reset: [1, 0x10000n, 1] }],
    ["in RAM", { reset: [0, 0x1000000n, 1] }],
    ["past memory", { reset: [0, 1n << 60n, 1] }],
    ["of an unknown address space", { reset: [7, 0xcdn, 1] }],
    ["past a PCI function's registers", { reset: [2, 0x100n, 1] }],
  ] as [string, FadtFields][])("is by the others alone where the register is %s", (_, fadt) => {
    expect(reset(fadt)).toMatchObject({ written: [], resets: afterwards });
  });

  test("end= is about the end that is none of trouble's, and panic= about the others", () => {
    expect(ending({ commandLine: "end=halt panic=reboot" })).toMatchObject({ end: ["halts"], resets: [] });
    expect(ending({ commandLine: "panic=reboot" })).toMatchObject({ end: ["reboots"] });
    const refused = new FakeHost({ commandLine: "end=reboot" });
    expect(refused.boot().at(-1)).toBe("halts");
  });
});
