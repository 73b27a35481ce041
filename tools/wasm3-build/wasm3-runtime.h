/* What the C that wasm3-build writes stands on. Part of the unsafe surface: keep it short.
 *
 * The includer may define, before or after this header but before the code:
 *   WASM_BASE         address of the linear memory, a constant. Everything from the memory's end to WASM_BASE + 8 GiB
 *                     and a page must fault: a 32-bit index plus a 32-bit offset reaches that far, unchecked
 *   WASM3_TRAP(kind)  ends the instance and never returns (say so: __builtin_unreachable() after assembly). Where it
 *                     is used, __FILE__ and __LINE__ are the TypeScript's
 * and must define a `static inline` function `<module>_<field>` for each import. One that lets others change the linear
 * memory needs "memory" among its assembly's clobbers, or gcc keeps in registers what it has read.
 *
 * Helpers are macros and not functions, so that a backtrace shows TypeScript only. Each evaluates its arguments once.
 */
#ifndef WASM3_RUNTIME_H
#define WASM3_RUNTIME_H

typedef __UINT8_TYPE__ u8;
typedef __UINT16_TYPE__ u16;
typedef __UINT32_TYPE__ u32;
typedef __UINT64_TYPE__ u64;
typedef __INT8_TYPE__ s8;
typedef __INT16_TYPE__ s16;
typedef __INT32_TYPE__ s32;
typedef __INT64_TYPE__ s64;

#ifndef WASM_BASE
#define WASM_BASE 0x40000000ul
#endif

/* Why an instance ended. Loads and stores out of bounds are not among them: those are page faults. */
enum wasm3_trap_kind {
  WASM3_UNREACHABLE = 1,
  WASM3_DIVIDE_BY_ZERO,
  WASM3_INTEGER_OVERFLOW,   /* the least integer divided by -1 */
  WASM3_UNDEFINED_ELEMENT,  /* indirect call past the table's end, or of a null entry */
  WASM3_SIGNATURE_MISMATCH, /* indirect call of a function of another type */
  WASM3_OUT_OF_BOUNDS,      /* memory.fill or memory.copy, checked as a whole before the first byte */
};

/* What WASM3_TRAP is unless the includer says otherwise. */
__attribute__((noreturn, cold)) void wasm3_trap(int kind);

/* Part of an instance's initial memory; the rest of it is zero. */
struct wasm3_segment {
  u32 offset, length;
  const u8 *bytes;
};

/* An entry of a function table. Type 0 is no type: the entry is null. */
struct wasm3_entry {
  void (*function)(void);
  u32 type;
};

#define WASM3_UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#define WASM3_TRAP_IF(condition, kind) if (WASM3_UNLIKELY(condition)) { WASM3_TRAP(kind); }

/* What lies in linear memory: at any alignment, and other C may see the same bytes as another type. */
typedef u8 __attribute__((may_alias)) wasm3_u8;
typedef u16 __attribute__((may_alias, aligned(1))) wasm3_u16;
typedef u32 __attribute__((may_alias, aligned(1))) wasm3_u32;
typedef u64 __attribute__((may_alias, aligned(1))) wasm3_u64;

/* Addresses are computed as integers, not pointers: gcc then folds base and offset into the instruction. Volatile, for
 * whether an access faults, and before what, is part of what it means: gcc may not drop, narrow or move it. Who can do
 * without that, and wants what it costs, defines WASM3_LAX: an access that is made is checked all the same. */
#ifdef WASM3_LAX
#define WASM3_MEMORY
#else
#define WASM3_MEMORY volatile
#endif
/* Whose FS or GS starts at WASM_BASE defines WASM3_SEGMENT as __seg_fs or __seg_gs: a sum of 32 bits, which wraps as wasm's
 * do, is then part of the instruction. With the base in the displacement it needs an instruction of its own. */
#ifdef WASM3_SEGMENT
#define WASM3_AT(type, index, offset) (*(WASM3_MEMORY WASM3_SEGMENT wasm3_##type *)((offset) + (u64)(u32)(index)))
#else
#define WASM3_AT(type, index, offset) (*(WASM3_MEMORY wasm3_##type *)(WASM_BASE + (offset) + (u64)(u32)(index)))
#endif

#define WASM3_ROTL(bits, a, b) ({ u##bits a_ = (a), b_ = (b); a_ << b_ % bits | a_ >> -b_ % bits; })
#define WASM3_ROTR(bits, a, b) ({ u##bits a_ = (a), b_ = (b); a_ >> b_ % bits | a_ << -b_ % bits; })

