/** What we ask of apt and dpkg: which packages there are, their archives, what is in these. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { Refusal } from "../machine/errors.ts";
import { onExit } from "../machine/exit-hooks.ts";

const run = promisify(execFile);

export const updateAdvice = 'run "apt-get update" as root, then try again';

/** What the command prints; undefined if it fails. */
export async function ask(command: string, args: readonly string[]): Promise<string | undefined> {
  try {
    const options = { env: { ...process.env, LC_ALL: "C" }, maxBuffer: 1 << 24 };
    return (await run(command, [...args], options)).stdout;
  } catch {
    return undefined;
  }
}

/** What `question` answers, if need be after the lists of packages have been fetched: they may be missing or name versions that are gone. */
export async function askAgain<T>(question: () => Promise<T | undefined>): Promise<T | undefined> {
  return (await question()) ?? ((await updateLists()) ? await question() : undefined);
}

/** Fetches the lists of packages, once, where we may. */
export async function updateLists(): Promise<boolean> {
  if (updated || process.getuid?.() !== 0) return false;
  updated = true;
  return (await ask("apt-get", ["update", "-qq"])) !== undefined;
}
let updated = false;

/** Downloads the packages' archives, each a NAME or NAME=VERSION. */
export async function downloadArchives(packages: readonly string[], directory: string): Promise<void> {
  try {
    await run("apt-get", ["download", "-qq", ...packages], { cwd: directory });
  } catch (error) {
    const why = String((error as { stderr?: string }).stderr ?? error);
    const line = /^E: (.*)$/m.exec(why)?.[1] ?? why.split("\n")[0];
    const names = packages.map((name) => name.replace(/=.*/, "")).join(" ");
    throw new Refusal(`cannot download Debian package ${names} (${line}): ${updateAdvice}`);
  }
}

/** Unpacks of an archive what tar's arguments say. False when that fails. */
export async function unpackArchive(
  archive: string,
  directory: string,
  tarArguments: readonly string[],
): Promise<boolean> {
  const deb = spawn("dpkg-deb", ["--fsys-tarfile", archive], { stdio: ["ignore", "pipe", "ignore"] });
  const tar = spawn("tar", ["-x", "-C", directory, ...tarArguments], {
    stdio: [deb.stdout, "ignore", "ignore"],
  });
  const [status] = (await once(tar, "close")) as [number];
  return status === 0;
}

/** Works in a directory below `parent` that is gone afterwards: what is whole is to be moved away from there. */
export async function inPartialDirectory<T>(
  parent: string,
  work: (directory: string) => Promise<T>,
): Promise<T> {
  mkdirSync(parent, { recursive: true });
  const partial = mkdtempSync(join(parent, "partial-"));
  const clean = (): void => rmSync(partial, { recursive: true, force: true });
  const forget = onExit(clean);
  try {
    return await work(partial);
  } finally {
    forget();
    clean();
  }
}
