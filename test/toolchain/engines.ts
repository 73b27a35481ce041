/** The engines under comparison: wasm3-build's C, V8, the wasm3 interpreter, and wasm2c. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Kind, Status, type Outcomes, type Program, type Script } from "./script.ts";
import { signatures, type Signature } from "./wasm.ts";

const here = path.dirname(fileURLToPath(import.meta.url));
export const root = path.resolve(here, "../..");
export const tool = path.join(root, "build/tools/wasm3-build");
const toolFolder = path.join(root, "tools/wasm3-build");
const hostFolder = path.join(root, "build/test/toolchain/host");

/** The flags that the kernel is compiled with, but that its segment is FS, which is the C library's here. */
export const kernelFlags = [
  "-DWASM3_SEGMENT=__seg_gs",
  "-std=gnu11 -O2 -g -ffreestanding -fno-builtin -mno-red-zone -mgeneral-regs-only -mcmodel=small -fno-pic -fno-pie",
  "-fno-strict-aliasing -Wall -Wextra -Werror -Wno-infinite-recursion", // some tests allow recursion
].flatMap((flags) => flags.split(" "));

export const includes = [`-I${toolFolder}`, `-I${path.join(here, "host")}`];

/** Builds wasm3-build and the runners' fixed parts; quick when they are up to date. */
export function buildTools(): void {
  for (const folder of [toolFolder, path.join(here, "host")])
    execFileSync("make", ["-s", "-C", folder], { stdio: ["ignore", "inherit", "inherit"] });
}

/** A wasm3-build and the run-time header that belongs to it: the project's, or a copy with a bug seeded. */
export interface Toolchain {
  tool: string;
  includes: string; // folder
}

const ours: Toolchain = { tool, includes: toolFolder };

/** A folder for a test's files, under build/. */
export function workFolder(name: string): string {
  const folder = path.join(root, "build/test/toolchain", name);
  mkdirSync(folder, { recursive: true });
  return folder;
}

export function gcc(folder: string, ...parameters: string[]): void {
  execFileSync(process.env["CC"] ?? "gcc", parameters, {
    cwd: folder,
    stdio: ["ignore", "inherit", "inherit"],
  });
}

/** A set of programs and the files that they become; each engine runs the same script on all of them. */
export class Batch {
  readonly folder: string;
  readonly signatures: Signature[][];

  constructor(
    name: string,
    readonly programs: readonly Program[],
    private readonly toolchain: Toolchain = ours,
  ) {
    this.folder = workFolder(name);
    this.signatures = programs.map((program) => signatures(program.wasm));
    for (const { name, wasm } of programs) {
      if (!WebAssembly.validate(wasm)) throw new Error(`${name} is not a valid module`);
      writeFileSync(path.join(this.folder, `${name}.wasm`), wasm);
    }
  }

  private run(runner: string, script: Script): Outcomes {
    const files = [`${runner}.script`, `${runner}.outcomes`].map((name) =>
      path.join(this.folder, path.basename(name)),
    );
    writeFileSync(files[0]!, script.bytes());
    const wasm = this.programs.map(({ name }) => path.join(this.folder, `${name}.wasm`));
    const timeout = this.toolchain === ours ? 600_000 : 60_000; // a seeded bug may well be an endless loop
    execFileSync(runner, [...files, ...wasm], { stdio: ["ignore", "inherit", "inherit"], timeout });
    const bytes = readFileSync(files[1]!);
    return new BigUint64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  }

  /** A C function for each export, which takes its arguments from an array. */
  private thunks(index: number, symbol: (name: string) => string, first = ""): string {
    const name = this.programs[index]!.name;
    const types = { w: "u32", x: "u64", "": "void" };
    const each = this.signatures[index]!.map(({ name: exported, parameters, result }, i) => {
      const values = [first, ...parameters.map((type, j) => `(${types[type]})a[${j}]`)]
        .filter(Boolean)
        .join(", ");
      const call = `${symbol(exported)}(${values})`;
      return `static u64 ${name}_t${i}(const u64 *a) { (void)a; ${result ? `return ${call};` : `${call}; return 0;`} }`;
    });
    const names = this.signatures[index]!.map((_, i) => `${name}_t${i}`);
    return `${each.join("\n")}\nstatic u64 (*const ${name}_thunks[])(const u64 *) = { ${[...names, "0"].join(", ")} };\n`;
  }

