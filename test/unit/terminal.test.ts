/** The terminal on the screen: what console_codes(4) has, compared with a plain model, and whatever else may come. */
import { describe, expect, test } from "vitest";
import { FakeHost } from "./fake/host.ts";
import { Random } from "./fake/pc.ts";
import { attributeAt, cursorOf, textOf } from "./fake/screen.ts";
import { kernels } from "./fake/vms.ts";

const OUT = 4096;

/** Prints to the text screen, alone on it; returns the machine, and what the guest was answered. */
function print(text: string): { host: FakeHost; answers: string } {
  let answers = "";
  let at = 0;
  const host = new FakeHost({
    commandLine: "console=com1 vmconsole=screen",
    modules: kernels(1),
    run: (vcpu) => {
      answers += vcpu.input();
      if (at >= text.length) return vcpu.stop("POWERED_OFF");
      at += OUT;
      return vcpu.print(text.slice(at - OUT, at));
    },
  });
  host.boot();
  expect(host.log).toContain("vm0: ended: powered off");
  return { host, answers };
}

/** The lines that are not empty at the end. */
function screen(text: string): string[] {
  const lines = textOf(print(text).host);
  while (lines.at(-1) === "") lines.pop();
  return lines;
}

const CSI = "\x1b[";
const numbered = (count: number) => Array.from({ length: count }, (_, i) => `row ${i + 1}`).join("\r\n");

