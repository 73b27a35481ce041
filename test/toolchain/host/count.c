/* Counts the native instructions of calls: runs each of `routines` (see count.h) in a child that is stepped instruction
 * by instruction, so that the figures are exact and no profiler is needed. Prints name, count and outcome.
 * An argument names a part of the names that are wanted. */
#define _GNU_SOURCE
#include "count.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

/* The child marks both ends of a call with a breakpoint. */
static void run_routine(const struct routine *routine) {
  routine->prepare();
  ptrace(PTRACE_TRACEME, 0, 0, 0);
  __asm__ volatile("int3" : : : "memory");
  routine->call();
  __asm__ volatile("int3" : : : "memory");
  _exit(0);
}

static long count(const struct routine *routine) {
  int state;
  pid_t child = fork();
  if (child < 0) perror("count: fork"), exit(2);
  if (!child) run_routine(routine);
  if (waitpid(child, &state, 0) != child || !WIFSTOPPED(state)) fputs("count: cannot trace\n", stderr), exit(2);
  for (long steps = 0;; steps++) {
    if (ptrace(PTRACE_SINGLESTEP, child, 0, 0)) perror("count: single step"), exit(2);
    if (waitpid(child, &state, 0) != child || !WIFSTOPPED(state))
      fputs("count: the routine ended\n", stderr), exit(2);
    siginfo_t info;
    if (ptrace(PTRACE_GETSIGINFO, child, 0, &info)) perror("count: siginfo"), exit(2);
    if (info.si_code != TRAP_TRACE && info.si_code != TRAP_HWBKPT) { /* the second breakpoint */
      ptrace(PTRACE_KILL, child, 0, 0);
      waitpid(child, &state, 0);
      return steps;
    }
  }
}

int main(int count_of_arguments, char **arguments) {
  for (const struct routine *routine = routines; routine->name; routine++) {
    if (count_of_arguments > 1 && !strstr(routine->name, arguments[1]) && !strstr(routine->name, "nothing")) continue;
    routine->prepare();
    routine->call();
    unsigned long computed = outcome();
    printf("%s %ld %016lx\n", routine->name, count(routine), computed);
    fflush(stdout);
  }
  return 0;
}
