/**
 * An asc transform: a function whose documentation has the tag `@noinline` stays one; wasm3-build tells gcc the same. What
 * is off the quick exits is marked so, because a function that contains it would save registers for it at every exit.
 * Plain JavaScript: asc starts slowly under a loader of TypeScript.
 */
import { Transform } from "assemblyscript/transform";
import { taggedFunctions } from "./tags.mjs";

export default class extends Transform {
  afterCompile(module) {
    for (const { internalPath, text } of this.program.sources) {
      for (const name of taggedFunctions(text)) {
        this.binaryen.setPassArgument("no-inline", `${internalPath}/${name}`);
        module.runPasses(["no-inline"]);
      }
    }
    this.binaryen.setPassArgument("no-inline", "");
  }
}
