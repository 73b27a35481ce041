/** Modules written by hand: control flow, calls, bulk memory; and generated ones that are large in some way. */
import { readFileSync } from "node:fs";
import type { Script } from "../script.ts";
import { edges32, Random } from "../values.ts";
import { assemble, signatures, type Bytes } from "../wasm.ts";
import type { Corpus } from "./corpus.ts";

/** Calls each export with edges and random values in each parameter. */
export function callAll(wasm: Bytes, seed: number, values: readonly bigint[], hashEach = false) {
  return (script: Script, module: number): void => {
    const random = new Random(seed);
    script.reset(module);
    signatures(wasm).forEach(({ parameters }, callee) => {
      const tuples = parameters.length === 1 ? values.map((value) => [value]) : [];
      const count = parameters.length === 0 ? 1 : 60 * parameters.length;
      for (let i = 0; i < count; i++)
        tuples.push(parameters.map(() => (random.once(4) ? random.value() : random.pick(values))));
      for (const tuple of tuples) {
        script.call(module, callee, ...tuple);
        if (hashEach) script.hash(module);
      }
    });
    script.hash(module);
  };
}

function fromFile(name: string, seed: number, values: readonly bigint[], hashEach = false): Corpus {
  const text = readFileSync(new URL(`../wat/${name}.wat`, import.meta.url), "utf8");
  const wasm = assemble(name, text);
  return { program: { name, wasm }, calls: callAll(wasm, seed, values, hashEach) };
}

const small = Array.from({ length: 14 }, (_, i) => BigInt(i));

export const control = (): Corpus => fromFile("control", 3, [...small, ...edges32]);
export const calls = (): Corpus => fromFile("calls", 4, [...small, ...edges32]);

/** Ends of memory, overlaps either way, empty ranges inside, at and past the end. */
export const bulk = (): Corpus =>
  fromFile(
    "bulk",
    5,
    [...small, 24n, 100n, 131000n, 131064n, 131071n, 131072n, 131073n, 0xfffffff0n, 0xffffffffn],
    true,
  );

/** Functions past the sizes that wasm3 treats alike: constants (120), a code page (some 4,000 words), locals, br_table targets. */
export function large(): Corpus {
  const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);
  const constants = (type: string) =>
    `(func (export "constants${type}") (param ${type}) (result ${type}) local.get 0 ` +
    numbers(150)
      .map((i) => `${type}.const ${i * 7919 + 13} ${type}.add ${type}.const ${(i % 31) + 1} ${type}.rotl`)
      .join(" ") +
    ")";
  const constantsOnStack =
    `(func (export "constantsOnStack") (result i32) ` +
    numbers(140)
      .map((i) => `i32.const ${i * 77}`)
      .join(" ") +
    numbers(139)
      .map((i) => (i % 2 ? " i32.sub" : " i32.xor"))
      .join("") +
    ")";
  const pages =
    `(func (export "pages") (param i32 i64) (result i64) (local i64) ` +
    numbers(1200)
      .map((i) =>
        i % 3 === 0
          ? `local.get 0 if local.get 1 i64.const ${i} i64.add local.set 1 end`
          : `local.get 1 i64.const ${i} i64.xor i64.const 1 i64.rotl local.set 1`,
      )
      .join("\n") +
    " local.get 1)";
  const locals =
    `(func (export "locals") (param i32) (result i32) (local ${numbers(300)
      .map(() => "i32")
      .join(" ")}) ` +
    numbers(300)
      .map((i) => `local.get ${i} i32.const ${i} i32.add local.set ${i + 1}`)
      .join(" ") +
    " local.get 300 local.get 150 i32.sub)";
  const depth = 100; // wabt's parser recurses, on a stack of its own that is small
  const table =
    `(func (export "jumpTable") (param i32) (result i32) (local i32) ${"block ".repeat(depth)}` +
    `local.get 0 i32.const 511 i32.and br_table ${numbers(400)
      .map((i) => (i * 17) % depth)
      .join(" ")} ` +
    numbers(depth)
      .map((i) => `end local.get 1 i32.const ${i + 1} i32.mul i32.const ${i} i32.add local.set 1`)
      .join(" ") +
    " local.get 1)";
  const loop =
    `(func (export "loopOverPages") (param i32) (result i32) (local i32) loop ` +
    numbers(700)
      .map((i) => `local.get 1 i32.const ${i} i32.add i32.const 3 i32.rotl local.set 1`)
      .join(" ") +
    ` local.get 0 i32.const 7 i32.and i32.const 1 i32.sub local.tee 0 i32.const 0 i32.gt_s br_if 0 end local.get 1)`;
  const preserved =
    `(func (export "manyUses") (param i32) (result i32) ` +
    "local.get 0 ".repeat(250) +
    "i32.const 5 local.set 0 " +
    "i32.add ".repeat(249) +
    "local.get 0 i32.add)";
  const wasm = assemble(
    "large",
    `(module (memory (export "memory") 1 1) ${[
      constants("i32"),
      constants("i64"),
      constantsOnStack,
      pages,
      locals,
      table,
      loop,
      preserved,
    ].join("\n")})`,
  );
  return {
    program: { name: "large", wasm },
    calls: callAll(wasm, 6, [...small, ...edges32, ...numbers(512).map(BigInt)]),
  };
}
