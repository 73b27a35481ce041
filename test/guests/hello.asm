; Executes CPUID and HLT: says who the hypervisor is, sleeps until a timer interrupt, then stops for good.

%include "bzimage.inc"

main:
  say "hypervisor "
  mov eax, 0x40000000
  cpuid
  mov [signature], ebx
  mov [signature + 4], ecx
  mov [signature + 8], edx
  mov rsi, signature
  call put_string
  call put_newline

  ; An interrupt gate for vector 20h.
  mov rax, tick
  mov [idt + 0x20 * 16], ax
  mov word [idt + 0x20 * 16 + 2], 0x10
  mov word [idt + 0x20 * 16 + 4], 0x8e00
  shr rax, 16
  mov [idt + 0x20 * 16 + 6], ax
  lidt [idt_pointer]
  ; 8259s: vectors from 20h, only the timer unmasked. 8254: one interrupt in 10 ms.
  mov rsi, setup
  mov ecx, (setup_end - setup) / 2
.next:
  xor eax, eax
  lodsb
  mov edx, eax
  lodsb
  out dx, al
  loop .next

  rdtsc
  mov r12d, eax
  sti
  hlt
  cli
  rdtsc
  sub eax, r12d
  cmp dword [ticks], 1
  jne .lost
  say "slept until the timer's interrupt", 13, 10
.lost:
  cli
  hlt

tick:
  push rax
  inc dword [ticks]
  mov al, 0x20
  out 0x20, al
  pop rax
  iretq

setup:
  db 0x20, 0x11, 0x21, 0x20, 0x21, 4, 0x21, 1, 0x21, 0xfe
  db 0xa0, 0x11, 0xa1, 0x28, 0xa1, 2, 0xa1, 1, 0xa1, 0xff
  db 0x43, 0x30, 0x40, 11932 & 255, 0x40, 11932 >> 8
setup_end:
signature: times 13 db 0
ticks: dd 0
align 16
idt: times 0x21 * 16 db 0
idt_pointer:
  dw 0x21 * 16 - 1
  dq idt

%include "bzimage-end.inc"
