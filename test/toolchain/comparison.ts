/** Runs a script on wasm3-build's C and says where other engines differ. */
import type { Corpus } from "./corpus/corpus.ts";
import { Batch, type Toolchain } from "./engines.ts";
import { Kind, Script, Status, type Outcomes } from "./script.ts";

const DIFFERENCES = 10; // more would not say more

/** Makes undefined behaviour an illegal instruction, which ends the runner. It takes address 0 of a segment for a null pointer. */
export const sanitizer = ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error", "-UWASM3_SEGMENT"];

/** Other ways to compile the C, none of which may change what it computes. */
export const variants = [["-O0"], ["-O3"], ["-Os"], ["-UWASM3_SEGMENT"], sanitizer];

/** V8 and wasm2c say the same of a null table entry as of one of another type. */
function sameButIndirect(a: bigint, b: bigint): boolean {
  const indirect = (status: bigint) =>
    status === BigInt(Status.UndefinedElement) ? BigInt(Status.SignatureMismatch) : status;
  return indirect(a) === indirect(b);
}

export class Comparison {
  readonly script = new Script();
  private readonly batch: Batch;
  private readonly native: Outcomes;

  constructor(name: string, corpora: readonly Corpus[], toolchain?: Toolchain) {
    this.batch = new Batch(
      name,
      corpora.map(({ program }) => program),
      toolchain,
    );
    corpora.forEach((corpus, module) => corpus.calls(this.script, module));
    this.native = this.batch.native(this.script);
  }

  /** How many calls did not return. */
  trapped(): number {
    return this.native.filter((word, i) => i % 2 === 0 && word !== BigInt(Status.Ok)).length;
  }

  differencesFromV8(): string[] {
    return this.differences(this.batch.v8(this.script), sameButIndirect);
  }

  differencesFromWasm2c(): string[] {
    return this.differences(this.batch.wasm2c(this.script), sameButIndirect);
  }

  differencesFromInterpreter(): string[] {
    return this.differences(this.batch.interpreter(this.script), (a, b) => a === b);
  }

  /** The same C, compiled with other flags; they come behind the kernel's. */
  differencesWithFlags(...flags: string[]): string[] {
    return this.differences(this.batch.native(this.script, ...flags), (a, b) => a === b);
  }

  /** The first few steps whose outcomes differ, in words. */
  private differences(other: Outcomes, sameStatus: (a: bigint, b: bigint) => boolean): string[] {
    const { native, script } = this;
    if (other.length !== native.length)
      return [`${native.length / 2} outcomes, expected ${other.length / 2}`];
    const found: string[] = [];
    for (let i = 0; i < script.length && found.length < DIFFERENCES; i++) {
      if (sameStatus(native[2 * i]!, other[2 * i]!) && native[2 * i + 1] === other[2 * i + 1]) continue;
      const { module, kind, callee, values } = script.step(i);
      const name = this.batch.programs[module]!.name;
      const what =
        kind === Kind.Call
          ? `${this.batch.signatures[module]![callee]!.name}(${values.join(", ")})`
          : "hash of memory";
      const outcome = (outcomes: Outcomes) => `status ${outcomes[2 * i]} value ${outcomes[2 * i + 1]}`;
      found.push(`step ${i}, ${name} ${what}: ${outcome(native)}, expected ${outcome(other)}`);
    }
    return found;
  }
}
