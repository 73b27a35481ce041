/* The calls that are counted: each kernel from TypeScript by wasm3-build, from C, and from TypeScript by wasm2c. */
#include "count.h"
#include "machine.h"
#include "wasm2c.h"

#include <asm/prctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

u64 vmcs_fields[0x8000];

void kernels_crcTable(u32 table, u32 count);
u32 kernels_crc(u32 table, u32 data, u32 length);
u32 kernels_dispatch(u32 vcpu);
u32 kernels_mapPages(u32 space, u64 virtual, u64 physical, u64 length);
u32 kernels_ringWrite(u32 ring, u32 text, u32 length);
u32 kernels_ringRead(u32 ring, u32 to, u32 room);
void kernels_sortRanges(u32 ranges, u32 count);

void hand_crc_table(void *table, u32 count);
u32 hand_crc(const void *table, const void *data, u32 length);
u32 hand_dispatch(void *vcpu);
int hand_map_pages(void *space, u64 virtual, u64 physical, u64 length);
u32 hand_ring_write(void *ring, const void *text, u32 length);
u32 hand_ring_read(void *ring, void *to, u32 room);
void hand_sort_ranges(void *ranges, u32 count);

/* Where things are in the linear memory, which is C's too. */
enum { SIZE = 4 << 16, TABLE = 0x10000, DATA = 0x11000, OTHER = 0x13000, VCPU = 0x14000, SPACE = 0x15000, RING = 0x16000, FRAMES = 0x20000 };
#define AT(offset) ((void *)(WASM_BASE + (offset)))

static w2c_kernels wasm2c;
static u64 result;

void wasm_rt_trap(wasm_rt_trap_t trap) { fprintf(stderr, "wasm2c: trap %d\n", (int)trap), exit(2); }
bool wasm_rt_is_initialized(void) { return true; }
void wasm_rt_free_memory(wasm_rt_memory_t *memory) { (void)memory; }
void wasm_rt_allocate_memory(wasm_rt_memory_t *memory, uint64_t pages, uint64_t maximum, bool is64, uint32_t page_size) {
  *memory = (wasm_rt_memory_t){(u8 *)WASM_BASE, pages, maximum, pages * page_size, is64};
}
void wasm_rt_allocate_funcref_table(wasm_rt_funcref_table_t *table, uint64_t size, uint64_t maximum) {
  *table = (wasm_rt_funcref_table_t){calloc(size, sizeof *table->data), maximum, size};
}
void wasm_rt_free_funcref_table(wasm_rt_funcref_table_t *table) { (void)table; }

/* The same memory before each call, of which no variant knows more than another. */
static void prepare(void) {
  static int mapped;
  if (!mapped++) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    void *memory = mmap(AT(0), SIZE, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory != AT(0)) perror("count: mmap"), exit(2);
    if (syscall(SYS_arch_prctl, ARCH_SET_GS, WASM_BASE)) perror("count: GS"), exit(2);
    wasm2c_kernels_instantiate(&wasm2c, 0, 0);
  }
  memset(AT(0), 0, SIZE);
  memset(vmcs_fields, 0, sizeof vmcs_fields);
  result = 0;
}

/* Numbers of no order (xorshift). */
static u64 next(u64 *state) {
  *state ^= *state << 13, *state ^= *state >> 7, *state ^= *state << 17;
  return *state;
}

static void prepare_bytes(void) {
  prepare();
  u64 state = 88172645463325252;
  for (int i = 0; i < 1024; i++) ((u8 *)AT(DATA))[i] = next(&state) % 96 + 10; /* among them LFs */
}

static void prepare_ranges(void) {
  prepare();
  u64 state = 88172645463325252;
  for (int i = 0; i < 2 * 60; i++) ((u64 *)AT(DATA))[i] = next(&state) % 1000;
}

static void prepare_exit(u32 reason, u64 qualification) {
  prepare();
  *(u64 *)AT(VCPU) = 1;
  vmcs_fields[0x4402] = reason;
  vmcs_fields[0x440c] = 2;
  vmcs_fields[0x6400] = qualification;
}

static void prepare_cpuid(void) { prepare_exit(10, 0); }
static void prepare_in(void) { prepare_exit(30, 0x3fd0008); }
static void prepare_out(void) { prepare_exit(30, 0x3f80000); }
static void prepare_halt(void) { prepare_exit(12, 0); }

static void prepare_space(void) {
  prepare();
  u64 space[] = {FRAMES + 4096, SIZE, FRAMES, 3, 7, 1 << 30};
  memcpy(AT(SPACE), space, sizeof space);
}

