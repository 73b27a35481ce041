/* Prints what CPUID says on one CPU: a line a leaf and subleaf, six hexadecimal numbers (leaf, subleaf, EAX, EBX, ECX, EDX). */
#define _GNU_SOURCE
#include <cpuid.h>
#include <sched.h>
#include <stdio.h>

/* No group of leaves is as long, and no leaf that the hypervisor asks for has as many subleaves. */
enum { LEAVES = 0x40, SUBLEAVES = 16 };

static void group(unsigned first) {
  unsigned a, b, c, d, last;
  __cpuid(first, last, b, c, d);
  if (last < first || last - first >= LEAVES) last = first;
  for (unsigned leaf = first; leaf <= last; leaf++) {
    for (unsigned sub = 0; sub < SUBLEAVES; sub++) {
      __cpuid_count(leaf, sub, a, b, c, d);
      printf("%x %x %x %x %x %x\n", leaf, sub, a, b, c, d);
    }
  }
}

int main(void) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(0, &set);
  /* The one whose MSRs are read; inside of a container it may not be ours, and all are alike. */
  sched_setaffinity(0, sizeof set, &set);
  group(0);
  group(0x40000000);
  group(0x80000000);
  return 0;
}
