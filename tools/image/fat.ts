/** A FAT32 file system inside an image, by mtools: no root, no mount, and the same bytes each time. */
import { execFile } from "node:child_process";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { Refusal } from "../machine/errors.ts";

const run = promisify(execFile);

export interface FatPlace {
  image: string;
  /** In sectors of 512 bytes. */
  start: number;
  sectors: number;
}

export interface FatNames {
  /** At most 11 characters. */
  label: string;
  volumeId: number;
}

/** What each file's time is: a file system of today and one of tomorrow are the same. */
const time = String(Date.UTC(2026, 0, 1) / 1000);

/** Runs one of mtools; `what` is what it does, for the refusal. */
async function mtool(what: string, program: string, ...args: string[]): Promise<void> {
  const env = {
    ...process.env,
    SOURCE_DATE_EPOCH: time,
    TZ: "UTC",
    MTOOLSRC: "/dev/null",
    MTOOLS_SKIP_CHECK: "1",
  };
  try {
    await run(program, args, { env });
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string };
    if (code === "ENOENT") throw new Refusal(`${program} is not installed: run scripts/setup as root`);
    const why = String(stderr ?? "")
      .trim()
      .split("\n")
      .at(-1);
    throw new Refusal(`${program} could not ${what}: ${why || String(error)}`);
  }
}

/** FAT32 has at least so many clusters: with fewer it is FAT16, whatever it says (FAT specification 1.03, page 14). */
const fewestClusters = 65525;
/** What the file allocation tables take of the sectors, and some more. */
const overhead = 4096;
/** GRUB reads cluster by cluster. */
const largestCluster = 16;

/** The least sectors of a FAT32 file system. */
export const fewestSectors = fewestClusters + overhead;

/** Sectors a cluster: as many as FAT32 can be had with. */
function clusterOf(sectors: number): number {
  let cluster = 1;
  while (cluster < largestCluster && (sectors - overhead) / (cluster * 2) >= fewestClusters) cluster *= 2;
  return cluster;
}

/** Every directory of the paths, parents first. */
function directoriesOf(paths: Iterable<string>): string[] {
  const all = new Set<string>();
  for (const path of paths) {
    const above: string[] = [];
    for (let up = dirname(path); up !== "/"; up = dirname(up)) above.unshift(up);
    for (const directory of above) all.add(directory);
  }
  return [...all];
}

/**
 * Makes the file system and puts files into it, in their order.
 * @param files path in the file system, from "/" on -> source file
 */
export async function makeFat(
  place: FatPlace,
  names: FatNames,
  files: ReadonlyMap<string, string>,
): Promise<void> {
  const at = `${place.image}@@${place.start * 512}`;
  const id = names.volumeId.toString(16).padStart(8, "0");
  const geometry = ["-T", place.sectors, "-h", 255, "-s", 63, "-H", place.start, "-M", 512];
  const form = [...geometry, "-c", clusterOf(place.sectors)].map(String);
  await mtool("make the file system", "mformat", "-i", at, "-F", "-v", names.label, "-N", id, ...form, "::");
  const directories = directoriesOf(files.keys());
  if (directories.length > 0)
    await mtool("make directories", "mmd", "-i", at, ...directories.map((path) => `::${path}`));
  for (const [path, source] of files) await mtool(`copy ${path}`, "mcopy", "-i", at, source, `::${path}`);
}
