/** Which disks may be written, and how one is opened. Linux says in /sys/block what a disk is. */
import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { constants, open, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { Refusal } from "../machine/errors.ts";
import type { Disk, Source } from "./write.ts";

const run = promisify(execFile);

/** What decides: the file system below `root`. Tests have their own. */
export interface Host {
  root: string;
  isBlockDevice(path: string): boolean;
}
const thisHost: Host = { root: "/", isBlockDevice: (path) => statSync(path).isBlockDevice() };

export interface DiskInfo {
  /** As it was named. */
  name: string;
  /** The device itself, links followed. */
  path: string;
  /** In bytes. */
  size: number;
  /** For a person to recognise it. */
  description: string;
}

/**
 * What the disk is.
 * @param forced it need not be removable
 * @throws a Refusal unless it is a disk that may be written
 */
export function checkDevice(name: string, forced: boolean, host: Host = thisHost): DiskInfo {
  const refuse = (why: string): never => {
    throw new Refusal(`--write ${name}: ${why}`);
  };
  if (!existsSync(join(host.root, name))) refuse("no such device");
  const path = host.root === "/" ? realpathSync(name) : name;
  if (!host.isBlockDevice(path)) refuse("not a disk: expected a block device, /dev/sdX (-o writes files)");
  const kernelName = path.replace(/^\/dev\//, "").replaceAll("/", "!");
  const read = (file: string): string => readText(join(host.root, file)).trim();
  const block = `sys/block/${kernelName}`;
  if (!existsSync(join(host.root, block))) {
    const isPartition = existsSync(join(host.root, `sys/class/block/${kernelName}/partition`));
    refuse(isPartition ? "a partition: name the whole disk" : "not a disk that /sys/block knows");
  }
  const size = Number(read(`${block}/size`)) * 512;
  if (!(size > 0)) refuse("there is no medium in it");
  const model = read(`${block}/device/model`).replace(/\s+/g, " ");
  const description = `${model === "" ? "" : `${model}, `}${(size / 1e9).toFixed(1)} GB`;
  if (read(`${block}/removable`) !== "1" && !forced)
    refuse(`not a removable disk (${description}); --force ${name} beside it writes it all the same`);
  if (read(`${block}/ro`) === "1") refuse("write-protected");
  for (const [device, place] of mounts(read("proc/self/mounts"))) {
    const owner = devicesOf(join(host.root, block), kernelName).find((other) => device === `/dev/${other}`);
    if (owner !== undefined) refuse(`/dev/${owner} is mounted at ${place}: unmount it first`);
  }
  return { name, path, size, description };
}

/** The disk and its partitions. */
function devicesOf(block: string, kernelName: string): string[] {
  const partitions = readdirSync(block).filter((name) => existsSync(join(block, name, "partition")));
  return [kernelName, ...partitions].map((name) => name.replaceAll("!", "/"));
}

/** Device and mount point; /proc/self/mounts writes blanks as \040 (proc(5)). */
function mounts(text: string): [string, string][] {
  const plain = (word = ""): string =>
    word.replace(/\\([0-7]{3})/g, (_, code: string) => String.fromCharCode(parseInt(code, 8)));
  return text.split("\n").map((line) => {
    const [device, place] = line.split(" ");
    return [plain(device), plain(place)];
  });
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

const openFailures: Record<string, string> = {
  EBUSY: "it is in use: mounted, or swap space, or another program has it",
  EACCES: "it may not be opened: run this as root",
  EPERM: "it may not be opened: run this as root",
  EROFS: "write-protected",
  ENOMEDIUM: "there is no medium in it",
};

/** Opens the disk for nobody but us. @throws a Refusal if that cannot be */
export async function openDevice(info: DiskInfo): Promise<Disk & AsyncDisposable> {
  let handle: FileHandle;
  try {
    handle = await open(info.path, constants.O_RDWR | constants.O_EXCL);
  } catch (error) {
    const code = String((error as { code?: unknown }).code);
    throw new Refusal(`--write ${info.name}: ${openFailures[code] ?? `cannot be opened (${code})`}`);
  }
  return {
    name: info.name,
    size: info.size,
    write: async (bytes, at) => (await handle.write(bytes, 0, bytes.length, at)).bytesWritten,
    read: async (into, at) => (await handle.read(into, 0, into.length, at)).bytesRead,
    flush: () => handle.sync(),
    dropCaches: async () => void (await run("blockdev", ["--flushbufs", info.path])), // BLKFLSBUF
    [Symbol.asyncDispose]: () => handle.close(),
  };
}

const bootSignature = Buffer.from([0x55, 0xaa]);

/** Opens an image. @throws a Refusal if it is none */
export async function openImage(path: string): Promise<Source & AsyncDisposable> {
  const refuse = (why: string): never => {
    throw new Refusal(`--image ${path}: ${why}`);
  };
  if (!existsSync(path)) refuse("no such file");
  if (!statSync(path).isFile()) refuse("not a file");
  const handle = await open(path, "r");
  const { size } = await handle.stat();
  const read: Source["read"] = async (into, at) => (await handle.read(into, 0, into.length, at)).bytesRead;
  const found = Buffer.alloc(2);
  await read(found, 510);
  if (size === 0 || size % 512 !== 0 || !found.equals(bootSignature)) {
    await handle.close();
    refuse("not an image of a disk: expected whole sectors of 512 bytes, the first with 55h AAh at its end");
  }
  return { name: path, size, read, [Symbol.asyncDispose]: () => handle.close() };
}
