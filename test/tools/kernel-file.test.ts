import { describe, expect, test } from "vitest";
import { checkFileFits, readKernelFile } from "../../tools/guest/kernel-file.ts";
import { bzImage } from "../unit/fake/bzimage.ts";
import { elf, type ElfOptions, fields, note, pvhNote } from "../unit/fake/elf.ts";
import { multibootHeader } from "../unit/fake/multiboot.ts";

const mib = 1 << 20;
const AT = 16 * mib;
const code = new Uint8Array(5000);
const parts = [{ at: AT, bytes: code, room: 9000 }];
const pvh = (options: ElfOptions = {}) => elf({ parts, notes: pvhNote(AT + 4), ...options });
const multibootElf = (flags = 3) => {
  const bytes = Buffer.concat([multibootHeader(flags), code]);
  return elf({ bits: 32, entry: AT + 12, parts: [{ at: AT, bytes }] });
};
const addresses = { header: AT, load: AT, loadEnd: 0, bssEnd: 0, entry: AT + 32 };
const plain = (changed = {}) => Buffer.concat([multibootHeader(0, { ...addresses, ...changed }), code]);
const read = (file: Uint8Array) => readKernelFile("--kernel x", Buffer.from(file));

test.each([
  ["bzImage", "a bzImage", bzImage([0xf4])],
  ["PVH", "a 64-bit ELF file with Xen's note", pvh()],
  ["PVH", "a 32-bit one", pvh({ bits: 32 })],
  ["multiboot", "a 32-bit ELF file with a header", multibootElf()],
  ["multiboot", "a file with addresses", plain()],
])("A %s kernel is told by its content: %s", (format, _, file) => {
  expect(read(file).format).toBe(format);
});

test("What an ELF file needs is from its lowest to its highest part", () => {
  expect(read(pvh({ parts: [...parts, { at: 0x30000, bytes: [1] }] }))).toMatchObject({
    prefAddress: 0x30000,
    initSize: AT + 9000 - 0x30000,
    loadedEnd: AT + 5000,
  });
});

describe("In one line, with the file's name:", () => {
  const damaged = (change: (file: Buffer) => void, file = Buffer.from(pvh())) => {
    change(file);
    return file;
  };
  test.each<[string, Uint8Array, string]>([
    ["nothing", new Uint8Array(0), "the file is empty"],
    ["text", Buffer.alloc(1000, "text"), "not a kernel: no bzImage, no PVH ELF file and no multiboot kernel"],
    ["a gzip file", Buffer.from([0x1f, 0x8b, 8]), "but a gzip file (unpack it first)"],
    ["a 64-bit program", elf({ parts }), "a 64-bit ELF file without a PVH entry point"],
    [
      "a 32-bit program",
      elf({ bits: 32, parts }),
      "a 32-bit ELF file without a PVH entry point or a multiboot",
    ],
    ["another note", pvh({ notes: note("GNU", 18, Buffer.alloc(4, 1)) }), "without a PVH entry point"],
    ["another CPU", damaged((f) => f.writeUInt16LE(183, 18)), "an ELF file, but not for x86"],
    ["an object file", damaged((f) => f.writeUInt16LE(1, 16)), "an ELF file, but no executable"],
    ["odd headers", damaged((f) => f.writeUInt16LE(57, fields[64].phentsize)), "have an unknown size"],
    ["many headers", damaged((f) => f.writeUInt16LE(300, fields[64].phnum)), "it has 300 program headers"],
    ["half a header", pvh().subarray(0, 60), "truncated: its ELF header ends behind its 60 bytes"],
    ["half of the headers", pvh().subarray(0, 100), "truncated: its program headers end behind"],
    ["half a file", pvh().subarray(0, 3000), "truncated: a part of it ends behind its 3000 bytes"],
    ["a part larger in the file", pvh({ parts: [{ at: AT, bytes: code, room: 1 }] }), "larger in the file"],
    ["parts that overlap", pvh({ parts: [...parts, ...parts] }), "its parts overlap"],
    ["a part at 0", pvh({ parts: [{ at: 0, bytes: code }] }), "where the guest's tables are"],
    ["a part at 3 GiB", pvh({ parts: [{ at: 3 * 2 ** 30, bytes: [1] }] }), "above 3 GiB"],
    ["an entry point elsewhere", pvh({ notes: pvhNote(AT - 1) }), "its entry point is outside of it"],
    ["a video mode", multibootElf(4), "its multiboot header demands a video mode"],
    ["unknown demands", multibootElf(16), "demands what is unknown (flags 16)"],
    ["odd addresses", plain({ load: AT + 4 }), "its multiboot header's addresses make no sense"],
    ["less than it says", plain({ loadEnd: AT + 6000 }), "the file is truncated: it has 5032 bytes"],
  ])("%s is refused", (_, file, why) => {
    expect(() => read(file)).toThrow("--kernel x: ");
    expect(() => read(file)).toThrow(why);
  });
});

test("The file and the parts that are loaded from it must be in memory at once, but for a bzImage", () => {
  const kernel = read(pvh());
  const pages = 4096 * 4;
  checkFileFits(kernel, { memory: AT + pages + 4096, initrdSize: 1 });
  expect(() => checkFileFits(kernel, { memory: 16 * mib, initrdSize: 1 })).toThrow(
    "--memory: 16M is too small to load the kernel in, this kernel needs at least 17M",
  );
  checkFileFits(read(bzImage(code)), { memory: 2 * mib, initrdSize: 0 });
});
