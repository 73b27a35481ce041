/** Calls and the table: WebAssembly Core Specification 2.0, 4.4.8 "call", "call_indirect" and 4.4.10 "Function Calls". */
import { Status } from "../script.ts";
import { Suite } from "./suite.ts";

export function calls(): Suite {
  const suite = new Suite(
    "calling",
    `(module
      (import "host" "mix" (func $mix (param i32 i64) (result i64)))
      (import "host" "note" (func $note (param i32)))
      (import "host" "noted" (func $noted (result i32)))
      (type $binary (func (param i32 i32) (result i32)))
      (type $alsoBinary (func (param i32 i32) (result i32)))
      (type $wide (func (param i64 i64) (result i64)))
      (type $other (func (param i64 i32) (result i32)))
      (type $none (func))
      (type $mixing (func (param i32 i64) (result i64)))
      (memory (export "memory") 1 1)
      (table 8 funcref)
      (elem (i32.const 0) $sub $sub $wideSub $nothing $mix)
      (elem (i32.const 1) $alsoSub)
      (elem (i32.const 7) $fails)
      (func $sub (type $binary) local.get 0 local.get 1 i32.sub)
      (func $alsoSub (type $alsoBinary) local.get 1 local.get 0 i32.sub)
      (func $wideSub (type $wide) local.get 0 local.get 1 i64.sub)
      (func $nothing (type $none))
      (func $fails (type $binary) i32.const 1 local.get 1 i32.div_u)
      (func $six (param i32 i64 i32 i64 i32 i64) (result i64)
        local.get 0 i64.extend_i32_u i64.const 10 i64.mul local.get 1 i64.add i64.const 10 i64.mul
        local.get 2 i64.extend_i32_u i64.add i64.const 10 i64.mul local.get 3 i64.add i64.const 10 i64.mul
        local.get 4 i64.extend_i32_u i64.add i64.const 10 i64.mul local.get 5 i64.add)
      (func $clobbers (param i32) (result i32) i32.const 77 local.set 0 local.get 0)
      (func $stores (param i32) i32.const 0 local.get 0 i32.store)

      (func (export "order") (param i32 i32) (result i32) local.get 0 local.get 1 call $sub)
      (func (export "six") (param i32 i64) (result i64)
        local.get 0 local.get 1 i32.const 3 i64.const 4 local.get 0 i32.const 4 i32.add local.get 1 i64.const 4 i64.add
        call $six)
      (func (export "byValue") (param i32) (result i32) local.get 0 call $clobbers drop local.get 0)
      (func (export "resultOnTop") (param i32) (result i32)
        i32.const 1000 local.get 0 i32.const 1 call $sub i32.add)
      (func (export "nested") (param i32) (result i32)
        local.get 0 i32.const 1 call $sub local.get 0 i32.const 2 call $sub call $sub
        local.get 0 i32.const 3 call $sub call $sub)
      (func (export "nothing") (result i32) call $nothing i32.const 5)
      (func (export "effects") (param i32) (result i32)
        i32.const 0 i32.load local.get 0 call $stores i32.const 0 i32.load i32.sub)
      (func (export "afterCall") (param i32) (result i32)
        local.get 0 call $stores i32.const 0 i32.load local.get 0 i32.const 1 i32.add call $stores i32.const 0 i32.load i32.mul)
      (func (export "imported") (param i32 i64) (result i64) local.get 0 local.get 1 call $mix)
      (func (export "noted") (param i32) (result i32) local.get 0 call $note call $noted)
      (func $factorial (export "factorial") (param i64) (result i64)
        local.get 0 i64.eqz if (result i64) i64.const 1
        else local.get 0 local.get 0 i64.const 1 i64.sub call $factorial i64.mul end)
      (func $isEven (export "isEven") (param i32) (result i32)
        local.get 0 i32.eqz if (result i32) i32.const 1 else local.get 0 i32.const 1 i32.sub call $isOdd end)
      (func $isOdd (param i32) (result i32)
        local.get 0 i32.eqz if (result i32) i32.const 0 else local.get 0 i32.const 1 i32.sub call $isEven end)

      (func (export "indirect") (param i32 i32 i32) (result i32)
        local.get 0 local.get 1 local.get 2 call_indirect (type $binary))
      (func (export "indirectRegister") (param i32 i32 i32) (result i32)
        local.get 0 local.get 1 local.get 2 i32.const 0 i32.or call_indirect (type $alsoBinary))
      (func (export "indirectWide") (param i64 i64 i32) (result i64)
        local.get 0 local.get 1 local.get 2 call_indirect (type $wide))
      (func (export "indirectOther") (param i64 i32 i32) (result i32)
        local.get 0 local.get 1 local.get 2 call_indirect (type $other))
      (func (export "indirectNone") (param i32) local.get 0 call_indirect (type $none))
      (func (export "indirectImport") (param i32 i64 i32) (result i64)
        local.get 0 local.get 1 local.get 2 call_indirect (type $mixing))
      (func (export "trapsAfterNote") (param i32 i32) (result i32)
        i32.const 5 call $note i32.const 1 local.get 0 local.get 1 call_indirect (type $binary))
      (export "subAgain" (func $sub))
      (export "mixAgain" (func $mix)))`,
  );
  const golden = 0x9e3779b97f4a7c15n; // what host.mix multiplies by
  const mixed = (a: bigint, b: bigint) => BigInt.asUintN(64, b * golden + a);
  suite
    .expect("order", [7, 5], 2)
    .expect("order", [5, 7], 0xfffffffe)
    .expect("six", [1, 2], 123456)
    .expect("byValue", [9], 9)
    .expect("resultOnTop", [9], 1008)
    .expect("nested", [10], 0xfffffffa) // ((10-1) - (10-2)) - (10-3)
    .expect("nothing", [], 5)
    .expect("effects", [6], 0xfffffffa)
    .expect("effects", [4], 2)
    .expect("afterCall", [6], 42)
    .expect("imported", [3, 1], mixed(3n, 1n))
    .expect("imported", [0xffffffff, (1n << 64n) - 1n], mixed(0xffffffffn, (1n << 64n) - 1n))
    .reset()
    .expect("noted", [3], 3)
    .expect("noted", [4], 97)
    .expect("factorial", [0], 1)
    .expect("factorial", [20], 2432902008176640000n)
    .expect("isEven", [10], 1)
    .expect("isEven", [7], 0)
    .expect("indirect", [9, 4, 0], 5)
    .expect("indirect", [9, 4, 1], 0xfffffffb) // a later segment replaced the entry; its type is equal, if not the same
    .expect("indirectRegister", [9, 4, 0], 5)
    .expect("indirectRegister", [9, 4, 1], 0xfffffffb)
    .expect("indirectWide", [9, 4, 2], 5)
    .expect("indirectNone", [3], 0)
    .expect("indirectImport", [3, 1, 4], mixed(3n, 1n))
    .expect("subAgain", [7, 5], 2)
    .expect("mixAgain", [3, 1], mixed(3n, 1n))
    .expect("indirect", [0, 4, 7], 0)
    .traps("indirect", [0, 0, 7], Status.DivideByZero)
    .traps("trapsAfterNote", [0, 7], Status.DivideByZero);
  for (const index of [2, 3, 4]) suite.traps("indirect", [9, 4, index], Status.SignatureMismatch);
  for (const index of [0, 1, 3, 4, 7]) suite.traps("indirectWide", [9, 4, index], Status.SignatureMismatch);
  for (const index of [0, 1, 2, 3, 4]) suite.traps("indirectOther", [9, 4, index], Status.SignatureMismatch);
  for (const index of [0, 2, 7]) suite.traps("indirectNone", [index], Status.SignatureMismatch);
  for (const callee of ["indirect", "indirectRegister", "indirectWide"]) {
    for (const index of [5, 6]) suite.traps(callee, [9, 4, index], Status.UndefinedElement);
    for (const index of [8, 9, 0x80000000, 0xffffffff])
      suite.traps(callee, [9, 4, index], Status.UndefinedElement);
  }
  return suite;
}
