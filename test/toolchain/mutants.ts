/**
 * Bugs to seed in wasm3-build: each is one change of its sources, in a copy. The tests must tell every copy from the original; one that
 * they cannot tell would be a bug that they cannot see.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { Comparison, sanitizer } from "./comparison.ts";
import { control, large } from "./corpus/handwritten.ts";
import { numeric } from "./corpus/numeric.ts";
import { root, workFolder, type Toolchain } from "./engines.ts";
import { refused } from "./refused.ts";
import { suites } from "./spec/all.ts";
import { Run } from "./spec/suite.ts";
import { assemble } from "./wasm.ts";

const sources = path.join(root, "tools/wasm3-build");
const wasm3 = path.join(root, "node_modules/react-native-webassembly/cpp");

/** True if what a wasm3-build does is not what it should do. */
export type Check = (toolchain: Toolchain, name: string) => boolean;

export interface Mutant {
  class: string;
  file: string;
  from: string; // once in the file
  to: string;
  check: Check;
  quick?: boolean; // part of scripts/test
}

/** An engine that crashes, hangs, or does not even compile is not what it should be either. */
function fails(what: () => boolean): boolean {
  try {
    return what();
  } catch {
    return true;
  }
}

/** The specification's expectations. */
const spec =
  (...names: string[]): Check =>
  (toolchain, name) =>
    fails(() => {
      const wanted = suites.filter((suite) => names.includes(suite.name));
      return new Run(name, wanted, toolchain).wrong("native").length > 0;
    });

/** The same in C that looks after its own arrays: reading one entry too far often goes well. */
const sanitised =
  (...names: string[]): Check =>
  (toolchain, name) =>
    fails(() => {
      const wanted = suites.filter((suite) => names.includes(suite.name));
      return new Run(name, wanted, toolchain).wrongWithFlags(...sanitizer).length > 0;
    });

/** A comparison with V8, for what the specification cannot name: constants past wasm3's limits, forms of operands. */
const differs =
  (corpus: () => ReturnType<typeof large>): Check =>
  (toolchain, name) =>
    fails(() => new Comparison(name, [corpus()], toolchain).differencesFromV8().length > 0);

/** What it refuses, word by word. */
const refusals: Check = ({ tool }, name) => {
  const file = path.join(workFolder(name), "module.wasm");
  return refused.some(([, text, message, features]) => {
    writeFileSync(file, assemble("module", text, features));
    const { status, stderr } = spawnSync(tool, [file, "--prefix", "module", "--report"], {
      encoding: "utf8",
    });
    return status !== 1 || stderr !== `wasm3-build: ${file}: ${message}\n`;
  });
};

/** Whether an import is taken that the list does not have. */
const imports: Check = ({ tool }, name) => {
  const folder = workFolder(name);
  const [file, list] = [path.join(folder, "module.wasm"), path.join(folder, "module.imports")];
  const text = `(module (import "vmcs" "vmread" (func $r)) (func (export "run") call $r))`;
  writeFileSync(file, assemble("module", text));
  return ["vmc", "vmcs.vmrea", "vmcs.vmreader", "vmcs.vmwrite"].some((entry) => {
    writeFileSync(list, `${entry}\n`);
    return spawnSync(tool, [file, "--prefix", "m", "--report", "--allow-imports", list]).status !== 1;
  });
};

const row = (of: string, from: string, to: string, check: Check, quick?: boolean): Mutant => ({
  class: of,
  file: "operations.h",
  from,
  to,
  check,
  ...(quick ? { quick } : {}),
});
const runtime = (of: string, from: string, to: string, check: Check, quick?: boolean): Mutant => ({
  ...row(of, from, to, check, quick),
  file: "wasm3-runtime.h",
});
const source = (
  file: string,
  of: string,
  from: string,
  to: string,
  check: Check,
  quick?: boolean,
): Mutant => ({
  ...row(of, from, to, check, quick),
  file,
});

const numbers32 = spec("numbers32");
const numbers64 = spec("numbers64");
const controlling = spec("control");
const calling = spec("calling");

