; Spins with interrupts off and never exits: only a timer of the hypervisor's gets the CPU back.

%include "bzimage.inc"

main:
  say "spins", 13, 10
  cli
.again:
  jmp .again

%include "bzimage-end.inc"
