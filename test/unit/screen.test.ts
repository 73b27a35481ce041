/** The framebuffer: what of the loader's words is used, and every pixel that is painted. */
import { describe, expect, test } from "vitest";
import { FakeHost, type HostOptions } from "./fake/host.ts";
import { abi } from "./fake/layout.ts";
import { type Framebuffer, multiboot2, tagsOf } from "./fake/loader.ts";
import { attributeAt, cursorOf, font, textOf } from "./fake/screen.ts";
import { MIB, kernels } from "./fake/vms.ts";

const base = 0xc0000000n;
const rgb32 = [16, 8, 8, 8, 0, 8];
const rgb16 = [11, 5, 5, 6, 0, 5];
const rgb15 = [10, 5, 5, 5, 0, 5];

function pixels(width: number, height: number, depth: number, masks: number[], more = 0): Framebuffer {
  return { address: base, pitch: width * Math.ceil(depth / 8) + more, width, height, depth, masks };
}

/** Boots with one guest that prints all of `texts`, one by one. */
function boot(texts: string[], options: HostOptions = {}): FakeHost {
  const host = new FakeHost({
    commandLine: "vmconsole=screen console=com1",
    modules: kernels(1),
    run: (vcpu) => (vcpu.runs < texts.length ? vcpu.print(texts[vcpu.runs]!) : vcpu.stop("POWERED_OFF")),
    ...options,
  });
  host.boot();
  return host;
}

/** The 16 colours by VGA's numbers, as 24 bits of red, green and blue. */
const palette = [
  0x000000, 0x0000aa, 0x00aa00, 0x00aaaa, 0xaa0000, 0xaa00aa, 0xaa5500, 0xaaaaaa, 0x555555, 0x5555ff, 0x55ff55,
  0x55ffff, 0xff5555, 0xff55ff, 0xffff55, 0xffffff,
]; // prettier-ignore

function pixelOf(fb: Framebuffer, colour: number): number {
  return [16, 8, 0].reduce((value, shift, i) => {
    const [at, size] = [fb.masks[2 * i]!, fb.masks[2 * i + 1]!];
    return value + Math.round((((palette[colour]! >> shift) & 255) * (2 ** size - 1)) / 255) * 2 ** at;
  }, 0);
}

/** One character in a colour on another, perhaps underlined. */
interface Cell {
  code: number;
  front?: number;
  back?: number;
  underline?: boolean;
}

/** Compares every pixel, and every byte of the lines' ends, with what the cells should look like. */
function expectCells(host: FakeHost, fb: Framebuffer, lines: Cell[][], cursor?: [number, number]): void {
  const scale = fb.width >= 5120 ? 4 : fb.width >= 2560 ? 2 : 1;
  const bytes = Math.ceil(fb.depth / 8);
  const columns = Math.floor(fb.width / 8 / scale);
  const rows = Math.floor(fb.height / 16 / scale);
  const expected = Buffer.alloc(fb.pitch * fb.height);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const { code, front = 7, back = 0, underline } = lines[y]?.[x] ?? { code: 0x20 };
      const glyph = font.get(code) ?? font.get(0xfffd)!;
      for (let row = 0; row < 16 * scale; row++) {
        let bits = underline && Math.floor(row / scale) === 14 ? 255 : glyph[Math.floor(row / scale)]!;
        if (cursor && cursor[0] === x && cursor[1] === y) bits ^= 255;
        for (let column = 0; column < 8 * scale; column++) {
          const colour = (bits << Math.floor(column / scale)) & 0x80 ? front : back;
          const at = (y * 16 * scale + row) * fb.pitch + (x * 8 * scale + column) * bytes;
          expected.writeUIntLE(pixelOf(fb, colour), at, bytes);
        }
      }
    }
  }
  const painted = Buffer.from(host.memory.get(fb.address, expected.length));
  const first = painted.findIndex((byte, i) => byte !== expected[i]);
  const place = `line ${Math.floor(first / fb.pitch)}, byte ${first % fb.pitch}`;
  expect(first === -1 ? "the same" : `differs at ${place}`).toBe("the same");
}

const cells = (text: string, look: Omit<Cell, "code"> = {}): Cell[] =>
  Array.from(text, (c) => ({ code: c.codePointAt(0)!, ...look }));

