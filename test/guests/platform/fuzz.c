/* Programs every device with random values, widths and sequences, for ever: the VM's time limit ends it, and resets start it anew. */
#include "runtime.h"

static u64 state;
static u32 next(void) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return (u32)(state >> 16);
}
static u32 below(u32 n) { return next() % n; }

/* Values that mean something more often than chance would have it. */
static u32 value(void) {
  static const u32 special[] = {0, 1, 0xff, 0xffff, 0xffffffff, 0x80000000, 0x7fffffff, 0x100};
  switch (below(4)) {
    case 0: return special[below(8)];
    case 1: return 1u << below(32);
    case 2: return next() & 0xff;
    default: return next();
  }
}

struct range { u64 from, to; };

/* All but PM1 control, whose SLP_EN switches the machine off, and what resets it at the first write. */
static const struct range ports[] = {{0x20, 0x21}, {0xa0, 0xa1}, {0x4d0, 0x4d1}, {0x40, 0x43}, {0x61, 0x61}, {0x70, 0x71},
                                     {0x3f8, 0x3ff}, {0x600, 0x603}, {0x608, 0x60b}, {0xcf8, 0xcf8}, {0xcfc, 0xcff}};
static const struct range pages[] = {{0xfec00000, 0xfec0003f}, {0xfec00040, 0xfec00fff}, {0xfee00000, 0xfee003ff}, {0xfee00400, 0xfeefffff},
                                     {0xfed00000, 0xfed0017f}, {0xfed00180, 0xfed003ff}, {0xe0000000, 0xe00000ff}, {0xe00f8000, 0xe00f80ff},
                                     {0xe0000000, 0xefffffff}};

static void port(void) {
  const struct range *r = &ports[below(sizeof ports / sizeof *ports)];
  u16 at = r->from + below(r->to - r->from + 1);
  u32 v = value();
  switch (below(8)) {
    case 0: in16(at); break;
    case 1: in32(at); break;
    case 2: case 3: in8(at); break;
    // Wider writes might reach PM1 control from its neighbours.
    case 4: if (at < 0x600 || at > 0x60b) out16(at, v); break;
    case 5: if (at < 0x600 || at > 0x60b) out32(at, v); break;
    default: out8(at, v);
  }
}

static void memory(void) {
  const struct range *r = &pages[below(sizeof pages / sizeof *pages)];
  u64 at = r->from + below(r->to - r->from + 1);
  if (below(4)) at &= ~3ul;
  u64 v = value() | (u64)value() << 32;
  // INIT would reset the VM each time.
  if ((at & ~15ul) == 0xfee00300 && ((v >> 8) & 7) == 5) return;
  switch (below(8)) {
    case 0: (void)*(volatile u8 *)at; break;
    case 1: (void)*(volatile u16 *)at; break;
    case 2: (void)get64(at); break;
    case 3: (void)get32(at); break;
    case 4: *(volatile u8 *)at = v; break;
    case 5: put64(at, v); break;
    default: put32(at, v);
  }
}

static void msr(void) {
  u32 index = below(8) ? 0x800 + below(0x40) : below(2) ? 0x1b : 0x6e0;
  u64 got, v = value() | (below(4) ? 0 : (u64)value() << 32);
  if (index == 0x1b) v = 0xfee00000 | (v & 0xd00);
  if (index == 0x830 && ((v >> 8) & 7) == 5) return;
  if (below(3)) safe_write_msr(index, v);
  else safe_read_msr(index, &got);
}

SUBJECT(fuzz) {
  state = tsc() | 1;
  note("seed", state);
  for (;;) {
    switch (below(8)) {
      case 0: case 1: case 2: port(); break;
      case 3: case 4: case 5: memory(); break;
      case 6: msr(); break;
      default: if (below(2)) window(); else sleep_us(below(50));
    }
  }
}
