import { describe, expect, test } from "vitest";
import { FakeHost, type HostOptions, logOf } from "./fake/host.ts";
import { abi } from "./fake/layout.ts";
import { MIB, kernel, kernels } from "./fake/vms.ts";

/** TSC ticks of a millisecond. */
const MS = 50_000n;

function boot(commandLine: string, options: HostOptions = {}): FakeHost {
  const host = new FakeHost({ commandLine, modules: kernels(1), ...options });
  host.boot();
  return host;
}

/** What is on the text screen, line by line. */
function screenOf(host: FakeHost): string[] {
  const cells = host.memory.get(0xb8000, 80 * 25 * 2).filter((_, i) => i % 2 === 0);
  const text = Buffer.from(cells).toString("latin1");
  return Array.from({ length: 25 }, (_, row) => text.slice(row * 80, row * 80 + 80).trimEnd());
}

const hasLog = (serial: string) => logOf(serial).includes("done");

describe("console=", () => {
  test.each([
    ["", 0, 1],
    ["console=com1", 0, 1],
    ["console=com1,115200", 0, 1],
    ["console=com1,57600", 0, 2],
    ["console=com2", 1, 1],
    ["console=com2,9600", 1, 12],
    ["console=com2,50", 1, 2304],
    ["console=none console=com2", 1, 1],
    ["console=com1 console=com2", 1, 1],
  ])("%j: the log is on one UART, at its speed", (commandLine, uart, divisor) => {
    const host = boot(`${commandLine} vmconsole=none`);
    expect(host.serial.map(hasLog)).toEqual([0, 1].map((n) => n === uart));
    expect(host.ports.uarts[uart]!.divisor).toBe(divisor);
    expect(screenOf(host).join("").includes("(tv)")).toBe(commandLine === "");
  });

  test.each([
    ["console=screen", [false, false]],
    ["console=screen console=com2", [false, true]],
    ["console=com2 console=screen", [false, true]],
  ])("%j: the log is on the text screen", (commandLine, uarts) => {
    const host = boot(commandLine);
    expect(screenOf(host)).toContain("(tv) done");
    expect(host.serial.map(hasLog)).toEqual(uarts);
  });

  test("a log longer than the screen scrolls, and lines longer than it is wide wrap", () => {
    const host = boot("console=screen vmconsole=none", { modules: kernels(12) });
    const screen = screenOf(host);
    expect(screen.slice(-3)).toEqual(["(tv) done", "(tv) halts", ""]);
    expect(screen.some((line) => line.length === 80)).toBe(true);
    expect(screen.join("")).not.toContain("Typevisor test");
  });

  test("none: the log is nowhere, and the hypervisor works all the same", () => {
    const host = boot("console=none vmconsole=none");
    expect(host.serial).toEqual(["", ""]);
    expect(host.vmcs.size).toBe(1);
  });

  test("a UART that is not there is left alone", () => {
    const host = boot("console=com2", { uarts: [true, false] });
    expect(host.serial).toEqual(["", ""]);
    expect(host.vmcs.size).toBe(1);
  });
});

describe("vmconsole=", () => {
  test.each([
    ["", [true, false], true],
    ["vmconsole=com1", [true, false], false],
    ["vmconsole=com2", [false, true], false],
    ["vmconsole=none", [false, false], false],
    ["vmconsole=screen", [false, false], true],
    ["vmconsole=com2 vmconsole=screen", [false, true], true],
    ["vmconsole=screen vmconsole=com1", [true, false], true],
    ["vmconsole=screen vmconsole=none", [false, false], true],
  ])("%j: what a guest prints is there", (commandLine, uarts, onScreen) => {
    const host = boot(`console=screen ${commandLine}`, {
      run: (vcpu) => (vcpu.runs === 0 ? vcpu.print("a guest's words") : vcpu.stop("POWERED_OFF")),
    });
    expect(host.serial.map((s) => s.includes("a guest's words"))).toEqual(uarts);
    expect(screenOf(host).some((line) => line.includes("a guest's words"))).toBe(onScreen);
  });
});

