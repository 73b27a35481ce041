/* What count.c counts. */
#ifndef COUNT_H
#define COUNT_H

#include <signal.h>

struct routine {
  const char *name;
  void (*prepare)(void); /* not counted */
  void (*call)(void);
};

extern const struct routine routines[]; /* ends with a null name */

/* A digest of what the last call has computed. */
unsigned long outcome(void);

#endif
