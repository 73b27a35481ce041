/* The operations of wasm3 that wasm3-build translates, one row each: a pure table.
 *
 *   ROW(operation, words, operand, result, flow, statement)
 *
 * operation  wasm3's name without `op_`. A trailing `_rs`, `_sr`, `_ss`... says, top of stack first, which operands are
 *            in wasm3's register and which in slots.
 * words      what the words after the operation in the code page mean, one letter a word:
 *              a b   slot of an operand, of width `operand`
 *              m     slot of a memory address (32 bits)
 *              c     slot of a condition or a size (32 bits)
 *              d     slot that receives the result, of width `result`
 *              p     slot that receives the old value of `d` first, of width `result`
 *              o     memory offset        i  immediate value     g  global     t  branch target
 * operand, result   widths: w is 32 bits, x is 64.
 * flow       NEXT when execution may go on with the next operation, STOP when it never does.
 * statement  the C it becomes. `$a` is operand a: its slot if `a` is among the words, else the register. Likewise the
 *            other letters. A statement reads its operands before it assigns `$d`. NULL is for what is decoded only so
 *            that the gate can say which function does it.
 *
 * SPECIAL(operation, KIND) rows have a layout of their own; wasm3.c decodes and function.c writes them.
 * An operation that is in neither list is refused.
 */

#define W_i32 'w'
#define W_u32 'w'
#define W_i64 'x'
#define W_u64 'x'

#define ROW_RS(ROW, t, name, result, c) ROW(t##_##name##_rs, "a", W_##t, W_##result, NEXT, "$d = " c ";")
#define ROW_SR(ROW, t, name, result, c) ROW(t##_##name##_sr, "b", W_##t, W_##result, NEXT, "$d = " c ";")
#define ROW_SS(ROW, t, name, result, c) ROW(t##_##name##_ss, "ba", W_##t, W_##result, NEXT, "$d = " c ";")

/* wasm3 has no `_sr` form of what commutes. */
#define COMMUTATIVE(ROW, t, name, result, c) ROW_RS(ROW, t, name, result, c) ROW_SS(ROW, t, name, result, c)
#define BINARY(ROW, t, name, result, c) COMMUTATIVE(ROW, t, name, result, c) ROW_SR(ROW, t, name, result, c)

