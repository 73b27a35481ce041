/** Modules under test, each with the calls that exercise it. */
import type { Program, Script } from "../script.ts";

export interface Corpus {
  program: Program;
  /** Adds its calls to a script in which the program has this number. */
  calls(script: Script, module: number): void;
}
