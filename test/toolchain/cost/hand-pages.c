/* pages.ts as one would write it in C. Its addresses are offsets from `memory`, as physical ones are in a hypervisor. */
#include "machine.h"

#define LARGE (1ul << 21)
#define HUGE (1ul << 30)
#define ADDRESS 0x000ffffffffff000ul
#define LARGE_PAGE (1ul << 7)
#define memory ((u8 *)WASM_BASE)

struct space {
  u64 next, end, top, leaf, table, largest;
};

static u64 allocate(struct space *space) {
  if (space->next == space->end) return 0;
  u64 frame = space->next;
  space->next = frame + 4096;
  return frame;
}

static u32 shift_of(u32 level) { return 12 + 9 * (level - 1); }

static u64 *slot(u64 table, u64 address, u32 level) {
  return (u64 *)(memory + table) + (address >> shift_of(level) & 511);
}

static u64 descend(struct space *space, u64 address, u32 level) {
  u64 table = space->top;
  for (u32 at = 4; at > level; at--) {
    u64 *place = slot(table, address, at), entry = *place;
    if (!entry) {
      u64 frame = allocate(space);
      if (!frame) return 0;
      *place = entry = frame | space->table;
    }
    if (entry & LARGE_PAGE) __builtin_trap(); /* a large page is mapped where a table is wanted */
    table = entry & ADDRESS;
  }
  return table;
}

int hand_map_pages(struct space *space, u64 virtual, u64 physical, u64 length) {
  while (length) {
    u64 fit = virtual | physical;
    u32 level = 1;
    if (space->largest >= LARGE && !(fit & (LARGE - 1)) && length >= LARGE) level = 2;
    if (space->largest >= HUGE && !(fit & (HUGE - 1)) && length >= HUGE) level = 3;
    u64 table = descend(space, virtual, level);
    if (!table) return 0;
    *slot(table, virtual, level) = physical | space->leaf | (level > 1 ? LARGE_PAGE : 0);
    u64 size = 1ul << shift_of(level);
    virtual += size;
    physical += size;
    length -= size < length ? size : length;
  }
  return 1;
}