describe("Pixels", () => {
  test.each<[string, Framebuffer]>([
    ["32 bits", pixels(640, 400, 32, rgb32)],
    ["32 bits, blue first", pixels(640, 400, 32, [0, 8, 8, 8, 16, 8])],
    ["32 bits, 10 a colour", pixels(640, 400, 32, [20, 10, 10, 10, 0, 10])],
    ["24 bits", pixels(640, 400, 24, rgb32)],
    ["16 bits", pixels(640, 400, 16, rgb16)],
    ["15 bits", pixels(640, 400, 15, rgb15)],
    ["lines with a rest", pixels(640, 400, 32, rgb32, 52)],
    ["24 bits, lines with an odd rest", pixels(650, 411, 24, rgb32, 7)],
    ["a width that is no multiple of 8", pixels(1366, 768, 32, rgb32, 40)],
    ["an address within a page", { ...pixels(640, 400, 16, rgb16), address: base + 0x1234n }],
    ["above 4 GiB", { ...pixels(640, 400, 32, rgb32), address: 0x4000000000n }],
    ["so many that all of them are doubled", pixels(2560, 400, 24, rgb32, 3)],
    ["so many that all of them are doubled twice", pixels(5120, 256, 16, rgb16)],
    ["as few as may be", pixels(320, 200, 32, rgb32)],
  ])("with %s are painted each as they should be", (_, fb) => {
    const host = boot(
      ["Hello \x1b[1;33;44mAg\x1b[0m\x1b[4m_y\x1b[0m\r\n\x1b[7m\xe2\x94\x80\xc3\x84\x1b[0m?\xe4\xbd\xa0"],
      {
        framebuffer: fb,
      },
    );
    const first = [
      ...cells("Hello "),
      ...cells("Ag", { front: 14, back: 1 }),
      ...cells("_y", { underline: true }),
    ];
    const second = [...cells("─Ä", { front: 0, back: 7 }), ...cells("?"), { code: 0xfffd }];
    expectCells(host, fb, [first, second], [4, 1]);
    expect(host.log.find((l) => l.startsWith("screen"))).toBe(
      `screen: ${fb.width} x ${fb.height} pixels of ${fb.depth} bits`,
    );
  });

  test("by Multiboot 1 are found as well", () => {
    const fb = pixels(640, 400, 32, rgb32);
    expectCells(boot(["x"], { framebuffer: fb, multiboot: 1 }), fb, [cells("x")], [1, 0]);
  });

  test("that scroll are those of the last lines, whatever was painted meanwhile", () => {
    const fb = pixels(320, 200, 16, rgb16);
    const lines = Array.from({ length: 200 }, (_, i) => `line ${i} ${"x".repeat(i % 30)}`);
    const host = boot(
      lines.map((line) => `${line}\r\n`),
      { framebuffer: fb },
    );
    expectCells(
      host,
      fb,
      lines.slice(-11).map((line) => cells(line)),
      [0, 11],
    );
  });

  test("are written as combined ones in a window of root's own, which no monitor has", () => {
    const fb = { ...pixels(1024, 768, 32, rgb32), address: base + 0x7000n };
    let monitor = 0n;
    const host = boot(["x"], {
      framebuffer: fb,
      monitor: (vcpu) => void (monitor = vcpu.host.cr[3]!),
    });
    const root = host.cr3Loads.find(({ by }) => by === "root")!.value;
    const window = 0xffffd00000000000n + fb.address;
    for (const at of [0n, 0x1fff00n, BigInt(fb.pitch * fb.height - 1)]) {
      const page = host.translate(root, window + at)!;
      // Entry 1 of the PAT, PWT without PCD: write combining.
      expect(page.flags & 0x98n & ~(page.size > 4096n ? 0x80n : 0n)).toBe(8n);
      expect(page.flags >> 63n).toBe(1n);
      expect(host.translate(monitor, window + at)).toBeUndefined();
    }
    expect((host.msrs[0x277]! >> 8n) & 0xffn).toBe(1n);
  });

  test("are uncached on a CPU without a page attribute table, which root does not ask for then", () => {
    const fb = pixels(640, 400, 32, rgb32);
    const plain = new FakeHost();
    const host = boot(["x"], {
      framebuffer: fb,
      cpuid: (leaf, subleaf) => {
        const [a, b, c, d] = plain.cpuid(leaf, subleaf);
        return leaf === 1 ? [a, b, c, d & ~(1 << 16)] : [a, b, c, d];
      },
    });
    const root = host.cr3Loads.find(({ by }) => by === "root")!.value;
    expect(host.translate(root, 0xffffd00000000000n + fb.address)!.flags & 0x18n).toBe(0x18n);
    expectCells(host, fb, [cells("x")], [1, 0]);
  });

  test("show why the machine is refused before root has an address space of its own", () => {
    const fb = pixels(640, 400, 32, rgb32);
    const host = new FakeHost({ framebuffer: fb, commandLine: "nonsense=1" });
    host.boot();
    const line = "(tv) refused: command line: nonsense=1: expected console=, vmconsole=, loglvl=, panic=,";
    expectCells(host, fb, [
      cells("(tv) Typevisor test 12345678"),
      ...["", "", ""].map((_, i) => cells(host.serial[0].split("\r\n")[1]!.slice(i * 80, i * 80 + 80))),
      cells("(tv) halts"),
    ], [0, 5]); // prettier-ignore
    expect(host.serial[0]).toContain(line);
  });
});

