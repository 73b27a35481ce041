/** scripts/kernel-symbols: a kernel's own symbols and unwind tables, as GDB wants them. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import { readKernel } from "../../tools/debug/kernel-symbols/read-kernel.ts";
import { Base, Frame } from "../../tools/debug/kernel-symbols/orc.ts";
import { decompress } from "../../tools/debug/kernel-symbols/payload.ts";
import { symbolFile } from "../../tools/debug/kernel-symbols/symbol-file.ts";
import { fetchFile } from "../../tools/guest/debian.ts";
import { kernels } from "../../tools/guest/kernels.ts";
import { Refusal } from "../../tools/machine/errors.ts";
import { projectDirectory } from "../../tools/machine/run-directory.ts";
import { type TinyKernel, banner, bzImage, data, longName, text, tinyKernel } from "./tiny-kernel.ts";

const directory = mkdtempSync(join(tmpdir(), "typevisor-symbols-"));
afterAll(() => rmSync(directory, { recursive: true }));

function write(name: string, bytes: Buffer): string {
  writeFileSync(join(directory, name), bytes);
  return join(directory, name);
}

const command = [
  "--import",
  join(projectDirectory, "node_modules/tsx/dist/loader.mjs"),
  join(projectDirectory, "tools/debug/kernel-symbols/main.ts"),
];
const run = (...args: string[]): { status: number | null; stdout: string; stderr: string } =>
  spawnSync(process.execPath, [...command, ...args], { encoding: "utf8", maxBuffer: 1 << 26 });
const output = (program: string, ...args: string[]): string =>
  execFileSync(program, args, { encoding: "utf8", maxBuffer: 1 << 28 });

/** What the refusal says; it is one line and begins with the file's name. */
function refusal(file: Buffer): string {
  try {
    readKernel("kernel.img", file);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    expect(error.message).toMatch(/^kernel\.img: [^\n]+$/);
    return error.message.slice("kernel.img: ".length);
  }
  return "accepted";
}

describe("Symbols", () => {
  test.each<TinyKernel>([
    { order: "6.1" },
    { order: "6.2", release: "6.2.3" },
    { order: "6.4", release: "6.12.3" },
    { order: "6.1", absolutePerCpu: false },
    { order: "6.4", absolutePerCpu: false, release: "6.16.0" },
    { sectionHeaders: false },
  ])("are found in a kernel with %o", (options) => {
    const { file, symbols } = tinyKernel(options);
    const kernel = readKernel("kernel", file);
    expect(kernel.symbols).toEqual(symbols);
    expect(kernel.symbols.map(({ name }) => name)).toContain(longName);
    expect(kernel.banner).toMatchObject({ address: data, text: banner(options.release ?? "6.1.0-1-tiny") });
  });

  test("have sections, types, sizes and bindings in the file, and move with it", () => {
    const file = write("symbols.elf", symbolFile(readKernel("kernel", tinyKernel().file)));
    const table = output("readelf", "-sW", file);
    const line = (name: string): string[] =>
      new RegExp(`^.* ${name}$`, "m").exec(table)![0].trim().split(/\s+/).slice(1);
    expect(line("start_kernel")).toEqual(
      "ffffffff81000010 112 FUNC GLOBAL DEFAULT 1 start_kernel".split(" "),
    );
    expect(line("f290").slice(2, 4)).toEqual(["FUNC", "LOCAL"]);
    expect(line("weak_function").slice(2, 4)).toEqual(["FUNC", "WEAK"]);
    expect(line("linux_banner").slice(2)).toEqual("OBJECT LOCAL DEFAULT 2 linux_banner".split(" "));
    expect(line("runqueues").slice(5)).toEqual(["ABS", "runqueues"]);
    const moved = ["-ex", `symbol-file -o 0x4000000 ${file}`, "-ex", "info symbol 0xffffffff85000014"];
    expect(output("gdb", "-nx", "-q", "-batch", ...moved)).toContain("start_kernel + 4 in section .text");
  });
});

/** sp_reg, bp_reg, type and what is above, as the kernel's header has them. */
const fields = (sp: Base, bp: Base, type: number, above = 0): number => sp | (bp << 4) | (type << 8) | above;

