/**
 * The integer operations of the WebAssembly Core Specification 2.0, 4.3.2 "Integer Operations" and 4.3.4 "Conversions", as it defines
 * them: on mathematical integers and on sequences of bits. Slow and literal: these say what is right, no engine does.
 */
import { Status } from "../script.ts";

/** What an operation yields: a value, or the trap that ends it. */
export type Outcome = bigint | { trap: Status };

type Bit = 0 | 1;

/** ibits_N: most significant bit first. */
function bits(n: number, i: bigint): Bit[] {
  return Array.from({ length: n }, (_, k) => ((i / 2n ** BigInt(n - 1 - k)) % 2n === 1n ? 1 : 0));
}

/** The inverse of ibits_N. */
function integer(d: readonly Bit[]): bigint {
  return d.reduce((sum, bit) => 2n * sum + (bit ? 1n : 0n), 0n);
}

/** signed_N. */
export function signed(n: number, i: bigint): bigint {
  return i < 2n ** BigInt(n - 1) ? i : i - 2n ** BigInt(n);
}

/** The inverse of signed_N, of any integer modulo 2^N. */
export function unsigned(n: number, i: bigint): bigint {
  const modulus = 2n ** BigInt(n);
  return ((i % modulus) + modulus) % modulus;
}

function bitwise(n: number, a: bigint, b: bigint, of: (x: boolean, y: boolean) => boolean): bigint {
  const second = bits(n, b);
  return integer(bits(n, a).map((bit, k) => (of(!!bit, !!second[k]) ? 1 : 0)));
}

const repeat = (bit: Bit, count: number): Bit[] => Array.from({ length: count }, () => bit);

/** bool(C). */
const bool = (condition: boolean): bigint => (condition ? 1n : 0n);

/** Of two operands. BigInt's division truncates, as the specification's `trunc(i1 / i2)`. */
export const binary: Record<string, (n: number, a: bigint, b: bigint) => Outcome> = {
  add: (n, a, b) => unsigned(n, a + b),
  sub: (n, a, b) => unsigned(n, a - b + 2n ** BigInt(n)),
  mul: (n, a, b) => unsigned(n, a * b),
  div_u: (_, a, b) => (b === 0n ? { trap: Status.DivideByZero } : a / b),
  div_s: (n, a, b) => {
    const [j1, j2] = [signed(n, a), signed(n, b)];
    if (j2 === 0n) return { trap: Status.DivideByZero };
    if (j1 / j2 === 2n ** BigInt(n - 1)) return { trap: Status.IntegerOverflow };
    return unsigned(n, j1 / j2);
  },
  rem_u: (_, a, b) => (b === 0n ? { trap: Status.DivideByZero } : a - b * (a / b)),
  rem_s: (n, a, b) => {
    const [j1, j2] = [signed(n, a), signed(n, b)];
    return j2 === 0n ? { trap: Status.DivideByZero } : unsigned(n, j1 - j2 * (j1 / j2));
  },
  and: (n, a, b) => bitwise(n, a, b, (x, y) => x && y),
  or: (n, a, b) => bitwise(n, a, b, (x, y) => x || y),
  xor: (n, a, b) => bitwise(n, a, b, (x, y) => x !== y),
  shl: (n, a, b) => {
    const k = Number(b % BigInt(n));
    return integer([...bits(n, a).slice(k), ...repeat(0, k)]);
  },
  shr_u: (n, a, b) => {
    const k = Number(b % BigInt(n));
    return integer([...repeat(0, k), ...bits(n, a).slice(0, n - k)]);
  },
  shr_s: (n, a, b) => {
    const k = Number(b % BigInt(n));
    const d = bits(n, a);
    return integer([...repeat(d[0]!, k), ...d.slice(0, n - k)]);
  },
  rotl: (n, a, b) => {
    const k = Number(b % BigInt(n));
    const d = bits(n, a);
    return integer([...d.slice(k), ...d.slice(0, k)]);
  },
  rotr: (n, a, b) => {
    const k = Number(b % BigInt(n));
    const d = bits(n, a);
    return integer([...d.slice(n - k), ...d.slice(0, n - k)]);
  },
  eq: (_, a, b) => bool(a === b),
  ne: (_, a, b) => bool(a !== b),
  lt_u: (_, a, b) => bool(a < b),
  lt_s: (n, a, b) => bool(signed(n, a) < signed(n, b)),
  gt_u: (_, a, b) => bool(a > b),
  gt_s: (n, a, b) => bool(signed(n, a) > signed(n, b)),
  le_u: (_, a, b) => bool(a <= b),
  le_s: (n, a, b) => bool(signed(n, a) <= signed(n, b)),
  ge_u: (_, a, b) => bool(a >= b),
  ge_s: (n, a, b) => bool(signed(n, a) >= signed(n, b)),
};

/** Those of `binary` whose result is an i32, whatever they compare. */
export const comparisons = new Set("eq ne lt_u lt_s gt_u gt_s le_u le_s ge_u ge_s".split(" "));

/** iextendM_s: the low M bits, signed. */
const extend = (m: number) => (n: number, a: bigint) => unsigned(n, signed(m, a % 2n ** BigInt(m)));

export const unary: Record<string, (n: number, a: bigint) => bigint> = {
  clz: (n, a) => BigInt([...bits(n, a), 1].findIndex((bit) => !!bit)),
  ctz: (n, a) => BigInt([...bits(n, a).reverse(), 1].findIndex((bit) => !!bit)),
  popcnt: (n, a) => BigInt(bits(n, a).filter((bit) => !!bit).length),
  eqz: (_, a) => bool(a === 0n),
  extend8_s: extend(8),
  extend16_s: extend(16),
  extend32_s: extend(32),
};

/** Operand's width, result's width, meaning. */
export const conversions: Record<string, [number, number, (a: bigint) => bigint]> = {
  "i32.wrap_i64": [64, 32, (a) => a % 2n ** 32n],
  "i64.extend_i32_u": [32, 64, (a) => a],
  "i64.extend_i32_s": [32, 64, (a) => unsigned(64, signed(32, a))],
};
