/** Random programs: valid, terminating, and made to strain what a translator keeps track of: values that stay on the stack
 * while locals change and blocks open, results of blocks, branches out of depths, both widths side by side. */
import type { Script } from "../script.ts";
import { edges32, edges64, Random } from "../values.ts";
import { assemble } from "../wasm.ts";
import type { Corpus } from "./corpus.ts";

type Type = "i32" | "i64";
type Result = Type | "";

interface Callee {
  parameters: Type[];
  result: Result;
  cost: number; // instructions that a call may execute
}

interface Label {
  result: Result;
  counter: number; // the local that bounds a loop; -1 for a block
}

const COST_LIMIT = 6000; // instructions a call, calls within it included
const TABLE_SIZE = 8; // the first functions; they make no indirect calls, so that there is no recursion
const types: Type[] = ["i32", "i64"];
const binary = "add sub mul and or xor shl shr_s shr_u rotl rotr div_s div_u rem_s rem_u".split(" ");
const comparison = "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u".split(" ");
const unary = {
  i32: "clz ctz popcnt extend8_s extend16_s".split(" "),
  i64: "clz ctz popcnt extend8_s extend16_s extend32_s".split(" "),
};
const loads = {
  i32: "load load8_s load8_u load16_s load16_u".split(" "),
  i64: "load load8_s load8_u load16_s load16_u load32_s load32_u".split(" "),
};
const stores = { i32: "store store8 store16".split(" "), i64: "store store8 store16 store32".split(" ") };
const other = (type: Type): Type => (type === "i32" ? "i64" : "i32");

class FunctionWriter {
  private readonly body: string[] = [];
  private readonly locals: Type[]; // parameters first
  private readonly counters = new Set<number>(); // locals that bound loops, which nothing else may set
  private readonly labels: Label[];
  private times = 1; // how often the current place may be executed in a call
  cost = 0;

  constructor(
    private readonly random: Random,
    private readonly callees: readonly Callee[],
    readonly parameters: Type[],
    readonly result: Result,
  ) {
    this.locals = [...parameters, ...Array.from({ length: 1 + random.below(6) }, () => random.pick(types))];
    for (const type of types) if (!this.locals.includes(type)) this.locals.push(type);
    this.labels = [{ result, counter: -1 }];
  }

  write(index: number, size: number): string {
    for (let i = 0; i < size; i++) this.statement(4);
    if (this.result) this.expression(this.result, 4);
    const list = (keyword: string, items: Type[]) => (items.length ? `(${keyword} ${items.join(" ")})` : "");
    const head = `(func $f${index} (export "f${index}") ${list("param", this.parameters)} ${this.result && `(result ${this.result})`}`;
    return `${head} ${list("local", this.locals.slice(this.parameters.length))}\n${this.body.join(" ")})`;
  }

  private emit(text: string): void {
    this.body.push(text);
    this.cost += this.times;
  }

  private local(type: Type, writable: boolean): number {
    const fitting = this.locals.flatMap((each, i) =>
      each === type && !(writable && this.counters.has(i)) ? [i] : [],
    );
    return this.random.pick(fitting);
  }

  private depthOf(label: Label): number {
    return this.labels.length - 1 - this.labels.indexOf(label);
  }

  private constant(type: Type): void {
    const value = this.random.value();
    this.emit(`${type}.const ${type === "i32" ? value & 0xffffffffn : value}`);
  }

