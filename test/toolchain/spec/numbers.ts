/** Every numeric instruction, on edges and random values, with its operands in wasm3's register, slots, and constants. */
import { edges32, edges64, Random } from "../values.ts";
import { binary, comparisons, conversions, unary, type Outcome } from "./definitions.ts";
import { Suite } from "./suite.ts";

const edges = { 32: edges32, 64: edges64 };
const few = {
  32: [0n, 1n, 5n, 31n, 32n, 33n, 0x7fffffffn, 0x80000000n, 0x80000001n, 0xffffff80n, 0xffffffffn],
  64: [0n, 1n, 5n, 32n, 63n, 64n, 65n, 0xffffffffn, (1n << 63n) - 1n, 1n << 63n, (1n << 64n) - 1n, 1n << 32n],
};

type Width = 32 | 64;
interface Tested {
  text: string;
  cases: { values: bigint[]; expected: Outcome }[];
}

/** Leaves a local's value in wasm3's register. */
const register = (n: Width, local: number): string => `local.get ${local} i${n}.const 0 i${n}.or`;
const slot = (_: Width, local: number): string => `local.get ${local}`;

function binaryFunctions(n: Width, name: string, random: Random): Tested[] {
  const of = binary[name]!;
  const instruction = `i${n}.${name}`;
  const result = `(result ${comparisons.has(name) ? "i32" : `i${n}`})`;
  const pairs = few[n].flatMap((a) => few[n].map((b): [bigint, bigint] => [a, b]));
  const value = () => BigInt.asUintN(n, random.value());
  for (let i = 0; i < 40; i++) pairs.push([value(), value()]);
  const all = pairs.map(([a, b]) => ({ values: [a, b], expected: of(n, a, b) }));
  const forms = [slot, register].flatMap((first) =>
    [slot, register].map((second) => ({
      text: `(param i${n} i${n}) ${result} ${first(n, 0)} ${second(n, 1)} ${instruction}`,
      cases: all,
    })),
  );
  const constants = few[n].flatMap((constant) => [
    {
      text: `(param i${n}) ${result} local.get 0 i${n}.const ${constant} ${instruction}`,
      cases: few[n].map((a) => ({ values: [a], expected: of(n, a, constant) })),
    },
    {
      text: `(param i${n}) ${result} i${n}.const ${constant} ${register(n, 0)} ${instruction}`,
      cases: few[n].map((a) => ({ values: [a], expected: of(n, constant, a) })),
    },
  ]);
  return [...forms, ...constants];
}

function unaryFunctions(n: Width, result: Width, instruction: string, of: (a: bigint) => bigint): Tested[] {
  const random = new Random(n);
  const values = [...edges[n], ...Array.from({ length: 60 }, () => BigInt.asUintN(n, random.value()))];
  const cases = values.map((a) => ({ values: [a], expected: of(a) }));
  return [slot, register].map((operand) => ({
    text: `(param i${n}) (result i${result}) ${operand(n, 0)} ${instruction}`,
    cases,
  }));
}

export function numbers(n: Width): Suite {
  const random = new Random(n);
  const functions: Tested[] = Object.keys(binary).flatMap((name) => binaryFunctions(n, name, random));
  for (const [name, of] of Object.entries(unary)) {
    if (n === 32 && name === "extend32_s") continue; // there is none
    functions.push(...unaryFunctions(n, name === "eqz" ? 32 : n, `i${n}.${name}`, (a) => of(n, a)));
  }
  for (const [name, [from, to, of]] of Object.entries(conversions))
    if (from === n) functions.push(...unaryFunctions(n, to as Width, name, of));
  for (const constant of edges[n])
    functions.push({
      text: `(result i${n}) i${n}.const ${constant}`,
      cases: [{ values: [], expected: constant }],
    });
  const suite = new Suite(
    `numbers${n}`,
    `(module ${functions.map(({ text }, i) => `(func (export "f${i}") ${text})`).join("\n")})`,
  );
  functions.forEach(({ cases }, i) => {
    for (const { values, expected } of cases) suite.expect(`f${i}`, values, expected);
  });
  return suite;
}