#define WASM3_DIV_U(bits, a, b) \
  ({ u##bits a_ = (a), b_ = (b); WASM3_TRAP_IF(!b_, WASM3_DIVIDE_BY_ZERO) a_ / b_; })
#define WASM3_REM_U(bits, a, b) \
  ({ u##bits a_ = (a), b_ = (b); WASM3_TRAP_IF(!b_, WASM3_DIVIDE_BY_ZERO) a_ % b_; })
#define WASM3_DIV_S(bits, a, b) \
  ({ s##bits a_ = (s##bits)(a), b_ = (s##bits)(b), least_ = (s##bits)((u##bits)1 << (bits - 1)); \
     WASM3_TRAP_IF(!b_, WASM3_DIVIDE_BY_ZERO) \
     WASM3_TRAP_IF(a_ == least_ && b_ == -1, WASM3_INTEGER_OVERFLOW) \
     (u##bits)(a_ / b_); })
#define WASM3_REM_S(bits, a, b) \
  ({ s##bits a_ = (s##bits)(a), b_ = (s##bits)(b); \
     WASM3_TRAP_IF(!b_, WASM3_DIVIDE_BY_ZERO) \
     (u##bits)(b_ == -1 ? 0 : a_ % b_); })

#define WASM3_CLZ32(a) ({ u32 a_ = (a); a_ ? (u32)__builtin_clz(a_) : 32; })
#define WASM3_CTZ32(a) ({ u32 a_ = (a); a_ ? (u32)__builtin_ctz(a_) : 32; })
#define WASM3_CLZ64(a) ({ u64 a_ = (a); a_ ? (u64)__builtin_clzl(a_) : 64; })
#define WASM3_CTZ64(a) ({ u64 a_ = (a); a_ ? (u64)__builtin_ctzl(a_) : 64; })

/* Written out, for the builtin would call libgcc. Sums of bits in pairs, in fours, in eights, then all of them. */
#define WASM3_POPCNT32(a) (u32)WASM3_POPCNT64(a)
#define WASM3_POPCNT64(a) \
  ({ u64 a_ = (a); \
     a_ -= a_ >> 1 & 0x5555555555555555; \
     a_ = (a_ & 0x3333333333333333) + (a_ >> 2 & 0x3333333333333333); \
     ((a_ + (a_ >> 4)) & 0x0f0f0f0f0f0f0f0f) * 0x0101010101010101 >> 56; })

/* WASM3_PAGES is the size of the module's memory; the generated C defines it. */
#define WASM3_CHECK_RANGE(index, size) \
  WASM3_TRAP_IF((u64)(index) + (size) > (u64)WASM3_PAGES << 16, WASM3_OUT_OF_BOUNDS)

#define WASM3_FILL(index, byte, size) \
  ({ u32 to_ = (index), size_ = (size); \
     WASM3_CHECK_RANGE(to_, size_) \
     u64 di_ = WASM_BASE + (u64)to_, cx_ = size_; \
     __asm__ volatile("rep stosb" : "+D"(di_), "+c"(cx_) : "a"((u8)(byte)) : "memory"); })

/* Copies as if through a buffer. Backwards it goes byte by byte and with the direction flag clear: an interrupt handler
 * may then count on the flag, and such overlaps are rare. */
#define WASM3_COPY(index, from, size) \
  ({ u32 to_ = (index), from_ = (from), size_ = (size); \
     WASM3_CHECK_RANGE(to_, size_) \
     WASM3_CHECK_RANGE(from_, size_) \
     u64 di_ = WASM_BASE + (u64)to_, si_ = WASM_BASE + (u64)from_, cx_ = size_; \
     if (to_ - from_ >= size_) { \
       __asm__ volatile("rep movsb" : "+D"(di_), "+S"(si_), "+c"(cx_) : : "memory"); \
     } else { \
       while (cx_--) *(volatile u8 *)(di_ + cx_) = *(volatile u8 *)(si_ + cx_); \
     } })

/* The function that an indirect call means, to be cast to its type. */
#define WASM3_CALLEE(table, count, index, type_id) \
  ({ u32 index_ = (index); \
     WASM3_TRAP_IF(index_ >= (count) || !(table)[index_].type, WASM3_UNDEFINED_ELEMENT) \
     WASM3_TRAP_IF((table)[index_].type != (type_id), WASM3_SIGNATURE_MISMATCH) \
     (table)[index_].function; })

#endif