test.each<[string, string, string[]]>([
  ["line feeds, returns, backspaces", "ab\r\ncd\rX\ne\b\bY", ["ab", "Xd", "Ye"]],
  ["tabs, those that are set and cleared", `a\tb\r\n${CSI}5G\x1bH\rc\td\r\n${CSI}9G${CSI}g\re\tf\tg\r\n${CSI}3gh\ti`, ["a       b", "c   d", "e   f           g", `h${" ".repeat(78)}i`]],
  ["the end of a line is the next one's start, but only if more comes", `${"x".repeat(80)}\r\ny${CSI}80Gz\by${CSI}80Gzw`, ["x".repeat(80), `y${" ".repeat(77)}yz`, "w"]],
  ["no wrapping", `${CSI}?7l${"x".repeat(85)}yz`, [`${"x".repeat(79)}z`]],
  ["CUP, CUU, CUD, CUF, CUB", `${CSI}3;5Ha${CSI}2Ab${CSI}Bc${CSI}4Dd${CSI}2Ce`, ["     b", "   d  e", "    a"]],
  ["CNL, CPL, CHA, VPA, HPA", `${CSI}2Ea${CSI}Fb${CSI}9Gc${CSI}4dd${CSI}3\`e`, ["", "b       c", "a", "  e      d"]],
  ["cursors are kept on the screen", `${CSI}99;99Hx${CSI}999A${CSI}999Dy${CSI}0;0Hz`, ["z", ...Array<string>(23).fill(""), `${" ".repeat(79)}x`]],
  ["ED 0, 1, 2", `${numbered(5)}${CSI}3;3H${CSI}1J${CSI}4;4H${CSI}J`, ["", "", "    3", "row"]],
  ["EL 0, 1, 2", `aaaa\r\nbbbb\r\ncccc${CSI}1;3H${CSI}K${CSI}2;2H${CSI}1K${CSI}3;1H${CSI}2K`, ["aa", "  bb"]],
  ["ICH, DCH, ECH", `abcdef\r\nabcdef\r\nabcdef${CSI}1;2H${CSI}2@${CSI}2;2H${CSI}2P${CSI}3;2H${CSI}2X`, ["a  bcdef", "adef", "a  def"]],
  ["insert mode", `abc${CSI}2G${CSI}4hXY${CSI}4lZ`, ["aXYZc"]],
  ["IL, DL", `${numbered(4)}${CSI}2;3H${CSI}L${CSI}4;1H${CSI}M`, ["row 1", "", "row 2", "row 4"]],
  ["a region scrolls alone", `${numbered(5)}${CSI}2;4r${CSI}4;1H\r\nnew${CSI}r`, ["row 1", "row 3", "row 4", "new", "row 5"]],
  ["RI and IND at a region's edges", `${numbered(4)}${CSI}2;3r${CSI}2;1H\x1bM${CSI}3;1H\x1bDx`, ["row 1", "row 2", "x", "row 4"]],
  ["SU and SD", `${numbered(3)}${CSI}S${CSI}2;2r${CSI}T`, ["", "row 2", "row 3"]],
  ["NEL, and LNM", `a\x1bEb${CSI}20h\nc`, ["a", "b", "c"]],
  ["origin mode", `${CSI}3;5r${CSI}?6ha${CSI}9;1Hb${CSI}?6l${CSI}1;2Hc${CSI}r`, [" c", "", "a", "", "b"]],
  ["saved and restored cursors", `ab\x1b7${CSI}9;9Hx\x1b8c${CSI}sd${CSI}5;5H${CSI}ue`, ["abce", ...Array<string>(7).fill(""), "        x"]],
  ["line drawing by G0, and by G1", `\x1b(0lqk\x1b(Blqk \x1b)0\x0elqk\x0flqk`, ["\xda\xc4\xbflqk \xda\xc4\xbflqk"]],
  ["strings of other systems are swallowed", `a\x1b]0;title\x07b\x1bPq#0\x1b\\c\x1b_x\x1b\\d\x1b]Rrr\x1b]P0123456e\x1b^\xff\x18f`, ["abcdrref"]],
  ["sequences that are not known", `a${CSI}?1049hb${CSI}>4;1mc${CSI}1 qd\x1b%Ge\x1b=f${CSI}[Ag${CSI}5iz`, ["abcdefgz"]],
  ["controls within a sequence act at once, and CAN ends it", `ab${CSI}\b3\bCx${CSI}3\x18Cy`, ["ab xCy"]],
  ["RIS", `${CSI}31;5r${CSI}?7labc\x1bcd`, ["d"]],
  ["DECALN", `\x1b#8${CSI}2;1H${CSI}J`, ["E".repeat(80)]],
  ["broken UTF-8", "\xc3(\xe2\x82x\xff\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80.", ["\xfe(\xfex\xfe\xfe\xfe\xfe\xfe."]],
  ["characters without width", "a\u0301\u200bb", ["ab"]],
])("%s", (_, text, lines) => {
  expect(screen(Buffer.from(text, /[\u0100-\uffff]/.test(text) ? "utf8" : "latin1").toString("latin1"))).toEqual(lines);
}); // prettier-ignore

test.each<[string, number]>([
  ["", 0x07],
  ["1", 0x0f],
  ["2", 0x08],
  ["31", 0x04],
  ["1;34", 0x09],
  ["94", 0x09],
  ["33;44", 0x16],
  ["103", 0x67],
  ["7", 0x70],
  ["7;32;45", 0x25],
  ["31;39", 0x07],
  ["41;49", 0x07],
  ["1;7;22;27", 0x07],
  ["38;5;1", 0x04],
  ["38;5;12", 0x09],
  ["38;5;196", 0x0c],
  ["38;5;232", 0x00],
  ["38;5;255", 0x0f],
  ["48;5;21", 0x17],
  ["38;2;255;0;0", 0x0c],
  ["38;2;0;128;0", 0x02],
  ["38;5", 0x07],
  ["38;2;1;2", 0x07],
  ["38;9;31", 0x07],
  ["0;99;58;31", 0x04],
  ["31;;1", 0x0f],
  ["99999999999999;31", 0x04],
  [`${"0;".repeat(15)}31;32`, 0x04],
])("SGR %j makes the attribute %d", (parameters, attribute) => {
  const { host } = print(`\x1b[${parameters}mx`);
  expect(attributeAt(host, 0, 0)).toBe(attribute);
});