/** Worked out by hand, so that the definitions are no law unto themselves: instruction, operands, result. */
export const byHand: [string, bigint[], bigint | string][] = [
  ["i32.add", [0xffffffffn, 2n], 1n],
  ["i64.add", [0xffffffffn, 2n], 0x100000001n],
  ["i32.sub", [0n, 1n], 0xffffffffn],
  ["i32.mul", [0x10001n, 0x10001n], 0x20001n],
  ["i64.mul", [0x100000000n, 0x100000001n], 0x100000000n],
  ["i32.div_s", [0xfffffff9n, 2n], 0xfffffffdn], // -7 / 2 is -3
  ["i32.div_u", [0xfffffff9n, 2n], 0x7ffffffcn],
  ["i32.rem_s", [0xfffffff9n, 2n], 0xffffffffn], // -7 rem 2 is -1
  ["i32.rem_s", [7n, 0xfffffffen], 1n], // 7 rem -2 is 1
  ["i32.rem_u", [0xfffffff9n, 2n], 1n],
  ["i32.div_s", [0x80000000n, 0xffffffffn], "overflow"],
  ["i64.div_s", [1n << 63n, (1n << 64n) - 1n], "overflow"],
  ["i32.rem_s", [0x80000000n, 0xffffffffn], 0n],
  ["i32.div_u", [0x80000000n, 0xffffffffn], 0n],
  ["i32.div_s", [5n, 0n], "zero"],
  ["i64.div_u", [5n, 0n], "zero"],
  ["i32.rem_s", [5n, 0n], "zero"],
  ["i64.rem_u", [0n, 0n], "zero"],
  ["i32.and", [0b1100n, 0b1010n], 0b1000n],
  ["i32.or", [0b1100n, 0b1010n], 0b1110n],
  ["i32.xor", [0b1100n, 0b1010n], 0b0110n],
  ["i32.shl", [1n, 33n], 2n],
  ["i64.shl", [1n, 33n], 0x200000000n],
  ["i32.shr_u", [0x80000000n, 31n], 1n],
  ["i32.shr_s", [0x80000000n, 31n], 0xffffffffn],
  ["i64.shr_s", [0x80000000n, 31n], 1n],
  ["i32.rotl", [0x80000001n, 1n], 3n],
  ["i32.rotr", [3n, 1n], 0x80000001n],
  ["i64.rotl", [0x80000001n, 1n], 0x100000002n],
  ["i32.clz", [1n], 31n],
  ["i64.clz", [1n], 63n],
  ["i32.clz", [0n], 32n],
  ["i64.ctz", [0n], 64n],
  ["i32.ctz", [8n], 3n],
  ["i32.popcnt", [0xf0f0n], 8n],
  ["i32.eqz", [0n], 1n],
  ["i64.eqz", [1n << 32n], 0n],
  ["i32.eq", [4n, 4n], 1n],
  ["i32.ne", [4n, 4n], 0n],
  ["i32.lt_s", [0xffffffffn, 0n], 1n],
  ["i32.lt_u", [0xffffffffn, 0n], 0n],
  ["i64.gt_s", [0n, (1n << 64n) - 1n], 1n],
  ["i64.gt_u", [0n, (1n << 64n) - 1n], 0n],
  ["i32.le_s", [5n, 5n], 1n],
  ["i32.le_u", [6n, 5n], 0n],
  ["i32.ge_s", [0x80000000n, 0x7fffffffn], 0n],
  ["i32.ge_u", [0x80000000n, 0x7fffffffn], 1n],
  ["i32.extend8_s", [0x180n], 0xffffff80n],
  ["i32.extend16_s", [0x17fffn], 0x7fffn],
  ["i64.extend32_s", [0x180000000n], 0xffffffff80000000n],
  ["i32.wrap_i64", [0x1234567890n], 0x34567890n],
  ["i64.extend_i32_s", [0x80000000n], 0xffffffff80000000n],
  ["i64.extend_i32_u", [0x80000000n], 0x80000000n],
];
