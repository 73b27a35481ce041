import { describe, expect, test } from "vitest";
import { findRsdp, genericAddress, readRsdp, readTable, type Table } from "./fake/acpi.ts";
import { readAml } from "./fake/aml.ts";
import { Gpr, Next } from "./fake/exit.ts";
import { abi } from "./fake/layout.ts";
import { read } from "./fake/mmio.ts";
import { Pc } from "./fake/pc.ts";

/** Of the PM timer (ACPI 6.4, 4.8.3.3). */
const HZ = 3_579_545;
const HALF = 2 ** 31;
const TIMER = 1;
const SLEEP_ENABLE = 1 << 13;
const VECTOR = 0x29;
const POWERED_OFF = abi("STOPREASON_POWERED_OFF");
const RESET = abi("STOPREASON_RESET");

/** A PC whose operating system has read the tables, and knows what it knows from them. */
class Acpi extends Pc {
  readonly rsdp: number;
  readonly fadt: Table;
  readonly madt: Table;
  readonly dsdt: Table;
  private readonly tables: Table[];
  readonly event: number;
  readonly enable: number;
  readonly control: number;
  readonly timer: number;

  constructor(vcpus = 1) {
    super({ tscHz: BigInt(HZ) * 1000n, vcpus });
    this.initialisePics();
    const ram = this.machine.ram;
    this.rsdp = findRsdp(ram);
    const xsdt = readTable(ram, readRsdp(ram, this.rsdp).xsdt);
    expect([xsdt.signature, xsdt.revision, xsdt.length % 8]).toEqual(["XSDT", 1, 4]);
    this.tables = Array.from({ length: (xsdt.length - 36) / 8 }, (_, i) =>
      readTable(ram, Number(xsdt.view.getBigUint64(36 + i * 8, true))),
    );
    this.fadt = this.table("FACP");
    this.madt = this.table("APIC");
    this.dsdt = readTable(ram, Number(this.fadt.view.getBigUint64(140, true)));
    this.event = this.field(56);
    this.enable = this.event + this.field(88, 1) / 2;
    this.control = this.field(64);
    this.timer = this.field(76);
    this.unmask(this.field(46, 2));
  }

  /** One that the XSDT lists, once. */
  table(signature: string): Table {
    const found = this.tables.filter((t) => t.signature === signature);
    expect(found.length).toBe(1);
    return found[0]!;
  }

  /** A field of the FADT (table 5.33). */
  field(offset: number, bytes = 4): number {
    const { view } = this.fadt;
    return bytes === 1
      ? view.getUint8(offset)
      : bytes === 2
        ? view.getUint16(offset, true)
        : view.getUint32(offset, true);
  }

  get status(): number {
    return this.in(this.event, 2);
  }

  get count(): number {
    return this.in(this.timer, 4) >>> 0;
  }

  /** Goes on to `clocks` of the PM timer since the start. */
  passTo(clocks: number): void {
    const start = 1_000_000n; // the fake's TSC at the start
    this.pass(start + BigInt(clocks) * 1000n - this.machine.tsc);
  }
}

