/** asc, on sources in memory, with the flags that the kernel is compiled with. */
import asc from "assemblyscript/asc";
import type { Bytes } from "./wasm.ts";

export interface Compiled {
  wasm: Bytes;
  map: string;
}

const flags =
  "--runtime stub --converge --debug --sourceMap --initialMemory 1 --maximumMemory 1 --enable bulk-memory".split(
    " ",
  );

/** Compiles `entry`, one of the sources, which are by path. Throws with asc's messages. */
export async function compile(
  sources: Record<string, string>,
  entry: string,
  ...more: string[]
): Promise<Compiled> {
  const written = new Map<string, string | Uint8Array>();
  const { error, stderr } = await asc.main([entry, "-o", "out.wasm", ...flags, ...more], {
    readFile: (name) => sources[name] ?? null,
    writeFile: (name, contents) => void written.set(name, contents),
    listFiles: () => [],
  });
  if (error) throw new Error(stderr.toString());
  return {
    wasm: Uint8Array.from(written.get("out.wasm") as Uint8Array),
    map: written.get("out.wasm.map") as string,
  };
}
