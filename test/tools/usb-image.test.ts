import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { makeStick } from "../../tools/image/stick.ts";
import { stickMenu, stickPaths } from "../../tools/image/stick-menu.ts";
import { diskStart } from "../../tools/image/mbr.ts";

const work = mkdtempSync(join(tmpdir(), "typevisor-usb-image-"));
afterAll(() => rmSync(work, { recursive: true, force: true }));

const mib = 1 << 20;
const file = (name: string, content: string | Buffer): string => {
  writeFileSync(join(work, name), content);
  return join(work, name);
};
const files = new Map([
  [stickPaths.settings, file("settings.txt", "memory=4M\r\n")],
  [stickPaths.hypervisor, file("hypervisor", Buffer.alloc(300_000, 0x90))],
  [stickPaths.kernel("b guest"), file("kernel-b", "b")],
  [stickPaths.kernel("a"), file("kernel-a", "a")],
  [stickPaths.initrd("a"), file("initrd-a", Buffer.alloc(2 * mib, 7))],
]);

const mtools = (program: string, image: string, ...args: string[]): string =>
  execFileSync(program, ["-i", `${image}@@1M`, ...args], {
    encoding: "latin1",
    stdio: "pipe",
    maxBuffer: 16 * mib,
  });

test("Two images of the same files are the same bytes, at whatever time of day", async () => {
  const [first, second] = [join(work, "first.img"), join(work, "second.img")];
  await makeStick(first, files);
  await new Promise((resolve) => setTimeout(resolve, 2100)); // FAT's times are in steps of two seconds
  await makeStick(second, files);
  expect(readFileSync(first).equals(readFileSync(second))).toBe(true);
});

test("The disk has one active partition of type 0Ch from 1 MiB to its end, with the files on FAT32", async () => {
  const image = join(work, "disk.img");
  await makeStick(image, files, 100 * mib);
  const start = readFileSync(image).subarray(0, 2 * mib);
  const sectors = (100 * mib) / 512;
  expect([start[510], start[511]]).toEqual([0x55, 0xaa]);
  // Active; head 32, sector 33, cylinder 0: 2048 with 255 heads and 63 sectors; type; the last sector; LBA and length.
  expect([...start.subarray(446, 451)]).toEqual([0x80, 32, 33, 0, 0x0c]);
  expect(start.readUInt32LE(454)).toBe(2048);
  expect(start.readUInt32LE(458)).toBe(sectors - 2048);
  expect(start.subarray(462, 510).every((byte) => byte === 0)).toBe(true);
  const fat = start.subarray(mib);
  expect(fat.subarray(82, 90).toString("latin1")).toBe("FAT32   ");
  expect(fat.readUInt32LE(28), "hidden sectors").toBe(2048);
  expect(fat.readUInt32LE(32), "sectors").toBe(sectors - 2048);
  const [reserved, tables, tableSectors] = [fat.readUInt16LE(14), fat[16]!, fat.readUInt32LE(36)];
  const clusters = (sectors - 2048 - reserved - tables * tableSectors) / fat[13]!;
  expect(clusters, "fewer are FAT16 to whoever counts them").toBeGreaterThan(65525);
  for (const [path, source] of files)
    expect(mtools("mtype", image, `::${path}`), path).toBe(readFileSync(source, "latin1"));
  expect(mtools("mtype", image, `::${stickPaths.menu}`)).toBe(stickMenu);
  expect(mtools("mtype", image, `::${stickPaths.uefiLoader}`).slice(0, 2)).toBe("MZ");
});

test("An image that is too small for its files is refused with the size that it needs, and leaves nothing behind", async () => {
  const large = new Map([...files, ["/large", file("large", Buffer.alloc(80 * mib))]]);
  await expect(makeStick(join(work, "small.img"), large, 64 * mib)).rejects.toThrow(
    /^--size: expected 11\dM or more, is 64M$/,
  );
  expect(readdirSync(work).filter((name) => name.includes("small"))).toEqual([]);
});

test("A file that cannot be read is named, and no image is left", async () => {
  const missing = new Map([...files, ["/missing", join(work, "missing")]]);
  await expect(makeStick(join(work, "bad.img"), missing)).rejects.toThrow("missing");
  expect(readdirSync(work).filter((name) => name.includes("bad"))).toEqual([]);
});

test("GRUB's files are checked", () => {
  const disk = { sectors: 100_000, signature: 1 };
  const sector = Buffer.alloc(512);
  expect(() => diskStart(sector, Buffer.alloc(1), disk)).toThrow("boot.img is no boot sector");
  sector.writeUInt16LE(0xaa55, 510);
  expect(() => diskStart(sector, Buffer.alloc(2047 * 512 + 1), disk)).toThrow(
    "GRUB's core image has 1048065 bytes, expected 1048064 at most",
  );
});

test("GRUB understands the menu", () => {
  const path = file("menu.cfg", stickMenu);
  execFileSync("grub-script-check", [path], { stdio: "pipe" });
  expect(stickMenu).not.toContain("\r");
});