describe("loglvl=", () => {
  const run: HostOptions["run"] = (vcpu) => {
    vcpu.host.nmis = 1;
    return vcpu.runs === 0 ? abi("LEAVE_NMI") : vcpu.stop("HALTED_FOREVER");
  };
  test.each([
    ["loglvl=error", [true, false, false, false]],
    ["loglvl=warning", [true, true, false, false]],
    ["loglvl=info", [true, true, true, false]],
    ["", [true, true, true, false]],
    ["loglvl=debug", [true, true, true, true]],
  ])("%j: lines of less importance are left out", (commandLine, levels) => {
    const { log } = boot(commandLine, { run });
    const starts = ["vm0: ended: halted with interrupts off", "NMI", "done", "memory in use"];
    expect(starts.map((start) => log.some((l) => l.startsWith(start)))).toEqual(levels);
  });
});

describe("bootscrub=", () => {
  /** Memory as firmware may leave it. */
  const dirty = 40n * MIB;
  const firmware = (host: FakeHost) => host.memory.fill(6n * MIB, 0xee, dirty - 6n * MIB);
  const ram: [bigint, bigint][] = [
    [0n, 0xa0000n],
    [MIB, dirty],
  ];
  const at = 0x1000;

  test.each([
    ["", [0, 0]],
    ["bootscrub=yes", [0, 0]],
    ["bootscrub=no", [0xee, 0]],
  ])(
    "%j: what firmware left in a guest's first memory; what a guest left is always cleared",
    (commandLine, bytes) => {
      const seen: number[] = [];
      const { log } = boot(commandLine, {
        firmware,
        ram,
        modules: [{ ...kernel("memory=6M"), at: 30n * MIB }],
        run: (vcpu) => {
          for (let address = 0x10000; address < 0x40000; address += 0x1000)
            expect(vcpu.load(address + 0x800, 8), "the monitor's memory is clear in any case").toBe(0n);
          seen.push(vcpu.host.memory.get(vcpu.guestAccess(at)!, 1)[0]!);
          for (let page = 0; page < 6 << 20; page += 4096)
            vcpu.host.memory.store(vcpu.guestAccess(page)!, 8, ~0n);
          return vcpu.stop(vcpu.life === 1 ? "RESET" : "POWERED_OFF");
        },
      });
      expect(log).toContain("vm0: ended: powered off");
      expect(seen).toEqual(bytes);
    },
  );
});

describe("watchdog=", () => {
  test.each([
    ["", 200n],
    ["watchdog=1", 1n],
    ["watchdog=86400000", 86400000n],
  ])("%j: how long a monitor may work on one exit", (commandLine, ms) => {
    expect(boot(commandLine).watchdog).toBe(ms * MS);
  });
});

