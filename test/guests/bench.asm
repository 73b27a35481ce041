; What one exit costs in ticks of the TSC: on Bochs a tick is an instruction. Prints "NAME TICKS" lines, where TICKS is
; of one instruction with its exit, the loop around it taken off.

%include "bzimage.inc"

ROUNDS equ 1000
BATCHES equ 5

; Runs %2 ROUNDS times and prints %1 with the cost of one: of the quickest batch, into which the fewest of the host's
; interrupts fell.
%macro measure 2+
  mov r11, -1
  mov r10d, BATCHES
%%batch:
  call empty_loop
  mov r12, rax
  rdtsc
  shl rdx, 32
  or rax, rdx
  mov r13, rax
  mov r15d, ROUNDS
%%again:
  %2
  dec r15d
  jnz %%again
  rdtsc
  shl rdx, 32
  or rax, rdx
  sub rax, r13
  sub rax, r12
  cmp rax, r11
  cmovb r11, rax
  dec r10d
  jnz %%batch
  mov r14, r11
  say %1, " "
  mov rax, r14
  xor edx, edx
  mov ecx, ROUNDS
  div rcx
  call put_decimal
  call put_newline
%endmacro

; Ticks of the loop itself.
empty_loop:
  rdtsc
  shl rdx, 32
  or rax, rdx
  mov r13, rax
  mov r15d, ROUNDS
.again:
  dec r15d
  jnz .again
  rdtsc
  shl rdx, 32
  or rax, rdx
  sub rax, r13
  ret

; The operations, with what sets their registers up: a few instructions that count as well.
%macro uart_status 0
  mov edx, 0x3fd
  in al, dx
%endmacro
%macro rtc_index 0
  mov al, 10
  out 0x70, al
%endmacro
%macro post_code 0
  out 0x80, al
%endmacro
%macro read_msr 0
  mov ecx, 0x3b
  rdmsr
%endmacro
%macro write_msr 0
  mov ecx, 0x8b
  xor eax, eax
  xor edx, edx
  wrmsr
%endmacro
%macro pit_count 0
  in al, 0x40
%endmacro
%macro pic_mask 0
  in al, 0x21
%endmacro
%macro cpuid_leaf 0
  xor eax, eax
  cpuid
%endmacro
%macro cpuid_prefixed 0
  xor eax, eax
  db 0x66, 0x48
  cpuid
%endmacro
; Its first byte is the last one of a page; a call and a return come with it.
CROSSING equ 0x1fdfff
%macro cpuid_crossing 0
  xor eax, eax
  call rdi
%endmacro

main:
  measure "nop", nop
  measure "cpuid", cpuid_leaf
  measure "cpuid-prefixed", cpuid_prefixed
  mov rdi, CROSSING
  mov dword [rdi], 0xc3a20f     ; CPUID, RET
  measure "cpuid-crossing", cpuid_crossing
  measure "uart-status", uart_status
  measure "pic-mask", pic_mask
  measure "rtc-index", rtc_index
  measure "post", post_code
  measure "pit-count", pit_count
  measure "rdmsr", read_msr
  measure "wrmsr", write_msr
  ret

%include "bzimage-end.inc"
