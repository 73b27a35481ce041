/* The reset control register (82371AB 4.2.7, RC, port CF9h), last of its program: it does not come back. */
#include "runtime.h"

SUBJECT(reset) {
  // Bit 2's rise resets, whatever kind bit 1 has said; the kind alone does not.
  out8(0xcf9, 0x02);
  check("kind-holds", in8(0xcf9) & 0x0e, 0x02);
  out8(0xcf9, 0x00);
  check("kind-clears", in8(0xcf9) & 0x0e, 0x00);
  out8(0xcf9, 0x02);
  check("kind-does-not-reset", 1, 1);
  print("done 1\r\n"); // the harness sees whether it resets
  flush();
  WAIT(in8(UART + 5) & 0x40, 100000);
  out8(0xcf9, 0x06);
  for (;;) pause();
}
