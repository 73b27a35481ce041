/* ring.ts as one would write it in C. */
#include "machine.h"

enum { SIZE = 1024 };

struct ring {
  u32 head, tail, lost;
  u8 bytes[SIZE];
};

static int put(struct ring *ring, u8 byte) {
  if (ring->head - ring->tail >= SIZE) {
    ring->lost++;
    return 0;
  }
  ring->bytes[ring->head++ & (SIZE - 1)] = byte;
  return 1;
}

static int take(struct ring *ring) {
  if (ring->tail == ring->head) return -1;
  return ring->bytes[ring->tail++ & (SIZE - 1)];
}

u32 hand_ring_write(struct ring *ring, const u8 *text, u32 length) {
  for (u32 i = 0; i < length; i++) {
    if (text[i] == '\n' && !put(ring, '\r')) return i;
    if (!put(ring, text[i])) return i;
  }
  return length;
}

u32 hand_ring_read(struct ring *ring, u8 *to, u32 room) {
  for (u32 i = 0; i < room; i++) {
    int byte = take(ring);
    if (byte < 0) return i;
    to[i] = (u8)byte;
  }
  return room;
}
