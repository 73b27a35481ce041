/** Loads and stores of every width, with addresses in slots, register and constants, at and past the end of memory. */
import type { Script } from "../script.ts";
import { edges64 } from "../values.ts";
import { assemble } from "../wasm.ts";
import type { Corpus } from "./corpus.ts";

const loads = [
  ...["load", "load8_s", "load8_u", "load16_s", "load16_u"].map((name) => `i32.${name}`),
  ...["load", "load8_s", "load8_u", "load16_s", "load16_u", "load32_s", "load32_u"].map(
    (name) => `i64.${name}`,
  ),
];
const stores = [
  "i32.store",
  "i32.store8",
  "i32.store16",
  "i64.store",
  "i64.store8",
  "i64.store16",
  "i64.store32",
];
const offsets = [0, 1, 7, 0xfff8, 0xfffd, 0x10000, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff];

/** In 64 KiB of memory: aligned or not, at the end, across it, past it; and where 32-bit sums of address and offset wrap. */
const addresses = [
  0n,
  1n,
  2n,
  5n,
  0x1234n,
  0xfff8n,
  0xfff9n,
  0xfffcn,
  0xfffdn,
  0xfffen,
  0xffffn,
  0x10000n,
  0x10001n,
  0x1fffcn,
  0x7ffffff8n,
  0x80000000n,
  0xbffffff8n,
  0xc0000000n,
  0xc0000001n,
  0xfffffff0n,
  0xfffffff8n,
  0xffffffffn,
];

interface Case {
  text: string;
  inputs: bigint[][];
  writes: boolean;
}

const slot = (local: number): string => `local.get ${local}`;
const register = (type: string, local: number): string => `local.get ${local} ${type}.const 0 ${type}.or`;

function loadCases(instruction: string): Case[] {
  const result = instruction.slice(0, 3);
  const inputs = addresses.map((address) => [address]);
  const constant = addresses.map((address) => ({
    text: `(result ${result}) i32.const ${address} ${instruction}`,
    inputs: [[]],
    writes: false,
  }));
  return offsets
    .flatMap((offset) =>
      [slot(0), register("i32", 0)].map((address) => ({
        text: `(param i32) (result ${result}) ${address} ${instruction} offset=${offset}`,
        inputs,
        writes: false,
      })),
    )
    .concat(constant);
}

function storeCases(instruction: string): Case[] {
  const type = instruction.slice(0, 3);
  const inputs = addresses.map((address, i) => [address, edges64[(5 * i + 3) % edges64.length]! ^ 0x5a5an]);
  const forms = [slot(0), register("i32", 0)].flatMap((address) =>
    [slot(1), register(type, 1)].map((value) => `${address} ${value}`),
  );
  forms.push(
    `${slot(0)} ${type}.const -2`,
    `${register("i32", 0)} ${type}.const 77`,
    `i32.const 0xfff0 ${slot(1)}`,
  );
  forms.push(`i32.const 4 ${register(type, 1)}`);
  return offsets.flatMap((offset) =>
    forms.map((form) => ({
      text: `(param i32 ${type}) ${form} ${instruction} offset=${offset}`,
      inputs,
      writes: true,
    })),
  );
}

export function memory(): Corpus {
  const cases = [...loads.flatMap(loadCases), ...stores.flatMap(storeCases)];
  const functions = cases.map(({ text }, i) => `(func (export "f${i}") ${text})`).join("\n");
  const bytes = Array.from(
    { length: 256 },
    (_, i) => `\\${((i * 37 + 129) & 0xff).toString(16).padStart(2, "0")}`,
  ).join("");
  const segments = [0, 0x1200, 0x8000, 0xff00].map((at) => `(data (i32.const ${at}) "${bytes}")`).join("\n");
  const text = `(module (memory (export "memory") 1 1) ${segments} ${functions}
    (func (export "size") (result i32) memory.size)
    (func (export "sizeTwice") (result i32) memory.size memory.size i32.add))`;
  return {
    program: { name: "memory", wasm: assemble("memory", text) },
    calls(script: Script, module: number) {
      script.reset(module);
      cases.forEach(({ inputs, writes }, i) =>
        inputs.forEach((values) => {
          script.call(module, i, ...values);
          if (writes) script.hash(module);
        }),
      );
      script.call(module, cases.length);
      script.call(module, cases.length + 1);
    },
  };
}
