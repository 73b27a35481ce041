/**
 * Takes single files out of Debian packages without installing them. They are kept in build/guests/, a directory a
 * package version, so that the network is used once.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { Refusal } from "../machine/errors.ts";
import { onExit } from "../machine/exit-hooks.ts";
import { projectDirectory } from "../machine/run-directory.ts";

const run = promisify(execFile);
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
  const archive = (await archiveName(name)) ?? ((await updateLists()) ? await archiveName(name) : undefined);
  if (archive === undefined) throw new Refusal(`apt does not know the package ${name}: ${updateAdvice}`);
  mkdirSync(cache, { recursive: true });
  await writeFile(`${memory}.${process.pid}`, `${lists}\n${archive}\n`);
  renameSync(`${memory}.${process.pid}`, memory);
  return archive;
}

const updateAdvice = 'run "apt-get update" as root, then try again';

/** Fetches the lists of packages, once, where we may: they may be missing or name versions that are gone. */
async function updateLists(): Promise<boolean> {
  if (updated || process.getuid?.() !== 0) return false;
  updated = true;
  return (await ask("apt-get", ["update", "-qq"])) !== undefined;
}
let updated = false;

/** The file name of the archive that apt would download. */
async function archiveName(name: string): Promise<string | undefined> {
  // A kernel's meta package only depends on the real one, whose name has the version in it.
  const text = await ask("apt-cache", ["depends", "--important", name]);
  if (text === undefined) return undefined;
  const real = /^ *Depends: (linux-image-\d\S*)$/m.exec(text)?.[1] ?? name;
  const line = await ask("apt-get", ["download", "--print-uris", "-qq", real]);
  return /^'\S+' (\S+\.deb) /m.exec(line ?? "")?.[1];
}

async function ask(command: string, args: string[]): Promise<string | undefined> {
  try {
    return (await run(command, args, { env: { ...process.env, LC_ALL: "C" } })).stdout;
  } catch {
    return undefined;
  }
}

/** Unpacks the file into `directory`, under another name until it is whole, and returns its path. */
async function download(archive: string, directory: string, file: PackageFile): Promise<string> {
  const partial = mkdtempSync(join(cache, "partial-"));
  const clean = (): void => rmSync(partial, { recursive: true, force: true });
  const forget = onExit(clean);
  try {
    await downloadArchive(archive.replace(/_.*/, ""), partial);
    await unpack(join(partial, archive), partial, file.path);
    rmSync(join(partial, archive));
    const whole = cached(partial, file);
    if (whole === undefined) throw new Refusal(`Debian package ${archive} has no file ${file.path}`);
    mkdirSync(directory, { recursive: true });
    const target = join(directory, basename(whole));
    renameSync(whole, target);
    return target;
  } finally {
    forget();
    clean();
  }
}

async function downloadArchive(packageName: string, directory: string): Promise<void> {
  try {
    await run("apt-get", ["download", "-qq", packageName], { cwd: directory });
  } catch (error) {
    const why = String((error as { stderr?: string }).stderr ?? error);
    const line = /^E: (.*)$/m.exec(why)?.[1] ?? why.split("\n")[0];
    throw new Refusal(`cannot download Debian package ${packageName} (${line}): ${updateAdvice}`);
  }
}

async function unpack(archive: string, directory: string, path: string): Promise<void> {
  const deb = spawn("dpkg-deb", ["--fsys-tarfile", archive], { stdio: ["ignore", "pipe", "ignore"] });
  const select = ["--wildcards", `./${path}`, "--transform", "s,.*/,,"];
  const tar = spawn("tar", ["-x", "-C", directory, ...select], { stdio: [deb.stdout, "ignore", "ignore"] });
  const [status] = (await once(tar, "close")) as [number];
  if (status !== 0) throw new Refusal(`cannot unpack ${path} from Debian package ${basename(archive)}`);
}
