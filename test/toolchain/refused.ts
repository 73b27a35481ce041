/** What wasm3-build refuses: a title, a module, the one line that says why, and what of wabt's features it takes. */

/** A module with one function of a body, and what goes before. */
const body = (text: string, fields = "", head = "") =>
  `(module ${fields} (func $victim (export "run") ${head} ${text}))`;
const fixedMemory = "(memory 1 1)";

export const refused: [string, string, string, object?][] = [
  [
    "memory.grow",
    body("i32.const 1 memory.grow drop", fixedMemory),
    "victim: memory.grow; the memory's size is fixed",
  ],
  [
    "a float parameter",
    body("", "", "(param f64)"),
    "victim: a parameter or result is neither i32 nor i64; use integers",
  ],
  [
    "a float result",
    body("unreachable", "", "(result f32)"),
    "victim: a parameter or result is neither i32 nor i64; use integers",
  ],
  ["a float local", body("", "", "(local f32)"), "victim: a local is neither i32 nor i64; use integers"],
  ["a float constant", body("f64.const 1 drop"), "victim: a float constant (opcode 0x44) is not supported"],
  [
    "a float load",
    body("i32.const 0 f32.load drop", fixedMemory),
    "victim: a float load (opcode 0x2a) is not supported",
  ],
  [
    "a float store",
    body("i32.const 0 i32.const 0 f32.reinterpret_i32 f32.store", fixedMemory),
    "victim: a float conversion (opcode 0xbe) is not supported",
  ],
  [
    "float arithmetic, wherever it stands",
    body("i32.const 5 f64.convert_i32_s f64.neg i32.trunc_sat_f64_s drop"),
    "victim: a float conversion (opcode 0xb7) is not supported",
  ],
  [
    "select with a type",
    body("i32.const 1 i32.const 2 i32.const 3 select (result i32) drop"),
    "victim: select with a type (opcode 0x1c) is not supported",
  ],
  [
    "a loop with parameters",
    body("i32.const 1 loop (param i32) drop end"),
    "victim: a loop with parameters (opcode 0x03) is not supported",
  ],
  [
    "a block with parameters",
    body("i32.const 1 block (param i32) drop end"),
    "victim: a block with parameters (opcode 0x02) is not supported",
  ],
  [
    "an if with parameters",
    body("i32.const 1 i32.const 1 if (param i32) drop else drop end"),
    "victim: a block with parameters (opcode 0x04) is not supported",
  ],
  [
    "more than one result",
    body("i32.const 1 i32.const 2", "", "(result i32 i32)"),
    "victim: returns 2 values; expected at most one",
  ],
  [
    "an atomic operation",
    body("i32.const 0 i32.const 1 i32.atomic.rmw.add drop", fixedMemory),
    "victim: an atomic operation (opcode 0xfe) is not supported",
    { threads: true },
  ],
  [
    "SIMD",
    body("i32.const 0 i8x16.splat drop"),
    "victim: SIMD (opcode 0xfd) is not supported",
    { simd: true },
  ],
  [
    "a reference",
    body("ref.null func drop"),
    "victim: a reference type (opcode 0xd0) is not supported",
    { reference_types: true },
  ],
  [
    "a table access",
    body("i32.const 0 table.get 0 drop", "(table 1 funcref)"),
    "victim: a table access (opcode 0x25) is not supported",
    { reference_types: true },
  ],
  [
    "a bulk table operation",
    body("i32.const 0 i32.const 0 i32.const 0 table.copy", "(table 1 funcref)"),
    "victim: a table operation (opcode 0xfc0e) is not supported",
  ],
  [
    "a tail call",
    body("return_call $victim"),
    "victim: a tail call (opcode 0x12) is not supported",
    { tail_call: true },
  ],
  [
    "an indirect tail call",
    body("i32.const 0 return_call_indirect", "(table 1 funcref)"),
    "victim: a tail call (opcode 0x13) is not supported",
    { tail_call: true },
  ],
  [
    "an exception block",
    body("try catch_all end"),
    "victim: exception handling (opcode 0x06) is not supported",
    { exceptions: true },
  ],
  [
    "more than 2,000 locals",
    body("", "", `(local ${"i32 ".repeat(2001)})`),
    "victim: 2001 locals; expected at most 2000",
  ],
  [
    "a stack of more than 2,000 values",
    body("i32.const 0 ".repeat(2001) + "drop ".repeat(2001)),
    "victim: needs a stack of more than 2000 values; split the function",
  ],
  [
    "a local on the stack more than 255 times",
    body("local.get 0 ".repeat(257) + "i32.const 0 local.set 0 " + "drop ".repeat(257), "", "(param i32)"),
    "victim: one local is on the stack more than 255 times; split the expression",
  ],
  [
    "recursion",
    body("call $victim"),
    "victim: recursion: victim -> victim; the stack has no bound, use a loop",
  ],
  [
    "recursion through others",
    `(module (func $a call $b) (func $b call $c) (func $c call $b))`,
    "b: recursion: b -> c -> b; the stack has no bound, use a loop",
  ],
  [
    "recursion through the table",
    `(module (type $t (func)) (table 1 funcref) (elem (i32.const 0) $a) (func $a call $b) (func $b i32.const 0 call_indirect (type $t)))`,
    "a: recursion: a -> b -> a; the stack has no bound, use a loop",
  ],
  [
    "a mutable global",
    `(module (global $counter (mut i32) (i32.const 0)) (func $next i32.const 1 global.set $counter))`,
    "next: uses mutable global counter: vCPUs would share it; keep it in linear memory, as an @unmanaged overlay on memory.data()",
  ],
  [
    "a mutable global that nobody uses",
    `(module (global (mut i64) (i64.const 0)))`,
    "mutable global global[0]: vCPUs would share it; keep it in linear memory, as an @unmanaged overlay on memory.data()",
  ],
  [
    "a start function",
    `(module (func $begin) (start $begin))`,
    "begin: a start function would run before the first export; make top-level statements constant",
  ],
  [
    "memory without a maximum",
    `(module (memory 3))`,
    "memory of 3 pages may grow without limit; expected a fixed size (asc --initialMemory 3 --maximumMemory 3)",
  ],
  [
    "memory with a larger maximum",
    `(module (memory 3 4))`,
    "memory of 3 pages may grow to 4; expected a fixed size (asc --initialMemory 3 --maximumMemory 3)",
  ],
  [
    "64-bit memory",
    `(module (memory i64 3 3))`,
    "memory has flags 0x5; expected a 32-bit memory of 64 KiB pages",
    { memory64: true },
  ],
  [
    "several tables",
    `(module (table 1 funcref) (table 1 funcref))`,
    "has 2 tables; expected at most one",
    { reference_types: true },
  ],
  [
    "a table of anything but functions",
    `(module (table 1 externref))`,
    "its table is not of functions; expected funcref",
    { reference_types: true },
  ],
  [
    "a float global",
    `(module (global $pi f64 (f64.const 3)))`,
    "global pi is neither i32 nor i64; use integers",
  ],
  [
    "an imported memory",
    `(module (import "env" "memory" (memory 1 1)))`,
    "imports memory env.memory; expected imports of functions only (asc without --importMemory)",
  ],
  [
    "an imported table",
    `(module (import "env" "table" (table 1 funcref)))`,
    "imports table env.table; expected imports of functions only (asc without --importTable)",
  ],
  [
    "an imported global",
    `(module (import "env" "base" (global i32)))`,
    "imports global env.base; expected imports of functions only",
  ],
  [
    "a passive data segment",
    `(module (memory 1 1) (data "abc"))`,
    "data segment 0 is passive or of another memory (flags 1); expected active ones",
  ],
  [
    "a passive element segment",
    `(module (table 1 funcref) (func $f) (elem func $f))`,
    "element segment 0 is passive, declarative or not plain (flags 1); expected active ones",
  ],
  [
    "data past the end of memory",
    `(module (memory 1 1) (data (i32.const 65534) "abc"))`,
    "data segment 0 ends at 65537; expected at most the memory's 65536 bytes (asc --initialMemory)",
  ],
  [
    "elements past the end of the table",
    `(module (table 1 funcref) (func $f) (elem (i32.const 1) $f))`,
    "element segment 0: entries 1 to 2 of a table of 1",
  ],
  [
    "an exception tag",
    `(module (tag $t))`,
    "section 13 is unknown; expected no exception handling or later proposals",
    { exceptions: true },
  ],
  [
    "an export whose C name is taken",
    `(module (func (export "memory_pages")))`,
    "memory_pages: export memory_pages would be module_memory_pages in C, which is taken; rename it",
  ],
  [
    "exports whose C names are one",
    `(module (func (export "a.b")) (func (export "a_b")))`,
    "a_b: export a_b would be module_a_b in C, which is taken; rename it",
  ],
];