describe("The ACPI tables", () => {
  test("are where the zero page says, and where the search for them finds them", () => {
    const pc = new Acpi();
    const zeroPage = Number(pc.machine.gpr(Gpr.rsi));
    expect(pc.machine.ram.load(BigInt(zeroPage + 0x70), 8)).toBe(BigInt(pc.rsdp));
  });

  test("lie, each apart from the others, in memory that the E820 map gives to nobody", () => {
    const pc = new Acpi();
    const { ram } = pc.machine;
    const zeroPage = Number(pc.machine.gpr(Gpr.rsi));
    const map = Array.from({ length: ram.bytes[zeroPage + 0x1e8]! }, (_, i) => {
      const at = zeroPage + 0x2d0 + i * 20;
      const [base, size] = [at, at + 8].map((a) => Number(ram.view.getBigUint64(a, true))) as [
        number,
        number,
      ];
      return { base, end: base + size, type: ram.view.getUint32(at + 16, true) };
    });
    const { length, xsdt } = readRsdp(ram, pc.rsdp);
    const facs = pc.field(36);
    const pieces = [
      [pc.rsdp, length],
      [xsdt, readTable(ram, xsdt).length],
      [pc.fadt.at, pc.fadt.length],
      [facs, ram.view.getUint32(facs + 4, true)],
      [pc.dsdt.at, pc.dsdt.length],
      ...[pc.table("HPET"), pc.table("MCFG")].map((t) => [t.at, t.length]),
    ].sort(([a], [b]) => a! - b!) as [number, number][];
    for (const [n, [at, size]] of pieces.entries()) {
      const region = map.filter(({ base, end }) => base < at + size && at < end);
      // In one region: AddressRangeACPI, but for what a guest must not reclaim, AddressRangeNVS (15.1, 5.2.10).
      expect(region).toMatchObject([{ type: at === facs ? 4 : 3 }]);
      expect(region[0]!.base).toBeLessThanOrEqual(at);
      expect(region[0]!.end).toBeGreaterThanOrEqual(at + size);
      if (n > 0) expect(at).toBeGreaterThanOrEqual(pieces[n - 1]![0] + pieces[n - 1]![1]);
    }
  });

  test("have an FADT of revision 6.4 that says what there is, in both of its ways alike", () => {
    const pc = new Acpi();
    expect([pc.fadt.length, pc.fadt.revision, pc.field(131, 1)]).toEqual([276, 6, 4]);
    expect([pc.field(40), pc.field(46, 2)]).toEqual([pc.dsdt.at, 9]);
    // No SMI command port: ACPI is always on. No second blocks, no general-purpose events, no PM2 control.
    for (const absent of [48, 60, 68, 72, 80, 84]) expect(pc.field(absent)).toBe(0);
    expect([88, 89, 91].map((at) => pc.field(at, 1))).toEqual([4, 2, 4]);
    const io = (at: number) => genericAddress(pc.fadt.view, at);
    expect(io(148)).toEqual({ space: 1, bits: 32, offset: 0, access: 2, address: pc.event });
    expect(io(172)).toEqual({ space: 1, bits: 16, offset: 0, access: 2, address: pc.control });
    expect(io(208)).toEqual({ space: 1, bits: 32, offset: 0, access: 4, address: pc.timer });
    for (const absent of [160, 184, 196, 220, 232, 244, 256]) expect(io(absent).address).toBe(0);
    // No C2, no C3 (more than 100 and 1000 us).
    expect(pc.field(96, 2)).toBeGreaterThan(100);
    expect(pc.field(98, 2)).toBeGreaterThan(1000);
    const flag = (n: number) => (pc.field(112) >>> n) & 1;
    expect([0, 2, 8, 10].map(flag)).toEqual([1, 1, 1, 1]); // WBINVD, C1, 32-bit timer, reset register
    expect([4, 5, 6].map(flag)).toEqual([0, 1, 1]); // a fixed power button, no sleep button, no fixed RTC wake
    expect([1, 3, 7, 20].map(flag)).toEqual([0, 0, 0, 0]); // not hardware-reduced
    // IA-PC boot architecture: ISA devices, a CMOS clock; no keyboard controller, no VGA.
    expect(pc.field(109, 2) & 0x27).toBe(0x05);
    expect(pc.dsdt.signature).toBe("DSDT");
  });

  test("say where the HPET is, and what its capabilities say", () => {
    const pc = new Acpi();
    const { view, length, revision } = pc.table("HPET");
    expect([length, revision]).toEqual([56, 1]);
    const { space, address } = genericAddress(view, 40);
    expect(space).toBe(0);
    expect(BigInt(view.getUint32(36, true))).toBe(read(pc, address, 4));
    expect(view.getUint16(53, true)).toBeGreaterThan(0);
  });

  test("have an FACS on a 64-byte boundary, with nobody in the global lock", () => {
    const pc = new Acpi();
    const facs = pc.field(36);
    const { ram } = pc.machine;
    expect(facs % 64).toBe(0);
    expect(Buffer.from(ram.bytes.subarray(facs, facs + 4)).toString()).toBe("FACS");
    expect([ram.view.getUint32(facs + 4, true), ram.bytes[facs + 32]]).toEqual([64, 2]);
    expect(ram.view.getUint32(facs + 16, true)).toBe(0);
  });

  test("have a DSDT whose _S5_ is what switches the machine off, and no other sleep type does", () => {
    const s5 = machineAml(new Acpi()).get("\\_S5_") as number[];
    expect(s5.length).toBeGreaterThanOrEqual(2);
    for (let type = 0; type < 8; type++) {
      const pc = new Acpi();
      const control = pc.in(pc.control, 2);
      // 16.1.7: the type first, then the enable bit too.
      expect(pc.out(pc.control, control | (type << 10), 2)).toBe(Next.Resume);
      const next = pc.out(pc.control, control | (type << 10) | SLEEP_ENABLE, 2);
      expect(next === Next.Stop).toBe(type === s5[0]);
      if (next === Next.Stop) expect(pc.machine.stop.reason).toBe(POWERED_OFF);
    }
  });

  test("name the century's byte of the clock", () => {
    const pc = new Acpi();
    pc.out(0x70, pc.field(108, 1));
    expect(pc.in(0x71)).toBe(0x20);
  });

  test("name a reset register and the value that resets", () => {
    const pc = new Acpi();
    const { space, bits, offset, access, address } = genericAddress(pc.fadt.view, 116);
    expect([space, bits, offset, access]).toEqual([1, 8, 0, 1]);
    expect(pc.out(address, pc.field(128, 1))).toBe(Next.Stop);
    expect(pc.machine.stop.reason).toBe(RESET);
  });
});

