/** WebAssembly modules for the tests: from text, and what a caller must know of them. */
import wabtInit from "wabt";

/** What `WebAssembly` takes. */
export type Bytes = Uint8Array<ArrayBuffer>;

export type ValueType = "w" | "x"; // i32, i64, in wasm3-build's letters

export interface Signature {
  name: string;
  parameters: ValueType[];
  result: ValueType | "";
}

const wabt = await wabtInit();

/** Assembles a module. Throws with wabt's message, which quotes the line. */
export function assemble(name: string, text: string, features: object = {}): Bytes {
  const module = wabt.parseWat(`${name}.wat`, text, {
    mutable_globals: true,
    multi_value: true,
    sign_extension: true,
    bulk_memory: true,
    ...features,
  });
  try {
    module.resolveNames();
    module.validate();
    return Uint8Array.from(module.toBinary({ write_debug_names: true }).buffer);
  } finally {
    module.destroy();
  }
}

/** Exported functions with their types, in the order of the export section. */
export function signatures(wasm: Bytes): Signature[] {
  let at = 8;
  const leb = (): number => {
    for (let value = 0, shift = 0; ; shift += 7) {
      const byte = wasm[at++]!;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  };
  const name = (): string => {
    const length = leb();
    at += length;
    return new TextDecoder().decode(wasm.subarray(at - length, at));
  };
  const type = (): ValueType => (wasm[at++] === 0x7f ? "w" : "x");
  const list = <T>(item: () => T): T[] => Array.from({ length: leb() }, item);

  const types: Omit<Signature, "name">[] = [];
  const functions: number[] = [];
  const exports: Signature[] = [];
  while (at < wasm.length) {
    const id = wasm[at++];
    const end = leb() + at;
    if (id === 1) {
      list(() => {
        at++;
        types.push({ parameters: list(type), result: list(type)[0] ?? "" });
      });
    } else if (id === 2) {
      list(() => {
        name();
        name();
        at++; // the tests import functions only
        functions.push(leb());
      });
    } else if (id === 3) {
      functions.push(...list(leb));
    } else if (id === 7) {
      list(() => {
        const exported = name();
        const kind = wasm[at++];
        const index = leb();
        if (kind === 0) exports.push({ name: exported, ...types[functions[index]!]! });
      });
    }
    at = end;
  }
  return exports;
}