  /** Leaves one value of a type. */
  private expression(type: Type, depth: number): void {
    const random = this.random;
    if (depth <= 0 || this.cost > COST_LIMIT) {
      if (random.once(3)) this.constant(type);
      else this.emit(`local.get ${this.local(type, false)}`);
      return;
    }
    switch (random.below(21)) {
      case 0:
        return this.constant(type);
      case 1:
      case 2:
        return this.emit(`local.get ${this.local(type, false)}`);
      case 3:
        this.expression(type, depth - 1);
        return this.emit(`local.tee ${this.local(type, true)}`);
      case 4:
      case 5:
      case 6:
      case 7:
        return this.binary(type, depth);
      case 8:
        this.expression(type, depth - 1);
        return this.emit(`${type}.${random.pick(unary[type])}`);
      case 9:
        return this.convert(type, depth);
      case 10:
        if (type === "i64") return this.convert(type, depth);
        return this.compare(depth);
      case 11:
        this.expression(type, depth - 1);
        this.disturb(depth);
        this.expression(type, depth - 1);
        this.expression("i32", depth - 1);
        return this.emit("select");
      case 12:
      case 13: {
        this.address(depth);
        return this.emit(`${type}.${random.pick(loads[type])} offset=${random.below(57)}`);
      }
      case 14:
        return this.block([type], depth);
      case 15:
        return this.ifElse([type], depth);
      case 16:
        return this.loop(type, depth);
      case 17:
        return this.call(type, depth);
      case 18:
        return this.twoResults(type, depth);
      case 19: {
        const label = random.pick(this.labels);
        if (label.result !== type || label.counter >= 0) return this.binary(type, depth);
        this.expression(type, depth - 1);
        this.expression("i32", depth - 1);
        return this.emit(`br_if ${this.depthOf(label)}`);
      }
      default:
        if (type === "i32" && random.once(4))
          return this.emit(random.once(2) ? "memory.size" : "call $noted");
        return this.emit(`global.get $${type}${random.below(2)}`);
    }
  }

  private binary(type: Type, depth: number): void {
    const operation = this.random.pick(binary);
    this.expression(type, depth - 1);
    this.disturb(depth);
    this.expression(type, depth - 1);
    if (/div|rem/.test(operation) && !this.random.once(20)) this.emit(`${type}.const 1 ${type}.or`);
    this.emit(`${type}.${operation}`);
  }

  private compare(depth: number): void {
    const type = this.random.pick(types);
    this.expression(type, depth - 1);
    if (this.random.once(4)) return this.emit(`${type}.eqz`);
    this.disturb(depth);
    this.expression(type, depth - 1);
    this.emit(`${type}.${this.random.pick(comparison)}`);
  }

  private convert(type: Type, depth: number): void {
    this.expression(other(type), depth - 1);
    this.emit(type === "i32" ? "i32.wrap_i64" : this.random.pick(["i64.extend_i32_s", "i64.extend_i32_u"]));
  }

  /** Now and then a statement while operands wait on the stack. */
  private disturb(depth: number): void {
    if (this.random.once(6)) this.statement(depth - 1);
  }

  private address(depth: number): void {
    this.expression("i32", depth - 1);
    this.emit("i32.const 0xffc0 i32.and"); // with an offset up to 56 and 8 bytes, in bounds
  }

  private within(label: Label, body: () => void): void {
    this.labels.push(label);
    body();
    this.labels.pop();
  }

  private block(results: Type[], depth: number): void {
    this.emit(`block (result ${results.join(" ")})`);
    this.within(
      { result: results.length === 1 ? results[0]! : "", counter: results.length === 1 ? -1 : Infinity },
      () => {
        if (this.random.once(2)) this.statement(depth - 1);
        for (const type of results) this.expression(type, depth - 1);
      },
    );
    this.emit("end");
  }

  private ifElse(results: Type[], depth: number): void {
    this.expression("i32", depth - 1);
    this.emit(`if (result ${results.join(" ")})`);
    this.within(
      { result: results.length === 1 ? results[0]! : "", counter: results.length === 1 ? -1 : Infinity },
      () => {
        for (const type of results) this.expression(type, depth - 1);
        this.emit("else");
        for (const type of results) this.expression(type, depth - 1);
      },
    );
    this.emit("end");
  }

