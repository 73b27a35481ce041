/** From TypeScript to a bootable image: asc, wasm3-build, gcc, nasm, ld. */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join, relative } from "node:path";
import { refineDebugInfo } from "./debug-info.ts";
import { readLines } from "./lines.ts";
import { capabilities, prefixOf, type Image, type Module } from "./modules.ts";
import { filesBelow, importedBy } from "./sources.ts";
import { checkStacks } from "./stacks.ts";
import { command, step } from "./step.ts";
import { taggedFunctions } from "./tags.mjs";

/** How gcc compiles the generated C and the intrinsics, but for -O. */
export const cFlags = [
  // An access whose value nobody uses may go: a quick exit has no instruction to spare for it.
  "-DWASM3_LAX",
  "-DWASM3_SEGMENT=__seg_fs", // boot/percpu.asm, HOST_FS_BASE
  "-std=gnu11",
  "-gdwarf-5", // debug-info.ts reads it
  "-ffreestanding",
  "-fno-builtin",
  "-mno-red-zone",
  "-mgeneral-regs-only",
  "-mcmodel=small",
  "-fno-pic",
  "-fno-pie",
  "-fno-strict-aliasing",
  "-fno-stack-protector",
  "-fcf-protection=none",
  "-fno-asynchronous-unwind-tables",
  "-fno-tree-loop-distribute-patterns",
  "-fno-delete-null-pointer-checks",
  // No SSE: nothing wants 16-byte alignment.
  "-mpreferred-stack-boundary=3",
  "-fstack-usage",
  "-Wall",
  "-Wextra",
  "-Werror",
];

/** What makes NAME.lines and NAME.debug of what is linked. */
const debugTools = ["lines", "debug-info", "dwarf", "line-program", "elf", "cursor"].map(
  (name) => `${name}.ts`,
);

/** How the C that comes of a module is made and compiled: the wasm is the same for all. */
export interface Variant {
  /** Behind the names of all that is made for it. */
  suffix: string;
  /** gcc's -O, unless modules have their own. */
  optimize?: string;
  flags: string[];
  /** Whether the C has variables with their names in TypeScript. */
  locals: boolean;
}

export const shipped: Variant = { suffix: "", flags: [], locals: false };

/**
 * To be looked at in a debugger. Volatile variables are in memory, and so have a value wherever they are in scope; gcc needs not track
 * them. By its frame pointer GDB knows where a function has its arguments.
 */
export const debugged: Variant = {
  suffix: "-debug",
  optimize: "-Og",
  flags: ["-DWASM3_LOCAL=volatile", "-fno-var-tracking", "-fno-omit-frame-pointer"],
  locals: true,
};

/** Reports what a build does, stage by stage. */
export type Progress = (text: string) => void;

export class Builder {
  readonly root: string;
  readonly out: string;
  private readonly version: string;