function machineAml(pc: Acpi) {
  return readAml(pc.machine.ram.bytes.subarray(pc.dsdt.at + 36, pc.dsdt.at + pc.dsdt.length));
}

describe("Power-management registers", () => {
  test("The timer counts 3.579545 MHz in 32 bits, round and round", () => {
    const pc = new Acpi();
    for (const at of [
      0,
      1,
      HZ,
      HZ * 60,
      2 ** 31 - 1,
      2 ** 31,
      2 ** 32 - 1,
      2 ** 32,
      2 ** 32 + 5,
      2 ** 34 + 77,
    ]) {
      pc.passTo(at);
      expect(pc.count).toBe(at % 2 ** 32);
    }
    pc.passTo(2 ** 34 + 0x12345678);
    expect([0, 1, 2, 3].map((n) => pc.in(pc.timer + n))).toEqual([0x78, 0x56, 0x34, 0x12]);
    expect([pc.in(pc.timer, 2), pc.in(pc.timer + 2, 2)]).toEqual([0x5678, 0x1234]);
    pc.out(pc.timer, 0, 4);
    expect(pc.count).toBe(0x12345678);
  });

  test("TMR_STS is set by each change of the timer's top bit, and cleared by writing 1 to it", () => {
    const pc = new Acpi();
    for (let n = 1; n <= 4; n++) {
      pc.passTo(n * HALF - 1);
      expect(pc.status).toBe(0);
      pc.passTo(n * HALF);
      expect(pc.status).toBe(TIMER);
      pc.out(pc.event, 0xffff & ~TIMER, 2);
      expect(pc.status).toBe(TIMER);
      pc.out(pc.event, TIMER, 2);
      expect(pc.status).toBe(0);
    }
    expect(pc.wakeUps).toBe(0);
  });

  test("The SCI is input 9's level: as long as an enabled status bit is set it asks again", () => {
    const pc = new Acpi();
    expect(pc.in(0x4d1) & 2).toBe(2);
    pc.out(pc.enable, TIMER, 2);
    for (let n = 1; n <= 3; n++) {
      pc.passTo(n * HALF - 1);
      expect(pc.interrupts()).toEqual([]);
      pc.passTo(n * HALF);
      expect(pc.interrupt()).toBe(VECTOR);
      pc.endOfInterrupt(VECTOR);
      expect(pc.interrupt()).toBe(VECTOR);
      pc.out(pc.event, TIMER, 2);
      pc.endOfInterrupt(VECTOR);
      expect(pc.interrupts()).toEqual([]);
    }
    expect(pc.wakeUps).toBe(3);
    pc.passTo(4 * HALF);
    pc.out(pc.enable, 0, 2);
    expect(pc.interrupts()).toEqual([]);
    pc.out(pc.enable, TIMER, 2);
    expect(pc.interrupt()).toBe(VECTOR);
  });

  test("A read that finds the timer's status set has raised the SCI too", () => {
    const pc = new Acpi();
    pc.out(pc.enable, TIMER, 2);
    // The guest reads before root has had its timer interrupt.
    pc.machine.tsc = pc.machine.deadline;
    expect(pc.status).toBe(TIMER);
    expect(pc.interrupt()).toBe(VECTOR);
  });

  test("The operator's power button sets PWRBTN_STS, which interrupts if it may, until it is cleared", () => {
    const BUTTON = 1 << 8;
    const pc = new Acpi();
    let presses = 0;
    /** As root does it: the guest's time is interrupted, and it is entered again. */
    const press = () => {
      pc.machine.memory.setUint32(abi("VM_INFO") + abi("VMINFO_POWER_PRESSES"), ++presses, true);
      pc.machine.enter();
    };
    press();
    expect([pc.status, pc.interrupts()]).toEqual([BUTTON, []]);
    pc.out(pc.event, 0xffff & ~BUTTON, 2);
    expect(pc.status).toBe(BUTTON);
    pc.out(pc.enable, BUTTON, 2);
    expect(pc.interrupt()).toBe(VECTOR);
    pc.endOfInterrupt(VECTOR);
    expect(pc.interrupt()).toBe(VECTOR);
    pc.out(pc.event, BUTTON, 2);
    pc.endOfInterrupt(VECTOR);
    expect([pc.status, pc.interrupts()]).toEqual([0, []]);
    pc.machine.enter();
    expect(pc.status).toBe(0);
    presses++;
    press();
    expect(pc.status).toBe(BUTTON);
    expect(pc.interrupt()).toBe(VECTOR);
  });

  test("It wakes a guest that halts", () => {
    const pc = new Acpi();
    pc.out(pc.enable, 1 << 8, 2);
    pc.cpu.interruptsOn = true;
    expect(pc.cpu.hlt()).toBe(Next.Yield);
    pc.machine.memory.setUint32(abi("VM_INFO") + abi("VMINFO_POWER_PRESSES"), 1, true);
    expect(pc.machine.enter()).toBe(Next.Resume);
    expect(pc.cpu.takeInjected()?.vector).toBe(VECTOR);
  });

  test("Enable and control keep the bits that are defined; SLP_EN and GBL_RLS read 0, SCI_EN reads 1", () => {
    const pc = new Acpi();
    expect([pc.in(pc.enable, 2), pc.in(pc.control, 2)]).toEqual([0, 1]);
    // TMR_EN, GBL_EN, PWRBTN_EN, SLPBTN_EN, RTC_EN
    pc.out(pc.enable, 0xffff, 2);
    expect(pc.in(pc.enable, 2)).toBe(0x0721);
    pc.out(pc.enable, 0, 2);
    expect(pc.in(pc.enable, 2)).toBe(0);
    // Without SLP_EN: SCI_EN, BM_RLD, SLP_TYP
    pc.out(pc.control, 0xffff & ~SLEEP_ENABLE, 2);
    expect(pc.in(pc.control, 2)).toBe(0x1c03);
    pc.out(pc.control, 0, 2);
    expect(pc.in(pc.control, 2)).toBe(1);
  });

  test("are reached by bytes as well", () => {
    const pc = new Acpi();
    pc.outs([pc.enable, 0x21], [pc.enable + 1, 7], [pc.control + 1, 0x14]);
    expect([pc.in(pc.enable, 2), pc.in(pc.control, 2), pc.in(pc.event, 4)]).toEqual([
      0x0721, 0x1401, 0x07210000,
    ]);
    expect(pc.out(pc.control, 0xff)).toBe(Next.Resume); // SLP_EN is in the other byte
    const [type] = machineAml(pc).get("\\_S5_") as number[];
    expect(pc.out(pc.control + 1, (type! << 2) | (SLEEP_ENABLE >> 8))).toBe(Next.Stop);
    expect(pc.machine.stop.reason).toBe(POWERED_OFF);
  });
});

