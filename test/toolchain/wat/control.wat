;; Control flow: each export takes its branches by its arguments. Loops are bounded by masks.
(module
  (memory (export "memory") 1 1)

  (func (export "ifElse") (param i32) (result i32)
    local.get 0 if (result i32) i32.const 10 else i32.const 20 end)
  (func (export "ifWithoutElse") (param i32 i32) (result i32)
    local.get 0 if local.get 1 i32.const 3 i32.mul local.set 1 end local.get 1)
  (func (export "ifOnRegister") (param i32 i64) (result i64)
    local.get 0 i32.const 7 i32.and if (result i64) local.get 1 i64.const 1 i64.add else local.get 1 i64.const 1 i64.sub end)
  (func (export "nestedIf") (param i32 i32) (result i64)
    local.get 0 i32.const 0 i32.lt_s
    if (result i64)
      local.get 1 if (result i64) i64.const 1 else i64.const 2 end
    else
      local.get 1 i32.const 5 i32.gt_u if (result i64) i64.const 3 else local.get 0 i64.extend_i32_u end
    end)

  (func (export "gcd") (param i32 i32) (result i32) (local i32)
    block
      loop
        local.get 1 i32.eqz br_if 1
        local.get 0 local.get 1 i32.rem_u local.set 2
        local.get 1 local.set 0
        local.get 2 local.set 1
        br 0
      end
    end
    local.get 0)
  (func (export "sumTo") (param i32) (result i64) (local i32 i64)
    local.get 0 i32.const 1023 i32.and local.set 1
    loop (result i64)
      local.get 2 local.get 1 i64.extend_i32_u i64.add local.set 2
      local.get 1 i32.const 1 i32.sub local.tee 1 i32.const 0 i32.gt_s br_if 0
      local.get 2
    end)
  (func (export "nestedLoops") (param i32 i32) (result i32) (local i32 i32 i32)
    local.get 0 i32.const 15 i32.and local.set 2
    loop $outer
      local.get 1 i32.const 15 i32.and local.set 3
      loop $inner
        local.get 4 i32.const 31 i32.mul local.get 2 i32.add local.get 3 i32.xor local.set 4
        local.get 4 i32.const 0xff i32.and i32.const 0x7f i32.eq
        if local.get 4 i32.const 1 i32.add local.set 4 br $inner end
        local.get 3 i32.const 1 i32.sub local.tee 3 i32.const 0 i32.gt_s br_if $inner
      end
      local.get 2 i32.const 1 i32.sub local.tee 2 i32.const 0 i32.gt_s br_if $outer
    end
    local.get 4)
  (func (export "breakWithValue") (param i32 i64) (result i64)
    block (result i64)
      local.get 1
      local.get 0 br_if 0
      i64.const 1 i64.shl
    end)
  (func (export "breakTwoLevels") (param i32 i32) (result i32)
    block (result i32)
      i32.const 100
      block (result i32)
        local.get 1 local.get 0 i32.const 1 i32.and br_if 0
        drop
        i32.const 7 local.get 0 i32.const 2 i32.and br_if 1
        i32.const 9 i32.add
      end
      i32.add
    end)
  (func (export "returnFromDeep") (param i32 i32) (result i32)
    block loop block
      local.get 0 if local.get 1 return end
      local.get 1 i32.const 5 i32.gt_u br_if 2
    end end end
    i32.const 77)
  (func (export "branchToFunction") (param i32 i32) (result i32)
    local.get 1 i32.const 1 i32.add
    local.get 0 br_if 0
    i32.const 2 i32.mul)
  (func (export "branchAsReturn") (param i32) (result i32)
    block local.get 0 i32.const 3 i32.rem_u if i32.const 5 br 2 end end i32.const 6)

  (func (export "jumpTable") (param i32) (result i32)
    block block block block
      local.get 0 br_table 0 1 2 1 3
    end i32.const 10 return
    end i32.const 11 return
    end i32.const 12 return
    end i32.const 13)
  (func (export "tableWithValue") (param i32 i64) (result i64)
    block (result i64) block (result i64) block (result i64)
      local.get 1 local.get 0 br_table 0 1 2 0
    end i64.const 3 i64.add
    end i64.const 5 i64.mul
    end)
  (func (export "tableDefaultOnly") (param i32) (result i32)
    block local.get 0 br_table 0 end i32.const 4)
  (func (export "tableReturns") (param i32 i32) (result i32)
    block (result i32) local.get 1 local.get 0 br_table 0 1 0 1 end i32.const 1000 i32.add)
  (func (export "tableContinues") (param i32) (result i32) (local i32 i32)
    loop $again
      local.get 1 i32.const 1 i32.add local.set 1
      block $two block $one
        local.get 1 i32.const 40 i32.ge_u if local.get 2 return end
        local.get 0 local.get 1 i32.shr_u i32.const 3 i32.and
        br_table $one $again $two $one
      end
      local.get 2 i32.const 3 i32.mul i32.const 1 i32.add local.set 2
      br $again
      end
      local.get 2 i32.const 5 i32.xor local.set 2
      br $again
    end
    unreachable)
  (func (export "tableOfRegister") (param i32 i32) (result i32)
    local.get 1
    block
      block local.get 0 i32.const 3 i32.and br_table 0 1 0 1 end
      local.get 1 i32.const 50 i32.add return
    end
    i32.const 60 i32.add)

  (func (export "unreachable") (param i32) (result i32)
    local.get 0 i32.const 2 i32.and if unreachable end i32.const 1)
  (func (export "deadCode") (param i32) (result i32)
    block
      local.get 0 br_if 0
      i32.const 3 return
      i32.const 4 i32.const 5 i32.add drop i64.const 3 drop
      loop br 0 end
    end
    block br 0 i32.const 1 i32.const 2 i32.div_s drop end
    i32.const 9)
  (func (export "deadBranches") (param i32) (result i32)
    block (result i32)
      local.get 0 br 0
      i32.const 1 br_if 0
      if (result i32) i32.const 1 else i32.const 2 end
      br_table 0 0
      i32.const 4
      i32.add
    end
    i32.const 1 i32.add)
  (func (export "endless") (param i32) (result i32)
    local.get 0 i32.const 0 i32.ne if (result i32) i32.const 5 else loop (result i32) local.get 0 i32.eqz if i32.const 6 return end br 0 end end)

  (func (export "twoResults") (param i32 i64) (result i64)
    block (result i32 i64)
      local.get 0 local.get 1
      local.get 0 i32.const 1 i32.and br_if 0
      i64.const 3 i64.mul
    end
    i64.const 7 i64.xor local.set 1 i64.extend_i32_s local.get 1 i64.sub)
  (func (export "ifTwoResults") (param i32 i32) (result i32)
    local.get 0 if (result i32 i32) local.get 1 i32.const 2 else i32.const 3 local.get 1 end i32.sub)
  (func (export "swapResults") (param i32 i32 i32) (result i32)
    block (result i32 i32)
      local.get 0 local.get 1
      local.get 2 br_if 0
      local.set 2 local.set 1 local.get 2 local.get 1
    end
    i32.sub)

  ;; A local that changes while its old value is on the stack.
  (func (export "keepOld") (param i32) (result i32)
    local.get 0 local.get 0 i32.const 1 i32.add local.set 0 local.get 0 i32.mul)
  (func (export "keepOld64") (param i64) (result i64)
    local.get 0 local.get 0 i64.const 1 i64.add local.tee 0 i64.mul)
  (func (export "keepOldCopy") (param i32 i32) (result i32)
    local.get 0 local.get 1 local.set 0 local.get 0 i32.sub)
  (func (export "keepOldCopy64") (param i64 i64) (result i64)
    local.get 0 local.get 1 local.set 0 local.get 0 i64.sub)
  (func (export "keepOldTwice") (param i32) (result i32)
    local.get 0 local.get 0 local.get 0 i32.const 3 i32.shl local.set 0 i32.mul local.get 0 i32.add)
  (func (export "keepOldAcrossBlock") (param i32 i32) (result i32)
    local.get 0
    block local.get 1 br_if 0 local.get 1 i32.const 100 i32.add local.set 0 end
    local.get 0 i32.sub)
  (func (export "keepOldAcrossLoop") (param i32 i64) (result i64)
    local.get 1
    loop
      local.get 1 i64.const 3 i64.mul local.set 1
      local.get 0 i32.const 7 i32.and i32.const 1 i32.sub local.tee 0 i32.const 0 i32.gt_s br_if 0
    end
    local.get 1 i64.xor)
  (func (export "keepOldAcrossIf") (param i32 i32) (result i32)
    local.get 0 local.get 0
    local.get 1 if local.get 1 local.set 0 else i32.const 55 local.set 0 end
    i32.add local.get 0 i32.sub)
  (func (export "swap") (param i32 i32) (result i32)
    local.get 0 local.get 1 local.set 0 local.set 1 local.get 0 i32.const 1 i32.shl local.get 1 i32.sub)
  (func (export "swap64") (param i64 i64) (result i64)
    local.get 0 local.get 1 local.set 0 local.set 1 local.get 0 i64.const 1 i64.shl local.get 1 i64.sub)
  (func (export "tees") (param i64) (result i64) (local i64 i64)
    local.get 0 local.tee 1 local.tee 2 i64.const 1 i64.add local.tee 1 local.get 2 i64.mul local.get 1 i64.add)

  ;; One slot holds values of both widths, one after the other.
  (func (export "mixedWidths") (param i32 i64) (result i64)
    local.get 0 i32.const 1 i32.add local.get 0 i32.const 2 i32.sub i32.mul drop
    local.get 1 i64.const 1 i64.add local.get 1 i64.const 2 i64.sub i64.mul
    local.get 0 i32.const 3 i32.shr_s i64.extend_i32_s i64.add
    i32.wrap_i64 i64.extend_i32_u)
  (func (export "wrapThenUse") (param i64) (result i32)
    local.get 0 i64.const 3 i64.mul i32.wrap_i64 i32.const 1 i32.shr_u)
  (func (export "dropAll") (param i32 i64) (result i32)
    local.get 0 local.get 1 i64.const 1 i64.add drop drop i32.const 8)
  (func (export "zeroLocals") (param i32) (result i64) (local i32 i64 i32 i64)
    local.get 0 if i32.const 3 local.set 1 i64.const 9 local.set 2 end
    local.get 1 i64.extend_i32_u local.get 2 i64.add local.get 4 i64.add local.get 3 i64.extend_i32_s i64.add)
  (func (export "deepStack") (param i32) (result i32)
    local.get 0 i32.const 1 i32.add local.get 0 i32.const 2 i32.add local.get 0 i32.const 3 i32.add local.get 0 i32.const 4 i32.add
    local.get 0 i32.const 5 i32.add local.get 0 i32.const 6 i32.add local.get 0 i32.const 7 i32.add local.get 0 i32.const 8 i32.add
    i32.sub i32.mul i32.xor i32.sub i32.add i32.mul i32.or)
)
