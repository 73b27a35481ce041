/** Runs the AssemblyScript compiler in this process. */
import asc from "assemblyscript/asc";
import { relative } from "node:path";

/**
 * Compiles with asc's command line arguments. Paths are made relative to `root`, because asc names functions, imports
 * and source lines by the path that it was given.
 * @throws an Error with the compiler's diagnostics
 */
export async function compile(root: string, args: string[]): Promise<void> {
  const stderr = asc.createMemoryStream();
  const { error } = await asc.main(
    args.map((a) => (a.startsWith(root) ? relative(root, a) : a)).concat("--baseDir", root),
    { stderr, stdout: asc.createMemoryStream() },
  );
  if (error) throw new Error(`${error.message}\n${stderr.toString()}`.trim());
}
