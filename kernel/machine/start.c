/* Root's linear memory as its module wants it: zeros, which the boot loader has made of the BSS, and the segments. */
#include "types.h"

extern const u32 root_segment_count;
extern const struct wasm3_segment root_segments[];

void root_prepare(void);

void root_prepare(void) {
  for (u32 i = 0; i < root_segment_count; i++)
    for (u32 j = 0; j < root_segments[i].length; j++)
      LINEAR(u8, root_segments[i].offset)[j] = root_segments[i].bytes[j];
}
