import { describe, expect, test } from "vitest";
import { settingsText } from "../../tools/usb/texts.ts";
import { FakeHost, type HostOptions, logOf } from "./fake/host.ts";
import { abi } from "./fake/layout.ts";
import type { BootModule } from "./fake/loader.ts";
import { kernel } from "./fake/vms.ts";

const bytesOf = (text: string | Uint8Array) => (typeof text === "string" ? Buffer.from(text, "utf8") : text);
const settings = (text: string | Uint8Array): BootModule => ({ bytes: bytesOf(text), text: "settings" });

/** Boots a kernel whose string has `words`, with this settings.txt. */
function boot(text: string | Uint8Array, words = "", options: HostOptions = {}): FakeHost {
  const modules = [settings(text), kernel(words)];
  const host = new FakeHost({ modules, ...options });
  host.boot();
  return host;
}

const refusal = (text: string | Uint8Array, commandLine = "") =>
  boot(text, "memory=4M", { commandLine }).log.find((line) => line.startsWith("refused: "));

/** The guest's command line, as its monitor is told of it. */
function guestLine(text: string | Uint8Array, words: string): string {
  let line = "";
  const run: HostOptions["run"] = (vcpu) => {
    line = "";
    const info = abi("VM_INFO");
    const length = Number(vcpu.load(info + abi("VMINFO_COMMAND_LINE_LENGTH")));
    const bytes = Array.from({ length }, (_, i) =>
      Number(vcpu.load(info + abi("COMMAND_LINE_OFFSET") + i, 1)),
    );
    line = Buffer.from(bytes).toString("utf8");
    return vcpu.stop(vcpu.life === 1 ? "RESET" : "POWERED_OFF");
  };
  expect(boot(text, words, { run }).log).toContain("vm0: ended: powered off");
  return line;
}

const started = (host: FakeHost) => host.log.find((line) => line.startsWith("vm0: started"));