describe("What the loader says of the screen is left aside by name if", () => {
  const good = pixels(640, 400, 32, rgb32);
  test.each<[string, Partial<Framebuffer>, string]>([
    ["its colours are indexed", { type: 0, depth: 8 }, "expected type 1 (RGB) or 2 (text), is 0"],
    ["its type is unknown", { type: 77 }, "expected type 1 (RGB) or 2 (text), is 77"],
    ["its depth is 8", { depth: 8 }, "expected 15, 16, 24 or 32 bits a pixel, is 8"],
    ["its depth is 0", { depth: 0 }, "expected 15, 16, 24 or 32 bits a pixel, is 0"],
    ["its depth is 30", { depth: 30 }, "expected 15, 16, 24 or 32 bits a pixel, is 30"],
    ["it has no width", { width: 0 }, "expected 320 x 200 to 16384 x 16384 pixels, is 0 x 400"],
    ["it is as wide as can be", { width: 0xffffffff }, "expected 320 x 200 to 16384 x 16384 pixels, is 4294967295 x 400"],
    ["it is as high as can be", { height: 0xffffffff }, "expected 320 x 200 to 16384 x 16384 pixels, is 640 x 4294967295"],
    ["its lines are too short", { pitch: 2559 }, "expected 2560 bytes a line or more, is 2559"],
    ["it has no red", { masks: [16, 0, 8, 8, 0, 8] }, "expected red, green and blue apart within a pixel, is 16:0, 8:8, 0:8"],
    ["its colours overlap", { masks: [16, 8, 9, 8, 0, 8] }, "expected red, green and blue apart within a pixel, is 16:8, 9:8, 0:8"],
    ["a colour is outside of the pixel", { masks: [25, 8, 8, 8, 0, 8] }, "expected red, green and blue apart within a pixel, is 25:8, 8:8, 0:8"],
    ["a colour has 255 bits", { masks: [16, 255, 8, 8, 0, 8] }, "expected red, green and blue apart within a pixel, is 16:255, 8:8, 0:8"],
    ["it is at 0", { address: 0n }, "expected from 1 MiB on within 0x8000000000, is 1024000 bytes at 0x0"],
    ["it wraps around", { address: (1n << 64n) - 4096n }, "expected from 1 MiB on within 0x8000000000, is 1024000 bytes at 0xfffffffffffff000"],
    ["it goes beyond the CPU's addresses", { address: (1n << 39n) - 4096n }, "expected from 1 MiB on within 0x8000000000, is 1024000 bytes at 0x7ffffff000"],
    ["its lines are gigabytes", { pitch: 0xffffffff }, "expected from 1 MiB on within 0x8000000000, is 1717986918000 bytes at 0xc0000000"],
    ["it is where the APICs are", { address: 0xfedff000n }, "expected apart from the chipset at 0xfec00000, is 1024000 bytes at 0xfedff000"],
    ["it is in memory", { address: 0x1ff00000n }, "expected apart from memory, is 1024000 bytes at 0x1ff00000"],
    ["it is the hypervisor itself", { address: 2n * MIB }, "expected apart from memory, is 1024000 bytes at 0x200000"],
    ["its text is of another size", { type: 2, width: 132, height: 50, address: 0xb8000n }, "expected text of 80 x 25 at 0xb8000, is 132 x 50 at 0xb8000"],
    ["its text is elsewhere", { type: 2, width: 80, height: 25, address: 0xb0000n }, "expected text of 80 x 25 at 0xb8000, is 80 x 25 at 0xb0000"],
  ])("%s", (_, bad, why) => {
    const told = { ...good, ...bad };
    const { log } = boot(["x"], { loader: (info) => void (info.framebuffer = told), commandLine: "vmconsole=screen console=com1" }); // prettier-ignore
    expect(log.filter((l) => l.startsWith("screen"))).toEqual([`screen: the boot loader's framebuffer: ${why}: not used`]);
    expect(log).toContain("vm0: ended: powered off");
  }); // prettier-ignore

  test("and where UEFI's loader says nothing there is none", () => {
    const host = boot(["x"], {
      loader: (info, fake) => {
        const tags = tagsOf(info);
        tags.unshift({ kind: 12, body: new Uint8Array(8) });
        multiboot2(fake.memory, tags);
        return 0x36d76289;
      },
    });
    expect(host.log).toContain("screen: none: the boot loader tells of no framebuffer");
    expect(textOf(host).join("").replaceAll("\0", "")).toBe("");
  });

  test("but the text screen is used, told of or not", () => {
    const told = { address: 0xb8000n, pitch: 160, width: 80, height: 25, depth: 16, type: 2, masks: [] };
    for (const framebuffer of [told, undefined]) {
      const host = boot(["words"], framebuffer ? { framebuffer } : {});
      expect(host.log).toContain("screen: text");
      expect(textOf(host)[0]).toBe("words");
    }
  });
});

