import { expect, test } from "vitest";
import { checkFit, readKernel } from "../../tools/guest/bzimage.ts";

const mib = 1 << 20;

/** The smallest file with a proper header: 1 setup sector, `paragraphs` of 16 bytes after it. */
function bzImage(change: (file: Buffer) => void = () => {}, paragraphs = 64): Buffer {
  const file = Buffer.alloc(1024 + paragraphs * 16);
  file.writeUInt8(1, 0x1f1);
  file.writeUInt32LE(paragraphs, 0x1f4);
  file.write("HdrS", 0x202);
  file.writeUInt16LE(0x020f, 0x206);
  file.writeUInt32LE(0x7fffffff, 0x22c);
  file.writeUInt16LE(1, 0x236);
  file.writeUInt32LE(2047, 0x238);
  file.writeBigUInt64LE(16n << 20n, 0x258);
  file.writeUInt32LE(48 * mib, 0x260);
  change(file);
  return file;
}

test("A kernel's header says where it runs and what it needs", () => {
  expect(readKernel("kernel", bzImage())).toEqual({
    prefAddress: 16 * mib,
    initSize: 48 * mib,
    initrdAddrMax: 0x7fffffff,
    cmdlineSize: 2047,
  });
});

test.each([
  ["an empty file", Buffer.alloc(0), "the file is empty"],
  ["a file of a few bytes", Buffer.alloc(100), "not a Linux kernel in bzImage format"],
  [
    "a file without the magic",
    bzImage((file) => file.write("hdrs", 0x202)),
    "not a Linux kernel in bzImage format",
  ],
  ["an ELF file", Buffer.concat([Buffer.from("\x7fELF"), Buffer.alloc(1024)]), "but an ELF file"],
  ["a compressed file", Buffer.concat([Buffer.from([0x1f, 0x8b]), Buffer.alloc(1024)]), "but a gzip file"],
  ["an old kernel", bzImage((file) => file.writeUInt16LE(0x020b, 0x206)), "boot protocol 2.11 is too old"],
  ["a 32-bit kernel", bzImage((file) => file.writeUInt16LE(0, 0x236)), "no 64-bit entry point"],
  ["half a file", bzImage().subarray(0, 1200), "truncated: it has 1200 of 2048 bytes"],
])("%s is refused and named", (_, file, why) => {
  expect(() => readKernel("--kernel x", file)).toThrow(`--kernel x: `);
  expect(() => readKernel("--kernel x", file)).toThrow(why);
});

test("The last paragraph of a kernel need not be whole", () => {
  const file = bzImage();
  expect(readKernel("kernel", file.subarray(0, file.length - 15)).initSize).toBe(48 * mib);
});

test("No number of setup sectors means four", () => {
  expect(() =>
    readKernel(
      "kernel",
      bzImage((file) => file.writeUInt8(0, 0x1f1)),
    ),
  ).toThrow("of 3584 bytes");
});

const kernel = readKernel("kernel", bzImage());
const guest = { memory: 128 * mib, initrdSize: 10 * mib, append: "quiet" };

test("Kernel and initrd fit exactly or not at all", () => {
  checkFit(kernel, { ...guest, memory: 74 * mib });
  expect(() => checkFit(kernel, { ...guest, memory: 73 * mib })).toThrow(
    "the initrd of 10M is too large for the guest: 9M are free (--memory 74M is the least for it)",
  );
});

test("Too little memory for the kernel names the least that is enough", () => {
  expect(() => checkFit(kernel, { ...guest, memory: 63 * mib })).toThrow(
    "--memory: 63M is too small, this kernel needs at least 74M",
  );
});

test("An initrd must end below the kernel's limit, however much memory there is", () => {
  expect(() => checkFit(kernel, { ...guest, memory: 8192 * mib, initrdSize: 2000 * mib })).toThrow(
    /too large/,
  );
});

test("A command line that the kernel would cut is refused", () => {
  checkFit(kernel, { ...guest, append: "a".repeat(2047) });
  expect(() => checkFit(kernel, { ...guest, append: "a".repeat(2048) })).toThrow("2048 bytes are too long");
});