export const mutants: Mutant[] = [
  row("add", 'Add, i, "$a + $b"', 'Add, i, "$a - $b"', numbers32),
  row("mul", 'Multiply, i, "$a * $b"', 'Multiply, i, "(u32)$a * $b"', numbers64),
  row("sub", 'Subtract, i, "$a - $b"', 'Subtract, i, "$b - $a"', numbers32),
  row("and", 'And, i, "$a & $b"', 'And, i, "$a | $b"', numbers32),
  row("or", 'Or, i, "$a | $b"', 'Or, i, "$a ^ $b"', numbers32),
  row("xor", 'Xor, i, "$a ^ $b"', 'Xor, i, "$a & ~$b"', numbers32),
  row("shl", '"$a << ($b % " #bits ")"', '"$a << ($b % 31)"', numbers32),
  row("shr_u", 'ShiftRight, i, "$a >> ($b', 'ShiftRight, i, "(s32)$a >> ($b', numbers32),
  row("shr_s", '((s" #bits ")$a >>', '((u" #bits ")$a >>', numbers64),
  row("eq", '"$a == $b"', '"(u32)$a == (u32)$b"', numbers64),
  row("ne", '"$a != $b"', '"$a > $b"', numbers32),
  row("lt_s", '"(s" #bits ")$a < (s" #bits ")$b"', '"$a < $b"', numbers32, true),
  row("gt_s", '"(s" #bits ")$a > (s" #bits ")$b"', '"(s32)$a > (s32)$b"', numbers64),
  row("le_u", '"$a <= $b"', '"$a < $b"', numbers32),
  row("ge_u", '"$a >= $b"', '"$a > $b"', numbers64),
  row("eqz", `i64_EqualToZero_r, "", 'x', 'w', NEXT, "$d = !$a;"`, `i64_EqualToZero_r, "", 'x', 'w', NEXT, "$d = !(u32)$a;"`, numbers64),
  row("order of operands in slots", 'c) ROW(t##_##name##_ss, "ba"', 'c) ROW(t##_##name##_ss, "ab"', numbers32),
  row("operand in the register", '"b", W_##t, W_##result, NEXT', '"a", W_##t, W_##result, NEXT', numbers32),
  row("extend8_s", 'Extend8_s, i, "(u" #bits ")(s" #bits ")(s8)$a"', 'Extend8_s, i, "(u" #bits ")(s" #bits ")(s16)$a"', numbers32),
  row("extend32_s", 'Extend32_s, i64, "(u64)(s64)(s32)$a"', 'Extend32_s, i64, "(u64)(u32)$a"', numbers64),
  row("extend_i32_u", 'Extend_u32, i32, "$a"', 'Extend_u32, i32, "(u64)(s64)(s32)$a"', numbers32),
  row("extend_i32_s", 'Extend_i32, i32, "(u64)(s64)(s32)$a"', 'Extend_i32, i32, "$a"', numbers32),
  row("wrap", 'Wrap_i64, i64, "(u32)$a"', 'Wrap_i64, i64, "(u32)($a >> 1)"', numbers64),
  row("sign of a load", 'LOAD(ROW, i, i16, "(u" #bits ")(s" #bits ")(s16)WASM3', 'LOAD(ROW, i, i16, "WASM3', spec("loads")),
  row("width of a load", 'LOAD(ROW, i64, u32, "WASM3_AT(u32', 'LOAD(ROW, i64, u32, "WASM3_AT(u64', spec("loads")),
  row("width of a store", '"WASM3_AT(u8, $m, $o) = (u8)$a"', '"WASM3_AT(u16, $m, $o) = (u16)$a"', spec("stores")),
  row("value of a store", '"WASM3_AT(u64, $m, $o) = (u64)$a"', '"WASM3_AT(u64, $m, $o) = (u32)$a"', spec("stores")),
  row("memory offset", 'ROW(t##_Load_##from##_s, "mo"', 'ROW(t##_Load_##from##_s, "om"', spec("loads")),
  row("select", 'Select_##t##_ssr, "cb", W_##t, W_##t, NEXT, "$d = $c ? $a : $b;"', 'Select_##t##_ssr, "cb", W_##t, W_##t, NEXT, "$d = $c ? $b : $a;"', differs(() => numeric("i32"))),
  row("local.set keeps what is on the stack", 'PreserveCopySlot_##bits, "dap", width, width, NEXT, "$p = $d; $d = $a;"', 'PreserveCopySlot_##bits, "dap", width, width, NEXT, "$d = $a; $p = $d;"', differs(control)),
  row("constants past wasm3's slots", '"$d = $i;"', '"$d = $i + 1;"', differs(large)),
  row("global.get", '"$d = $g;"', '"$d = (u32)$g;"', controlling),
  row("memory.size", '"$d = WASM3_PAGES;"', '"$d = WASM3_PAGES << 16;"', spec("trapping")),
  row("memory.fill", "WASM3_FILL($b, $a, $c)", "WASM3_FILL($a, $b, $c)", spec("bulkmemory")),
  row("memory.copy", "WASM3_COPY($b, $a, $c)", "WASM3_COPY($a, $b, $c)", spec("bulkmemory")),
  row("if", `ROW(If_s, "ct", 'w', 'w', NEXT, "if (!$c)`, `ROW(If_s, "ct", 'w', 'w', NEXT, "if ($c)`, controlling),
  row("br_if", `ROW(BranchIf_s, "ct", 'w', 'w', NEXT, "if ($c)`, `ROW(BranchIf_s, "ct", 'w', 'w', NEXT, "if ($c & 1)`, controlling),
  row("br_if with values to move", `ROW(BranchIfPrologue_s, "ct", 'w', 'w', NEXT, "if (!$c)`, `ROW(BranchIfPrologue_s, "ct", 'w', 'w', NEXT, "if ($c)`, differs(control)),
  row("br_if of a loop", `ROW(ContinueLoopIf, "t", 'w', 'w', NEXT, "if ($c)`, `ROW(ContinueLoopIf, "t", 'w', 'w', NEXT, "if ($c & 1)`, controlling),
  row("br of a loop", 'STOP, "goto $t;"', 'STOP, "WASM3_TRAP(WASM3_UNREACHABLE);"', controlling),
  row("unreachable", '"WASM3_TRAP(WASM3_UNREACHABLE);"', '"WASM3_TRAP(WASM3_OUT_OF_BOUNDS);"', controlling),
  runtime("rotl", "a_ << b_ % bits | a_ >> -b_ % bits", "a_ << b_ % bits | a_ >> (31 - b_) % bits", numbers32),
  runtime("rotr", "a_ >> b_ % bits | a_ << -b_ % bits", "a_ >> b_ % 32 | a_ << -b_ % 32", numbers64),
  runtime("div_u", "a_ / b_; })\n#define WASM3_REM_U", "(s##bits)a_ / (s##bits)b_; })\n#define WASM3_REM_U", numbers32),
  runtime("div_s overflow", "a_ == least_ && b_ == -1", "a_ == least_ && b_ == 1", numbers32),
  runtime("rem_u by zero", "WASM3_TRAP_IF(!b_, WASM3_DIVIDE_BY_ZERO) a_ % b_; })", "a_ % b_; })", numbers32),
  runtime("rem_s of the least integer", "b_ == -1 ? 0 : a_ % b_", "b_ == -1 ? a_ : a_ % b_", numbers64),
  runtime("clz of zero", "__builtin_clz(a_) : 32", "__builtin_clz(a_) : 31", numbers32),
  runtime("ctz of zero", "__builtin_ctzl(a_) : 64", "__builtin_ctzl(a_) : 0", numbers64),
  runtime("popcnt", "0x3333333333333333) + (a_ >> 2", "0x3333333333333333) + (a_ >> 3", numbers64),
  runtime("bounds past 4 GiB", "WASM3_SEGMENT wasm3_##type *)((offset) + (u64)(u32)(index))", "WASM3_SEGMENT wasm3_##type *)(u64)(u32)((offset) + (index))", spec("loads")),
  runtime("bounds of what nobody needs", "#define WASM3_MEMORY volatile", "#define WASM3_MEMORY", spec("trapping"), true),
  runtime("bounds of memory.fill and memory.copy", "(u64)(index) + (size) >", "(size) && (u64)(index) + (size) >", spec("bulkmemory")),
  runtime("memory.copy of overlaps", "if (to_ - from_ >= size_)", "if (to_ != from_)", spec("bulkmemory")),
  runtime("call_indirect past the table", "index_ >= (count) || ", "index_ > (count) || ", sanitised("calling")),
  runtime("call_indirect of another type", "(table)[index_].type != (type_id)", "!(type_id)", calling),
  source("sections.c", "call_indirect of an equal type", "for (type->id = 0; type->id < i", "for (type->id = i; type->id < i", calling),
  source("function.c", "arguments", "u32 slot = frame + (u32)strlen(type->results);", "u32 slot = frame;", calling),
  source("function.c", "locals start as zero", 'is_local ? " = 0" : ""', 'is_local ? " = 1" : ""', controlling, true),
  source("function.c", "br_table", "if (instruction->targets[i] != instruction->targets[last])", "if (i && instruction->targets[i] != instruction->targets[last])", controlling),
  source("function.c", "br_table's default", '"default: goto %sL%u; }", function->prefix, (u32)instruction->targets[last]', '"default: goto %sL%u; }", function->prefix, (u32)instruction->targets[0]', controlling),
  source("function.c", "where branches meet", "if (instruction->then != NONE) append", "if (instruction->then == 0) append", controlling),
  source("function.c", "constants", "(unsigned long long)value, width", "(unsigned long long)(u32)value, width", numbers64),
  source("function.c", "memory offsets", '"%uul", (u32)word', '"%uul", (u32)word & 0x7fffffff', spec("loads")),
  source("module.c", "data segments", "for (u32 i = 0; i < module->segment_count; i++)\n    if (module->segments[i].length)", "for (u32 i = module->segment_count; i-- > 0;)\n    if (module->segments[i].length)", spec("segments")),
  source("sections.c", "element segments", "for (u32 j = start; j < start + length; j++)", "for (u32 j = 0; j < length; j++)", calling),
  source("gate.c", "refusal of mutable globals", "if (module->globals[i].mutable &&", "if (module->globals[i].mutable && i &&", refusals),
  source("gate.c", "refusal of memory.grow", 'if (strcmp(instruction->operation->name, "MemGrow"))', 'if (strcmp(instruction->operation->name, "MemGrew"))', refusals),
  source("gate.c", "refusal of start functions", "if (module->start_function != NONE &&", "if (module->start_function == NONE - 1 &&", refusals),
  source("gate.c", "refusal of recursion", "if (search->states[number] == OPEN) note_cycle", "if (search->states[number] == OPEN && search->depth == 1) note_cycle", refusals, true),
  source("gate.c", "refusal of recursion through the table", "if (instruction->operation->kind != CALL_INDIRECT) return false;", "if (instruction->operation->kind != CALL_LATER) return false;", refusals),
  source("gate.c", "refusal of imports", "!strcmp(list->entries[i], import->name)", "!strncmp(list->entries[i], import->name, 8)", imports),
  source("body.c", "refusal of floats", '{0x43, 0x44, "a float constant"},', '{0x43, 0x43, "a float constant"},', refusals),
  source("body.c", "refusal of loops with parameters", "return type >= 0 && *module->types[type].parameters;", "return type > 99 && *module->types[type].parameters;", refusals),
  source("wasm3.c", "refusal of a high stack", "> MAX_STACK_HEIGHT)", "> 2 * MAX_STACK_HEIGHT)", refusals),
]; // prettier-ignore

