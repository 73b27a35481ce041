/**
 * A root file system from Debian packages and all that they depend on, unpacked and not installed: no maintainer script runs, and
 * nothing needs root's rights. Kept in build/guests/trees/, a directory for each list of package versions.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, renameSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { Refusal } from "../machine/errors.ts";
import { projectDirectory } from "../machine/run-directory.ts";
import { ask, askAgain, downloadArchives, inPartialDirectory, unpackArchive, updateAdvice } from "./apt.ts";

const trees = join(projectDirectory, "build/guests/trees");

/** As for a machine on which nothing is installed yet. */
const bare = [
  "-qq",
  "--no-install-recommends",
  "-o",
  "Dir::State::status=/dev/null",
  "-o",
  "Debug::NoLocking=1",
];

/** Directories that Debian 12 has below /usr, and links to them at the root. */
const merged = ["bin", "lib", "lib64", "sbin"];

/** How tar unpacks: without what nobody reads in a guest that lives in memory. */
const unpacking = [
  "--keep-directory-symlink",
  "--no-same-owner",
  ...["doc", "man", "locale", "info", "lintian", "bug"].map((name) => `--exclude=./usr/share/${name}`),
];

/** The directory with the packages' files. */
export async function unpackTree(packages: readonly string[]): Promise<string> {
  const versions = await resolve(packages);
  const key = createHash("sha256").update(versions.join("\n")).digest("hex");
  const tree = join(trees, key.slice(0, 16));
  if (existsSync(tree)) return tree;
  return inPartialDirectory(trees, async (partial) => {
    const root = join(partial, "root");
    for (const name of merged) {
      mkdirSync(join(root, "usr", name), { recursive: true });
      symlinkSync(`usr/${name}`, join(root, name));
    }
    await downloadArchives(versions, partial);
    for (const file of readdirSync(partial).sort()) {
      if (file.endsWith(".deb") && !(await unpackArchive(join(partial, file), root, unpacking)))
        throw new Refusal(`cannot unpack Debian package ${file}`);
    }
    return keepTree(root, tree);
  });
}

/** Moves a whole tree to where it is kept, and returns that. Who makes the same one at the same time may have been quicker. */
export function keepTree(whole: string, tree: string): string {
  try {
    renameSync(whole, tree);
  } catch (error) {
    if (!existsSync(tree)) throw error;
  }
  return tree;
}

/** What apt would install, each NAME=VERSION, in its order. */
async function resolve(packages: readonly string[]): Promise<string[]> {
  const steps = await askAgain(() => ask("apt-get", ["install", "--simulate", ...bare, ...packages]));
  if (steps === undefined)
    throw new Refusal(`apt does not know the packages ${packages.join(" ")}: ${updateAdvice}`);
  return [...steps.matchAll(/^Inst (\S+) \((\S+) /gm)].map(([, name, version]) => `${name}=${version}`);
}