  private declarations(index: number): string {
    const name = this.programs[index]!.name;
    const types = { w: "u32", x: "u64", "": "void" };
    return this.signatures[index]!.map(
      ({ name: exported, parameters, result }) =>
        `${types[result]} ${name}_${exported}(${parameters.map((type) => types[type]).join(", ") || "void"});\n`,
    ).join("");
  }

  /** Runs wasm3-build and gcc, with more flags if given, then the script. */
  native(script: Script, ...flags: string[]): Outcomes {
    const runner = path.join(this.folder, "native");
    let table = '#include "native.h"\n';
    const entries = this.programs.map(({ name }, i) => {
      execFileSync(
        this.toolchain.tool,
        [`${name}.wasm`, "-o", `${name}.c`, "--prefix", name, "--include", "host.h", "--allow-recursion"],
        {
          cwd: this.folder,
          stdio: ["ignore", "ignore", "inherit"],
        },
      );
      table += `extern const u32 ${name}_memory_pages, ${name}_segment_count;\n`;
      table += `extern const struct wasm3_segment ${name}_segments[];\n`;
      table += this.declarations(i) + this.thunks(i, (exported) => `${name}_${exported}`);
      return `  {&${name}_memory_pages, &${name}_segment_count, ${name}_segments, ${name}_thunks},\n`;
    });
    table += `const struct native_module native_modules[] = {\n${entries.join("")}};\n`;
    table += `const u32 native_module_count = ${entries.length};\n`;
    writeFileSync(path.join(this.folder, "table.c"), table);
    const headers = [`-I${this.toolchain.includes}`, ...includes];
    gcc(
      this.folder,
      ...kernelFlags,
      ...flags,
      ...headers,
      "-c",
      ...this.programs.map(({ name }) => `${name}.c`),
    );
    gcc(this.folder, "-O0", "-fno-pie", ...includes, "-c", "table.c");
    const objects = [
      "table.o",
      ...this.programs.map(({ name }) => `${name}.o`),
      `${hostFolder}/native.o`,
      `${hostFolder}/runner.o`,
    ];
    gcc(this.folder, "-no-pie", "-o", runner, ...objects);
    return this.run(runner, script);
  }

  /** Runs wasm2c and gcc, then the script. Slow, for wasm2c puts a thousand lines before each module. */
  wasm2c(script: Script): Outcomes {
    const runner = path.join(this.folder, "wasm2c");
    const host = path.join(here, "host/wasm2c");
    const translator = path.join(root, "node_modules/wabt/bin/wasm2c");
    let table = '#include "wasm2c.h"\n';
    const entries = this.programs.map(({ name, wasm }, i) => {
      execFileSync(process.execPath, [translator, `${name}.wasm`, "-n", name, "-o", `${name}.w2c.c`], {
        cwd: this.folder,
      });
      const imports = WebAssembly.Module.imports(new WebAssembly.Module(wasm)).length > 0;
      const memory = WebAssembly.Module.exports(new WebAssembly.Module(wasm)).some(
        ({ kind }) => kind === "memory",
      );
      table += `#include "${name}.w2c.h"\nstatic w2c_${name} ${name};\n`;
      table += `static void ${name}_open(void) { wasm2c_${name}_instantiate(&${name}${imports ? ", 0" : ""}); }\n`;
      if (memory)
        table += `static wasm_rt_memory_t *${name}_memory(void) { return w2c_${name}_memory(&${name}); }\n`;
      table += this.thunks(i, (exported) => `w2c_${name}_${exported}`, `&${name}`);
      return `  {${name}_open, ${memory ? `${name}_memory` : 0}, ${name}_thunks},\n`;
    });
    table += `const struct wasm2c_module wasm2c_modules[] = {\n${entries.join("")}};\n`;
    table += `const u32 wasm2c_module_count = ${entries.length};\n`;
    writeFileSync(path.join(this.folder, "w2c.table.c"), table);
    const sources = ["w2c.table.c", ...this.programs.map(({ name }) => `${name}.w2c.c`), `${host}/wasm2c.c`];
    gcc(
      this.folder,
      "-O1",
      "-w",
      ...includes,
      `-I${host}`,
      "-o",
      runner,
      ...sources,
      `${hostFolder}/runner.o`,
      "-no-pie",
      "-lm",
    );
    return this.run(runner, script);
  }

