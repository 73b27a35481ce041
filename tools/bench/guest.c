/* What operations cost inside a Linux guest, in ticks of the TSC: on Bochs a tick is an instruction. Prints lines of
 * "bench NAME TICKS". The median of several rounds: an interrupt in one round does not count. Of
 * sleeps it is the least. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 15

static uint64_t tsc(void) {
  uint32_t low, high;
  __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
  return (uint64_t)high << 32 | low;
}

static int by_size(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

/* Ticks of one of `count` operations that `round` does. */
static void bench(const char *name, void (*round)(int count), int count) {
  uint64_t ticks[ROUNDS];
  for (int i = 0; i < ROUNDS; i++) {
    uint64_t start = tsc();
    round(count);
    ticks[i] = tsc() - start;
  }
  qsort(ticks, ROUNDS, sizeof *ticks, by_size);
  printf("bench %s %.1f\n", name, (double)ticks[ROUNDS / 2] / count);
}

/* Ticks of the quickest of `rounds` operations. */
static void bench_least(const char *name, void (*round)(int count), int rounds) {
  uint64_t least = -1;
  for (int i = 0; i < rounds; i++) {
    uint64_t start = tsc();
    round(1);
    uint64_t ticks = tsc() - start;
    if (ticks < least) least = ticks;
  }
  printf("bench %s %.1f\n", name, (double)least);
}

static void do_nothing(int count) {
  for (int i = 0; i < count; i++) __asm__ volatile("");
}

static void do_cpuid(int count) {
  for (int i = 0; i < count; i++) {
    uint32_t a = 0, b, c = 0, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  }
}

static void do_status(int count) {
  for (int i = 0; i < count; i++) inb(0x3fd);
}

static void do_pages(int count) {
  uint8_t *pages = mmap(0, (size_t)count * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  madvise(pages, (size_t)count * 4096, MADV_NOHUGEPAGE);
  for (int i = 0; i < count; i++) ((volatile uint8_t *)pages)[(size_t)i * 4096] = 1;
  munmap(pages, (size_t)count * 4096);
}

static void do_sleep(int count) {
  struct timespec millisecond = {0, 1000000};
  for (int i = 0; i < count; i++) nanosleep(&millisecond, 0);
}

static void do_fork(int count) {
  for (int i = 0; i < count; i++) {
    pid_t child = fork();
    if (child == 0) _exit(0);
    waitpid(child, 0, 0);
  }
}

int main(void) {
  setvbuf(stdout, 0, _IOLBF, 0);
  bench("loop", do_nothing, 1000);
  bench("cpuid", do_cpuid, 1000);
  if (ioperm(0x3f8, 8, 1) == 0) bench("uart-status", do_status, 1000);
  bench("fresh-page", do_pages, 256);
  /* Else a sleep ends up to 50 us early or late, with whatever interrupt comes then. */
  prctl(PR_SET_TIMERSLACK, 1);
  bench_least("nanosleep-1ms", do_sleep, 1000);
  bench("fork-wait", do_fork, 4);
  return 0;
}
