; Makes its monitor fail in the way that its command line's digit says (test/images/containment/monitor.ts); with "0" it
; counts instead, and switches off after a while.

%include "bzimage.inc"

COUNTS equ 30
DELAY  equ 20000                ; CPUIDs between two counts

%macro cpuid_keeping_rbx 0
  push rbx
  cpuid
  pop rbx
%endmacro

main:
  mov eax, [rsi + 0x228]        ; cmd_line_ptr
  movzx ebx, byte [rax]
  sub ebx, '0'
  jz counter
  ; Let everybody start; each kind of failure has its own time.
  imul r15d, ebx, DELAY
.wait:
  xor eax, eax
  cpuid_keeping_rbx
  dec r15d
  jnz .wait
  mov eax, 0xfa170000
  add eax, ebx
  cpuid
  say "the monitor survived", 13, 10
  ret

counter:
  xor r14d, r14d
.count:
  mov r15d, DELAY / 2
.busy:
  xor eax, eax
  cpuid
  dec r15d
  jnz .busy
  inc r14
  say "count "
  mov rax, r14
  call put_decimal
  call put_newline
  cmp r14, COUNTS
  jb .count
  ret

%include "bzimage-end.inc"