describe("Unwind entries", () => {
  test.each([
    ["6.1.5", fields(Base.Sp, Base.PreviousSp, 0), Frame.Call],
    ["6.1.5", fields(Base.Sp, 0, 1), Frame.Registers],
    ["6.1.5", fields(Base.Sp, 0, 2), Frame.PartialRegisters],
    ["6.1.5", fields(0, 0, 0), Frame.Unknown],
    ["6.1.5", fields(0, 0, 0, 1 << 10), Frame.Outermost],
    ["6.3.5", fields(Base.Sp, 0, 1, 1 << 10), Frame.Registers],
    ["6.3.5", fields(0, 0, 0, 1 << 11), Frame.Outermost],
    ["6.4.5", fields(0, 0, 0), Frame.Unknown],
    ["6.4.5", fields(0, 0, 1), Frame.Outermost],
    ["6.12.5", fields(Base.Bp, Base.PreviousSp, 2), Frame.Call],
    ["6.12.5", fields(Base.Sp, 0, 3, 1 << 11), Frame.Registers],
    ["7.0.0", fields(Base.Sp, 0, 4, 1 << 11), Frame.PartialRegisters],
  ])("of Linux %s with the fields %s are of kind %i", (release, bits, frame) => {
    const { file } = tinyKernel({ release, orc: [[text, 16, -16, bits]] });
    expect(readKernel("kernel", file).orc).toMatchObject([
      { address: text, frame, spOffset: 16, bpOffset: -16 },
    ]);
  });

  test("are found by symbols or by section headers", () => {
    const orc: TinyKernel["orc"] = [[text, 8, 0, fields(Base.Sp, 0, 0)]];
    for (const options of [{ sectionHeaders: false }, { orcSymbols: false }]) {
      expect(readKernel("kernel", tinyKernel({ orc, ...options }).file).orc).toHaveLength(1);
    }
    expect(
      readKernel("kernel", tinyKernel({ orc, sectionHeaders: false, orcSymbols: false }).file).orc,
    ).toEqual([]);
  });

  test("of another version's format are refused", () => {
    const { file } = tinyKernel({ orc: [[text, 8, 0, fields(Base.Sp, 0, 0, 1 << 12)]] });
    expect(refusal(file)).toBe("entry 0 of the kernel's unwind tables is none in the format of Linux 6.1");
  });

  test("become DWARF's rules for the same frames", () => {
    const call = (sp: Base, bp: Base): number => fields(sp, bp, 2);
    const { file } = tinyKernel({
      release: "6.12.1",
      order: "6.4",
      orc: [
        [text, 8, 0, call(Base.Sp, 0)],
        [text + 1, 16, -16, call(Base.Sp, Base.PreviousSp)],
        [text + 4, 16, -16, call(Base.Bp, Base.PreviousSp)],
        [text + 0x40, 8, 0, call(Base.Sp, 0)],
        [text + 0x80, -8, 0, call(Base.BpIndirect, Base.Bp)],
        [text + 0xa0, 0, 0, call(Base.SpIndirect, 0)],
        [text + 0x100, 0, 0, fields(Base.Sp, 0, 3, 1 << 11)],
        [text + 0x200, 0, 0, fields(Base.Sp, 0, 3, 1 << 11)],
        [text + 0x280, 0, 0, fields(Base.Sp, 0, 4, 1 << 11)],
        [text + 0x2f0, 0, 0, fields(0, 0, 0)],
        [text + 0x400, 0, 0, fields(0, 0, 1)],
      ],
    });
    const path = write("frames.elf", symbolFile(readKernel("kernel", file)));
    const frames = output("readelf", "--debug-dump=frames", path);
    expect(frames).toContain("pc=ffffffff81000000..ffffffff810000a0");
    expect(frames).toContain("DW_CFA_def_cfa: r6 (rbp) ofs 16");
    expect(frames).toContain("DW_CFA_def_cfa_expression (DW_OP_breg6 (rbp): -8; DW_OP_deref)");
    expect(frames).toContain("DW_CFA_expression: r6 (rbp) (DW_OP_breg6 (rbp): 0)");
    const after = (pc: string): string => frames.slice(frames.indexOf(`pc=${pc}..`)).split("\n\n")[0]!;
    expect(after("ffffffff810000a0")).toContain(
      "DW_CFA_val_expression: r7 (rsp) (DW_OP_consts: -8; DW_OP_plus; DW_OP_deref)",
    );
    const cieOf = (pc: string): string => {
      const offset = new RegExp(`cie=([0-9a-f]+) pc=${pc}`).exec(frames)![1]!;
      return frames
        .slice(frames.indexOf(`\n${offset} `))
        .split("\n\n")
        .slice(0, 2)
        .join("\n");
    };
    expect(cieOf("ffffffff81000000")).toContain("DW_CFA_offset: r16 (rip) at cfa-8");
    expect(cieOf("ffffffff81000100")).toContain('"zS"');
    expect(cieOf("ffffffff81000100")).toContain("DW_CFA_offset_extended_sf: r16 (rip) at cfa+128");
    expect(cieOf("ffffffff81000100")).toContain("DW_CFA_offset_extended_sf: r7 (rsp) at cfa+152");
    expect(cieOf("ffffffff81000200")).toContain('"z"');
    expect(cieOf("ffffffff81000280")).toContain("DW_CFA_offset_extended_sf: r7 (rsp) at cfa+24");
    expect(cieOf("ffffffff810002f0")).toContain("DW_CFA_undefined: r16 (rip)");
    expect(cieOf("ffffffff81000300"), "a thunk").toContain("DW_CFA_offset: r16 (rip) at cfa-8");
    expect(cieOf("ffffffff81000400")).toContain("DW_CFA_undefined: r16 (rip)");
  });
});

