import { describe, expect, test } from "vitest";
import { FakeHost, type HostOptions, logOf } from "./fake/host.ts";
import { kernels } from "./fake/vms.ts";

/** A PCI function: 16 registers with this class and these base addresses. */
function pciFunction(kind: number, bars: number[], header = 0): number[] {
  const registers = new Array<number>(16).fill(0);
  registers[0] = 0x00021b36;
  registers[1] = 0x00100000;
  registers[2] = (kind << 8) >>> 0;
  registers[3] = header << 16;
  bars.forEach((bar, n) => (registers[4 + n] = bar));
  return registers;
}

const SERIAL = 0x070002;

function boot(commandLine: string, options: HostOptions = {}): { host: FakeHost; log: string[] } {
  const host = new FakeHost({ commandLine, modules: kernels(1), ...options });
  host.boot();
  return { host, log: logOf(host.ports.otherUart.sent) };
}

const port = (at: number) => ({ at, stride: 0 }) as const;

describe("console=pci", () => {
  const found = [
    ["its first register a port", [0xc001], port(0xc000)],
    ["in memory", [0xfebf0000], { at: 0xfebf0000, stride: 1 }],
    ["in memory below 4 GiB, with an address of 64 bits", [0xfebf0004, 0], { at: 0xfebf0000, stride: 1 }],
    ["above 4 GiB, and a second one that is not", [0xfebf0004, 1, 0xe001], port(0xe000)],
    ["at its second base address", [0, 0xe001], port(0xe000)],
  ] as const;

  test.each(found)("takes the serial port of a PCI function: %s", (_, bars, otherUart) => {
    const pci = new Map([[0x28, pciFunction(SERIAL, [...bars])]]);
    const { host, log } = boot("console=pci", { pci, otherUart });
    expect(log.at(-1)).toBe("halts");
    expect(log).toContain(
      `serial port: PCI 00:05.0, ${otherUart.stride === 0 ? "port" : "memory at"} 0x${otherUart.at.toString(16)}, served by the timer`,
    );
    // What decodes the address is on, and nothing else.
    expect(pci.get(0x28)![1]).toBe(0x00100000 | (otherUart.stride === 0 ? 1 : 2));
    expect(host.serial[0]).toBe("");
  });

  test.each([
    ["pci0", 0xc000],
    ["pci1", 0xd000],
    ["pci2", 0xe000],
  ])("console=%s: they are counted in their numbers' order, and others are none", (name, at) => {
    const pci = new Map([
      [0x18, pciFunction(0x070000, [0xa001])], // an 8250
      [0x20, pciFunction(SERIAL, [0xc001], 0x80)],
      [0x21, pciFunction(0x070103, [0xa101])], // a parallel port
      [0x23, pciFunction(0x070006, [0xd001])],
      [0x100, pciFunction(SERIAL, [0xe001])],
    ]);
    expect(boot(`console=${name}`, { pci, otherUart: port(at) }).log.at(-1)).toBe("halts");
  });

  test("without one the log is on COM1, and says so", () => {
    const { host } = boot("console=pci3");
    expect(logOf(host.serial[0])).toContain("serial port: PCI's number 3: no 16550 there");
  });
});

describe("A port at a place of its own", () => {
  test.each([
    ["io:2e8", port(0x2e8)],
    ["io:0x3e8", port(0x3e8)],
    ["mmio:fe030000", { at: 0xfe030000, stride: 1 }],
    ["mmio32:0xFE042000", { at: 0xfe042000, stride: 4 }],
  ] as const)("console=%s", (name, otherUart) => {
    const { host, log } = boot(`console=${name}`, { otherUart });
    expect(log.at(-1)).toBe("halts");
    expect(host.ports.otherUart.divisor).toBe(1);
  });

  test("has the speed that it is told, or that firmware has set", () => {
    const otherUart = port(0x2e8);
    expect(boot("console=io:2e8,9600", { otherUart }).host.ports.otherUart.divisor).toBe(12);
    const kept = boot("console=io:2e8,keep", { otherUart });
    expect(kept.host.ports.otherUart.divisor).toBe(0);
    expect(kept.log.at(-1)).toBe("halts");
  });

  test("is the guests' too: what they print, and what is typed", () => {
    let typed = "";
    const { host } = boot("console=io:2e8 vmconsole=io:2e8", {
      otherUart: port(0x2e8),
      idle: (machine) => machine.ports.otherUart.receive("typed"),
      run: (vcpu) => {
        if (vcpu.runs === 0) return vcpu.print("a guest's words");
        typed += vcpu.input();
        return typed === "typed" ? vcpu.stop("POWERED_OFF") : vcpu.haltUntil();
      },
    });
    expect(host.ports.otherUart.sent).toContain("a guest's words");
    expect(typed).toBe("typed");
  });

  test("is never in RAM", () => {
    const { host } = boot("console=mmio:00200000");
    expect(logOf(host.serial[0])).toContain("serial port: memory at 0x200000: no 16550 there");
  });
});

const expected = "expected com1, com2 or one other (pci, pciN, io:PORT, mmio:ADDRESS, mmio32:ADDRESS)";

test.each([
  "console=pci10",
  "console=pcix",
  "console=io:",
  "console=io:0",
  "console=io:fffc",
  "console=io:12g",
  "console=mmio:fe030004",
  "console=mmio32:fe030010",
  "console=mmio:1fe030000",
  "console=io:2e8,12345",
  "console=pci,",
  "vmconsole=io:2e8,9600",
  "console=io:2e8 vmconsole=io:3e8",
  "console=pci0 vmconsole=pci1",
])("%j is refused", (commandLine) => {
  const { host } = boot(`${commandLine} loglvl=info`);
  const log = logOf(host.serial[0]);
  expect(
    log.some((line) => line.startsWith("refused: ") && line.includes(expected)),
    log.join("\n"),
  ).toBe(true);
});