test("What is erased has the background's colour, and so have lines that scroll in", () => {
  const { host } = print(`\x1b[44m\x1b[2J\x1b[25;1H\r\n\x1b[m`);
  expect([attributeAt(host, 5, 5), attributeAt(host, 79, 24)]).toEqual([0x17, 0x17]);
});

describe("Questions", () => {
  test.each([
    ["5n", "\x1b[0n"],
    ["6n", "\x1b[3;5R"],
    ["c", "\x1b[?6c"],
  ])("CSI %s is answered into the guest's input", (question, answer) => {
    expect(print(`\x1b[3;5H\x1b[${question}`).answers).toBe(answer);
  });

  test("are left to a UART's terminal where the guest has one", () => {
    let answers = "";
    const host = new FakeHost({
      modules: kernels(1),
      run: (vcpu) => {
        answers += vcpu.input();
        return vcpu.runs === 0 ? vcpu.print("\x1b[6n") : vcpu.stop("POWERED_OFF");
      },
    });
    host.boot();
    expect(answers).toBe("");
    expect(host.serial[0]).toContain("\x1b[6n");
  });
});

/** A screen of 80 x 25 for the sequences that are common: lines, the cursor, erasing, inserting, a region. */
class Model {
  lines = Array.from({ length: 25 }, () => Array<string>(80).fill(" "));
  x = 0;
  y = 0;
  full = false;
  first = 0;
  last = 24;

  private blank = () => Array<string>(80).fill(" ");

  up(from: number, count: number): void {
    for (let i = 0; i < Math.min(count, 25); i++) {
      this.lines.splice(from, 1);
      this.lines.splice(this.last, 0, this.blank());
    }
  }
  down(from: number, count: number): void {
    for (let i = 0; i < Math.min(count, 25); i++) {
      this.lines.splice(this.last, 1);
      this.lines.splice(from, 0, this.blank());
    }
  }
  feed(): void {
    if (this.y === this.last) this.up(this.first, 1);
    else if (this.y < 24) this.y++;
    this.full = false;
  }
  write(c: string): void {
    if (this.full) {
      this.x = 0;
      this.feed();
    }
    this.lines[this.y]![this.x] = c;
    this.full = this.x === 79;
    if (this.x < 79) this.x++;
  }
  move(x: number, y: number): void {
    [this.x, this.y] = [Math.max(0, Math.min(79, x)), Math.max(0, Math.min(24, y))];
    this.full = false;
  }
  rows(n: number): void {
    const [low, high] = [this.y >= this.first ? this.first : 0, this.y <= this.last ? this.last : 24];
    this.move(this.x, Math.max(low, Math.min(high, this.y + n)));
  }
  erase(y: number, from: number, to: number): void {
    this.lines[y]!.fill(" ", from, to);
    this.full = false;
  }
}

