/** Every numeric instruction, in every form its operands can take: wasm3's register, a slot, a constant. */
import type { Script } from "../script.ts";
import { edges32, edges64, Random } from "../values.ts";
import { assemble } from "../wasm.ts";
import type { Corpus } from "./corpus.ts";

const arithmetic = "add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr".split(" ");
const comparison = "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u".split(" ");

type Type = "i32" | "i64";
const types: Type[] = ["i32", "i64"];
const edgesOf = { i32: edges32, i64: edges64 };
const constants = {
  i32: [0n, 1n, 31n, 33n, 0x7fffffffn, 0x80000000n, 0xffffffffn],
  i64: [0n, 1n, 63n, 65n, 1n << 63n, (1n << 64n) - 1n],
};

interface Case {
  text: string; // of the exported function's type and body
  inputs: bigint[][];
}

/** Leaves a local's value in wasm3's register. */
const inRegister = (type: Type, local: number): string => `local.get ${local} ${type}.const 0 ${type}.or`;

function binaryCases(type: Type, operation: string, random: Random): Case[] {
  const result = comparison.includes(operation) ? "i32" : type;
  const head = (parameters: string) => `(param ${parameters}) (result ${result})`;
  const instruction = `${type}.${operation}`;
  const edges = edgesOf[type];
  const pairs = edges.flatMap((a) => edges.filter((_, i) => i % 2 === 0 || a < 64n).map((b) => [a, b]));
  for (let i = 0; i < 60; i++) pairs.push([random.value(), random.value()]);
  const slot = (local: number) => `local.get ${local}`;
  const register = (local: number) => inRegister(type, local);
  const cases: Case[] = [
    { text: `${head(`${type} ${type}`)} ${slot(0)} ${slot(1)} ${instruction}`, inputs: pairs },
    { text: `${head(`${type} ${type}`)} ${slot(0)} ${register(1)} ${instruction}`, inputs: pairs },
    { text: `${head(`${type} ${type}`)} ${register(0)} ${slot(1)} ${instruction}`, inputs: pairs },
    { text: `${head(`${type} ${type}`)} ${register(0)} ${register(1)} ${instruction}`, inputs: pairs },
  ];
  const singles = edges.map((a) => [a]);
  for (const constant of constants[type]) {
    const literal = `${type}.const ${constant}`;
    cases.push(
      { text: `${head(type)} ${slot(0)} ${literal} ${instruction}`, inputs: singles },
      { text: `${head(type)} ${literal} ${slot(0)} ${instruction}`, inputs: singles },
      { text: `${head(type)} ${register(0)} ${literal} ${instruction}`, inputs: singles },
      { text: `${head(type)} ${literal} ${register(0)} ${instruction}`, inputs: singles },
    );
    for (const second of constants[type])
      cases.push({
        text: `(result ${result}) ${literal} ${type}.const ${second} ${instruction}`,
        inputs: [[]],
      });
  }
  return cases;
}

const unary: [Type, string, Type][] = [
  ...types.flatMap((type): [Type, string, Type][] => [
    ...["clz", "ctz", "popcnt", "extend8_s", "extend16_s"].map((name): [Type, string, Type] => [
      type,
      `${type}.${name}`,
      type,
    ]),
    [type, `${type}.eqz`, "i32"],
  ]),
  ["i64", "i64.extend32_s", "i64"],
  ["i64", "i32.wrap_i64", "i32"],
  ["i32", "i64.extend_i32_s", "i64"],
  ["i32", "i64.extend_i32_u", "i64"],
];

function unaryCases([type, instruction, result]: [Type, string, Type], random: Random): Case[] {
  const inputs = edgesOf[type].map((a) => [a]);
  for (let i = 0; i < 60; i++) inputs.push([random.value()]);
  const head = `(param ${type}) (result ${result})`;
  return [
    { text: `${head} local.get 0 ${instruction}`, inputs },
    { text: `${head} ${inRegister(type, 0)} ${instruction}`, inputs },
    ...constants[type].map((constant) => ({
      text: `(result ${result}) ${type}.const ${constant} ${instruction}`,
      inputs: [[]],
    })),
  ];
}

/** select with each of its three operands in the register, or none, or constant. */
function selectCases(type: Type): Case[] {
  const edges = edgesOf[type];
  const inputs = edges.flatMap((a, i) =>
    [0n, 1n, 0x80000000n, 1n << 32n].map((c) => [a, edges[(i + 7) % edges.length]!, c]),
  );
  const operands = [`local.get 0`, `local.get 1`, `local.get 2`];
  const registers = [inRegister(type, 0), inRegister(type, 1), inRegister("i32", 2)];
  const forms = [-1, 0, 1, 2].map((inRegister) =>
    operands.map((slot, i) => (i === inRegister ? registers[i]! : slot)),
  );
  forms.push(
    [`${type}.const 5`, operands[1]!, operands[2]!],
    [operands[0]!, `${type}.const -5`, registers[2]!],
  );
  return forms.map((form) => ({
    text: `(param ${type} ${type} i32) (result ${type}) ${form.join(" ")} select`,
    inputs,
  }));
}

/** One module for each type of operand, so that gcc's work divides. */
export function numeric(type: Type): Corpus {
  const random = new Random(type === "i32" ? 1 : 2);
  const cases = [
    ...[...arithmetic, ...comparison].flatMap((operation) => binaryCases(type, operation, random)),
    ...unary.filter(([from]) => from === type).flatMap((each) => unaryCases(each, random)),
    ...selectCases(type),
  ];
  const functions = cases.map(({ text }, i) => `(func (export "f${i}") ${text})`);
  return {
    program: { name: `numeric${type}`, wasm: assemble("numeric", `(module ${functions.join("\n")})`) },
    calls: (script: Script, module: number) =>
      cases.forEach(({ inputs }, i) => inputs.forEach((values) => script.call(module, i, ...values))),
  };
}
