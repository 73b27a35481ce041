/**
 * Writes layout.inc (NASM) and layout.h (C) from the classes and constants of kernel/abi. The names are read from the
 * TypeScript syntax tree; every value is computed by asc itself, so the layouts cannot drift apart.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join, relative } from "node:path";
import ts from "typescript";
import { command } from "../build/step.ts";

interface Constant {
  /** Name in NASM and C: PERCPU_ROOT_STACK. */
  name: string;
  /** The AssemblyScript expression that gives the value. */
  expression: string;
  /** What the source file must import for it. */
  symbol: string;
}

/** `rootStack` and `PerCpu` become ROOT_STACK and PERCPU: a class's name is one word, a field's is several. */
const upper = (name: string) => name.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toUpperCase();

function constantsOf(source: ts.SourceFile): Constant[] {
  const found: Constant[] = [];
  const constants = (list: ts.VariableStatement, prefix: string, path: string) => {
    for (const { name } of list.declarationList.declarations) {
      const text = name.getText(source);
      found.push({
        name: prefix + upper(text),
        expression: path + text,
        symbol: path ? path.slice(0, -1) : text,
      });
    }
  };
  for (const node of source.statements) {
    if (ts.isVariableStatement(node)) constants(node, "", "");
    if (ts.isModuleDeclaration(node) && node.body && ts.isModuleBlock(node.body)) {
      const name = node.name.getText(source);
      for (const inner of node.body.statements) {
        if (ts.isVariableStatement(inner)) constants(inner, `${name.toUpperCase()}_`, `${name}.`);
      }
    }
    if (ts.isClassDeclaration(node) && node.name) {
      const symbol = node.name.getText(source);
      const prefix = symbol.toUpperCase();
      for (const member of node.members) {
        if (!ts.isPropertyDeclaration(member)) continue;
        const field = member.name.getText(source);
        found.push({
          name: `${prefix}_${upper(field)}`,
          expression: `offsetof<${symbol}>("${field}")`,
          symbol,
        });
      }
      found.push({ name: `${prefix}_BYTES`, expression: `offsetof<${symbol}>()`, symbol });
    }
  }
  return found;
}

export async function generateLayouts(root: string, out: string): Promise<void> {
  const folder = join(root, "kernel/abi");
  const lines: string[] = [];
  const names: string[] = [];
  for (const file of readdirSync(folder)
    .filter((f) => f.endsWith(".ts"))
    .sort()) {
    const text = readFileSync(join(folder, file), "utf8");
    const found = constantsOf(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true));
    if (found.length === 0) continue;
    const module = basename(file, ".ts");
    const from = relative(out, join(folder, module));
    lines.push(`import * as ${module} from "${from}";`);
    for (const c of found) {
      const expression = c.expression.replace(c.symbol, `${module}.${c.symbol}`);
      lines.push(`export const ${c.name}: u64 = <u64>${expression};`);
      names.push(c.name);
    }
  }
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice) throw new Error(`kernel/abi: ${twice} is defined twice`);

  mkdirSync(out, { recursive: true });
  writeFileSync(join(out, "constants.ts"), lines.join("\n") + "\n");
  const wasm = join(out, "constants.wasm");
  const asc = join(root, "node_modules/assemblyscript/bin/asc.js");
  const source = relative(root, join(out, "constants.ts"));
  await command(process.execPath, [asc, source, "--outFile", wasm, "--runtime", "stub"], root);
  const { instance } = await WebAssembly.instantiate(readFileSync(wasm));
  const hex = (name: string) =>
    `0x${BigInt.asUintN(64, (instance.exports[name] as WebAssembly.Global<"i64">).value).toString(16)}`;
  const note = "Generated from kernel/abi by tools/abi/generate.ts.";
  writeFileSync(
    join(out, "layout.inc"),
    `; ${note}\n` + names.map((n) => `%define ${n} ${hex(n)}\n`).join(""),
  );
  writeFileSync(
    join(out, "layout.h"),
    `/* ${note} */\n#pragma once\n` + names.map((n) => `#define ${n} ${hex(n)}ul\n`).join(""),
  );
}
