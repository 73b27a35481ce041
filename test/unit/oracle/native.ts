/** This machine's CPU as an oracle: native.c executes instructions and says what became of registers and memory. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { projectDirectory } from "../fake/layout.ts";

/** Where native.c puts code and data. */
export const CODE = 0x10000000n;
export const DATA = 0x10100000n;
/** Bytes of memory that a case has, and where in the data they begin: a page ends in their middle. */
export const WINDOW = 512;
export const WINDOW_OFFSET = 4096 - WINDOW / 2;

export interface Case {
  bits: 32 | 64;
  code: Uint8Array;
  /** In ModR/M's order. */
  registers: bigint[];
  flags: bigint;
  memory: Uint8Array;
}

export interface Outcome {
  /** A signal's number if the instruction faulted. */
  signal: number;
  registers: bigint[];
  flags: bigint;
  memory: Uint8Array;
}

const CODE_SIZE = 16;
const STATE = 17 * 8;
const TEST = 16 + STATE + CODE_SIZE + WINDOW;
const RESULT = 8 + STATE + WINDOW;

function program(): string {
  const source = join(import.meta.dirname, "native.c");
  const directory = join(projectDirectory, "build/test");
  const binary = join(directory, "native");
  if (!existsSync(binary) || statSync(binary).mtimeMs < statSync(source).mtimeMs) {
    mkdirSync(directory, { recursive: true });
    execFileSync("gcc", ["-O1", "-Wall", "-Wextra", "-Werror", "-no-pie", "-o", binary, source]);
  }
  return binary;
}

/** Executes all cases in one process. */
export function execute(cases: Case[]): Outcome[] {
  const input = Buffer.alloc(cases.length * TEST);
  cases.forEach((test, n) => {
    const at = n * TEST;
    input.writeUInt32LE(test.bits, at);
    input.writeUInt32LE(test.code.length, at + 4);
    input.writeBigUInt64LE(BigInt(WINDOW_OFFSET), at + 8);
    test.registers.forEach((value, r) => input.writeBigUInt64LE(value, at + 16 + r * 8));
    input.writeBigUInt64LE(test.flags, at + 16 + 16 * 8);
    input.set(test.code, at + 16 + STATE);
    input.set(test.memory, at + 16 + STATE + CODE_SIZE);
  });
  const output = execFileSync(program(), { input, maxBuffer: cases.length * RESULT + 1 });
  if (output.length !== cases.length * RESULT) throw new Error("the native oracle ended early");
  return cases.map((_, n) => {
    const at = n * RESULT;
    return {
      signal: Number(output.readBigUInt64LE(at)),
      registers: Array.from({ length: 16 }, (_, r) => output.readBigUInt64LE(at + 8 + r * 8)),
      flags: output.readBigUInt64LE(at + 8 + 16 * 8),
      memory: output.subarray(at + 8 + STATE, at + RESULT),
    };
  });
}
