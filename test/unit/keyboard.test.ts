/** The PS/2 keyboard: how it is found, and what its scan codes (set 1) type for a guest and for the hypervisor. */
import { describe, expect, test } from "vitest";
import { fixChecksum, ordinaryTables, putTables, table } from "./fake/firmware.ts";
import { FakeHost, type HostOptions } from "./fake/host.ts";
import { HostKeyboard } from "./fake/hostports.ts";
import { kernels } from "./fake/vms.ts";

/** Presses keys while the guest runs; what it is typed, and the machine. */
function type(codes: number[], options: HostOptions = {}, first = ""): { input: string; host: FakeHost } {
  const keyboard = options.keyboard ?? new HostKeyboard();
  let input = "";
  const host = new FakeHost({
    commandLine: "console=com1 vmconsole=screen",
    modules: kernels(1),
    keyboard,
    run: (vcpu) => {
      input += vcpu.input();
      if (vcpu.runs === 0) return first === "" ? vcpu.useSlice() : vcpu.print(first);
      if (vcpu.runs === 1) keyboard.press(...codes);
      return vcpu.runs < 4 ? vcpu.useSlice() : vcpu.stop("POWERED_OFF");
    },
    ...options,
  });
  host.boot();
  return { input, host };
}

const up = (code: number) => code | 0x80;
const E0 = 0xe0;
const [SHIFT, RIGHT_SHIFT, CONTROL, ALT, CAPS, NUM] = [0x2a, 0x36, 0x1d, 0x38, 0x3a, 0x45] as const;
const held = (modifier: number, ...codes: number[]) => [modifier, ...codes, up(modifier)];

/** The keys of a US keyboard that type a character, in the order of their codes from `first` on. */
const rows: [number, string, string][] = [
  [0x02, "1234567890-=", "!@#$%^&*()_+"],
  [0x10, "qwertyuiop[]", "QWERTYUIOP{}"],
  [0x1e, "asdfghjkl;'`", 'ASDFGHJKL:"~'],
  [0x2b, "\\zxcvbnm,./", "|ZXCVBNM<>?"],
];

describe("Keys", () => {
  test.each(rows)(
    "from %i on are those of a US keyboard, with Shift and without",
    (first, plain, shifted) => {
      const codes = Array.from(plain, (_, i) => first + i);
      const typed = codes.flatMap((code) => [code, up(code)]);
      expect(type(typed).input).toBe(plain);
      expect(type(held(SHIFT, ...typed)).input).toBe(shifted);
      expect(type(held(RIGHT_SHIFT, ...typed)).input).toBe(shifted);
    },
  );

  test.each<[string, number[], string]>([
    ["Escape, backspace, tab, enter, space", [0x01, 0x0e, 0x0f, 0x1c, 0x39], "\x1b\x7f\t\r "],
    ["the keypad's enter and slash", [E0, 0x1c, E0, 0x35], "\r/"],
    ["Shift and tab", held(SHIFT, 0x0f), "\x1b[Z"],
    ["the key of other keyboards beside Shift", [0x56, SHIFT, 0x56], "<>"],
    ["Caps Lock, for letters only, until it is pressed again", [CAPS, up(CAPS), 0x1e, 0x02, SHIFT, 0x1e, up(SHIFT), CAPS, 0x1e], "A1aa"],
    ["Control and letters", held(CONTROL, 0x2e, 0x1e, 0x1a, 0x2b, 0x1b), "\x03\x01\x1b\x1c\x1d"],
    ["the right Control", [E0, CONTROL, 0x2e, E0, up(CONTROL), 0x2e], "\x03c"],
    ["Control and digits", held(CONTROL, 0x03, 0x04, 0x08, 0x09, 0x35), "\0\x1b\x1f\x7f\x1f"],
    ["Control and space", held(CONTROL, 0x39), "\0"],
    ["Alt", held(ALT, 0x30), "\x1bb"],
    ["the right Alt, with Control", [E0, ALT, CONTROL, 0x30], "\x1b\x02"],
    ["arrows", [0x48, 0x50, 0x4d, 0x4b].flatMap((code) => [E0, code, E0, up(code)]), "\x1b[A\x1b[B\x1b[C\x1b[D"],
    ["navigation", [0x47, 0x52, 0x53, 0x4f, 0x49, 0x51].flatMap((code) => [E0, code]), "\x1b[1~\x1b[2~\x1b[3~\x1b[4~\x1b[5~\x1b[6~"],
    ["navigation between the Shifts that keyboards send around it", [E0, 0x2a, E0, 0x48, E0, up(0x48), E0, up(0x2a), 0x1e], "\x1b[Aa"],
    ["F1 to F5", [0x3b, 0x3c, 0x3d, 0x3e, 0x3f], "\x1b[[A\x1b[[B\x1b[[C\x1b[[D\x1b[[E"],
    ["F6 to F12", [0x40, 0x41, 0x42, 0x43, 0x44, 0x57, 0x58], "\x1b[17~\x1b[18~\x1b[19~\x1b[20~\x1b[21~\x1b[23~\x1b[24~"],
    ["the keypad", [0x47, 0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f, 0x50, 0x51, 0x52, 0x53, 0x37], "789-456+1230.*"],
    ["the keypad without Num Lock", [NUM, up(NUM), 0x48, 0x4c, 0x47, 0x4a, 0x4e, NUM, 0x48], "\x1b[A\x1b[G\x1b[1~-+8"],
    ["the keypad with Shift", held(SHIFT, 0x48), "\x1b[A"],
    ["Pause, and keys that nobody knows", [0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5, E0, 0x5b, 0x46, 0x70, 0x1e], "a"],
    ["answers and noise", [0xfa, 0xff, 0x00, 0xfe, 0x1e], "a"],
  ])("%s", (_, codes, text) => {
    expect(type(codes).input).toBe(text);
  }); // prettier-ignore

  test("are arrows of another kind when a program asks for it, and those as before when it has done", () => {
    expect(type([E0, 0x48], {}, "\x1b[?1h").input).toBe("\x1bOA");
    expect(type([E0, 0x48], {}, "\x1b[?1h\x1b[?1l").input).toBe("\x1b[A");
  });

  test("for the hypervisor are the same as on a UART: Ctrl-^ p presses the power button", () => {
    const { input, host } = type([...held(CONTROL, ...held(SHIFT, 0x07)), 0x19, 0x19]);
    expect(host.log).toContain("vm0: power button");
    expect(input).toBe("p");
  });

  test("come by interrupt where the machine routes it, and by the timer where not", () => {
    for (const ioapic of [true, false]) {
      const options = ioapic ? { ioapicInputs: 24, firmware: ordinaryTables } : {};
      const { input, host } = type([0x1e], options);
      expect(input).toBe("a");
      expect(host.log.find((l) => l.startsWith("keyboard"))).toBe(
        ioapic ? "keyboard: PS/2" : "keyboard: PS/2, no interrupt line, it is served by the timer",
      );
    }
  });

  test("do not come from a mouse", () => {
    const mouse = new HostKeyboard();
    let seen = "";
    new FakeHost({
      commandLine: "console=com1 vmconsole=screen",
      modules: kernels(1),
      keyboard: mouse,
      run: (vcpu) => {
        seen += vcpu.input();
        if (vcpu.runs === 1) mouse.moveMouse(0x08, 0x1e, 0x1f);
        if (vcpu.runs === 2) mouse.press(0x20);
        return vcpu.runs < 5 ? vcpu.useSlice() : vcpu.stop("POWERED_OFF");
      },
    }).boot();
    expect(seen).toBe("d");
  });
});

