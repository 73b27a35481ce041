import { execFileSync, spawn } from "node:child_process";
import {
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { randomFillSync } from "node:crypto";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import { Refusal } from "../../tools/machine/errors.ts";
import { projectDirectory } from "../../tools/machine/run-directory.ts";
import { parseOptions } from "../../tools/usb/command.ts";
import { checkDevice, type Host } from "../../tools/usb/device.ts";
import { type Disk, type Progress, type Source, writeImage } from "../../tools/usb/write.ts";

const mib = 1 << 20;
const work = mkdtempSync(join(tmpdir(), "typevisor-usb-write-"));
afterAll(() => rmSync(work, { recursive: true, force: true }));

const image = (bytes: number): Source & { bytes: Buffer } => {
  const content = randomFillSync(Buffer.alloc(bytes));
  return {
    bytes: content,
    name: "stick.img",
    size: bytes,
    read: (into, at) => Promise.resolve(content.copy(into, 0, at)),
  };
};

/** A disk whose cache is not its medium, and that does as little at a time as `most` says. */
class FakeDisk implements Disk {
  readonly name = "/dev/sdx";
  readonly medium: Buffer;
  readonly log: string[] = [];
  cache = new Map<number, Buffer>();
  constructor(
    readonly size: number,
    readonly most = Infinity,
    readonly spoil: (byte: number) => boolean = () => false,
  ) {
    this.medium = Buffer.alloc(size, 0xee);
  }
  async write(bytes: Buffer, at: number): Promise<number> {
    const part = bytes.subarray(0, this.most);
    this.log.push(`write ${at}`);
    this.cache.set(at, Buffer.from(part));
    return part.length;
  }
  async read(into: Buffer, at: number): Promise<number> {
    expect(this.cache.size, "what is compared comes from the medium").toBe(0);
    return this.medium.copy(into, 0, at, Math.min(at + into.length, at + this.most));
  }
  async flush(): Promise<void> {
    for (const [at, bytes] of this.cache) {
      bytes.copy(this.medium, at);
      for (let i = 0; i < bytes.length; i += 512) if (this.spoil(at + i)) this.medium[at + i]! ^= 1;
    }
  }
  async dropCaches(): Promise<void> {
    this.log.push("drop");
    this.cache.clear();
  }
}
const none = (): void => {};

describe("Writing an image", () => {
  test.each([1, 512, mib, mib + 1, 3 * mib + 512, 20 * mib])(
    "of %d bytes: the disk has it afterwards",
    async (bytes) => {
      const source = image(bytes);
      const disk = new FakeDisk(21 * mib);
      const reports: Progress[] = [];
      await writeImage(source, disk, (progress) => reports.push(progress));
      expect(disk.medium.subarray(0, bytes).equals(source.bytes)).toBe(true);
      expect(disk.medium.subarray(bytes).every((byte) => byte === 0xee)).toBe(true);
      expect(reports.at(-1)).toEqual({ what: "compared", bytes, of: bytes });
    },
  );

  test("short writes and reads are continued", async () => {
    const source = image(2 * mib + 512);
    const disk = new FakeDisk(3 * mib, 65_536 + 512);
    await writeImage(source, disk, none);
    expect(disk.medium.subarray(0, source.size).equals(source.bytes)).toBe(true);
  });

  test("fails when the disk takes nothing more", async () => {
    const disk = new FakeDisk(3 * mib);
    const write = disk.write.bind(disk);
    disk.write = (bytes, at) => (at >= 2 * mib ? Promise.resolve(0) : write(bytes, at));
    await expect(writeImage(image(3 * mib), disk, none)).rejects.toThrow(
      "/dev/sdx takes no more at byte 2097152",
    );
  });

  test("fails when the image is cut meanwhile", async () => {
    const source = image(3 * mib);
    source.read = (into, at) => Promise.resolve(source.bytes.subarray(0, 2 * mib + 5).copy(into, 0, at));
    await expect(writeImage(source, new FakeDisk(3 * mib), none)).rejects.toThrow(
      "stick.img ends at byte 2097157, expected 3145728 bytes",
    );
  });

  test("is refused when the disk is too small, before anything is written", async () => {
    const disk = new FakeDisk(2 * mib);
    await expect(writeImage(image(2 * mib + 512), disk, none)).rejects.toThrow(
      "stick.img has 2097664 bytes, /dev/sdx only 2097152",
    );
    expect(disk.log).toEqual([]);
  });

  test("fails when the disk has other bytes afterwards, and then does not boot", async () => {
    const disk = new FakeDisk(3 * mib, Infinity, (byte) => byte === 2 * mib + 1024);
    await expect(writeImage(image(3 * mib), disk, none)).rejects.toThrow(
      /^\/dev\/sdx does not keep what is written to it: byte 2098176 was \d+, is \d+$/,
    );
    expect(disk.medium.subarray(0, mib).every((byte) => byte === 0)).toBe(true);
    const first = new FakeDisk(3 * mib, Infinity, (byte) => byte === 0);
    await expect(writeImage(image(3 * mib), first, none)).rejects.toThrow("byte 0 was");
  });

  test("that is interrupted anywhere leaves a disk that does not boot", async () => {
    const whole = new FakeDisk(4 * mib);
    await writeImage(image(4 * mib), whole, none);
    const last = whole.log.filter((entry) => entry !== "drop").length;
    for (let stop = 1; stop < last; stop++) {
      const disk = new FakeDisk(4 * mib);
      const write = disk.write.bind(disk);
      let writes = 0;
      disk.write = (bytes, at) =>
        ++writes > stop ? Promise.reject(new Error("interrupted")) : write(bytes, at);
      await expect(writeImage(image(4 * mib), disk, none)).rejects.toThrow("interrupted");
      await disk.flush();
      expect(
        disk.medium.subarray(0, mib).every((byte) => byte === 0),
        `after ${stop} writes`,
      ).toBe(true);
    }
  });
});

/** A machine with these files below /sys and /proc, and these devices. */
function host(files: Record<string, string>, devices = ["/dev/sdb", "/dev/sdb1"]): Host {
  const root = mkdtempSync(join(work, "host-"));
  const put = (path: string, text: string): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  for (const device of devices) put(device, "");
  for (const [path, text] of Object.entries(files)) put(path, text);
  return { root, isBlockDevice: (path) => devices.includes(path) };
}

const stick = {
  "sys/block/sdb/size": "31260672\n",
  "sys/block/sdb/removable": "1\n",
  "sys/block/sdb/ro": "0\n",
  "sys/block/sdb/device/model": "Cruzer  Blade   \n",
  "sys/block/sdb/sdb1/partition": "1\n",
  "sys/class/block/sdb1/partition": "1\n",
  "proc/self/mounts": "/dev/sda1 / ext4 rw 0 0\n/dev/sdbx /mnt ext4 rw 0 0\n",
};

describe("A disk to write to", () => {
  test("is a removable one that is not in use", () => {
    expect(checkDevice("/dev/sdb", false, host(stick))).toEqual({
      name: "/dev/sdb",
      path: "/dev/sdb",
      size: 31260672 * 512,
      description: "Cruzer Blade, 16.0 GB",
    });
  });

  test.each<[string, string, Record<string, string>]>([
    ["no such device", "/dev/sdq", stick],
    ["not a disk: expected a block device, /dev/sdX (-o writes files)", "/proc/self/mounts", stick],
    ["a partition: name the whole disk", "/dev/sdb1", stick],
    ["there is no medium in it", "/dev/sdb", { ...stick, "sys/block/sdb/size": "0\n" }],
    ["write-protected", "/dev/sdb", { ...stick, "sys/block/sdb/ro": "1\n" }],
    [
      "not a removable disk (Cruzer Blade, 16.0 GB); --force /dev/sdb beside it writes it all the same",
      "/dev/sdb",
      { ...stick, "sys/block/sdb/removable": "0\n" },
    ],
    [
      "/dev/sdb1 is mounted at /media/my stick: unmount it first",
      "/dev/sdb",
      { ...stick, "proc/self/mounts": "/dev/sdb1 /media/my\\040stick vfat rw 0 0\n" },
    ],
    [
      "/dev/sdb is mounted at /mnt: unmount it first",
      "/dev/sdb",
      { ...stick, "proc/self/mounts": "/dev/sdb /mnt vfat rw 0 0\n" },
    ],
  ])("is refused: %s", (why, name, files) => {
    expect(() => checkDevice(name, false, host(files))).toThrow(new Refusal(`--write ${name}: ${why}`));
  });

  test("need not be removable if it is named once more, but all else holds", () => {
    const fixed = { ...stick, "sys/block/sdb/removable": "0\n" };
    expect(checkDevice("/dev/sdb", true, host(fixed)).size).toBe(31260672 * 512);
    const mounted = { ...fixed, "proc/self/mounts": "/dev/sdb1 /mnt vfat rw 0 0\n" };
    expect(() => checkDevice("/dev/sdb", true, host(mounted))).toThrow("is mounted at /mnt");
    expect(() => parseOptions(["--write", "/dev/sdb", "--force", "/dev/sda"])).toThrow(
      "--force /dev/sda: expected the same disk as --write /dev/sdb",
    );
  });
});

/** A loop device over a new file of so many bytes; undefined, with a reason, where there are none. */
function loopDevice(bytes: number): { device: string; file: string } | undefined {
  const file = join(work, `disk-${Math.random().toString(36).slice(2)}`);
  writeFileSync(file, "");
  truncateSync(file, bytes);
  try {
    const device = execFileSync("losetup", ["--find", "--show", file], {
      encoding: "utf8",
      stdio: "pipe",
    }).trim();
    return { device, file };
  } catch {
    return undefined;
  }
}
function firstByte(file: string): number {
  const bytes = Buffer.alloc(1);
  const handle = openSync(file, "r");
  readSync(handle, bytes);
  closeSync(handle);
  return bytes[0]!;
}

const trial = loopDevice(mib);
if (trial !== undefined) execFileSync("losetup", ["--detach", trial.device]);

/** Runs the script; `during` sees what it prints while it does. */
function usbImage(args: string[], during?: (stderr: string, kill: (signal: NodeJS.Signals) => void) => void) {
  const child = spawn(process.execPath, [
    "--import",
    join(projectDirectory, "node_modules/tsx/dist/loader.mjs"),
    join(projectDirectory, "tools/usb/main.ts"),
    ...args,
  ]);
  let stderr = "";
  child.stderr.on("data", (bytes) => {
    stderr += bytes;
    during?.(stderr, (signal) => child.kill(signal));
  });
  return new Promise<{ status: number | null; signal: string | null; stderr: string }>((resolve) =>
    child.once("close", (status, signal) => resolve({ status, signal, stderr })),
  );
}

describe.skipIf(trial === undefined)("On a loop device (skipped where losetup makes none)", () => {
  const attach = (bytes: number): { device: string; file: string } => {
    const loop = loopDevice(bytes)!;
    onTestFinished(() => {
      execFileSync("losetup", ["--detach", loop.device]);
      rmSync(loop.file);
    });
    return loop;
  };
  /** An image of a disk as far as --image looks. */
  const imageFile = (bytes: number): { path: string; bytes: Buffer } => {
    const content = image(bytes).bytes;
    content.writeUInt16LE(0xaa55, 510);
    const path = join(work, `image-${bytes}`);
    writeFileSync(path, content);
    return { path, bytes: content };
  };

  test("an image is written and compared", async () => {
    const { device, file } = attach(12 * mib);
    const { path, bytes } = imageFile(9 * mib + 512);
    const { status, stderr } = await usbImage(["--image", path, "--write", device, "--force", device]);
    expect(stderr).toContain(`Write ${device} (`);
    expect(status).toBe(0);
    execFileSync("sync", [file]);
    expect(readFileSync(file).subarray(0, bytes.length).equals(bytes)).toBe(true);
  });

  test("it is refused unless it is forced by name, and when the image is larger", async () => {
    const { device, file } = attach(4 * mib);
    const { path } = imageFile(5 * mib);
    const unforced = await usbImage(["--image", path, "--write", device]);
    expect(unforced).toMatchObject({ status: 3 });
    expect(unforced.stderr).toBe(
      `scripts/usb-image: --write ${device}: not a removable disk (0.0 GB); --force ${device} beside it writes it all the same\n`,
    );
    const large = await usbImage(["--image", path, "--write", device, "--force", device]);
    expect(large).toMatchObject({ status: 3 });
    expect(large.stderr).toContain(`scripts/usb-image: ${path} has 5242880 bytes, ${device} only 4194304\n`);
    expect(large.stderr).not.toContain("incomplete");
    expect(readFileSync(file).every((byte) => byte === 0)).toBe(true);
  });

  test.each(["SIGINT", "SIGTERM"] as const)("%s: the disk does not boot, which is said", async (wanted) => {
    const { device, file } = attach(256 * mib);
    writeFileSync(file, Buffer.alloc(512, 0xee), { flag: "r+" });
    const { path } = imageFile(mib);
    truncateSync(path, 256 * mib);
    let poll: NodeJS.Timeout | undefined;
    const { signal, stderr } = await usbImage(
      ["--image", path, "--write", device, "--force", device],
      (_, kill) => {
        // The old boot sector is cleared: writing has begun.
        poll ??= setInterval(() => firstByte(file) === 0 && kill(wanted), 5);
      },
    );
    clearInterval(poll);
    expect(stderr).toContain(
      `scripts/usb-image: ${device} is incomplete and does not boot: write it again\n`,
    );
    expect(signal).toBe(wanted);
    execFileSync("sync", [file]);
    expect(
      readFileSync(file)
        .subarray(0, mib)
        .every((byte) => byte === 0),
    ).toBe(true);
  });

  test("one that another program has is refused", async () => {
    const { device } = attach(4 * mib);
    const other = openSync(device, constants.O_RDONLY | constants.O_EXCL);
    onTestFinished(() => closeSync(other));
    const { status, stderr } = await usbImage(["--write", device, "--force", device]);
    expect(status).toBe(3);
    expect(stderr).toBe(
      `scripts/usb-image: --write ${device}: it is in use: mounted, or swap space, or another program has it\n`,
    );
  });

  test("one that is mounted is refused", async () => {
    const { device } = attach(4 * mib);
    const { path } = imageFile(mib);
    execFileSync("mkfs.ext2", ["-q", device]);
    const place = mkdtempSync(join(work, "mount-"));
    execFileSync("mount", [device, place]);
    onTestFinished(() => void execFileSync("umount", [place]));
    const { status, stderr } = await usbImage(["--image", path, "--write", device, "--force", device]);
    expect(status).toBe(3);
    expect(stderr).toBe(
      `scripts/usb-image: --write ${device}: ${device} is mounted at ${place}: unmount it first\n`,
    );
  });
});

describe("What makes no sense is refused in one line:", () => {
  const notDisk = join(work, "text");
  writeFileSync(notDisk, "text\n".repeat(512));
  test.each([
    [[], "neither -o nor --write says what to do; see scripts/usb-image --help"],
    [["-o", "/no/such/stick.img"], "-o /no/such/stick.img: no such directory"],
    [["-o", "/tmp"], "-o /tmp: not a file"],
    [["-o", "x", "--memory", "511M"], "--memory: expected a multiple of 2M, is 511M"],
    [["-o", "x", "--memory", "much"], '--memory: "much" is no size; write for example 512M or 2G'],
    [["-o", "x", "--size", "little"], '--size: "little" is no size; write for example 512M or 2G'],
    [["-o", "x", "--append", "a\nb"], "--append: control characters cannot be passed on"],
    [
      ["-o", "x", "--append", `console=${"x".repeat(2040)}`],
      "--append: expected 2040 bytes at most, has 2048",
    ],
    [
      ["-o", "x", "--guest", "windows"],
      '--guest: expected one of cloud, cloud-6.12, stock, rt, installer, memtest, is "windows"',
    ],
    [["-o", "x", "--kernel", "/no/kernel"], "--kernel /no/kernel: no such file"],
    [["--image", notDisk], "--image: there is no --write that says where to"],
    [
      ["--force", "/dev/sda", "-o", "x"],
      "--force /dev/sda: expected the same disk as --write, which is missing",
    ],
    [
      ["--write", "/dev/null"],
      "--write /dev/null: not a disk: expected a block device, /dev/sdX (-o writes files)",
    ],
    [["--write", "/dev/no-such"], "--write /dev/no-such: no such device"],
  ])("%j", async (args, why) => {
    const { status, stderr } = await usbImage(args);
    expect(stderr).toBe(`scripts/usb-image: ${why}\n`);
    expect(status).toBe(3);
  });
});