/** A step of both: the bytes, and what they do to the model. */
function step(random: Random, model: Model): string {
  const n = random.pick([1, 1, 2, 3, random.below(100)]);
  const one = Math.max(n, 1);
  const inside = model.y >= model.first && model.y <= model.last;
  const row = model.lines[model.y]!;
  const { x, y } = model;
  const actions: (() => string)[] = [
    () => (model.move(0, y), "\r"),
    () => (model.feed(), "\n"),
    () => (model.move(x - 1, y), "\b"),
    () => (model.rows(-one), `${CSI}${n}A`),
    () => (model.rows(one), `${CSI}${n}B`),
    () => (model.move(x + one, y), `${CSI}${n}C`),
    () => (model.move(x - one, y), `${CSI}${n}D`),
    () => {
      const to = [random.below(30), random.below(90)] as const;
      model.move(Math.max(to[1], 1) - 1, Math.max(to[0], 1) - 1);
      return `${CSI}${to[0]};${to[1]}H`;
    },
    () => (model.erase(y, x, 80), `${CSI}K`),
    () => (model.erase(y, 0, x + 1), `${CSI}1K`),
    () => (model.erase(y, 0, 80), `${CSI}2K`),
    () => {
      for (let i = y; i < 25; i++) model.erase(i, i === y ? x : 0, 80);
      return `${CSI}J`;
    },
    () => {
      for (let i = 0; i <= y; i++) model.erase(i, 0, i === y ? x + 1 : 80);
      return `${CSI}1J`;
    },
    () => {
      row.splice(x, 0, ...Array<string>(Math.min(one, 80 - x)).fill(" "));
      row.length = 80;
      model.full = false;
      return `${CSI}${n}@`;
    },
    () => {
      row.splice(x, one);
      while (row.length < 80) row.push(" ");
      model.full = false;
      return `${CSI}${n}P`;
    },
    () => (model.erase(y, x, Math.min(80, x + one)), `${CSI}${n}X`),
    () => {
      if (inside) {
        model.down(y, Math.min(one, model.last - y + 1));
        model.full = false;
      }
      return `${CSI}${n}L`;
    },
    () => {
      if (inside) {
        model.up(y, Math.min(one, model.last - y + 1));
        model.full = false;
      }
      return `${CSI}${n}M`;
    },
    () => {
      const [top, bottom] = [1 + random.below(25), 1 + random.below(25)];
      if (top < bottom) {
        [model.first, model.last] = [top - 1, bottom - 1];
        model.move(0, 0);
      }
      return `${CSI}${top};${bottom}r`;
    },
    () => {
      [model.first, model.last] = [0, 24];
      model.move(0, 0);
      return `${CSI}r`;
    },
    () => {
      if (y === model.first) model.down(model.first, 1);
      else if (y > 0) model.y--;
      model.full = false;
      return "\x1bM";
    },
  ];
  if (random.below(3) === 0) {
    const text = Array.from({ length: 1 + random.below(30) }, () => String.fromCharCode(33 + random.below(90))).join("");
    for (const c of text) model.write(c);
    return text;
  } // prettier-ignore
  return random.pick(actions)();
}

test("12,000 steps of the common sequences leave what a plain model has, and the cursor where it is there", () => {
  const random = new Random(7);
  for (let round = 0; round < 100; round++) {
    const model = new Model();
    let text = "";
    for (let i = 0; i < 120; i++) text += step(random, model);
    const { host } = print(text);
    expect(textOf(host).join("\n"), `round ${round}`).toBe(
      model.lines.map((line) => line.join("").trimEnd()).join("\n"),
    );
    expect(cursorOf(host), `round ${round}`).toEqual([model.x, model.y]);
  }
}, 60_000);

test("1,000,000 bytes of anything crash nothing: the guest ends by itself, and the log can be read afterwards", () => {
  const random = new Random(11);
  const finals = "@ABCDEFGHJKLMPSTXZacdefghlmnrsu`78[](#%c";
  const piece = (): string => {
    const kind = random.below(8);
    if (kind < 3) return String.fromCharCode(random.below(256));
    if (kind === 3) return `\x1b${String.fromCharCode(random.below(128))}`;
    const numbers = Array.from({ length: random.below(20) }, () =>
      String(random.pick([0, 1, 2, random.below(100), random.below(2 ** 31), 99999999999])),
    );
    return `\x1b[${random.pick(["", "", "?", ">"])}${numbers.join(";")}${random.pick([...finals])}`;
  };
  let left = 1_000_000;
  const host = new FakeHost({
    commandLine: "console=screen console=com1 vmconsole=screen",
    modules: kernels(1),
    framebuffer: {
      address: 0xc0000000n,
      pitch: 1280,
      width: 640,
      height: 400,
      depth: 16,
      masks: [11, 5, 5, 6, 0, 5],
    },
    run: (vcpu) => {
      vcpu.input();
      if (left <= 0) return vcpu.stop("POWERED_OFF");
      let text = "";
      while (text.length < OUT - 400) text += piece();
      left -= text.length;
      return vcpu.print(text);
    },
  });
  host.boot();
  expect(host.log.slice(-2)).toEqual(["done", "halts"]);
  expect(host.strays).toEqual([]);
}, 300_000);