describe("The controller", () => {
  test("is set to translate and to interrupt, the keyboard is on, the mouse silent, and nothing is reset", () => {
    const keyboard = new HostKeyboard(0x32);
    type([], { keyboard });
    expect(keyboard.configuration).toBe(0x61);
    expect(keyboard.commands).toEqual([0x20, 0x60, 0xae]);
  });

  test("is emptied of what was typed before", () => {
    const keyboard = new HostKeyboard();
    keyboard.press(0x1e, 0x1f, 0x20);
    expect(type([0x21], { keyboard }).input).toBe("f");
  });

  test.each<[string, HostOptions, string]>([
    [
      "does not answer",
      { keyboard: new HostKeyboard(0, "answers nothing") },
      "its controller does not answer",
    ],
    [
      "takes no command",
      { keyboard: new HostKeyboard(0, "takes nothing") },
      "its controller takes no command",
    ],
  ])("that %s is left alone by name", (_, options, why) => {
    const { host } = type([], options);
    expect(host.log.filter((l) => l.startsWith("keyboard"))).toEqual([
      `keyboard: none found: ${why}; USB keyboards work where the firmware emulates one`,
    ]);
    expect(host.log).toContain("vm0: ended: powered off");
  });

  test("that is not there is said so, and the guest runs", () => {
    const host = new FakeHost({ commandLine: "console=com1 vmconsole=screen", modules: kernels(1) });
    expect(host.boot()).toContain(
      "keyboard: none found: no PS/2 controller; USB keyboards work where the firmware emulates one",
    );
    expect(host.log).toContain("vm0: ended: powered off");
  });

  test.each([
    [1, 0, true],
    [3, 0, false],
    [3, 2, true],
    [6, 0, false],
    [6, 0xffff, true],
  ])("is looked for with a FADT of revision %i and boot flags %i: %s", (revision, flags, there) => {
    const keyboard = new HostKeyboard();
    const fadt = Buffer.alloc(116);
    fadt.writeUInt16LE(flags, 109 - 36);
    const bytes = table("FACP", fadt);
    bytes[8] = revision;
    fixChecksum(bytes, 9);
    const { host } = type([], { keyboard, firmware: (machine) => void putTables(machine, bytes) });
    expect(keyboard.commands.length > 0).toBe(there);
    expect(host.log.some((l) => l.startsWith("keyboard: none found: no PS/2 controller"))).toBe(!there);
  });

  test("is not touched where guests are not on the screen", () => {
    const keyboard = new HostKeyboard();
    const { host } = type([], { keyboard, commandLine: "console=com1 vmconsole=com1" });
    expect(keyboard.commands).toEqual([]);
    expect(host.log.join("\n")).not.toContain("keyboard");
  });
});