  interpreter(script: Script): Outcomes {
    return this.run(path.join(hostFolder, "interpreter"), script);
  }

  v8(script: Script): Outcomes {
    const instances = this.programs.map((program, i) => new Instance(program, this.signatures[i]!));
    const outcomes = new BigUint64Array(2 * script.length);
    for (let i = 0; i < script.length; i++) {
      const { module, kind, callee, values } = script.step(i);
      const instance = instances[module]!;
      if (kind === Kind.Call) {
        const { status, value } = instance.call(callee, values);
        outcomes[2 * i] = BigInt(status);
        outcomes[2 * i + 1] = value;
        if (status !== Status.Ok) instance.reset();
      } else if (kind === Kind.Reset) {
        instance.reset();
      } else {
        outcomes[2 * i + 1] = BigInt(instance.hash());
      }
    }
    return outcomes;
  }
}

/** A module in V8, with the imports that host/host.h gives the others. */
class Instance {
  private readonly functions: ((...values: (number | bigint)[]) => number | bigint | undefined)[];
  private readonly memory: Uint8Array;
  private readonly initial: Uint8Array;
  private notes = 0;

  constructor(
    program: Program,
    private readonly signatures: Signature[],
  ) {
    const host = {
      mix: (a: number, b: bigint) => BigInt.asIntN(64, b * 0x9e3779b97f4a7c15n + BigInt(a >>> 0)),
      note: (a: number) => void (this.notes = (Math.imul(this.notes, 31) + a) | 0),
      noted: () => this.notes,
    };
    const instance = new WebAssembly.Instance(new WebAssembly.Module(program.wasm), { host });
    this.functions = signatures.map(({ name }) => instance.exports[name] as never);
    const memory = instance.exports["memory"] as WebAssembly.Memory | undefined;
    this.memory = new Uint8Array(memory?.buffer ?? new ArrayBuffer(0));
    this.initial = this.memory.slice();
  }

  reset(): void {
    this.memory.set(this.initial);
    this.notes = 0;
  }

  hash(): number {
    let hash = 0x811c9dc5;
    for (const word of new Uint32Array(this.memory.buffer)) hash = Math.imul(hash ^ word, 0x01000193);
    return hash >>> 0;
  }

  call(callee: number, values: bigint[]): { status: Status; value: bigint } {
    const { parameters } = this.signatures[callee]!;
    const actual = parameters.map((type, i) =>
      type === "w" ? Number(values[i]! & 0xffffffffn) : values[i]!,
    );
    try {
      const value = this.functions[callee]!(...actual);
      return {
        status: Status.Ok,
        value: typeof value === "bigint" ? BigInt.asUintN(64, value) : BigInt((value ?? 0) >>> 0),
      };
    } catch (error) {
      return { status: statusOf(error), value: 0n };
    }
  }
}

function statusOf(error: unknown): Status {
  const message = String(error);
  if (/unreachable/.test(message)) return Status.Unreachable;
  if (/divide by zero|remainder by zero/.test(message)) return Status.DivideByZero;
  if (/divide result unrepresentable/.test(message)) return Status.IntegerOverflow;
  if (/table index is out of bounds/.test(message)) return Status.UndefinedElement;
  if (/null function or function signature mismatch/.test(message)) return Status.SignatureMismatch;
  if (/memory access out of bounds/.test(message)) return Status.OutOfBounds;
  throw error;
}