describe("The text screen", () => {
  test("has code page 437 for what it has, colours that do not blink, and a cursor", () => {
    const host = boot([
      "a\x1b[31mb\x1b[1;32;44mc\x1b[0;103md\x1b[m\xc3\xa9\xe2\x94\x82\xe2\x82\xac\xe2\x86\x92\xef\xbf\xbd.",
    ]);
    expect(Buffer.from(textOf(host)[0]!, "latin1").toString("hex")).toBe("616263648" + "2b33f1afe2e");
    expect([0, 1, 2, 3, 4].map((x) => attributeAt(host, x, 0))).toEqual([0x07, 0x04, 0x1a, 0x67, 0x07]);
    expect(cursorOf(host)).toEqual([10, 0]);
  });

  test("hides the cursor when it is told to", () => {
    const places: number[][] = [];
    boot([], {
      // Long enough for painting to have rested.
      run: (vcpu) => {
        if (vcpu.runs % 100 === 99) places.push(cursorOf(vcpu.host));
        if (vcpu.runs === 0) return vcpu.print("ab\x1b[?25l");
        if (vcpu.runs === 100) return vcpu.print("\x1b[?25h");
        return vcpu.runs < 200 ? vcpu.useSlice() : vcpu.stop("POWERED_OFF");
      },
    });
    expect(places).toEqual([
      [0, 25],
      [2, 0],
    ]);
  });
});

describe("The log and guests", () => {
  test("share the screen: a line of the log starts a new one, is grey, and spoils nothing of what a guest is at", () => {
    const host = new FakeHost({
      commandLine: "console=screen console=com1 vmconsole=screen",
      modules: kernels(1),
      run: (vcpu) => {
        if (vcpu.runs === 0) return vcpu.print("\x1b[32mgreen\x1b[4");
        if (vcpu.runs === 1) {
          vcpu.host.nmis = 1;
          return abi("LEAVE_NMI");
        }
        return vcpu.runs === 2 ? vcpu.print("4mblue behind it") : vcpu.stop("POWERED_OFF");
      },
    });
    host.boot();
    const lines = textOf(host);
    const at = lines.indexOf("green");
    expect(lines.slice(at, at + 3)).toEqual(["green", "(tv) NMI, number 1, on CPU 0", "blue behind it"]);
    expect([0, 1, 2].map((y) => attributeAt(host, 0, at + y))).toEqual([2, 7, 0x12]);
  });

  test("of several VMs have their names in front of lines, on the screen as on the UART", () => {
    const host = new FakeHost({
      commandLine: "console=none",
      modules: kernels(2),
      run: (vcpu) => {
        if (vcpu.runs > 1) return vcpu.stop("POWERED_OFF");
        vcpu.print(vcpu.runs ? "and\r\n" : "one\r\ntwo ");
        return vcpu.useSlice();
      },
    });
    host.boot();
    const lines = host.serial[0].split("\r\n").filter((line) => line !== "");
    expect(lines).toContain("vm0: one");
    expect(lines).toContain("vm1: one");
    expect(textOf(host).filter((line) => line !== "")).toEqual(lines.map((line) => line.trimEnd()));
  });
});

test("Painting takes 3 % of the time however much a guest prints, and what it prints last is on the screen", () => {
  const fb = pixels(1024, 768, 32, rgb32);
  // Other letters each time: every cell changes.
  const line = (run: number) => String.fromCharCode(97 + (run % 26)).repeat(96);
  const text = (run: number) => Array.from({ length: 60 }, (_, i) => `${line(run)} ${i}`).join("\r\n");
  const marks: { tsc: bigint; painted: number }[] = [];
  const host = new FakeHost({
    commandLine: "console=com1 vmconsole=screen",
    modules: kernels(1),
    framebuffer: fb,
    run: (vcpu) => {
      const { tsc, painted } = vcpu.host;
      marks.push({ tsc, painted });
      vcpu.host.tsc += 200_000n;
      return vcpu.runs < 500 ? vcpu.print(`\r\n${text(vcpu.runs)}`) : vcpu.stop("POWERED_OFF");
    },
  });
  host.boot();
  const [start, end] = [marks[0]!, marks[marks.length - 1]!];
  const share = (end.painted - start.painted) / Number(end.tsc - start.tsc);
  expect(share).toBeLessThan(0.035);
  expect(share).toBeGreaterThan(0.002);
  const first = 60 - 48;
  expectCells(
    host,
    fb,
    Array.from({ length: 48 }, (_, row) => cells(`${line(499)} ${first + row}`)),
    [99, 47],
  );
});