describe("What is damaged is refused in one line", () => {
  const orc: TinyKernel["orc"] = [
    [text, 8, 0, fields(Base.Sp, 0, 0)],
    [text + 0x40, 0, 0, fields(0, 0, 0)],
  ];
  const { file, tables } = tinyKernel({ orc });
  const damaged = (change: (file: Buffer) => void): Buffer => {
    const copy = Buffer.from(file);
    change(copy);
    return copy;
  };

  test.each([
    ["nothing", Buffer.alloc(0), "the file is empty"],
    ["an ELF header alone", file.subarray(0, 63), "the kernel in it is no ELF file"],
    ["an ARM kernel", damaged((f) => f.writeUInt16LE(183, 18)), "not for x86-64"],
    ["no code", damaged((f) => f.writeUInt32LE(6, 68)), "no code in the top 2 GiB"],
    ["absurdly many headers", damaged((f) => f.writeUInt16LE(0xffff, 56)), "its program headers end behind"],
    ["headers far away", damaged((f) => f.writeBigUInt64LE(1n << 63n, 32)), "its program headers end behind"],
    [
      "sections far away",
      damaged((f) => f.writeBigUInt64LE(1n << 63n, 40)),
      "its section headers end behind",
    ],
    [
      "an absurd segment",
      damaged((f) => f.writeBigUInt64LE((1n << 64n) - 1n, 152)),
      "ends behind the file's",
    ],
    [
      "no digits",
      damaged((f) => f.fill(0, tables.token_table, tables.token_index)),
      "no kallsyms_token_table",
    ],
    [
      "an index that differs",
      damaged((f) => f.writeUInt8(9, tables.token_index! + 9)),
      "no kallsyms_token_table",
    ],
    [
      "too many symbols",
      damaged((f) => f.writeUInt32LE(0xffffffff, tables.num_syms)),
      "no kallsyms_num_syms",
    ],
    ["no symbols", damaged((f) => f.writeUInt32LE(0, tables.num_syms)), "no kallsyms_num_syms"],
    ["a symbol too few", damaged((f) => f.writeUInt32LE(299, tables.num_syms)), "no kallsyms_num_syms"],
    ["an empty name", damaged((f) => f.writeUInt8(0, tables.names)), "no kallsyms_num_syms"],
    [
      "a long last name",
      damaged((f) => f.fill(0xff, tables.markers! - 9, tables.markers)),
      "no kallsyms_num_syms",
    ],
    ["a wrong marker", damaged((f) => f.writeUInt8(1, tables.markers! + 5)), "no kallsyms_num_syms"],
    ["falling addresses", damaged((f) => f.writeInt32LE(-1, tables.offsets! + 800)), "no kallsyms_offsets"],
    ["no base", damaged((f) => f.writeBigInt64LE(0n, tables.relative_base)), "no kallsyms_offsets"],
    ["another base", damaged((f) => f.writeInt32LE(-0x40000000, tables.relative_base)), "_text in its code"],
    ["no banner", damaged((f) => f.fill(0, tables.banner, tables.banner! + 9)), "does not say its version"],
    [
      "an odd unwind entry",
      damaged((f) => f.writeUInt16LE(0xffff, tables.orc_unwind! + 4)),
      "entry 0 of the",
    ],
    [
      "an unwind entry elsewhere",
      damaged((f) => f.writeInt32LE(2 ** 31 - 1, tables.orc_unwind_ip)),
      "entry 0",
    ],
  ])("%s", (_, bytes, expected) => {
    expect(refusal(bytes)).toContain(expected);
  });

  test("half of it, wherever it was cut", () => {
    const bare = tinyKernel({ orc, sectionHeaders: false }).file;
    for (let length = 0; length < bare.length; length += 509) {
      expect(refusal(bare.subarray(0, length)), `${length} bytes`).not.toBe("accepted");
    }
  });

  test("half of its memory, wherever a table was cut", () => {
    for (const at of Object.values(tables).flatMap((start) => [start, start + 1, start + 8])) {
      const cut = damaged((f) => f.writeBigUInt64LE(BigInt(at - 0x1000), 120 + 32));
      // Everything but the end of the last table has to be there.
      if (at < tables.token_index! + 512) expect(refusal(cut), `${at}`).not.toBe("accepted");
    }
  });

  test("any bytes changed: refused or read, and never a failure of another kind", () => {
    let random = 1;
    const next = (limit: number): number => (random = (random * 48271) % 0x7fffffff) % limit;
    const places = [0, ...Object.values(tables)];
    const results = new Set<string>();
    for (let i = 0; i < (process.env.NIGHTLY ? 20_000 : 1000); i++) {
      const changed = damaged((f) => {
        for (let n = next(3); n >= 0; n--) f.writeUInt8(next(256), places[next(places.length)]! + next(600));
      });
      const said = refusal(changed);
      if (said === "accepted") symbolFile(readKernel("kernel", changed));
      results.add(said);
    }
    expect(results.size).toBeGreaterThan(5);
  });
});