/* The next byte to take is near the ring's end. */
static void prepare_ring(void) {
  prepare_bytes();
  u32 ring[] = {4600, 4290, 0};
  memcpy(AT(RING), ring, sizeof ring);
  memcpy(AT(RING + sizeof ring), AT(DATA), 1024);
}

static void prepare_empty_ring(void) {
  prepare_bytes();
  u32 ring[] = {900, 900, 0};
  memcpy(AT(RING), ring, sizeof ring);
}

#define w2c_crc_table(...) w2c_kernels_crcTable(&wasm2c, __VA_ARGS__)
#define w2c_crc(...) w2c_kernels_crc(&wasm2c, __VA_ARGS__)
#define w2c_dispatch(...) w2c_kernels_dispatch(&wasm2c, __VA_ARGS__)
#define w2c_map_pages(...) w2c_kernels_mapPages(&wasm2c, __VA_ARGS__)
#define w2c_ring_write(...) w2c_kernels_ringWrite(&wasm2c, __VA_ARGS__)
#define w2c_ring_read(...) w2c_kernels_ringRead(&wasm2c, __VA_ARGS__)
#define w2c_sort_ranges(...) w2c_kernels_sortRanges(&wasm2c, __VA_ARGS__)

/* Each variant is told the same; PLACE is how it takes a place in memory. */
#define CALLS(VARIANT, PLACE, CRC_TABLE, CRC, DISPATCH, MAP, WRITE, READ, SORT)                                \
  static void VARIANT##_crc_table(void) { CRC_TABLE(PLACE(TABLE), 48); }                                           \
  static void VARIANT##_crc(void) { result = CRC(PLACE(TABLE), PLACE(DATA), 400); }                           \
  static void VARIANT##_exit(void) { result = DISPATCH(PLACE(VCPU)); }                                         \
  static void VARIANT##_small(void) { result = MAP(PLACE(SPACE), 0x7fffffe01000, 0x5000, 0x30000); }           \
  static void VARIANT##_mixed(void) { result = MAP(PLACE(SPACE), 0x3fdf0000, 0x3fdf0000, 0x42420000); }        \
  static void VARIANT##_write(void) { result = WRITE(PLACE(RING), PLACE(DATA), 300); }                         \
  static void VARIANT##_read(void) { result = READ(PLACE(RING), PLACE(OTHER), 400); }                         \
  static void VARIANT##_sort(void) { SORT(PLACE(DATA), 60); }
#define OFFSET(offset) (offset)
CALLS(typescript, OFFSET, kernels_crcTable, kernels_crc, kernels_dispatch, kernels_mapPages, kernels_ringWrite,
      kernels_ringRead, kernels_sortRanges)
CALLS(c, AT, hand_crc_table, hand_crc, hand_dispatch, hand_map_pages, hand_ring_write, hand_ring_read, hand_sort_ranges)
CALLS(wasm2c, OFFSET, w2c_crc_table, w2c_crc, w2c_dispatch, w2c_map_pages, w2c_ring_write, w2c_ring_read,
      w2c_sort_ranges)

static void prepare_table(void) { prepare_bytes(), hand_crc_table(AT(TABLE), 256); }
static void nothing(void) {}

#define KERNEL(name, prepare, call)                                                                            \
  {name " typescript", prepare, typescript_##call}, {name " c", prepare, c_##call},                            \
      {name " wasm2c", prepare, wasm2c_##call}

const struct routine routines[] = {
    {"nothing - -", prepare, nothing},
    KERNEL("crc32 table", prepare, crc_table),
    KERNEL("crc32 bytes", prepare_table, crc),
    KERNEL("exit cpuid", prepare_cpuid, exit),
    KERNEL("exit in", prepare_in, exit),
    KERNEL("exit out", prepare_out, exit),
    KERNEL("exit halt", prepare_halt, exit),
    KERNEL("pages small", prepare_space, small),
    KERNEL("pages mixed", prepare_space, mixed),
    KERNEL("ring write", prepare_empty_ring, write),
    KERNEL("ring read", prepare_ring, read),
    KERNEL("sort ranges", prepare_ranges, sort),
    {0, 0, 0},
};

/* A digest of the result and of all that a call may have written (FNV-1a). */
unsigned long outcome(void) {
  u64 hash = 0xcbf29ce484222325 ^ result;
  for (u32 i = TABLE; i < SIZE; i++) hash = (hash ^ *(u8 *)AT(i)) * 0x100000001b3;
  for (u32 i = 0; i < 0x8000; i++) hash = (hash ^ vmcs_fields[i]) * 0x100000001b3;
  return hash;
}
