/**
 * An asc transform: a function whose documentation has the tag `@noinline` stays one; wasm3-build tells gcc the same. What
 * is off the quick exits is marked so, because a function that contains it would save registers for it at every exit.
 */
import { Transform } from "assemblyscript/transform";

const tagged = /\/\*\*(?:(?!\*\/)[^])*@noinline\b(?:(?!\*\/)[^])*\*\/\s*(?:export )?function (\w+)/g;

/** Names of the functions in a source file that have the tag. */
export function taggedFunctions(source: string): string[] {
  return Array.from(source.matchAll(tagged), ([, name]) => name!);
}

/** What asc gives a transform, as far as this one uses it; asc's own types do not say. */
interface Context {
  program: { sources: { internalPath: string; text: string }[] };
  binaryen: { setPassArgument(name: string, value: string): void };
}

export default class extends (Transform as new () => Context) {
  afterCompile(module: { runPasses(names: string[]): void }): void {
    for (const { internalPath, text } of this.program.sources) {
      for (const name of taggedFunctions(text)) {
        this.binaryen.setPassArgument("no-inline", `${internalPath}/${name}`);
        module.runPasses(["no-inline"]);
      }
    }
    this.binaryen.setPassArgument("no-inline", "");
  }
}