/** 82371AB, RC (Reset Control Register), I/O address CF9h. */
describe("Reset", () => {
  test.each([0x04, 0x06, 0x0e, 0xff])("comes when bit 2 of CF9h rises: %i", (value) => {
    const pc = new Pc();
    expect(pc.in(0xcf9)).toBe(0);
    for (const other of [0, 2, 0x0a, 0xfb]) {
      expect(pc.out(0xcf9, other)).toBe(Next.Resume);
      expect(pc.in(0xcf9)).toBe(other & 0x0a);
    }
    expect(pc.out(0xcf9, value)).toBe(Next.Stop);
    expect(pc.machine.stop.reason).toBe(RESET);
  });

  test("does not come from a double word to CF8h, which is PCI's address; it does from a word to CF8h", () => {
    const pc = new Pc();
    expect(pc.out(0xcf8, 0x0600, 4)).toBe(Next.Resume);
    expect(pc.in(0xcf9)).toBe(0);
    expect(pc.out(0xcf8, 0x0600, 2)).toBe(Next.Stop);
    expect(pc.machine.stop.reason).toBe(RESET);
  });

  test("comes from the keyboard controller's command FEh and from no other of its commands", () => {
    const pc = new Pc();
    for (let command = 0; command < 256; command++) {
      if (command !== 0xfe) expect(pc.out(0x64, command)).toBe(Next.Resume);
    }
    expect(pc.out(0x64, 0xfe)).toBe(Next.Stop);
    expect(pc.machine.stop.reason).toBe(RESET);
  });
});

test.each([1, 3])(
  "The MADT has %i processors, an I/O APIC, what comes to other inputs, and NMIs at LINT1",
  (vcpus) => {
    const { view, length } = new Acpi(vcpus).madt;
    expect([view.getUint32(36, true), view.getUint32(40, true)]).toEqual([0xfee00000, 1]);
    const entries: number[][] = [];
    for (let at = 44; at < length; at += view.getUint8(at + 1))
      entries.push(Array.from({ length: view.getUint8(at + 1) }, (_, i) => view.getUint8(at + i)));
    expect(entries).toEqual([
      ...Array.from({ length: vcpus }, (_, n) => [0, 8, n, n, 1, 0, 0, 0]),
      [1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0],
      [2, 10, 0, 0, 2, 0, 0, 0, 0, 0],
      [2, 10, 0, 9, 9, 0, 0, 0, 0xd, 0],
      [4, 6, 0xff, 0, 0, 1],
    ]);
  },
);