describe("A word that is not understood", () => {
  const com =
    "com1, com2 or one other (pci, pciN, io:PORT, mmio:ADDRESS, mmio32:ADDRESS) with ,BAUD (50 or more, divides 115200) or ,keep, screen, none";
  const ms = "milliseconds, 1 to 86400000";
  const known =
    "console=, vmconsole=, loglvl=, panic=, end=, preflight=, hwwatchdog=, reboot=, bootscrub=, tprshadow=, apicregs=, vid=, slice=, watchdog=, vmlimit=, cpus=, debug=";

  test.each([
    ["console=com3", com],
    ["console=", com],
    ["console=com1,", com],
    ["console=com1,0", com],
    ["console=com1,49", com],
    ["console=com1,7", com],
    ["console=com1,115201", com],
    ["console=com1,230400", com],
    ["console=com1,9600,8n1", com],
    ["console=com1,-1", com],
    ["console=COM1", com],
    ["console=screen,9600", com],
    ["console=none,9600", com],
    ["console=vga", com],
    [
      "vmconsole=vga",
      "com1, com2 or one other (pci, pciN, io:PORT, mmio:ADDRESS, mmio32:ADDRESS), screen, none",
    ],
    [
      "vmconsole=com1,9600",
      "com1, com2 or one other (pci, pciN, io:PORT, mmio:ADDRESS, mmio32:ADDRESS), screen, none",
    ],
    [
      "vmconsole=",
      "com1, com2 or one other (pci, pciN, io:PORT, mmio:ADDRESS, mmio32:ADDRESS), screen, none",
    ],
    ["loglvl=loud", "error, warning, info, debug"],
    ["loglvl=", "error, warning, info, debug"],
    ["loglvl=errors", "error, warning, info, debug"],
    ["panic=reset", "halt, reboot"],
    ["panic=", "halt, reboot"],
    ["reboot=maybe", "yes, no"],
    ["reboot=", "yes, no"],
    ["bootscrub=1", "yes, no"],
    ["slice=0", ms],
    ["slice=", ms],
    ["slice=10ms", ms],
    ["slice=-1", ms],
    ["slice=86400001", ms],
    ["slice=99999999999999999999", ms],
    ["watchdog=0", ms],
    ["watchdog=1.5", ms],
    ["vmlimit=never", ms],
    ["vmlimit=0", ms],
    ["frobnicate=1", known],
    ["console", known],
    ["=", known],
    ["slice 5", known],
    ["Slice=5", known],
    ["vmlimits=5", known],
  ])("%j refuses the boot and says what was expected", (commandLine, expected) => {
    const { log } = boot(`loglvl=info ${commandLine} panic=halt`);
    expect(log).toEqual([
      "Typevisor test 12345678",
      `refused: command line: ${commandLine.split(" ")[0]}: expected ${expected}`,
      "halts",
    ]);
  });

  test("is named first if there are several, and printed without what a terminal could take for more", () => {
    expect(boot("good=1 bad=2").log[1]).toBe(`refused: command line: good=1: expected ${known}`);
    expect(boot("a\x7fb\x9b=").log[1]).toBe(`refused: command line: a.b.=: expected ${known}`);
  });

  test("of any length is named as far as a line goes, with what was expected", () => {
    expect(boot("x".repeat(2000)).log[1]).toBe(`refused: command line: ${"x".repeat(60)}: expected ${known}`);
  });

  test("is told on the console that the line names, and ends as panic= says", () => {
    const host = boot("oops console=com2,9600 panic=reboot");
    expect(host.serial[0]).toBe("");
    expect(logOf(host.serial[1])[1]).toBe(`refused: command line: oops: expected ${known}`);
    expect(logOf(host.serial[1])[2]).toBe("reboots");
  });
});

describe("The command line", () => {
  test("may be 2047 bytes long, with any blanks between words, and not longer", () => {
    const words = (length: number) => " loglvl=info\t slice=5".padEnd(length - 8) + " panic=halt".slice(-8);
    for (const multiboot of [1, 2] as const) {
      expect(boot(`panic=halt${" ".repeat(2047 - 20)}slice=7777`, { multiboot }).log.at(-2)).toBe("done");
      expect(boot(`panic=halt${" ".repeat(2048 - 20)}slice=7777`, { multiboot }).log[1]).toBe(
        "refused: command line: expected 2047 bytes at most",
      );
      expect(boot("y ".repeat(5000), { multiboot }).log[1]).toBe(
        "refused: command line: expected 2047 bytes at most",
      );
    }
    expect(words(100).length).toBe(100);
  });

  test("may be empty, or absent", () => {
    expect(boot("").log.at(-2)).toBe("done");
    expect(boot("   ").log.at(-2)).toBe("done");
    const absent = new FakeHost({
      modules: kernels(1),
      loader: (info) => void (info.commandLine = undefined),
    });
    expect(absent.boot().at(-2)).toBe("done");
  });
});