describe("The compressed kernel", () => {
  const { file } = tinyKernel();
  const size = Buffer.alloc(4);
  size.writeUInt32LE(file.length);
  const compress = (program: string, ...args: string[]): Buffer =>
    Buffer.concat([execFileSync(program, args, { input: file, maxBuffer: 1 << 24 }), size]);

  test.each([
    ["gzip", () => gzipSync(file)],
    ["xz", () => compress("xz", "--check=crc32", "-c")],
    ["lzma", () => compress("xz", "--format=lzma", "-c")],
    ["zstd", () => compress("zstd", "-22", "--ultra", "-qc")],
    ["lz4", () => compress("lz4", "-l", "-c")],
    ["bzip2", () => compress("bzip2", "-c")],
  ])("is unpacked from %s, and refused if there is not all of it", (format, make) => {
    const payload = make();
    expect(readKernel("kernel", bzImage(payload)).symbols).toHaveLength(300);
    const short = Buffer.concat([payload.subarray(0, payload.length >> 1), size]);
    expect(refusal(bzImage(short))).toContain(`(${format}`);
    const wrong = Buffer.from(payload);
    wrong.writeUInt32LE(file.length - 1, wrong.length - 4);
    expect(refusal(bzImage(wrong))).toContain(`(${format}`);
  });

  test("that is larger than any kernel, or in no known format, is refused", () => {
    const absurd = Buffer.from(gzipSync(file));
    absurd.writeUInt32LE(0xffffffff, absurd.length - 4);
    expect(refusal(bzImage(absurd))).toContain("it says that its kernel has 4294967295 bytes");
    expect(refusal(bzImage(Buffer.from("none of them, at all")))).toContain(
      "expected one of gzip, xz, lzma,",
    );
    expect(refusal(bzImage(Buffer.alloc(0)))).toContain("there is no compressed kernel in it");
    expect(refusal(bzImage(gzipSync(file)).subarray(0, 2000))).toContain("truncated");
  });

  test("needs a program, which is named if it is missing", () => {
    const path = process.env.PATH;
    process.env.PATH = directory;
    try {
      const payload = Buffer.concat([Buffer.from("28b52ffd", "hex"), Buffer.alloc(20), size]);
      expect(() => decompress("kernel", payload)).toThrow(
        "kernel: zstd is needed to decompress it (Debian package zstd)",
      );
    } finally {
      process.env.PATH = path;
    }
  });
});

