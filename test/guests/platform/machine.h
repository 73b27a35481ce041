/* The instructions that C has no words for. */
#pragma once
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef long s64;
typedef _Bool bool;

static inline u8 in8(u16 port) { u8 v; asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static inline u16 in16(u16 port) { u16 v; asm volatile("inw %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static inline u32 in32(u16 port) { u32 v; asm volatile("inl %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static inline void out8(u16 port, u8 v) { asm volatile("outb %0, %1" : : "a"(v), "Nd"(port) : "memory"); }
static inline void out16(u16 port, u16 v) { asm volatile("outw %0, %1" : : "a"(v), "Nd"(port) : "memory"); }
static inline void out32(u16 port, u32 v) { asm volatile("outl %0, %1" : : "a"(v), "Nd"(port) : "memory"); }
static inline void sti(void) { asm volatile("sti" : : : "memory"); }
static inline void cli(void) { asm volatile("cli" : : : "memory"); }
/* A halt from which the interrupt that is waited for cannot be missed (SDM Vol. 2B, STI). */
static inline void halt(void) { asm volatile("sti; hlt; cli" : : : "memory"); }
/* A few instructions with interrupts on: what is pending comes here. */
static inline void window(void) { asm volatile("sti; nop; nop; nop; cli" : : : "memory"); }
static inline void pause(void) { asm volatile("pause"); }
static inline u64 tsc(void) { u32 a, d; asm volatile("lfence; rdtsc" : "=a"(a), "=d"(d) : : "memory"); return a | (u64)d << 32; }

static inline u64 read_cr2(void) { u64 v; asm volatile("movq %%cr2, %0" : "=r"(v) : : "memory"); return v; }

struct answer { u32 a, b, c, d; };
static inline struct answer cpuid(u32 leaf, u32 sub) {
  struct answer r;
  asm volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(sub));
  return r;
}

/* Memory of devices. */
static inline u32 get32(u64 at) { return *(volatile u32 *)at; }
static inline void put32(u64 at, u32 v) { *(volatile u32 *)at = v; }
static inline u64 get64(u64 at) { return *(volatile u64 *)at; }
static inline void put64(u64 at, u64 v) { *(volatile u64 *)at = v; }

/* boot.asm: 0, or the vector of the exception. */
u32 safe_read_msr(u32 index, u64 *value);
u32 safe_write_msr(u32 index, u64 value);
u32 safe_write_cr8(u64 value);
