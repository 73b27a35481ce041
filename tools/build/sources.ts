/** Which source files a build reads. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";

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
