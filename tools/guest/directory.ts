/** The entries of an archive that make a directory's copy. */
import { lstatSync, readFileSync, readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import type { CpioEntry } from "./cpio.ts";

/** Everything below the directory; sockets, devices and the like are left out. */
export function directoryEntries(directory: string, below = ""): CpioEntry[] {
  const names = readdirSync(join(directory, below)).sort();
  return names.flatMap((name): CpioEntry[] => {
    const path = join(below, name);
    const status = lstatSync(join(directory, path));
    const mode = status.mode & 0o7777;
    if (status.isSymbolicLink())
      return [{ kind: "symlink", path, target: readlinkSync(join(directory, path)) }];
    if (status.isFile()) return [{ kind: "file", path, mode, data: readFileSync(join(directory, path)) }];
    if (!status.isDirectory()) return [];
    return [{ kind: "directory", path, mode }, ...directoryEntries(directory, path)];
  });
}
