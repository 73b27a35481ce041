/**
 * Takes single files out of Debian packages without installing them. They are kept in build/guests/, a directory a
 * package version, so that the network is used once.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { Refusal } from "../machine/errors.ts";
import { projectDirectory } from "../machine/run-directory.ts";
import {
  ask,
  askAgain,
  downloadArchives,
  inPartialDirectory,
  unpackArchive,
  updateAdvice,
  updateLists,
} from "./apt.ts";

const cache = join(projectDirectory, "build/guests");
const aptLists = "/var/lib/apt/lists";

/** A file in a package: `path` as tar's --wildcards matches it, below the root directory. */
export interface PackageFile {
  package: string;
  path: string;
}

/** The path of our copy of the file, from the newest version of the package that apt knows. */
export async function fetchFile(file: PackageFile): Promise<string> {
  const archive = await newestArchive(file.package);
  const found = cached(versionDirectory(archive), file);
  if (found !== undefined) return found;
  try {
    return await download(archive, versionDirectory(archive), file);
  } catch (error) {
    if (!(await updateLists())) throw error;
    return fetchFile(file); // the newest version may be another now
  }
}

/** The same if nothing has to be downloaded for it. */
export async function findFile(file: PackageFile): Promise<string | undefined> {
  return cached(versionDirectory(await newestArchive(file.package)), file);
}

function versionDirectory(archive: string): string {
  return join(cache, archive.replace(/\.deb$/, ""));
}

function cached(directory: string, file: PackageFile): string | undefined {
  if (!existsSync(directory)) return undefined;
  const name = basename(file.path);
  const wanted = (other: string): boolean =>
    name.endsWith("*") ? other.startsWith(name.slice(0, -1)) : other === name;
  const found = readdirSync(directory).find(wanted);
  return found === undefined ? undefined : join(directory, found);
}

/**
 * The file name of the package version that apt would download. apt takes a second or two to say, so its answer is
 * kept for as long as its lists of packages stay the same.
 */
async function newestArchive(name: string): Promise<string> {
  const lists = existsSync(aptLists) ? String(statSync(aptLists).mtimeMs) : "";
  const memory = join(cache, `${name}.newest`);
  const [when, known] = (await readFile(memory, "utf8").catch(() => "")).split("\n");
  if (when === lists && known) return known;
  const archive = await askAgain(() => archiveName(name));
  if (archive === undefined) throw new Refusal(`apt does not know the package ${name}: ${updateAdvice}`);
  mkdirSync(cache, { recursive: true });
  await writeFile(`${memory}.${process.pid}`, `${lists}\n${archive}\n`);
  renameSync(`${memory}.${process.pid}`, memory);
  return archive;
}

/** The file name of the archive that apt would download. */
async function archiveName(name: string): Promise<string | undefined> {
  // A kernel's meta package only depends on the real one, whose name has the version in it.
  const text = await ask("apt-cache", ["depends", "--important", name]);
  if (text === undefined) return undefined;
  const real = /^ *Depends: (linux-image-\d\S*)$/m.exec(text)?.[1] ?? name;
  const line = await ask("apt-get", ["download", "--print-uris", "-qq", real]);
  return /^'\S+' (\S+\.deb) /m.exec(line ?? "")?.[1];
}

/** Unpacks the file into `directory`, under another name until it is whole, and returns its path. */
async function download(archive: string, directory: string, file: PackageFile): Promise<string> {
  return inPartialDirectory(cache, async (partial) => {
    await downloadArchives([archive.replace(/_.*/, "")], partial);
    const select = ["--wildcards", `./${file.path}`, "--transform", "s,.*/,,"];
    if (!(await unpackArchive(join(partial, archive), partial, select)))
      throw new Refusal(`cannot unpack ${file.path} from Debian package ${archive}`);
    rmSync(join(partial, archive));
    const whole = cached(partial, file);
    if (whole === undefined) throw new Refusal(`Debian package ${archive} has no file ${file.path}`);
    mkdirSync(directory, { recursive: true });
    const target = join(directory, basename(whole));
    renameSync(whole, target);
    return target;
  });
}