#define UNARY(ROW, t, name, from, c) \
  ROW(t##_##name##_r, "", W_##from, W_##t, NEXT, "$d = " c ";") \
  ROW(t##_##name##_s, "a", W_##from, W_##t, NEXT, "$d = " c ";")

#define LOAD(ROW, t, from, c) \
  ROW(t##_Load_##from##_r, "o", 'w', W_##t, NEXT, "$d = " c ";") \
  ROW(t##_Load_##from##_s, "mo", 'w', W_##t, NEXT, "$d = " c ";")

#define STORE(ROW, t, to, c) \
  ROW(t##_Store_##to##_rs, "mo", W_##t, 'w', NEXT, c ";") \
  ROW(t##_Store_##to##_sr, "ao", W_##t, 'w', NEXT, c ";") \
  ROW(t##_Store_##to##_ss, "amo", W_##t, 'w', NEXT, c ";")

#define SELECT(ROW, t) \
  ROW(Select_##t##_rss, "ba", W_##t, W_##t, NEXT, "$d = $c ? $a : $b;") \
  ROW(Select_##t##_srs, "ca", W_##t, W_##t, NEXT, "$d = $c ? $a : $b;") \
  ROW(Select_##t##_ssr, "cb", W_##t, W_##t, NEXT, "$d = $c ? $a : $b;") \
  ROW(Select_##t##_sss, "cba", W_##t, W_##t, NEXT, "$d = $c ? $a : $b;")

#define MOVES(ROW, t) \
  ROW(SetSlot_##t, "d", W_##t, W_##t, NEXT, "$d = $a;") \
  ROW(PreserveSetSlot_##t, "dp", W_##t, W_##t, NEXT, "$p = $d; $d = $a;")

#define COPIES(ROW, bits, width) \
  ROW(CopySlot_##bits, "da", width, width, NEXT, "$d = $a;") \
  ROW(PreserveCopySlot_##bits, "dap", width, width, NEXT, "$p = $d; $d = $a;") \
  ROW(Const##bits, "id", width, width, NEXT, "$d = $i;") \
  ROW(GetGlobal_s##bits, "gd", width, width, NEXT, "$d = $g;")

#define INTEGER(ROW, i, u, bits) \
  COMMUTATIVE(ROW, i, Equal, i32, "$a == $b") \
  COMMUTATIVE(ROW, i, NotEqual, i32, "$a != $b") \
  BINARY(ROW, u, LessThan, i32, "$a < $b") \
  BINARY(ROW, u, GreaterThan, i32, "$a > $b") \
  BINARY(ROW, u, LessThanOrEqual, i32, "$a <= $b") \
  BINARY(ROW, u, GreaterThanOrEqual, i32, "$a >= $b") \
  BINARY(ROW, i, LessThan, i32, "(s" #bits ")$a < (s" #bits ")$b") \
  BINARY(ROW, i, GreaterThan, i32, "(s" #bits ")$a > (s" #bits ")$b") \
  BINARY(ROW, i, LessThanOrEqual, i32, "(s" #bits ")$a <= (s" #bits ")$b") \
  BINARY(ROW, i, GreaterThanOrEqual, i32, "(s" #bits ")$a >= (s" #bits ")$b") \
  COMMUTATIVE(ROW, i, Add, i, "$a + $b") \
  COMMUTATIVE(ROW, i, Multiply, i, "$a * $b") \
  BINARY(ROW, i, Subtract, i, "$a - $b") \
  COMMUTATIVE(ROW, u, And, i, "$a & $b") \
  COMMUTATIVE(ROW, u, Or, i, "$a | $b") \
  COMMUTATIVE(ROW, u, Xor, i, "$a ^ $b") \
  BINARY(ROW, u, ShiftLeft, i, "$a << ($b % " #bits ")") \
  BINARY(ROW, u, ShiftRight, i, "$a >> ($b % " #bits ")") \
  BINARY(ROW, i, ShiftRight, i, "(u" #bits ")((s" #bits ")$a >> ($b % " #bits "))") \
  BINARY(ROW, u, Rotl, i, "WASM3_ROTL(" #bits ", $a, $b)") \
  BINARY(ROW, u, Rotr, i, "WASM3_ROTR(" #bits ", $a, $b)") \
  BINARY(ROW, u, Divide, i, "WASM3_DIV_U(" #bits ", $a, $b)") \
  BINARY(ROW, i, Divide, i, "WASM3_DIV_S(" #bits ", $a, $b)") \
  BINARY(ROW, u, Remainder, i, "WASM3_REM_U(" #bits ", $a, $b)") \
  BINARY(ROW, i, Remainder, i, "WASM3_REM_S(" #bits ", $a, $b)") \
  UNARY(ROW, u, Clz, i, "WASM3_CLZ" #bits "($a)") \
  UNARY(ROW, u, Ctz, i, "WASM3_CTZ" #bits "($a)") \
  UNARY(ROW, u, Popcnt, i, "WASM3_POPCNT" #bits "($a)") \
  UNARY(ROW, i, Extend8_s, i, "(u" #bits ")(s" #bits ")(s8)$a") \
  UNARY(ROW, i, Extend16_s, i, "(u" #bits ")(s" #bits ")(s16)$a") \
  LOAD(ROW, i, i8, "(u" #bits ")(s" #bits ")(s8)WASM3_AT(u8, $m, $o)") \
  LOAD(ROW, i, u8, "WASM3_AT(u8, $m, $o)") \
  LOAD(ROW, i, i16, "(u" #bits ")(s" #bits ")(s16)WASM3_AT(u16, $m, $o)") \
  LOAD(ROW, i, u16, "WASM3_AT(u16, $m, $o)") \
  STORE(ROW, i, u8, "WASM3_AT(u8, $m, $o) = (u8)$a") \
  STORE(ROW, i, i16, "WASM3_AT(u16, $m, $o) = (u16)$a") \
  STORE(ROW, i, i32, "WASM3_AT(u32, $m, $o) = (u32)$a") \
  SELECT(ROW, i) \
  MOVES(ROW, i)

#define OPERATIONS(ROW) \
  INTEGER(ROW, i32, u32, 32) \
  INTEGER(ROW, i64, u64, 64) \
  ROW(i32_EqualToZero_r, "", 'w', 'w', NEXT, "$d = !$a;") \
  ROW(i32_EqualToZero_s, "a", 'w', 'w', NEXT, "$d = !$a;") \
  ROW(i64_EqualToZero_r, "", 'x', 'w', NEXT, "$d = !$a;") \
  ROW(i64_EqualToZero_s, "a", 'x', 'w', NEXT, "$d = !$a;") \
  UNARY(ROW, i64, Extend32_s, i64, "(u64)(s64)(s32)$a") \
  UNARY(ROW, i32, Wrap_i64, i64, "(u32)$a") \
  UNARY(ROW, i64, Extend_i32, i32, "(u64)(s64)(s32)$a") \
  UNARY(ROW, i64, Extend_u32, i32, "$a") \
  LOAD(ROW, i32, i32, "WASM3_AT(u32, $m, $o)") \
  LOAD(ROW, i64, i32, "(u64)(s64)(s32)WASM3_AT(u32, $m, $o)") \
  LOAD(ROW, i64, u32, "WASM3_AT(u32, $m, $o)") \
  LOAD(ROW, i64, i64, "WASM3_AT(u64, $m, $o)") \
  STORE(ROW, i64, i64, "WASM3_AT(u64, $m, $o) = (u64)$a") \
  ROW(SetRegister_i32, "a", 'w', 'w', NEXT, "$d = $a;") /* of i64 wasm3 has one too, which it never emits */ \
  COPIES(ROW, 32, 'w') \
  COPIES(ROW, 64, 'x') \
  ROW(MemSize, "", 'w', 'w', NEXT, "$d = WASM3_PAGES;") \
  ROW(MemFill, "ab", 'w', 'w', NEXT, "WASM3_FILL($b, $a, $c);") \
  ROW(MemCopy, "ab", 'w', 'w', NEXT, "WASM3_COPY($b, $a, $c);") \
  ROW(If_r, "t", 'w', 'w', NEXT, "if (!$c) { goto $t; }") \
  ROW(If_s, "ct", 'w', 'w', NEXT, "if (!$c) { goto $t; }") \
  ROW(BranchIf_r, "t", 'w', 'w', NEXT, "if ($c) { goto $t; }") \
  ROW(BranchIf_s, "ct", 'w', 'w', NEXT, "if ($c) { goto $t; }") \
  ROW(BranchIfPrologue_r, "t", 'w', 'w', NEXT, "if (!$c) { goto $t; }") \
  ROW(BranchIfPrologue_s, "ct", 'w', 'w', NEXT, "if (!$c) { goto $t; }") \
  ROW(ContinueLoopIf, "t", 'w', 'w', NEXT, "if ($c) { goto $t; }") \
  ROW(ContinueLoop, "t", 'w', 'w', STOP, "goto $t;") \
  ROW(MemGrow, "", 'w', 'w', NEXT, NULL) \
  ROW(SetGlobal_i32, "g", 'w', 'w', NEXT, NULL) \
  ROW(SetGlobal_i64, "g", 'x', 'x', NEXT, NULL) \
  ROW(SetGlobal_s32, "ga", 'w', 'w', NEXT, NULL) \
  ROW(SetGlobal_s64, "ga", 'x', 'x', NEXT, NULL) \
  ROW(Unreachable, "", 'w', 'w', STOP, "WASM3_TRAP(WASM3_UNREACHABLE);")

#define SPECIAL_OPERATIONS(SPECIAL) \
  SPECIAL(Entry, ENTRY)           /* function: the first operation of each function */ \
  SPECIAL(Loop, LOOP)             /* a loop's head; its body starts at the next word */ \
  SPECIAL(Branch, BRANCH)         /* target: forward branches, and bridges from one code page to the next */ \
  SPECIAL(BranchTable, TABLE)     /* slot of the index, count n, n + 1 targets (the last is the default) */ \
  SPECIAL(Call, CALL)             /* entry of a function already compiled, first slot of its frame */ \
  SPECIAL(Compile, CALL_LATER)    /* function not compiled yet, first slot of its frame */ \
  SPECIAL(CallIndirect, CALL_INDIRECT) /* slot of the table index, module, type, first slot of the frame */ \
  SPECIAL(Return, RETURN)         /* the result, if any, is in slot 0 */
