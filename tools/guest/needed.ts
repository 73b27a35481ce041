/** Which shared libraries a program needs, and those in their turn. */
import { execFileSync } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { Refusal } from "../machine/errors.ts";

const directories = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64", "usr/lib"];

/** What the ELF file names: its interpreter, whole, and libraries without directories. */
function named(file: string): string[] {
  const text = execFileSync("readelf", ["-ldW", file], { encoding: "utf8" });
  const libraries = [...text.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map((match) => match[1] as string);
  const interpreter = /program interpreter: (.*)\]/.exec(text)?.[1];
  return interpreter === undefined ? libraries : [...libraries, interpreter];
}

/** Paths from the tree's root on to each file needed to run the programs, and the files themselves; the programs are among them. */
export function neededFiles(tree: string, programs: readonly string[]): Map<string, string> {
  const found = new Map<string, string>();
  const wanted = [...programs];
  for (let name = wanted.pop(); name !== undefined; name = wanted.pop()) {
    const places = name.includes("/") ? [name.replace(/^\//, "")] : directories.map((d) => `${d}/${name}`);
    const path = places.find((place) => existsSync(join(tree, place)));
    if (path === undefined)
      throw new Refusal(`Debian's packages have no ${name} (it is needed by ${programs.join(", ")})`);
    if (found.has(path)) continue;
    const file = realpathSync(join(tree, path));
    found.set(path, file);
    wanted.push(...named(file));
  }
  return found;
}
