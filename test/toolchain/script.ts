/** What the engines are asked to do, in the layout that host/runner.c reads: nine 64-bit words a step. */

import type { Bytes } from "./wasm.ts";

export interface Program {
  name: string; // letters and digits; prefix of its C symbols
  wasm: Bytes;
}

export const enum Kind {
  Call,
  Reset,
  Hash,
}

/** Parameters that a function called may have. */
export const PARAMETERS = 8;

const WORDS = 1 + PARAMETERS;

export class Script {
  private words = new BigUint64Array(WORDS * 1024);
  length = 0; // in steps

  private push(module: number, kind: Kind, callee: number, values: readonly bigint[]): void {
    if ((this.length + 1) * WORDS > this.words.length) {
      const grown = new BigUint64Array(this.words.length * 2);
      grown.set(this.words);
      this.words = grown;
    }
    const at = this.length++ * WORDS;
    this.words[at] = BigInt(module) | (BigInt(kind) << 16n) | (BigInt(callee) << 32n);
    for (let i = 0; i < WORDS - 1; i++) this.words[at + 1 + i] = values[i] ?? 0n;
  }

  /** Calls an export, by its number. Values are taken modulo 2^64, and modulo 2^32 where the parameter is 32 bits wide. */
  call(module: number, callee: number, ...values: bigint[]): void {
    this.push(module, Kind.Call, callee, values);
  }

  /** Back to the state after instantiation. */
  reset(module: number): void {
    this.push(module, Kind.Reset, 0, []);
  }

  /** The result is a hash of the memory. */
  hash(module: number): void {
    this.push(module, Kind.Hash, 0, []);
  }

  step(index: number): { module: number; kind: Kind; callee: number; values: bigint[] } {
    const at = index * WORDS;
    const head = this.words[at]!;
    return {
      module: Number(head & 0xffffn),
      kind: Number((head >> 16n) & 0xffn),
      callee: Number(head >> 32n),
      values: Array.from(this.words.subarray(at + 1, at + WORDS)),
    };
  }

  bytes(): Uint8Array {
    return new Uint8Array(this.words.buffer, 0, this.length * WORDS * 8);
  }
}

/** Two words a step: status, value. */
export type Outcomes = BigUint64Array;

/** Statuses are those of enum wasm3_trap_kind; 0 is a result. */
export const enum Status {
  Ok,
  Unreachable,
  DivideByZero,
  IntegerOverflow,
  UndefinedElement,
  SignatureMismatch,
  OutOfBounds,
}
