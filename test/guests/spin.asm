; Spins with interrupts off and never exits: only a timer of the hypervisor's gets the CPU back. With PAUSE defined it says
; that it spins, as one does that waits for a lock; with HALT defined it waits for an interrupt, and there is none.

%include "bzimage.inc"

main:
%ifdef HALT
  mov al, 0xff                  ; no interrupt of the 8259s
  out 0x21, al
  out 0xa1, al
  say "waits", 13, 10
  sti
.again:
  hlt
  jmp .again
%else
  say "spins", 13, 10
  cli
.again:
%ifdef PAUSE
  pause
%endif
  jmp .again
%endif

%include "bzimage-end.inc"
