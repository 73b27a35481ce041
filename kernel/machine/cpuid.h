#include "types.h"

INTRINSIC void cpuid_query(u32 leaf, u32 subleaf, u32 out) {
  u32 *r = LINEAR(u32, out);
  __asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(subleaf));
}
