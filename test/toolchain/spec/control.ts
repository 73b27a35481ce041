/** Control, parametric and variable instructions: WebAssembly Core Specification 2.0, 4.4.4, 4.4.5 and 4.4.8. */
import { Status } from "../script.ts";
import { Suite } from "./suite.ts";

export function control(): Suite {
  const suite = new Suite(
    "control",
    `(module
      (import "host" "note" (func $note (param i32)))
      (import "host" "noted" (func $noted (result i32)))
      (global $g i32 (i32.const -5))
      (global $h i64 (i64.const 0x1122334455667788))
      (func $say (param i32) (result i32) local.get 0 call $note local.get 0)

      (func (export "nop") (param i32) (result i32) nop local.get 0 nop)
      (func (export "unreachable") (result i32) unreachable)
      (func (export "fallThrough") (result i32) block (result i32) i32.const 4 end)
      (func (export "empty") block end loop end i32.const 1 if end i32.const 0 if else end)
      (func (export "brOut") (param i32) (result i32)
        block (result i32) block (result i32) i32.const 1 i32.const 2 local.get 0 br 1 end drop i32.const 99 end)
      (func (export "brUnwinds") (param i32) (result i32)
        i32.const 1000
        block (result i32) i32.const 7 i32.const 8 i32.const 9 local.get 0 br 0 end
        i32.add)
      (func (export "brIf") (param i32 i32) (result i32)
        block (result i32) local.get 1 local.get 0 br_if 0 i32.const 1 i32.add end)
      (func (export "brIfNoValue") (param i32) (result i32) (local i32)
        block local.get 0 br_if 0 i32.const 5 local.set 1 end local.get 1)
      (func (export "brIfCompared") (param i32 i32) (result i32)
        block local.get 0 local.get 1 i32.lt_s br_if 0 i32.const 1 return end i32.const 2)
      (func (export "brToFunction") (param i32) (result i32) local.get 0 i32.const 3 i32.mul br 0)
      (func (export "brIfToFunction") (param i32) (result i32) local.get 0 local.get 0 br_if 0 drop i32.const 77)
      (func (export "loopOnce") (result i32) (local i32) loop local.get 0 i32.const 1 i32.add local.set 0 end local.get 0)
      (func (export "loopValue") (param i32) (result i32) loop (result i32) local.get 0 end)
      (func (export "sumTo") (param i32) (result i64) (local i64)
        block loop
          local.get 0 i32.eqz br_if 1
          local.get 0 i64.extend_i32_u local.get 1 i64.add local.set 1
          local.get 0 i32.const 1 i32.sub local.set 0
          br 0
        end end
        local.get 1)
      (func (export "nestedLoops") (param i32 i32) (result i32) (local i32 i32)
        loop $outer
          i32.const 0 local.set 3
          loop $inner
            local.get 2 i32.const 1 i32.add local.set 2
            local.get 3 i32.const 1 i32.add local.tee 3 local.get 1 i32.lt_u br_if $inner
          end
          local.get 0 i32.const 1 i32.sub local.tee 0 br_if $outer
        end
        local.get 2)
      (func (export "continueOuter") (param i32) (result i32) (local i32)
        block $out loop $outer loop $inner
          local.get 1 i32.const 1 i32.add local.tee 1 local.get 0 i32.ge_u br_if $out
          local.get 1 i32.const 1 i32.and br_if $inner
          br $outer
        end end end
        local.get 1)
      (func (export "ifElse") (param i32) (result i64)
        local.get 0 if (result i64) i64.const 10 else i64.const -20 end)
      (func (export "ifOnly") (param i32) (result i32) (local i32)
        local.get 0 if i32.const 6 local.set 1 end local.get 1)
      (func (export "elseOnly") (param i32) (result i32) (local i32)
        local.get 0 if else i32.const 6 local.set 1 end local.get 1)
      (func (export "brOutOfIf") (param i32) (result i32)
        local.get 0 if (result i32) i32.const 1 br 0 else i32.const 2 br 0 end)
      (func (export "ifs") (param i32 i32) (result i32)
        local.get 0
        if (result i32) local.get 1 if (result i32) i32.const 3 else i32.const 2 end
        else local.get 1 if (result i32) i32.const 1 else i32.const 0 end end)
      (func (export "switch") (param i32) (result i32)
        block block block block local.get 0 br_table 0 2 1 3 end i32.const 100 return end i32.const 101 return end
        i32.const 102 return end i32.const 103)
      (func (export "switchValue") (param i32 i64) (result i64)
        block (result i64) block (result i64) block (result i64)
          local.get 1 local.get 0 br_table 0 1 0 2
        end i64.const 1 i64.add return end i64.const 2 i64.add return end i64.const 3 i64.add)
      (func (export "switchDefaultOnly") (param i32) (result i32)
        block block local.get 0 br_table 1 end i32.const 1 return end i32.const 2)
      (func (export "switchLoop") (param i32) (result i32) (local i32)
        block loop
          local.get 1 i32.const 1 i32.add local.set 1
          local.get 0 i32.const 1 i32.sub local.tee 0 br_table 1 0 0 0 0 1
        end end
        local.get 1)
      (func (export "switchToFunction") (param i32) (result i32)
        block (result i32) i32.const 9 local.get 0 br_table 0 1 0 end i32.const 1 i32.add)
      (func (export "return") (param i32) (result i32)
        i32.const 1 i32.const 2 loop block local.get 0 br_if 0 i32.const 8 return end end
        drop drop i32.const 9)
      (func (export "returnUnwinds") (result i32) i32.const 1 i32.const 2 i32.const 3 return)
      (func (export "afterBr") (result i32) block (result i32) i32.const 5 br 0 i32.add drop i32.const 6 end)
      (func (export "afterUnreachable") (param i32) (result i32)
        local.get 0 if unreachable i32.add drop end i32.const 4)
      (func (export "drop") (param i32 i64) (result i32) local.get 0 local.get 1 drop i64.const 3 drop)
      (func (export "select") (param i32 i32 i32) (result i32) local.get 0 local.get 1 local.get 2 select)
      (func (export "selectWide") (param i64 i64 i32) (result i64) local.get 0 local.get 1 local.get 2 select)
      (func (export "selectCompared") (param i32 i32) (result i32)
        local.get 0 local.get 1 local.get 0 local.get 1 i32.lt_u select)
      (func (export "selectBoth") (param i32) (result i32)
        i32.const 1 call $say i32.const 2 call $say local.get 0 select drop call $noted)
      (func (export "zeroes") (result i64) (local i32 i64 i32) local.get 0 i64.extend_i32_u local.get 1 i64.or
        local.get 2 i64.extend_i32_s i64.or)
      (func (export "tee") (param i32) (result i32) (local i32)
        local.get 0 i32.const 1 i32.add local.tee 1 local.get 1 i32.mul)
      (func (export "setKeepsStack") (param i32 i64) (result i64)
        local.get 0 local.get 1 i32.const 9 local.set 0 i64.const 8 local.set 1
        local.get 0 i64.extend_i32_u i64.add
        i64.const 1000 i64.mul
        local.set 1 i64.extend_i32_u local.get 1 i64.add)
      (func (export "setInBranch") (param i32 i32) (result i32)
        local.get 1 local.get 0 if i32.const 50 local.set 1 end local.get 1 i32.sub)
      (func (export "setInLoop") (param i32) (result i32) (local i32)
        local.get 0 loop local.get 0 i32.const 1 i32.sub local.tee 0 br_if 0 end local.get 0 i32.const 100 i32.add i32.mul)
      (func (export "swap") (param i64 i64) (result i64)
        local.get 0 local.get 1 local.set 0 local.set 1 local.get 0 i64.const 1000 i64.mul local.get 1 i64.add)
      (func (export "globals") (param i32) (result i64)
        global.get $g local.get 0 i32.add i64.extend_i32_s global.get $h i64.xor)
      (func (export "order") (result i32)
        i32.const 1 call $say i32.const 2 call $say i32.sub
        i32.const 3 call $say i32.const 4 call $say i32.const 5 call $say select
        i32.add drop call $noted)
      (func (export "depth") (param i32) (result i32)
        i32.const 1 i32.const 2 i32.const 3
        block (result i32)
          i32.const 10
          block (result i32)
            i32.const 20
            block (result i32) i32.const 30 local.get 0 br_if 2 drop i32.const 31 local.get 0 i32.eqz br_if 1 end
            i32.add
          end
          i32.add
        end
        i32.add i32.add i32.add))`,
  );
  const minus5 = 0xfffffffbn;
  suite
    .expect("nop", [8], 8)
    .traps("unreachable", [], Status.Unreachable)
    .expect("fallThrough", [], 4)
    .expect("empty", [], 0)
    .expect("brOut", [6], 6)
    .expect("brUnwinds", [6], 1006)
    .expect("brIf", [1, 40], 40)
    .expect("brIf", [0x80000000, 40], 40)
    .expect("brIf", [0, 40], 41)
    .expect("brIfNoValue", [0], 5)
    .expect("brIfNoValue", [2], 0)
    .expect("brIfCompared", [minus5, 0], 2)
    .expect("brIfCompared", [0, minus5], 1)
    .expect("brIfCompared", [0, 0], 1)
    .expect("brToFunction", [5], 15)
    .expect("brIfToFunction", [5], 5)
    .expect("brIfToFunction", [0], 77)
    .expect("loopOnce", [], 1)
    .expect("loopValue", [12], 12)
    .expect("sumTo", [0], 0)
    .expect("sumTo", [1], 1)
    .expect("sumTo", [100000], 5000050000n)
    .expect("nestedLoops", [3, 4], 12)
    .expect("nestedLoops", [1, 1], 1)
    .expect("nestedLoops", [2, 0], 2)
    .expect("continueOuter", [9], 9)
    .expect("continueOuter", [0], 1)
    .expect("ifElse", [0], (1n << 64n) - 20n)
    .expect("ifElse", [1], 10)
    .expect("ifElse", [0xffffffff], 10)
    .expect("ifOnly", [0], 0)
    .expect("ifOnly", [3], 6)
    .expect("elseOnly", [0], 6)
    .expect("elseOnly", [3], 0)
    .expect("brOutOfIf", [0], 2)
    .expect("brOutOfIf", [1], 1)
    .expect("switchDefaultOnly", [0], 2)
    .expect("switchDefaultOnly", [0xffffffff], 2)
    .expect("switchLoop", [1], 1)
    .expect("switchLoop", [4], 4)
    .expect("switchLoop", [6], 1) // 5 is past the table, and the default leaves
    .expect("switchToFunction", [0], 10)
    .expect("switchToFunction", [1], 9)
    .expect("switchToFunction", [2], 10)
    .expect("return", [0], 8)
    .expect("return", [1], 9)
    .expect("returnUnwinds", [], 3)
    .expect("afterBr", [], 5)
    .expect("afterUnreachable", [0], 4)
    .traps("afterUnreachable", [1], Status.Unreachable)
    .expect("drop", [7, 1], 7)
    .expect("select", [1, 2, 0], 2)
    .expect("select", [1, 2, 1], 1)
    .expect("select", [1, 2, 0x80000000], 1)
    .expect("selectWide", [1n << 40n, 2, 5], 1n << 40n)
    .expect("selectWide", [1n << 40n, 1n << 41n, 0], 1n << 41n)
    .expect("selectCompared", [3, 4], 3)
    .expect("selectCompared", [4, 3], 3)
    .expect("zeroes", [], 0)
    .expect("tee", [4], 25)
    .expect("setKeepsStack", [1, 2], 11001)
    .expect("setInBranch", [0, 8], 0)
    .expect("setInBranch", [1, 8], 0xffffffff - 41)
    .expect("setInLoop", [3], 300)
    .expect("swap", [7, 5], 5007)
    .expect("globals", [5], 0x1122334455667788n)
    .expect("globals", [0], 0x1122334455667788n ^ ((1n << 64n) - 5n))
    .expect("depth", [1], 36) // 30 out of the outermost
    .expect("depth", [0], 47); // 31 out of the middle one: 10 + 31, then 3, 2, 1
  for (const [a, b, value] of [[0, 0, 0], [0, 9, 1], [9, 0, 2], [9, 9, 3]] as const) suite.expect("ifs", [a, b], value); // prettier-ignore
  for (const [index, value] of [[0, 100], [1, 102], [2, 101], [3, 103], [4, 103], [0x80000000, 103], [0xffffffff, 103]] as const) suite.expect("switch", [index], value); // prettier-ignore
  for (const [index, value] of [[0, 11], [1, 12], [2, 11], [3, 13], [1 << 30, 13]] as const) suite.expect("switchValue", [index, 10], value); // prettier-ignore
  // A note multiplies what was noted by 31 and adds: the order in which operands are evaluated is left to right.
  const notes = (...values: number[]) => values.reduce((sum, each) => sum * 31 + each, 0);
  suite.reset().expect("order", [], notes(1, 2, 3, 4, 5));
  suite.reset().expect("selectBoth", [0], notes(1, 2)).reset().expect("selectBoth", [1], notes(1, 2));
  return suite;
}
