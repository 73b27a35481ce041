;; Calls: direct, recursive, through the table, of the host.
(module
  (import "host" "mix" (func $mix (param i32 i64) (result i64)))
  (import "host" "note" (func $note (param i32)))
  (import "host" "noted" (func $noted (result i32)))
  (type $binary (func (param i32 i32) (result i32)))
  (type $sameAsBinary (func (param i32 i32) (result i32)))
  (type $wide (func (param i32 i64) (result i64)))
  (type $action (func (param i32)))
  (memory (export "memory") 1 1)
  (table 12 funcref)
  (elem (i32.const 1) $add $sub $mix $wideOwn $note $traps $add)
  (elem (i32.const 9) $setAndGet)
  (global $small i32 (i32.const -7))
  (global $large i64 (i64.const 0x123456789abcdef0))

  (func $add (type $binary) local.get 0 local.get 1 i32.add)
  (func $sub (type $sameAsBinary) local.get 0 local.get 1 i32.sub)
  (func $wideOwn (type $wide) local.get 1 local.get 0 i64.extend_i32_s i64.mul)
  (func $traps (type $binary) unreachable)
  (func $setAndGet (type $binary)
    i32.const 16 local.get 0 i32.store
    i32.const 16 i32.load local.get 1 i32.xor)
  (func $four (param i32 i64 i32 i64) (result i64)
    local.get 0 i64.extend_i32_u local.get 1 i64.add local.get 2 i64.extend_i32_s i64.mul local.get 3 i64.xor)
  (func $nothing)
  (func $fib (export "fib") (param i32) (result i32)
    local.get 0 i32.const 15 i32.and local.tee 0 i32.const 2 i32.lt_u
    if (result i32) local.get 0
    else local.get 0 i32.const 1 i32.sub call $fib local.get 0 i32.const 2 i32.sub call $fib i32.add end)
  (func $even (export "even") (param i32) (result i32)
    local.get 0 i32.const 63 i32.and local.tee 0 i32.eqz
    if (result i32) i32.const 1 else local.get 0 i32.const 1 i32.sub call $odd end)
  (func $odd (param i32) (result i32)
    local.get 0 i32.eqz if (result i32) i32.const 0 else local.get 0 i32.const 1 i32.sub call $even end)

  (func (export "direct") (param i32 i32) (result i32)
    local.get 0 local.get 1 call $add local.get 0 local.get 1 call $sub i32.mul)
  (func (export "arguments") (param i32 i64) (result i64)
    call $nothing
    local.get 0 i32.const 3 i32.mul local.get 1 i64.const 5 i64.sub local.get 0 i64.const -9 call $four)
  (func (export "argumentsFromRegister") (param i64 i32) (result i64)
    i32.const 4 i64.const 8 i32.const 12 local.get 0 i64.const 5 i64.rotl call $four)
  (func (export "resultKept") (param i32 i32) (result i32)
    local.get 0 local.get 1 call $add
    local.get 1 local.get 0 call $sub
    local.get 0 i32.const 1 i32.add local.set 0
    local.get 0 local.get 1 call $add
    i32.xor i32.sub)
  (func (export "resultDropped") (param i32) (result i32)
    local.get 0 local.get 0 call $add drop call $nothing local.get 0)

  (func (export "indirect") (param i32 i32 i32) (result i32)
    local.get 0 local.get 1 local.get 2 call_indirect (type $binary))
  (func (export "indirectSame") (param i32 i32 i32) (result i32)
    local.get 0 local.get 1 local.get 2 call_indirect (type $sameAsBinary))
  (func (export "indirectWide") (param i32 i64 i32) (result i64)
    local.get 0 local.get 1 local.get 2 i32.const 1 i32.add call_indirect (type $wide))
  (func (export "indirectAction") (param i32 i32) (result i32)
    local.get 0 local.get 1 call_indirect (type $action) call $noted)
  (func (export "indirectConstant") (param i32) (result i32)
    local.get 0 i32.const 10 i32.const 2 call_indirect (type $binary))

  (func (export "mixes") (param i32 i64) (result i64)
    local.get 0 local.get 1 call $mix i64.const 1 i64.add local.get 0 i32.const 1 i32.shl local.get 1 call $mix i64.xor)
  (func (export "notes") (param i32) (result i32)
    local.get 0 call $note local.get 0 i32.const 5 i32.add call $note call $noted)
  (func (export "constants") (param i32 i64) (result i64)
    global.get $small local.get 0 i32.add i64.extend_i32_s global.get $large i64.xor local.get 1 i64.add)
  (func (export "fromTrap") (param i32) (result i32)
    local.get 0 if local.get 0 local.get 0 call $traps return end i32.const 3)
  (export "addAgain" (func $add))
  (export "addOnceMore" (func $add))
  (export "mixExported" (func $mix))
)