  private loop(result: Result, depth: number): void {
    const counter = this.locals.push("i32") - 1;
    const times = 1 + this.random.below(6);
    this.counters.add(counter);
    this.emit(`i32.const ${times} local.set ${counter}`);
    this.emit(result ? `loop (result ${result})` : "loop");
    this.times *= times;
    this.within({ result, counter }, () => {
      this.statement(depth - 1);
      if (this.random.once(2)) this.statement(depth - 1);
      this.continueLoop(this.labels.at(-1), depth - 2);
      if (result) this.expression(result, depth - 1);
    });
    this.times /= times;
    this.emit("end");
  }

  /** Goes on with a loop if its counter allows, and perhaps on a condition. */
  private continueLoop(label: Label, depth: number): void {
    this.emit(
      `local.get ${label.counter} i32.const 1 i32.sub local.tee ${label.counter} i32.const 0 i32.gt_s`,
    );
    if (this.random.once(2)) {
      this.expression("i32", depth);
      this.emit("i32.and");
    }
    this.emit(`br_if ${this.depthOf(label)}`);
  }

  private twoResults(type: Type, depth: number): void {
    const second = this.random.pick(types);
    if (this.random.once(2)) this.block([type, second], depth);
    else this.ifElse([type, second], depth);
    this.emit(`local.set ${this.local(second, true)}`);
  }

  /** A call whose result is of a type; without one that can be afforded, something else. */
  private call(result: Result, depth: number): void {
    const affordable = this.callees.flatMap((callee, i) =>
      callee.result === result && this.cost + this.times * callee.cost < COST_LIMIT ? [i] : [],
    );
    if (!affordable.length || this.random.once(5)) {
      if (!result) {
        this.expression("i32", depth - 1);
        return this.emit("call $note");
      }
      if (result === "i32") return this.compare(depth);
      this.expression("i32", depth - 1);
      this.expression("i64", depth - 1);
      return this.emit("call $mix");
    }
    const index = this.random.pick(affordable);
    const callee = this.callees[index]!;
    for (const type of callee.parameters) this.expression(type, depth - 1);
    this.cost += this.times * callee.cost;
    if (index >= TABLE_SIZE || this.callees.length < TABLE_SIZE || this.random.once(2))
      return this.emit(`call $f${index}`);
    if (this.random.once(12)) {
      this.expression("i32", depth - 1);
      this.emit(`i32.const ${TABLE_SIZE + 3} i32.and`);
    } else {
      this.emit(`i32.const ${index}`);
    }
    const parameters = callee.parameters.length ? `(param ${callee.parameters.join(" ")})` : "";
    this.emit(`call_indirect ${parameters} ${result && `(result ${result})`}`);
  }

  /** Leaves the stack as it is. */
  private statement(depth: number): void {
    const random = this.random;
    const type = random.pick(types);
    if (depth <= 0 || this.cost > COST_LIMIT) {
      this.emit(`local.get ${this.local(type, false)} local.set ${this.local(type, true)}`);
      return;
    }
    switch (random.below(14)) {
      case 0:
      case 1:
      case 2:
        this.expression(type, depth - 1);
        return this.emit(`local.set ${this.local(type, true)}`);
      case 3:
      case 4:
        this.address(depth);
        this.disturb(depth);
        this.expression(type, depth - 1);
        return this.emit(`${type}.${random.pick(stores[type])} offset=${random.below(57)}`);
      case 5:
        this.expression("i32", depth - 1);
        this.emit("if");
        this.within({ result: "", counter: -1 }, () => {
          this.statement(depth - 1);
          if (random.once(2)) this.jump(depth);
          if (random.once(2)) {
            this.emit("else");
            this.statement(depth - 1);
          }
        });
        return this.emit("end");
      case 6:
        return this.loop("", depth);
      case 7:
        this.emit("block");
        this.within({ result: "", counter: -1 }, () => {
          this.statement(depth - 1);
          if (random.once(2)) {
            this.expression("i32", depth - 1);
            this.emit("br_if 0");
          }
          this.statement(depth - 1);
        });
        return this.emit("end");
      case 8:
        return this.table(depth);
      case 9:
        this.expression(type, depth - 1);
        return this.emit("drop");
      case 10:
        return this.call("", depth);
      case 11:
        if (!random.once(3)) return this.statement(depth - 1);
        this.expression("i32", depth - 1);
        this.emit("i32.const 0x7fff i32.and");
        this.expression("i32", depth - 1);
        if (random.once(2)) this.emit("i32.const 0x7fff i32.and");
        this.expression("i32", depth - 1);
        this.emit("i32.const 0x1ff i32.and");
        return this.emit(random.once(2) ? "memory.fill" : "memory.copy");
      case 12: {
        const label = random.pick(this.labels);
        if (label.counter < 0 || label.counter === Infinity) return this.statement(depth - 1);
        return this.continueLoop(label, depth - 2);
      }
      default: {
        const [a, b] = [this.local(type, true), this.local(type, true)];
        return this.emit(`local.get ${a} local.get ${b} local.set ${a} local.set ${b}`);
      }
    }
  }