describe("settings.txt", () => {
  test.each([
    ["LF", "\n"],
    ["CRLF, as Windows ends lines", "\r\n"],
    ["CR", "\r"],
  ])("has a word a line, comments and empty lines; lines end with %s", (_, end) => {
    const lines = ["# comment", "", "console=com2,57600", "  vmconsole=none ", "\t# another=1", "memory=8M"];
    const host = boot(lines.join(end));
    expect(logOf(host.serial[1])).toContain("done");
    expect(host.ports.uarts[1].divisor).toBe(2);
    expect(host.serial[0]).toBe("");
    expect(logOf(host.serial[1]).find((line) => line.startsWith("vm0: started"))).toContain("memory 8 MiB");
  });

  test("may start with a byte order mark, end without a line end, or be empty", () => {
    expect(started(boot("\ufeffmemory=6M"))).toContain("memory 6 MiB");
    expect(started(boot("memory=6M\n"))).toContain("memory 6 MiB");
    expect(boot("", "memory=4M").log.at(-2)).toBe("done");
    expect(boot("\ufeff", "memory=4M").log.at(-2)).toBe("done");
  });

  test("is understood as scripts/usb-image writes it, its examples too", () => {
    const text = settingsText({ memory: 6, append: "console=ttyS0 quiet" });
    expect(started(boot(text))).toContain("memory 6 MiB");
    expect(guestLine(text, "")).toBe("console=ttyS0 quiet");
    expect(started(boot(text.replaceAll(/^#(\w+=)/gm, "$1")))).toContain("memory 6 MiB");
  });

  test("is read wherever it is among the modules", () => {
    const host = new FakeHost({ modules: [kernel("memory=4M"), settings("panic=reboot")] });
    expect(host.boot().at(-1)).toBe("reboots");
  });

  test("gives way to the hypervisor's command line", () => {
    const host = boot("console=com2\nvmconsole=none\nwatchdog=7\nslice=3", "memory=4M", {
      commandLine: "console=com1 watchdog=9",
    });
    expect(logOf(host.serial[0])).toContain("done");
    expect(host.serial[1]).toBe("");
    expect(host.watchdog).toBe(9n * 50_000n);
  });

  test("gives way to a kernel's string", () => {
    expect(started(boot("memory=8M\nappend=a", "memory=6M"))).toContain("memory 6 MiB");
    expect(guestLine("append=quiet", "memory=4M -- debug")).toBe("debug");
    expect(guestLine("append=quiet", "memory=4M --")).toBe("");
  });

  test("append= is the rest of its line, without GRUB's rules for quotes, and stays so when the guest restarts", () => {
    expect(guestLine('append=console=ttyS0 init="a b" \\\\x  # ü \r\n', "memory=4M")).toBe(
      'console=ttyS0 init="a b" \\\\x  # ü',
    );
    expect(guestLine("append=   a  b\t \n", "memory=4M")).toBe("a  b");
    expect(guestLine("append=a\nappend=\n", "memory=4M")).toBe("");
    const longest = "z".repeat(2047 - "append=".length);
    expect(guestLine(`append=${longest}`, "memory=4M")).toBe(longest);
  });

  test("cpus= is the guest's, hostcpus= the machine's", () => {
    let vcpus = 0n;
    const run: HostOptions["run"] = (vcpu) => {
      vcpus = vcpu.load(abi("VM_INFO") + abi("VMINFO_VCPUS"), 4);
      return vcpu.stop("POWERED_OFF");
    };
    expect(boot("hostcpus=1\ncpus=3", "memory=4M", { run }).log).toContain("done");
    expect(vcpus).toBe(3n);
    boot("hostcpus=1\ncpus=3", "memory=4M cpus=2", { run });
    expect(vcpus).toBe(2n);
  });
});

describe("A mistake in settings.txt is refused in one line, which has its number:", () => {
  const words = "memory=, cpus=, tsckhz=, append=, hostcpus=, or a word of the command line";
  test.each<[string, string | Uint8Array]>([
    ["line 7: memory=3M: expected a multiple of 2M", "#1\n#2\n\n#4\r\n\r\n#6\nmemory=3M\n"],
    [`line 1: frobnicate=1: expected ${words}`, "frobnicate=1"],
    [`line 1: memory: expected ${words}`, "memory = 512M"],
    ["line 1: memory=512M: expected nothing behind it on its line", "memory=512M cpus=2"],
    ["line 1: memory=512M: expected nothing behind it on its line", "memory=512M # the guest's"],
    ["line 1: cpus=0: expected 1 to 16", "cpus=0"],
    ["line 1: cpus=17: expected 1 to 16", "cpus=17"],
    ["line 1: hostcpus=65: expected 1 to 64", "hostcpus=65"],
    [`line 1: hostcpu=1: expected ${words}`, "hostcpu=1"],
    [`line 1: hostloglvl=all: expected ${words}`, "hostloglvl=all"],
    ["line 1: tsckhz=999: expected kHz, 1000 to 8000000", "tsckhz=999"],
    ["line 2: loglvl=loud: expected error, warning, info, debug", "\nloglvl=loud\ncpus=0"],
    ["line 2: expected text (UTF-8), has a byte 0x00", "\n\0memory=4M"],
    ["line 1: expected text (UTF-8), has a byte 0x00", Buffer.from("memory=4M\r\n", "utf16le")],
    ["line 1: expected text (UTF-8), has a byte 0x1b", "# \x1b[2J"],
    ["line 2: expected 2047 bytes at most", `\n# ${"x".repeat(2046)}`],
    ["line 2: expected 2047 bytes at most", `\n${"x".repeat(3000)}\ncpus=0`],
    [`line 1: a=${"x".repeat(58)}: expected ${words}`, `a=${"x".repeat(2000)}`],
  ])("%s", (expected, text) => {
    expect(refusal(text)).toBe(`refused: settings.txt: ${expected}`);
  });

  test("on the console that the file names, even further down", () => {
    const host = boot("oops\nconsole=com2\n", "memory=4M");
    expect(host.serial[0]).toBe("");
    expect(logOf(host.serial[1])[1]).toBe(`refused: settings.txt: line 1: oops: expected ${words}`);
  });

  test("before one on the command line", () => {
    expect(refusal("cpus=0", "oops=1")).toBe("refused: settings.txt: line 1: cpus=0: expected 1 to 16");
  });

  test("a file that is no settings.txt at all", () => {
    expect(refusal(new Uint8Array(65537).fill(10))).toBe(
      "refused: settings.txt: expected 65536 bytes at most, has 65537",
    );
    expect(refusal(new Uint8Array(65536).fill(10))).toBeUndefined();
  });

  test("another settings.txt", () => {
    const modules = [settings(""), settings(""), kernel("memory=4M")];
    expect(new FakeHost({ modules }).boot()).toContain("refused: module 1: settings: expected once");
  });

  test("a TSC that this CPU cannot scale", () => {
    expect(
      boot("tsckhz=25000", "memory=4M", { vendor: "AMD-V" }).log.find((l) => l.startsWith("refused")),
    ).toMatch(/^refused: settings\.txt: tsckhz=25000: expected 50000, the host's; /);
  });
});

test("Modules that are nowhere are refused before settings.txt is looked for in them", () => {
  const modules = [settings("oops"), kernel("memory=4M")];
  const loader: HostOptions["loader"] = (info) => {
    info.modules[0]!.start = 0xf0000000n;
    info.modules[0]!.end = 0xf0001000n;
  };
  expect(new FakeHost({ modules, loader }).boot()).toContain(
    "refused: the boot loader: module 0: expected in RAM and apart from the hypervisor, is from 0xf0000000 to 0xf0001000",
  );
});
