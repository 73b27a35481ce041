/* sort.ts as one would write it in C. */
#include "machine.h"

struct range {
  u64 start, length;
};

static void swap(struct range *a, struct range *b) {
  struct range kept = *a;
  *a = *b;
  *b = kept;
}

static void sift(struct range *ranges, u32 parent, u32 count) {
  for (;;) {
    u32 child = 2 * parent + 1;
    if (child >= count) return;
    if (child + 1 < count && ranges[child].start < ranges[child + 1].start) child++;
    if (ranges[parent].start >= ranges[child].start) return;
    swap(&ranges[parent], &ranges[child]);
    parent = child;
  }
}

void hand_sort_ranges(struct range *ranges, u32 count) {
  for (u32 i = count / 2; i > 0; i--) sift(ranges, i - 1, count);
  for (u32 end = count; end > 1; end--) {
    swap(&ranges[0], &ranges[end - 1]);
    sift(ranges, 0, end - 1);
  }
}
