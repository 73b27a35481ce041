/** Modules by Binaryen's fuzzer: `wasm-opt --translate-to-fuzz` makes one of any bytes. */
import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { root } from "../engines.ts";
import { rewrite } from "../rewrite.ts";
import type { Script } from "../script.ts";
import { edges64, Random } from "../values.ts";
import { signatures, type Bytes } from "../wasm.ts";
import type { Corpus } from "./corpus.ts";

const features = ["--mvp-features", "--enable-sign-ext", "--enable-bulk-memory-opt"];

/** Of the module as it comes, and as Binaryen's optimizer shapes it. */
const passes = [[], ["-O1"], ["-O3"], ["--flatten"], ["--fuzz-passes"], ["-Os"]];

const wasmOpt = path.join(root, "node_modules/binaryen/bin/wasm-opt");

/** Calls every export about as often, with edges and random values; a look at memory now and then. */
export function callEvenly(wasm: Bytes, seed: number, count: number, pages: number) {
  return (script: Script, module: number): void => {
    const random = new Random(seed);
    const functions = signatures(wasm);
    const value = () =>
      random.once(3)
        ? BigInt(random.below(pages * 65536))
        : random.once(4)
          ? random.value()
          : random.pick(edges64);
    script.reset(module);
    for (let i = 0; i < count && functions.length; i++) {
      const callee = i % functions.length;
      script.call(module, callee, ...functions[callee]!.parameters.map(value));
      if (i % 97 === 96) script.hash(module);
    }
    script.hash(module);
  };
}

export async function binaryenProgram(folder: string, seed: number, calls: number): Promise<Corpus> {
  const random = new Random(seed);
  const name = `binaryen${seed}`;
  const bytes = Uint8Array.from({ length: 1500 + random.below(7000) }, () => random.below(256));
  const [input, output] = [`${name}.bytes`, `${name}.ttf.wasm`].map((file) => path.join(folder, file)) as [
    string,
    string,
  ];
  writeFileSync(input, bytes);
  const parameters = [wasmOpt, input, "-ttf", ...features, ...passes[seed % passes.length]!, "-o", output];
  await promisify(execFile)(process.execPath, parameters);
  const wasm = rewrite(Uint8Array.from(readFileSync(output)), { pages: 1 });
  return { program: { name, wasm }, calls: callEvenly(wasm, seed, calls, 1) };
}