describe("The command", () => {
  test("writes the file whole or not at all", () => {
    const out = write("out.elf", Buffer.from("what was there"));
    const bad = write("bad", tinyKernel().file.subarray(0, 5000));
    const before = readdirSync(directory);
    const refused = run(bad, "-o", out);
    expect(refused).toMatchObject({ status: 1, stdout: "" });
    expect(refused.stderr).toMatch(/^scripts\/kernel-symbols: \S+bad: .* is truncated: [^\n]*\n$/);
    expect(readFileSync(out, "utf8")).toBe("what was there");
    const good = write("good", tinyKernel().file);
    const nowhere = run(good, "-o", join(directory, "none/out.elf"));
    expect(nowhere.status).toBe(1);
    expect(nowhere.stderr).toMatch(/^scripts\/kernel-symbols: \S+out\.elf: cannot be written \(ENOENT\)\n$/);
    expect(run(good, "-o", out)).toMatchObject({
      status: 0,
      stderr:
        `${out}: Linux version 6.1.0-1-tiny, 300 symbols, no unwind entries (GDB has to guess); ` +
        "_text 0xffffffff81000000, linux_banner 0xffffffff81010000\n",
    });
    expect(readdirSync(directory).sort()).toEqual([...before, "good"].sort());
  });

  test("lists the symbols as nm does", () => {
    const listed = run(write("listed", tinyKernel().file), "--list");
    expect(listed.status).toBe(0);
    expect(listed.stdout).toContain("ffffffff81000000 T _text\n");
    expect(listed.stdout).toContain("ffffffff81010000 r linux_banner\n");
    expect(listed.stdout).toContain("0000000000000040 D runqueues\n");
  });

  test.each([
    [["kernel"], "nothing to do: give -o FILE or --list"],
    [[], "missing required argument 'kernel'; see scripts/kernel-symbols --help"],
    [["/nowhere", "--list"], "/nowhere: no such file"],
    [["/", "--list"], "/: cannot be read (EISDIR)"],
  ])("with %o says what is wrong", (args, expected) => {
    expect(run(...args)).toEqual(
      expect.objectContaining({ status: 1, stdout: "", stderr: `scripts/kernel-symbols: ${expected}\n` }),
    );
  });
});

test("Debian's kernel has its symbols and frames in the file within seconds", async () => {
  const kernel = await fetchFile(kernels.cloud);
  const out = join(directory, "debian.elf");
  const start = performance.now();
  const { status, stderr } = run(kernel, "-o", out);
  expect(status, stderr).toBe(0);
  expect(performance.now() - start).toBeLessThan(15_000);
  const [, symbols, entries] = /(\d+) symbols, (\d+) unwind entries/.exec(stderr)!.map(Number);
  expect(symbols).toBeGreaterThan(80_000);
  expect(entries).toBeGreaterThan(300_000);
  const commands = ["info address panic", "info symbol start_kernel", "info line entry_SYSCALL_64"];
  const said = output("gdb", "-nx", "-q", "-batch", ...commands.flatMap((line) => ["-ex", line]), out);
  expect(said).toMatch(/Symbol "panic" is at 0xffffffff8\w+/);
  expect(said).toContain("start_kernel in section .init.text");
  const frames = spawnSync("readelf", ["--debug-dump=frames", out], { encoding: "utf8", maxBuffer: 1 << 28 });
  expect(frames.stderr).toBe("");
  expect(existsSync(out)).toBe(true);
});
