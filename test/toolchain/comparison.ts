/** Runs a script on wasm3-build's C and says where other engines differ. */
import type { Corpus } from "./corpus/corpus.ts";
import { Batch } from "./engines.ts";
import { Kind, Script, Status, type Outcomes } from "./script.ts";

const DIFFERENCES = 10; // more would not say more

export class Comparison {
  readonly script = new Script();
  private readonly batch: Batch;
  private readonly native: Outcomes;

  constructor(name: string, corpora: readonly Corpus[]) {
    this.batch = new Batch(
      name,
      corpora.map(({ program }) => program),
    );
    corpora.forEach((corpus, module) => corpus.calls(this.script, module));
    this.native = this.batch.native(this.script);
  }

  differencesFromV8(): string[] {
    // V8 has one message for a null table entry and for one of another type.
    const indirect = (status: bigint) => (status === BigInt(Status.UndefinedElement) ? BigInt(Status.SignatureMismatch) : status);
    return this.differences(this.batch.v8(this.script), (a, b) => indirect(a) === indirect(b));
  }

  differencesFromInterpreter(): string[] {
    return this.differences(this.batch.interpreter(this.script), (a, b) => a === b);
  }

  /** The first few steps whose outcomes differ, in words. */
  private differences(other: Outcomes, sameStatus: (a: bigint, b: bigint) => boolean): string[] {
    const { native, script } = this;
    if (other.length !== native.length) return [`${native.length / 2} outcomes, expected ${other.length / 2}`];
    const found: string[] = [];
    for (let i = 0; i < script.length && found.length < DIFFERENCES; i++) {
      if (sameStatus(native[2 * i]!, other[2 * i]!) && native[2 * i + 1] === other[2 * i + 1]) continue;
      const { module, kind, callee, values } = script.step(i);
      const name = this.batch.programs[module]!.name;
      const what = kind === Kind.Call ? `${this.batch.signatures[module]![callee]!.name}(${values.join(", ")})` : "hash of memory";
      const outcome = (outcomes: Outcomes) => `status ${outcomes[2 * i]} value ${outcomes[2 * i + 1]}`;
      found.push(`step ${i}, ${name} ${what}: ${outcome(native)}, expected ${outcome(other)}`);
    }
    return found;
  }
}