describe("A module's string", () => {
  const modules = (...texts: string[]) =>
    texts.map((text) => ({ bytes: new Uint8Array(5000).fill(1), text }));
  const refusal = (...texts: string[]) =>
    boot("", { modules: modules(...texts) }).log.find((l) => l.startsWith("refused: "));

  test.each([
    [["kernel memory=3M"], "module 0: memory=3M: expected a multiple of 2M"],
    [["kernel memory=0"], "module 0: memory=0: expected a multiple of 2M"],
    [["kernel memory="], "module 0: memory=: expected a multiple of 2M"],
    [["kernel memory=4X"], "module 0: memory=4X: expected a multiple of 2M"],
    [["kernel memory=4Mx"], "module 0: memory=4Mx: expected a multiple of 2M"],
    [["kernel memory=4MxB"], "module 0: memory=4MxB: expected a multiple of 2M"],
    [["kernel memory=4MiBB"], "module 0: memory=4MiBB: expected a multiple of 2M"],
    [["kernel memory=-4M"], "module 0: memory=-4M: expected a multiple of 2M"],
    [["kernel memory=17179869185G"], "module 0: memory=17179869185G: expected a multiple of 2M"],
    [["kernel memory=16385G"], "module 0: memory=16385G: expected a multiple of 2M"],
    [
      ["kernel", "kernel name=x"],
      "module 1: name=x: expected memory=SIZE, cpus=N, tsckhz=N, or -- and the guest's command line",
    ],
    [
      ["kernel ro quiet"],
      "module 0: ro: expected memory=SIZE, cpus=N, tsckhz=N, or -- and the guest's command line",
    ],
    [["kernel tsckhz=999"], "module 0: tsckhz=999: expected kHz, 1000 to 8000000"],
    [["kernel tsckhz=8000001"], "module 0: tsckhz=8000001: expected kHz, 1000 to 8000000"],
    [["kernel tsckhz=2.5"], "module 0: tsckhz=2.5: expected kHz, 1000 to 8000000"],
    [["kernel", "kernel tsckhz="], "module 1: tsckhz=: expected kHz, 1000 to 8000000"],
    [["initrd", "kernel"], "module 0: initrd: expected after a kernel"],
    [["kernel", "initrd", "initrd"], "module 2: initrd: expected once after a kernel"],
    [["vmlinuz"], "module 0: vmlinuz: expected kernel, initrd, lines or settings"],
    [["kernel", ""], "module 1: : expected kernel, initrd, lines or settings"],
    [[`kernel ${"x".repeat(2041)}`], "module 0: expected a string of 2047 bytes at most"],
    [[`${"y".repeat(2047)}`], `module 0: ${"y".repeat(60)}: expected kernel, initrd, lines or settings`],
    [["lines"], "modules: no kernel"],
    [Array.from({ length: 65 }, () => "kernel memory=2M"), "modules: more than 64 kernels"],
  ])("%j is refused: it names the module, the word, and what was expected", (texts, text) => {
    expect(refusal(...texts)).toBe(`refused: ${text}`);
  });

  test.each([
    ["kernel memory=4194304", 4],
    ["kernel memory=4096K", 4],
    ["kernel memory=4M", 4],
    ["kernel memory=4m", 4],
    ["kernel memory=4MB", 4],
    ["kernel memory=6MiB", 6],
    ["  kernel \t memory=6M  ", 6],
    ["kernel", 256],
  ])("%j: the guest has %d MiB", (text, size) => {
    const { log } = boot("", { modules: modules(text) });
    expect(log.find((l) => l.startsWith("vm0: started"))).toContain(`memory ${size} MiB,`);
  });

  test.each([
    ["kernel memory=4M -- root=/dev/vda quiet", "root=/dev/vda quiet"],
    ["kernel memory=4M --   a  b ", "a  b "],
    ["kernel memory=4M --", ""],
    ["kernel memory=4M", ""],
    ["kernel memory=4M -- memory=1G -- x", "memory=1G -- x"],
    // As GRUB escapes: init="a b" and C:\\.
    ['kernel memory=4M -- init=\\"a b\\" \\\\', 'init="a b" \\'],
    [`kernel memory=4M -- ${"z".repeat(2027)}`, "z".repeat(2027)],
  ])("%j: the guest's command line is what follows --", (text, expected) => {
    let line = "";
    const { log } = boot("", {
      modules: modules(text),
      run: (vcpu) => {
        const info = abi("VM_INFO");
        const length = Number(vcpu.load(info + abi("VMINFO_COMMAND_LINE_LENGTH")));
        for (let i = 0; i < length; i++)
          line += String.fromCharCode(Number(vcpu.load(info + abi("COMMAND_LINE_OFFSET") + i, 1)));
        return vcpu.stop("POWERED_OFF");
      },
    });
    expect(log).toContain("vm0: ended: powered off");
    expect(line).toBe(expected);
  });
});
