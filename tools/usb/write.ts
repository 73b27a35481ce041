/**
 * Writing an image to a disk so that it is either whole or does not boot: the first MiB, which has the boot sector and the
 * partition table, is cleared before anything else and written when the rest has been read back and compared.
 */
import { MachineFailure, Refusal } from "../machine/errors.ts";

/** What is written and read: a device, or a test's. */
export interface Disk {
  readonly name: string;
  /** In bytes. */
  readonly size: number;
  /** Writes some bytes or all; how many. */
  write(bytes: Buffer, at: number): Promise<number>;
  /** Reads some bytes or all; how many. */
  read(into: Buffer, at: number): Promise<number>;
  /** Returns when all that was written is on the medium. */
  flush(): Promise<void>;
  /** What is read from now on comes from the medium. */
  dropCaches(): Promise<void>;
}

/** The image's bytes. */
export type Source = Pick<Disk, "name" | "size" | "read">;

export interface Progress {
  what: "written" | "compared";
  bytes: number;
  of: number;
}

const mib = 1 << 20;
const head = mib;
/** So much is on its way to the medium at most: progress is honest, and an interrupt need not wait. */
const flushEvery = 8 * mib;

/**
 * Writes all of the image, reads it back and compares.
 * @throws a Refusal if the disk is too small; a MachineFailure if it fails, or has other bytes afterwards
 */
export async function writeImage(
  source: Source,
  disk: Disk,
  report: (progress: Progress) => void,
): Promise<void> {
  if (source.size > disk.size)
    throw new Refusal(`${source.name} has ${source.size} bytes, ${disk.name} only ${disk.size}`);
  const of = source.size;
  report({ what: "written", bytes: 0, of });
  const first = Math.min(head, of);
  await writeAll(disk, Buffer.alloc(first), 0);
  await disk.flush();
  for (let at = first; at < of; at += mib) {
    const part = await readAll(source, at, Math.min(mib, of - at));
    await writeAll(disk, part, at);
    if (at % flushEvery === 0) await disk.flush();
    report({ what: "written", bytes: at + part.length - first, of });
  }
  await settle(disk);
  for (let at = first; at < of; at += mib) {
    const length = Math.min(mib, of - at);
    await compare(source, disk, at, length);
    report({ what: "compared", bytes: at + length - first, of });
  }
  await writeAll(disk, await readAll(source, 0, first), 0);
  await settle(disk);
  await compare(source, disk, 0, first);
  report({ what: "compared", bytes: of, of });
}

async function settle(disk: Disk): Promise<void> {
  await disk.flush();
  await disk.dropCaches();
}

async function writeAll(disk: Disk, bytes: Buffer, at: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const count = await disk.write(bytes.subarray(done), at + done);
    if (count <= 0) throw new MachineFailure(`${disk.name} takes no more at byte ${at + done}`);
    done += count;
  }
}

async function readAll(from: Source, at: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  for (let done = 0; done < length;) {
    const count = await from.read(bytes.subarray(done), at + done);
    if (count <= 0)
      throw new MachineFailure(`${from.name} ends at byte ${at + done}, expected ${from.size} bytes`);
    done += count;
  }
  return bytes;
}

async function compare(source: Source, disk: Disk, at: number, length: number): Promise<void> {
  const wanted = await readAll(source, at, length);
  const found = await readAll(disk, at, length);
  if (wanted.equals(found)) return;
  const offset = wanted.findIndex((byte, i) => byte !== found[i]);
  throw new MachineFailure(
    `${disk.name} does not keep what is written to it: byte ${at + offset} was ${wanted[offset]}, is ${found[offset]}`,
  );
}