  /** An unconditional way out, after which code is dead. */
  private jump(depth: number): void {
    const label = this.random.pick(this.labels);
    if (label.counter >= 0) return;
    if (label.result) this.expression(label.result, depth - 2);
    this.emit(this.labels[0] === label && this.random.once(2) ? "return" : `br ${this.depthOf(label)}`);
    if (this.random.once(3)) this.statement(2);
    if (this.random.once(30)) this.emit("unreachable");
  }

  /** A br_table over nested blocks, to one of which it may fall. */
  private table(depth: number): void {
    const count = 2 + this.random.below(4);
    this.emit("block ".repeat(count));
    for (let i = 0; i < count; i++) this.labels.push({ result: "", counter: -1 });
    this.expression("i32", depth - 1);
    const targets = Array.from({ length: 1 + this.random.below(7) }, () => this.random.below(count));
    this.emit(`br_table ${targets.join(" ")}`);
    for (let i = 0; i < count; i++) {
      this.labels.pop();
      this.emit("end");
      this.statement(depth - 2);
    }
  }
}

/** A module of random functions, reproducible by its seed, and random calls of each. */
export function randomProgram(name: string, seed: number, functions = 30, callsEach = 30): Corpus {
  const random = new Random(seed);
  const callees: Callee[] = [];
  const bodies: string[] = [];
  for (let i = 0; i < functions; i++) {
    const parameters = Array.from({ length: random.below(5) }, () => random.pick(types));
    const writer = new FunctionWriter(
      random,
      i < TABLE_SIZE ? [] : callees,
      parameters,
      random.pick(["i32", "i64", "i32", "i64", ""]),
    );
    bodies.push(writer.write(i, 2 + random.below(6)));
    callees.push({ parameters, result: writer.result, cost: writer.cost });
  }
  const bytes = Array.from(
    { length: 200 },
    () => `\\${random.below(256).toString(16).padStart(2, "0")}`,
  ).join("");
  const globals = types.flatMap((type) =>
    [0, 1].map(
      (i) =>
        `(global $${type}${i} ${type} (${type}.const ${random.pick(type === "i32" ? edges32 : edges64)}))`,
    ),
  );
  const text = `(module
    (import "host" "mix" (func $mix (param i32 i64) (result i64)))
    (import "host" "note" (func $note (param i32)))
    (import "host" "noted" (func $noted (result i32)))
    (memory (export "memory") 1 1) (table ${TABLE_SIZE + 2} funcref)
    (elem (i32.const 0) ${Array.from({ length: TABLE_SIZE }, (_, i) => `$f${i}`).join(" ")})
    (data (i32.const 64) "${bytes}") ${globals.join(" ")}
    ${bodies.join("\n")})`;
  return {
    program: { name, wasm: assemble(name, text) },
    calls(script: Script, module: number) {
      script.reset(module);
      for (let i = 0; i < callsEach; i++) {
        callees.forEach(({ parameters }, callee) =>
          script.call(module, callee, ...parameters.map(() => random.value())),
        );
        script.hash(module);
      }
    },
  };
}
