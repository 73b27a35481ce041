/** A module and what the specification says its exports yield. */
import { Batch, type Toolchain } from "../engines.ts";
import { Script, Status, type Outcomes } from "../script.ts";
import { assemble, signatures, type Bytes } from "../wasm.ts";
import type { Outcome } from "./definitions.ts";

interface Case {
  callee: string; // "" is a reset
  values: bigint[];
  expected: Outcome;
}

export class Suite {
  readonly wasm: Bytes;
  readonly cases: Case[] = [];

  constructor(
    readonly name: string,
    text: string,
  ) {
    this.wasm = assemble(name, text);
  }

  expect(callee: string, values: readonly (bigint | number)[], expected: Outcome | number): this {
    this.cases.push({
      callee,
      values: values.map((value) => BigInt.asUintN(64, BigInt(value))),
      expected: typeof expected === "number" ? BigInt(expected) : expected,
    });
    return this;
  }

  traps(callee: string, values: readonly (bigint | number)[], trap: Status): this {
    return this.expect(callee, values, { trap });
  }

  /** Back to the state after instantiation, as after a trap. */
  reset(): this {
    return this.expect("", [], 0n);
  }
}

export type Engine = "native" | "v8" | "interpreter" | "wasm2c";

export class Run {
  private readonly batch: Batch;
  private readonly script = new Script();
  private readonly cases: [Suite, Case][];

  constructor(name: string, suites: readonly Suite[], toolchain?: Toolchain) {
    this.batch = new Batch(name, suites, toolchain);
    this.cases = suites.flatMap((suite) => suite.cases.map((each): [Suite, Case] => [suite, each]));
    suites.forEach((suite, module) => {
      const numbers = new Map(signatures(suite.wasm).map(({ name }, i) => [name, i]));
      for (const { callee, values } of suite.cases) {
        const number = numbers.get(callee);
        if (callee === "") this.script.reset(module);
        else if (number === undefined) throw new Error(`${suite.name} does not export ${callee}`);
        else this.script.call(module, number, ...values);
      }
    });
  }

  get length(): number {
    return this.cases.length;
  }

  /** The first few cases that an engine gets wrong, in words. `sameTrap` is for engines that say the same of several traps. */
  wrong(engine: Engine, sameTrap = (a: Status, b: Status) => a === b): string[] {
    return this.judge(this.batch[engine](this.script), sameTrap);
  }

  /** The same of our C, compiled with other flags. */
  wrongWithFlags(...flags: string[]): string[] {
    return this.judge(this.batch.native(this.script, ...flags), (a, b) => a === b);
  }

  private judge(outcomes: Outcomes, sameTrap: (a: Status, b: Status) => boolean): string[] {
    const found: string[] = [];
    for (const [i, [suite, { callee, values, expected }]] of this.cases.entries()) {
      const status = Number(outcomes[2 * i]) as Status;
      const value = outcomes[2 * i + 1]!;
      const right =
        typeof expected === "bigint"
          ? status === Status.Ok && value === expected
          : status !== Status.Ok && sameTrap(status, expected.trap);
      if (right) continue;
      const is = status ? `trap ${status}` : String(value);
      const should = typeof expected === "bigint" ? String(expected) : `trap ${expected.trap}`;
      found.push(`${suite.name} ${callee}(${values.join(", ")}): ${is}, expected ${should}`);
      if (found.length === 10) break;
    }
    return found;
  }
}
