; Spins with interrupts off and never exits: only a timer of the hypervisor's gets the CPU back. With PAUSE defined it says
; that it spins, as one does that waits for a lock.

%include "bzimage.inc"

main:
  say "spins", 13, 10
  cli
.again:
%ifdef PAUSE
  pause
%endif
  jmp .again

%include "bzimage-end.inc"