/** The original, built once in a folder that copies are made of. */
export function buildOriginal(): string {
  const folder = path.join(workFolder("mutants"), "original");
  cpSync(sources, path.join(folder, "source"), { recursive: true, preserveTimestamps: true });
  make(folder);
  return folder;
}

/** Paths are relative, so that make takes what was built in the folder that this is a copy of. */
function make(folder: string): void {
  const parameters = ["-s", "-C", path.join(folder, "source"), "BUILD=../build", `WASM3=${wasm3}`];
  execFileSync("make", parameters, { stdio: ["ignore", "ignore", "pipe"] });
}

export function toolchainIn(folder: string): Toolchain {
  return { tool: path.join(folder, "build/wasm3-build"), includes: path.join(folder, "source") };
}

/** A copy of the original with one change. */
export function buildMutant(
  original: string,
  { file, from, to }: Pick<Mutant, "file" | "from" | "to">,
): Toolchain {
  const folder = path.join(workFolder("mutants"), "mutant");
  if (existsSync(folder)) rmSync(folder, { recursive: true });
  cpSync(original, folder, { recursive: true, preserveTimestamps: true });
  const changed = path.join(folder, "source", file);
  const text = readFileSync(changed, "utf8");
  if (text.split(from).length !== 2)
    throw new Error(`${file} has ${text.split(from).length - 1} times: ${from}`);
  writeFileSync(
    changed,
    text.replace(from, () => to),
  );
  if (file !== "wasm3-runtime.h") make(folder);
  return toolchainIn(folder);
}
