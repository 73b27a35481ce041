/** Which source files a build reads. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";

/** All files below `folder` whose names end with one of the endings, sorted. */
export function filesBelow(folder: string, ...endings: string[]): string[] {
  const found: string[] = [];
  for (const name of readdirSync(folder).sort()) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) found.push(...filesBelow(path, ...endings));
    else if (endings.some((e) => name.endsWith(e))) found.push(path);
  }
  return found;
}

/** `entry` and all files that it imports, and these in turn, sorted: what asc reads for a module. */
export function importedBy(entry: string): string[] {
  const found = new Set([entry]);
  for (const file of found) {
    for (const [, path] of readFileSync(file, "utf8").matchAll(
      /^(?:import|export|\} from)\b[^;]*?"(\.[^"]+)"/gm,
    )) {
      const imported = `${join(dirname(file), path!)}.ts`;
      if (existsSync(imported)) found.add(imported); // asc will say so if it does not
    }
  }
  return [...found].sort();
}
