/** The offsets and constants of kernel/abi, as asc has them: the same that NASM and C get. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

export const projectDirectory = join(import.meta.dirname, "../../..");
export const moduleFile = (name: string) => join(projectDirectory, "build/modules", `${name}.wasm`);

const constants = new WebAssembly.Instance(
  new WebAssembly.Module(readFileSync(join(projectDirectory, "build/abi/constants.wasm"))),
).exports as Record<string, WebAssembly.Global<"i64">>;

/** A constant by the name that it has in layout.h: `abi("VMINFO_TSC_HZ")`. */
export function abi(name: string): number {
  const constant = constants[name];
  if (!constant) throw new Error(`kernel/abi has no ${name}`);
  return Number(constant.value);
}
