; Several vCPUs at once, on the image "containment" (test/images/containment/vcpus.ts). The first starts the others; all work on
; the devices together; then they wake each other in a ring, each halted until it is its turn. In the end the command line's
; digit says how the last vCPU makes its monitor fail while the others spin; 0: the first switches off.

%include "bzimage.inc"

ASK     equ 0xfa180000
START   equ 0xfa180001
WAKE    equ 0xfa180002
FAIL    equ 0xfa170000
COUNTS  equ 1000                ; a vCPU, in the first part
ROUNDS  equ 300

; In: %1 = what, ecx = a vCPU.
%macro call_monitor 1
  mov eax, %1
  cpuid
%endmacro

main:
  mov r8, rsi                   ; the zero page
  call_monitor ASK              ; eax = who this is, ebx = how many there are
  mov r12d, eax
  mov r13d, ebx
  lea eax, [eax + 1]
  shl eax, 10
  lea rsp, [stacks + rax]
  test r12d, r12d
  jnz work
  mov eax, [r8 + 0x228]         ; cmd_line_ptr
  movzx eax, byte [rax]
  sub eax, '0'
  mov [failure], eax
  mov r14d, 1
.start:
  cmp r14d, r13d
  jae work
  mov ecx, r14d
  call_monitor START
  inc r14d
  jmp .start

; All of them read devices that they share, and count in memory.
work:
  mov r15d, COUNTS
.again:
  mov dx, 0x3fd
  in al, dx
  in al, 0x21
  lock inc dword [count]
  dec r15d
  jnz .again
  mov eax, COUNTS
  mul r13d
.all:
  pause
  cmp [count], eax
  jb .all
  ja wrong
  test r12d, r12d
  jnz ring
  say "all have counted", 13, 10

; Whose turn it is wakes the next one. The first starts, and says when it has been round.
ring:
  xor r15d, r15d
.turn:
  cmp [turn], r12d
  je .mine
  hlt
  jmp .turn
.mine:
  inc r15d
  mov eax, r12d
  inc eax
  cmp eax, r13d
  jb .next
  xor eax, eax
.next:
  mov [turn], eax
  mov ecx, eax
  call_monitor WAKE
  cmp r15d, ROUNDS
  jb .turn
  lock inc dword [through]
.through:
  pause
  cmp [through], r13d
  jb .through
  test r12d, r12d
  jnz end
  say "all have been woken", 13, 10
  lock inc dword [through]

end:
  mov r14d, r13d
  cmp [through], r14d           ; the first has said so
  jbe end
  cmp dword [failure], 0
  je off
  dec r13d
  cmp r12d, r13d
  jne spin
  mov eax, FAIL
  add eax, [failure]
  cpuid
wrong:
  say "the monitor survived", 13, 10
off:
  test r12d, r12d
  jz power_off
spin:
  jmp spin

align 4, db 0
failure: dd 0
count: dd 0
turn: dd 0
through: dd 0
align 16, db 0
stacks: times 16 * 1024 db 0

%include "bzimage-end.inc"