  constructor(root: string, out = join(root, "build")) {
    this.root = root;
    this.out = out;
    this.version = (
      JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string }
    ).version;
    mkdirSync(out, { recursive: true });
  }

  private run(program: string, args: string[]): Promise<string> {
    return command(program, args, this.root);
  }

  /** As commands are told of a file: not where the checkout is, for what they write may repeat it. */
  private told(path: string): string {
    return relative(this.root, path);
  }

  private path(...parts: string[]): string {
    return join(this.root, ...parts);
  }

  /** Builds the translator if its sources have changed. */
  async tools(): Promise<void> {
    await this.run("make", ["-s", "-C", "tools/wasm3-build"]);
  }

  async layouts(): Promise<boolean> {
    const abi = join(this.out, "abi");
    return step({
      inputs: [...filesBelow(this.path("kernel/abi"), ".ts"), this.path("tools/abi/generate.ts")],
      outputs: [join(abi, "layout.inc"), join(abi, "layout.h")],
      run: async () => {
        // It brings the TypeScript compiler, which takes its time to load.
        const { generateLayouts } = await import("../abi/generate.ts");
        await generateLayouts(this.root, abi);
      },
    });
  }

  /** The functions of these files that stay out of line, as asc names them. */
  private outOfLine(sources: string[]): string[] {
    return sources.flatMap((file) => {
      const path = relative(this.root, file).replace(/\.ts$/, "");
      return taggedFunctions(readFileSync(file, "utf8")).map((name) => `${path}/${name}`);
    });
  }

  /** TypeScript to wasm to C, and a report of what the module imports and is made of. */
  async translate(module: Module, variant = shipped): Promise<void> {
    const base = join(this.out, "modules", module.name);
    const wasm = `${base}.wasm`;
    const transform = this.path("tools/build/noinline.mjs");
    const sources = importedBy(this.path(module.entry));
    const target = module.as ?? module.name;
    await step({
      inputs: [...sources, this.path("asconfig.json"), transform, this.path("tools/build/tags.mjs")],
      salt: JSON.stringify(module),
      outputs: [wasm, `${wasm}.map`],
      run: async () => {
        const asc = this.path("node_modules/assemblyscript/bin/asc.js");
        const args = [
          asc,
          module.entry,
          "--transform",
          transform,
          "--config",
          "asconfig.json",
          "--target",
          target,
          "--outFile",
          this.told(wasm),
        ];
        await this.run(process.execPath, args);
      },
    });
    const imports = `kernel/machine/${target}.imports`;
    const args = [this.told(wasm), "--map", this.told(`${wasm}.map`), "--prefix", prefixOf(module)];
    const c = `${base}${variant.suffix}.c`;
    const report = `${base}${variant.suffix}.report`;
    args.push("--allow-imports", imports, "-o", this.told(c), "--report");
    for (const capability of capabilities(readFileSync(this.path(imports), "utf8")))
      args.push("--include", `kernel/machine/${capability}.h`);
    args.push("--noinline", this.outOfLine(sources).join(","));
    if (module.allowRecursion) args.push("--allow-recursion");
    const tables: string[] = [];
    if (variant.locals) {
      tables.push(await this.locals(module, sources));
      args.push("--locals", this.told(tables[0]!));
    }
    const translator = join(this.out, "tools/wasm3-build");
    await step({
      inputs: [wasm, `${wasm}.map`, translator, this.path(imports), ...tables],
      salt: args.join(" "),
      outputs: [c, report],
      run: async () => writeFileSync(report, await this.run(translator, args)),
    });
  }

  /** A table of what the sources call their variables, for wasm3-build. */
  private async locals(module: Module, sources: string[]): Promise<string> {
    const table = join(this.out, "modules", `${module.name}.locals`);
    await step({
      inputs: [...sources, this.path("tools/build/locals.ts")],
      outputs: [table],
      run: async () => {
        // It brings the TypeScript compiler, which takes its time to load.
        const { localsTable } = await import("./locals.ts");
        writeFileSync(table, localsTable(sources, this.root));
      },
    });
    return table;
  }

  private async compile(source: string, object: string, variant: Variant, optimize = "-O2"): Promise<void> {
    const include = [
      "-I.",
      "-Ikernel/machine",
      "-Itools/wasm3-build",
      `-I${this.told(join(this.out, "abi"))}`,
    ];
    const args = [
      ...cFlags,
      ...variant.flags,
      variant.optimize ?? optimize,
      `-ffile-prefix-map=${this.root}=.`,
      `-DTYPEVISOR_VERSION="${this.version}"`,
      ...include,
      "-c",
      this.told(source),
      "-o",
      this.told(object),
    ];
    await step({
      inputs: [
        source,
        ...filesBelow(this.path("kernel/machine"), ".h"),
        this.path("tools/wasm3-build/wasm3-runtime.h"),
        join(this.out, "abi/layout.h"),
      ],
      salt: args.join(" "),
      outputs: [object],
      run: async () => void (await this.run("gcc", args)),
    });
  }

  private async assemble(source: string, object: string): Promise<void> {
    await step({
      inputs: [source, ...filesBelow(this.path("boot"), ".inc"), join(this.out, "abi/layout.inc")],
      outputs: [object],
      run: async () => {
        await this.run("nasm", [
          "-f",
          "elf64",
          "-g",
          "-F",
          "dwarf",
          "-Werror",
          "--reproducible",
          `-I${this.told(join(this.out, "abi"))}/`,
          this.told(source),
          "-o",
          this.told(object),
        ]);
      },
    });
  }

  /**
   * Links the image, whose bytes depend on the sources alone and not on where they are; beside NAME.elf it leaves NAME.debug (with symbols), NAME.lines, and NAME.stacks, which says how much
   * of the stacks is used.
   */
  async link(image: Image, variant = shipped): Promise<void> {
    const name = image.name + variant.suffix;
    const objects: string[] = [];
    const folder = join(this.out, "objects");
    mkdirSync(folder, { recursive: true });
    const work: Promise<void>[] = [];
    for (const source of filesBelow(this.path("boot"), ".asm")) {
      const object = join(folder, `${basename(source, ".asm")}.asm.o`);
      objects.push(object);
      work.push(this.assemble(source, object));
    }
    for (const module of image.modules) {
      const object = join(folder, `${module.name}${variant.suffix}.o`);
      objects.push(object);
      const source = join(this.out, "modules", `${module.name}${variant.suffix}.c`);
      work.push(this.compile(source, object, variant, module.small ? "-Os" : "-O2"));
    }
    const start = join(folder, `start.c${variant.suffix}.o`);
    objects.push(start);
    work.push(this.compile(this.path("kernel/machine/start.c"), start, variant));
    await Promise.all(work);

    const debug = join(this.out, `${name}.debug`);
    const elf = join(this.out, `${name}.elf`);
    const lines = join(this.out, `${name}.lines`);
    await step({
      inputs: [
        ...objects,
        this.path("boot/typevisor.ld"),
        ...debugTools.map((file) => this.path("tools/build", file)),
      ],
      outputs: [elf, debug, lines],
      run: async () => {
        const script = this.told(this.path("boot/typevisor.ld"));
        const files = [...objects.map((object) => this.told(object)), "-o", this.told(debug)];
        const linkAs = async (buildId: string): Promise<void> => {
          const flags = ["-n", "-static", `--build-id=0x${buildId}`, "-z", "noexecstack", "-T", script];
          await this.run("ld", [...flags, ...files]);
          await this.run("objcopy", ["--strip-all", debug, elf]);
        };
        // Not ld's own id: the debug information of NASM's objects says in which folder they were assembled.
        await linkAs("0".repeat(40));
        const table = await readLines(debug, this.root);
        const buildId = createHash("sha1").update(readFileSync(elf)).update(table(0)).digest("hex");
        await linkAs(buildId);
        writeFileSync(lines, table(parseInt(buildId.slice(0, 8), 16)));
        await refineDebugInfo(debug, this.root);
      },
    });
    const stacks = join(this.out, `${name}.stacks`);
    await step({
      inputs: [
        debug,
        join(this.out, "abi/layout.h"),
        ...["stacks.ts", "stack.ts", "machine-code.ts"].map((file) => this.path("tools/build", file)),
      ],
      salt: JSON.stringify({ ...image, name }),
      outputs: [stacks],
      run: async () =>
        writeFileSync(stacks, await checkStacks({ ...image, name }, debug, join(this.out, "abi"), this.root)),
    });
  }

  /** Builds one image from end to end. */
  async build(image: Image, progress: Progress, variant = shipped): Promise<void> {
    progress("wasm3-build");
    await this.tools();
    progress("layouts");
    await this.layouts();
    progress(image.modules.map((m) => m.name).join(", "));
    await Promise.all(image.modules.map((m) => this.translate(m, variant)));
    progress(`link ${image.name}${variant.suffix}`);
    await this.link(image, variant);
  }
}
